//! What it costs to go on: a pilot that was killed, checkpoints of a large workspace, the journal of a long conversation.

use crate::Arrivals;
use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use oarmaster_e2e::crash::scene::Scene;
use oarmaster_e2e::mock::{Gate, Reply};
use oarmaster_e2e::wait;
use oarmaster_protocol::journal::{Body, Record};
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes of the large workspace.
const LARGE: u64 = 200_000_000;
/// Calls that change one small file.
const CHANGES: usize = 12;
/// Turns of the long conversation, and the bytes that each tool's result has in it.
const TURNS: usize = 30;
const RESULT: usize = 13_000;
/// How often a pilot is killed.
pub const KILLS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(180);

fn shell(command: &str) -> Reply {
    Reply::tool("Shell", &json!({ "command": command }))
}

/// A tool call; then the pilot is killed while the model thinks; then another.
pub fn killed(prompt: &str, turn: usize, resumed: &[Gate]) -> Reply {
    let number = prompt
        .rsplit('-')
        .next()
        .and_then(|number| number.parse::<usize>().ok());
    match (turn, number.and_then(|number| resumed.get(number))) {
        (0, _) => shell("echo one > file"),
        (1, Some(gate)) => shell("cat file").after(gate),
        _ => Reply::text("done"),
    }
}

/// Many calls that change a small file, beside a large one or alone.
pub fn changes(large: bool, turn: usize) -> Reply {
    match turn {
        0 if large => shell(&format!("head -c {LARGE} /dev/urandom > large")),
        turn if turn <= CHANGES => shell(&format!("echo {turn} > small")),
        _ => Reply::text("done"),
    }
}

/// Results that are long.
pub fn long(turn: usize) -> Reply {
    match turn {
        turn if turn < TURNS => shell(&format!(
            "head -c {} /dev/urandom | base64 -w0",
            RESULT * 3 / 4
        )),
        _ => Reply::text("done"),
    }
}

/// Runs the phase.
pub async fn run(
    scene: &Scene<'_>,
    arrivals: &Arrivals,
    resumed: &[Gate],
    report: &mut Report,
) -> Result<()> {
    scene.space.create(&agent().to_string()).await?;
    let mut gone_on = Vec::new();
    for (number, gate) in resumed.iter().enumerate() {
        eprintln!("a pilot is killed, {} of {}", number + 1, resumed.len());
        let name = format!("killed-{number}");
        kill(scene, arrivals, &name).await?;
        gate.open();
        ended(scene, &name).await?;
        let journal = scene.journal(&name).await?.0;
        gone_on.push(resume(&journal).context("it did not go on")?);
    }
    eprintln!("a large workspace");
    let mut times = Vec::new();
    for name in ["large-0", "small-0"] {
        scene.task(name, "worker-large", &json!({})).await?;
        ended(scene, name).await?;
        times.push(calls(&scene.journal(name).await?.0));
    }
    eprintln!("a long conversation");
    scene.task("long-0", "worker-large", &json!({})).await?;
    ended(scene, "long-0").await?;
    let journal = scene.journal("long-0").await?.0;
    let size = serde_json::to_vec(&journal)?.len();
    let bill = scene.bill("long-0");
    let asked: usize = bill.iter().map(|call| call.body.to_string().len()).sum();
    let last = bill.last().map_or(0, |call| call.body.to_string().len());

    let of = |times: &[f64], percent| short(percentile(times, percent));
    let middle = |index: usize| {
        times
            .get(index)
            .map_or(f64::NAN, |times| percentile(times, 50))
    };
    report.table(
        &["ms", "p50", "max"],
        &[
            vec![
                "a pilot that takes over: its claim -> the next tool call".to_owned(),
                of(&gone_on, 50),
                of(&gone_on, 100),
            ],
            vec![
                format!(
                    "a call of Shell that changes one file, checkpoint and all, beside {} MB",
                    LARGE / 1_000_000
                ),
                short(middle(0)),
                String::new(),
            ],
            vec![
                "the same, beside nothing".to_owned(),
                short(middle(1)),
                String::new(),
            ],
        ],
    );
    report.say(&format!(
        "A conversation of {TURNS} turns that ends with a request of {} KB: {} KB of journal, where the requests together had {} KB.",
        last / 1000,
        size / 1000,
        asked / 1000
    ));
    report.figure(
        "pilot_resume_ms_p50",
        percentile(&gone_on, 50),
        Goal::Below(5000.0),
    );
    report.figure(
        "pilot_checkpoint_200mb_ms_p50",
        middle(0) - middle(1),
        Goal::Below(150.0),
    );
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    report.figure(
        "pilot_journal_30_turns_mb",
        size as f64 / 1e6,
        Goal::Below(2.0),
    );
    Ok(())
}

fn agent() -> Value {
    json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "worker-large"},
        "spec": {
            "instructions": "Do what you are told.", "model": {"maxOutputTokens": 1000}, "tools": [{"builtin": "Shell"}],
            "limits": {"turns": 100, "toolCalls": 100},
            "sandbox": {"image": oarmaster_e2e::installed::image("python"), "memory": "256Mi", "disk": "512Mi"},
        },
    })
}

/// Kills the pilot of a Task while the model thinks for the second time.
async fn kill(scene: &Scene<'_>, arrivals: &Arrivals, name: &str) -> Result<()> {
    scene.task(name, "worker", &json!({})).await?;
    tokio::time::timeout(PATIENCE, arrivals.of(name)).await??;
    let attempt = (scene.space.name.clone(), name.to_owned(), 1);
    let sandbox = scene.rig.kubelet.sandbox(&attempt).await?;
    let asked_twice = |bill: &[oarmaster_e2e::mock::Call]| {
        bill.iter()
            .any(|call| call.prompt() == name && call.turn == 1)
    };
    scene
        .mock
        .until("the second question", PATIENCE, asked_twice)
        .await?;
    sandbox.pilot.kill().await
}

async fn ended(scene: &Scene<'_>, name: &str) -> Result<()> {
    let over = |task: &oarmaster_crds::Task| {
        oarmaster_e2e::task::holds(task, oarmaster_crds::conditions::FINISHED)
    };
    let api = scene.space.api::<oarmaster_crds::Task>();
    let task = wait::until(api, name, "its end", PATIENCE, over)
        .boxed()
        .await?;
    let complete = oarmaster_e2e::task::holds(&task, oarmaster_crds::conditions::COMPLETE);
    ensure!(
        complete,
        "{name}: {:?}",
        task.status.and_then(|status| status.failure)
    );
    Ok(())
}

/// Milliseconds from the claim of the second attempt to its first tool call.
fn resume(journal: &[Record]) -> Option<f64> {
    let mut records = journal.iter().filter(|record| record.attempt == 2);
    let claimed = records.find(|record| matches!(record.body, Body::Claimed { .. }))?;
    let called = records.find(|record| matches!(record.body, Body::ToolIntent { .. }))?;
    Some(ms(called.at_ms - claimed.at_ms))
}

/// Milliseconds of each tool call but the first, from its intent to its result.
fn calls(journal: &[Record]) -> Vec<f64> {
    let mut begun = None;
    let mut times = Vec::new();
    for record in journal {
        match &record.body {
            Body::ToolIntent { .. } => begun = Some(record.at_ms),
            Body::ToolResult { .. } => {
                times.extend(begun.take().map(|begun| ms(record.at_ms - begun)))
            }
            _ => {}
        }
    }
    times.drain(..times.len().min(1));
    times
}

/// Exact for longer than anything here runs.
#[allow(clippy::cast_precision_loss)]
fn ms(ms: i64) -> f64 {
    ms as f64
}
