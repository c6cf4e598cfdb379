//! One rig at a time, and how the parts of the matrix are told.

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::process::Daemon;
use oarmaster_e2e::crash::scene::unasked;
use oarmaster_e2e::installed::{AS_IS, RELEASE};
use oarmaster_e2e::proxy::{Point, Rule, Side, Strike};
use oarmaster_e2e::{Cluster, Space};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};

/// The operator works on every namespace, so there is one rig at a time.
static ONE: Mutex<()> = Mutex::const_new(());

/// Runs a part of the matrix on a rig of its own.
pub async fn on_a_rig(matrix: impl AsyncFnOnce(&Rig) -> Result<()>) -> Result<()> {
    let _one = ONE.lock().await;
    static CHARTS: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::api().await?;
    CHARTS.get_or_try_init(|| charts(&cluster)).await?;
    let rig = Rig::start(cluster).await?;
    let done = matrix(&rig).await;
    let done = done.and_then(|()| {
        let failed = rig.kubelet.failed();
        ensure!(failed.is_empty(), "the kubelet failed");
        Ok(())
    });
    done.with_context(|| rig.logs())
}

async fn charts(cluster: &Cluster) -> Result<()> {
    if std::env::var_os(AS_IS).is_some() {
        return unasked(cluster).await;
    }
    for chart in ["oarmaster-crds", "oarmaster"] {
        let mut run = cluster
            .run("helm")
            .dir(checkout())
            .args(&["upgrade", "--install", chart, &format!("charts/{chart}")])
            .args(&["--namespace", RELEASE, "--create-namespace"])
            .args(&["--reset-then-reuse-values"]);
        if chart == "oarmaster" {
            // No node runs the shared pilots.
            run = run.args(&["--set", "sandboxClass.spec.sharedPilots=false"]);
        }
        run.output()
            .await?
            .success()
            .with_context(|| format!("failed to install chart {chart}"))?;
    }
    unasked(cluster).await
}

/// Runs something in a namespace of its own, and hands out what it gives.
pub async fn in_space<T>(
    rig: &Rig,
    name: &str,
    work: impl AsyncFnOnce(&Space) -> Result<T>,
) -> Result<T> {
    let mut given = None;
    Space::with(rig.cluster.clone(), name, async |space| {
        given = Some(work(space).await?);
        Ok(())
    })
    .await?;
    given.context("nothing was given")
}

/// Whether everything is to be done, however long it takes.
pub fn full() -> bool {
    std::env::var("OARMASTER_CRASH").is_ok_and(|value| value == "full")
}

/// Both sides of every request.
pub fn points(requests: &[String]) -> Vec<Point> {
    let point = |request: &String, side| Point {
        request: request.clone(),
        side,
    };
    let both = |request| [Side::Before, Side::After].map(|side| point(request, side));
    requests.iter().flat_map(both).collect()
}

/// SIGKILL to a program that is started again at once.
pub fn kill(victim: &Arc<Daemon>) -> Strike {
    let victim = Arc::clone(victim);
    Box::new(move || async move { victim.kill().await }.boxed())
}

/// Waits until a rule has struck: else the run did not reach its point, and proves nothing.
pub async fn struck(rule: &Rule, point: Option<&Point>) -> Result<()> {
    let Some(point) = point else {
        return Ok(());
    };
    tokio::time::timeout(Duration::from_secs(90), rule.struck())
        .await
        .with_context(|| format!("no request at the point; there were: {:#?}", rule.record()))?
        .with_context(|| format!("killing {point}"))
}
