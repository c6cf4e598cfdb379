//! `oarmaster-operator`: wires lease, certificates, controllers and metrics. It decides nothing.

mod args;
mod certs;
mod lease;
mod serve;
mod webhook;

use anyhow::Context as _;
use args::{Args, Config};
use certs::{Certificates, Leaf};
use clap::Parser as _;
use futures::FutureExt as _;
use kube::client::ClientBuilder;
use lease::{Gate, Lease, Tenure, boot_time};
use oarmaster_controllers::kit::{Context, chain};
use oarmaster_controllers::{Gateway, Settings, Shutdown, World};
use oarmaster_serve::process;
use serve::Served;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Wait after a step of the certificates that failed.
const CERTIFICATES_RETRY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    process::logs();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "operator stops");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("failed to install the TLS provider: there is one already"))?;
    let config = Args::parse().resolve();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let Config {
        settings,
        gateway_url,
        token_file,
        ca_dir,
        rules,
        metrics_addr,
    } = config;
    let shutdown = on_signal()?;
    let listener = tokio::net::TcpListener::bind(metrics_addr)
        .await
        .with_context(|| format!("failed to listen on {metrics_addr}"))?;
    let served = Arc::new(Served::new());
    tokio::spawn(serve::serve(listener, Arc::clone(&served)));

    let cluster = kube::Config::infer()
        .await
        .context("failed to find the cluster")?;
    let mut plain = cluster.clone();
    plain.default_retry = false; // a lease that is retried for minutes is no lease
    let lease_client = kube::Client::try_from(plain).context("failed to make a client")?;
    let tenure = Tenure::default();
    let client = ClientBuilder::try_from(cluster)
        .context("failed to make a client")?
        .with_layer(&Gate(tenure.clone()))
        .build();

    tracing::info!(identity = settings.identity, "waiting for the lease");
    let mut lease = tokio::select! {
        lease = Lease::acquire(lease_client, &settings.namespace, &settings.identity, tenure.clone()) => lease,
        () = shutdown.clone() => return Ok(()),
    };
    served.leader.set(1);
    tracing::info!(identity = settings.identity, "leading");

    let work = async {
        let mut certificates = Certificates::new(
            client.clone(),
            &settings.namespace,
            ca_dir,
            rules,
            leaves(&settings),
            served.expiry.clone(),
        );
        let (ca, wait) = settle(&mut certificates).await;
        let gateway =
            Gateway::new(&gateway_url, token_file).writing_while(move || tenure.lasts(boot_time()));
        gateway.trust(&ca).context("failed to trust our own CA")?;
        let metrics = Arc::clone(&served.metrics);
        let (ca_changes, ca_changed) = watch::channel(ca.clone());
        let webhook = webhook::keep(client.clone(), settings.namespace.clone(), ca_changed);
        let world = World::new(client, settings, gateway, metrics, ca);
        let context = Arc::clone(&world.context);
        // Set once: a process leads at most once in its life.
        let _ = served.context.set(Arc::clone(&context));
        tokio::select! {
            () = world.run(shutdown.clone()) => Ok(()),
            error = rotate(certificates, wait, context, ca_changes) => Err(error),
            () = webhook => Err(anyhow::anyhow!("the watch of the webhook's configuration ended")),
        }
    };
    tokio::select! {
        // Whoever lost the lease must not write any more: the process ends at once, with whatever was under way.
        lost = lease.keep() => Err(lost.into()),
        done = work => {
            served.leader.set(0);
            lease.release().await;
            done
        }
    }
}

/// The servers that get a certificate.
fn leaves(settings: &Settings) -> Vec<Leaf> {
    vec![
        Leaf {
            secret: "oarmaster-gateway-tls",
            hosts: vec![settings.gateway_host(), "localhost".to_owned()],
        },
        Leaf {
            secret: webhook::SECRET,
            hosts: vec![webhook::host(&settings.namespace)],
        },
    ]
}

/// Settles the certificates, however often it takes.
async fn settle(certificates: &mut Certificates) -> (String, Duration) {
    loop {
        match certificates.settle().await {
            Ok(settled) => return settled,
            Err(error) => {
                tracing::warn!(error = chain(&error), "certificates are not settled");
                tokio::time::sleep(CERTIFICATES_RETRY).await;
            }
        }
    }
}

/// Keeps the certificates fresh for ever, and everybody told. Ends only when a CA of our own cannot be used.
async fn rotate(
    mut certificates: Certificates,
    mut wait: Duration,
    context: Arc<Context>,
    changes: watch::Sender<String>,
) -> anyhow::Error {
    loop {
        tokio::time::sleep(wait).await;
        let (ca, next) = settle(&mut certificates).await;
        if let Err(error) = context.gateway.trust(&ca) {
            return anyhow::Error::new(error).context("failed to trust our own CA");
        }
        changes.send_replace(ca.clone());
        context.ca.store(Arc::new(ca));
        wait = next;
    }
}

/// Resolves on SIGTERM or SIGINT.
fn on_signal() -> anyhow::Result<Shutdown> {
    let stop = process::stop().context("failed to listen for signals")?;
    Ok(async move {
        stop.cancelled().await;
        tracing::info!("stopping");
    }
    .boxed()
    .shared())
}
