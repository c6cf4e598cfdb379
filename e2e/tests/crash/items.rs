//! A step with more items than stay Tasks, while operator and gateway are killed: nothing that an item left is lost, and none is done twice.

use crate::support::{in_space, on_a_rig};
use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::ListParams;
use oarmaster_crds::Task;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::run::Stage;
use oarmaster_e2e::task::holds;
use oarmaster_e2e::wait;
use serde_json::json;
use std::time::Duration;

/// Items of the step.
const ITEMS: i64 = 240;
/// At how many that have begun something is killed: the operator first, then the gateway, in turns.
const KILLS: [i64; 4] = [70, 160, 190, 230];
/// Calls that may be open at the gateway when it is killed, and are asked once more.
const OPEN: usize = 8;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(240);
const RUN: &str = "many";

/// How many items have begun.
fn begun(task: &Task) -> i64 {
    let steps = task
        .status
        .as_ref()
        .and_then(|status| status.steps.as_ref());
    let fan = steps.and_then(|steps| steps.fans.first());
    fan.map_or(0, |fan| fan.begun)
}

async fn run(rig: &Rig, stage: &Stage<'_>) -> Result<()> {
    let space = stage.scene.space;
    stage.items(RUN, ITEMS).await?;
    for (nth, at) in KILLS.iter().enumerate() {
        let tasks = space.api::<Task>();
        let what = format!("{at} items have begun");
        wait::until(tasks, RUN, &what, PATIENCE, |task| begun(task) >= *at).await?;
        let victim = if nth % 2 == 0 {
            &rig.operator
        } else {
            &rig.gateway
        };
        victim.kill().await?;
    }
    let tasks = space.api::<Task>();
    let over = |task: &Task| holds(task, oarmaster_crds::conditions::FINISHED);
    let task = wait::until(tasks.clone(), RUN, "its end", PATIENCE, over).await?;
    let status = task.status.context("no status")?;
    let output = status.output.unwrap_or_default();
    let last = ITEMS - 1;
    let expected =
        json!({"count": ITEMS, "first": "item0 is done", "last": format!("item{last} is done")});
    ensure!(output == expected, "{output}: {:#?}", status.failure);
    let bytes = serde_json::to_vec(&status.steps)?.len();
    ensure!(bytes <= 16 << 10, "the status has {bytes} bytes");

    // Each was made once, and few of them are there now.
    stage.looked_at(RUN).await?;
    let made = stage.tasks_of(&format!("{RUN}-work-"));
    let once = made.values().all(|uids| uids.len() == 1);
    let count = i64::try_from(made.len())?;
    ensure!(
        once && count == ITEMS,
        "{count} were made, each once: {once}"
    );
    let there = tasks.list_metadata(&ListParams::default()).await?;
    let there = there
        .iter()
        .filter(|task| made.contains_key(&task.name_any()));
    let there = there.count();
    ensure!((100..200).contains(&there), "{there} of them are there");

    // Nobody was asked twice, but what was open when the gateway died.
    let calls = stage.calls_of(RUN);
    let all = (0..ITEMS).all(|item| calls.contains_key(&format!("item{item}")));
    let more = calls.values().sum::<usize>().saturating_sub(made.len());
    let most = OPEN * KILLS.len() / 2;
    ensure!(
        all && more <= most,
        "all were asked: {all}, and {more} more than once"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_whose_tasks_are_let_go_survive_operator_and_gateway() -> Result<()> {
    on_a_rig(async |rig| {
        in_space(rig, "items", async |space| {
            Stage::with(rig, space, async |stage| run(rig, stage).await).await
        })
        .await
    })
    .await
}
