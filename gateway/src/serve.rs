//! Puts the parts together and runs them to the end of the process.

use crate::catalog::Outbound;
use crate::cluster::budgets::BudgetWatch;
use crate::cluster::objects::Objects;
use crate::cluster::secrets::{Sight, follow, follow_keys};
use crate::config::Config;
use crate::plain::Plain;
use crate::provider::aws::workload::Workload;
use crate::shared;
use crate::state::Gateway;
use crate::tls::{self, client_config};
use crate::tools::web::Web;
use crate::{admin, data, plain, read, retention, traces};
use anyhow::Context as _;
use kube::Client;
use oarmaster_serve::certificate::Certificate;
use oarmaster_serve::listen::{self, Limits};
use oarmaster_store::{Options, Store};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most connections of one listener at once.
const MAX_CONNECTIONS: usize = 4096;
/// Of them, those from one address: one pod leaves the most of them to others, and an application with a thousand calls at once has enough.
const OF_ADDRESS: usize = MAX_CONNECTIONS / 4;

/// How long the last spans may take to be sent.
const SPANS_END: Duration = Duration::from_secs(2);

/// Runs the gateway until `stop`.
///
/// # Errors
/// When the store cannot be opened or an address cannot be bound.
pub async fn run(config: Config, client: Client, stop: CancellationToken) -> anyhow::Result<()> {
    let Config {
        data_addr,
        read_addr,
        admin_addr,
        metrics_addr,
        data_dir,
        keys,
        retention: kept,
        settings,
        workload,
        tracing,
        search,
        tls_secret,
        drain,
    } = config;
    match keys.current() {
        // An id: it says which key it is, and nothing of it.
        Some(key) => tracing::info!(key, "what is kept is sealed"),
        None => tracing::warn!(
            "nothing is sealed: prompts, outputs and artifacts are on the volume as they are (--seal-keys, gateway.seal.secretName of the chart)"
        ),
    }
    let options = Options {
        retention: kept,
        keys,
        ..Options::new(&data_dir)
    };
    let store = Store::open(options)
        .await
        .context("failed to open the store")?;
    let tls = client_config()?;
    let outbound = Outbound {
        workload: Arc::new(Workload::new(workload, &tls)),
        tls: Arc::new(tls.clone()),
        guard: Arc::new(settings.private_endpoints.clone()),
        namespace: settings.namespace.clone(),
    };
    let release = settings.namespace.clone();
    let mut gateway = Gateway::new(settings, store, &client, tls);
    let dropped = gateway.metrics.spans_dropped();
    let traced = tracing.map(|tracing| traces::start(&tracing, &outbound.tls, dropped));
    let (traces, exporter) = traced.transpose()?.unzip();
    gateway.traces = traces;
    let web = Web::new(search, &outbound.tls, &outbound.guard);
    gateway.web = web.map_err(|error| anyhow::anyhow!("--search-url cannot be used: {error}"))?;
    let gateway = Arc::new(gateway);
    let spans_end = CancellationToken::new();
    let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(spans_end.clone())));
    let certificate = Arc::new(Certificate::default());
    let (synced, is_synced) = watch::channel(false);
    let (counted, is_counted) = watch::channel(false);
    let (loaded, mut is_loaded) = watch::channel(false);

    let background = TaskTracker::new();
    let spawn = |task: futures::future::BoxFuture<'static, ()>| {
        let stop = stop.clone();
        background.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    };
    let objects = Objects::new(
        gateway.snapshot.clone(),
        outbound,
        gateway.health.clone(),
        synced,
    );
    let watched = client.clone();
    spawn(Box::pin(async move { objects.run(watched).await }));
    let budgets = BudgetWatch::new(gateway.budgets.clone(), counted);
    let watched = client.clone();
    spawn(Box::pin(async move { budgets.run(watched).await }));
    let (health, snapshots) = (gateway.health.clone(), gateway.health.snapshots());
    spawn(Box::pin(follow_keys(
        client.clone(),
        release.clone(),
        health,
        snapshots,
    )));
    let health = gateway.health.clone();
    spawn(Box::pin(async move { health.run().await }));
    spawn(Box::pin(retention::run(gateway.clone(), client.clone())));
    let noting = gateway.clone();
    spawn(Box::pin(async move { noting.audit.run().await }));
    spawn(Box::pin(shared::run(gateway.clone())));
    let cert = certificate.clone();
    spawn(Box::pin(async move {
        follow(&client, &release, &tls_secret, |sight| {
            take_certificate(&cert, sight, &tls_secret, &loaded)
        })
        .await;
    }));

    let plain = Plain {
        gateway: gateway.clone(),
        certificate: certificate.clone(),
        synced: is_synced,
        counted: is_counted,
    };
    let plain_listener = bind(metrics_addr).await?;
    let served = TaskTracker::new();
    let limits = Limits {
        connections: MAX_CONNECTIONS,
        each: OF_ADDRESS,
        drain,
    };
    served.spawn(listen::serve(
        plain_listener,
        None,
        plain::router(plain),
        stop.clone(),
        limits,
    ));

    let has_certificate = tokio::select! {
        () = stop.cancelled() => false,
        ready = is_loaded.wait_for(|loaded| *loaded) => ready.is_ok(),
    };
    if has_certificate {
        let tls = certificate.server_config()?;
        for (address, router) in [
            (data_addr, data::router(gateway.clone())),
            (read_addr, read::router(gateway.clone())),
            (admin_addr, admin::router(gateway.clone())),
        ] {
            let listener = bind(address).await?;
            served.spawn(listen::serve(
                listener,
                Some(tls.clone()),
                router,
                stop.clone(),
                limits,
            ));
        }
        tracing::info!(data = %data_addr, read = %read_addr, admin = %admin_addr, "serving");
    }
    let mut unwritable = gateway.store.unwritable();
    let broken = tokio::select! {
        () = stop.cancelled() => None,
        why = unwritable.wait_for(Option::is_some) => why.ok().and_then(|why| why.clone()),
    };
    stop.cancel();
    gateway.stopping.cancel();
    tracing::info!("stopping");
    served.close();
    gateway.calls.close();
    let end = async {
        served.wait().await;
        gateway.calls.wait().await;
    };
    if tokio::time::timeout(drain, end).await.is_err() {
        tracing::warn!(
            "calls were still running when the time to drain was over; they are booked at their reservation"
        );
    }
    background.close();
    background.wait().await;
    spans_end.cancel();
    if let Some(exporting) = exporting
        && tokio::time::timeout(SPANS_END, exporting).await.is_err()
    {
        tracing::warn!("the collector did not take the last spans in time");
    }
    // Started anew, the log is read back to what is certain.
    anyhow::ensure!(
        broken.is_none(),
        "the log cannot be written: {}",
        broken.unwrap_or_default()
    );
    gateway.audit.flush();
    gateway
        .store
        .stop()
        .await
        .context("failed to write the log")
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))
}

fn take_certificate(
    certificate: &Certificate,
    sight: Sight,
    secret: &str,
    loaded: &watch::Sender<bool>,
) {
    match sight {
        Sight::Found { version, data } => match tls::load(certificate, &data) {
            Ok(()) => {
                tracing::info!(secret, version, "certificate loaded");
                loaded.send_replace(true);
            }
            Err(error) => {
                tracing::warn!(secret, version, error = %error, "the Secret holds no usable certificate yet")
            }
        },
        Sight::Missing => tracing::warn!(secret, "the TLS Secret does not exist"),
        Sight::Forbidden => tracing::warn!(secret, "the TLS Secret may not be read"),
    }
}
