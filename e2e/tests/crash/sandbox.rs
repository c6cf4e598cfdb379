//! exec and pilot are killed at each record of the journal. Every Task has its own, so the runs are beside each other.

use crate::support::{in_space, on_a_rig, points, struck};
use anyhow::{Context as _, Result, ensure};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::books::{Ending, kinds, without};
use oarmaster_e2e::crash::scene::{Scene, calls};
use oarmaster_e2e::mock::{Call, Reply};
use oarmaster_e2e::proxy::{Point, Rule, Side, Strike};
use oarmaster_e2e::space::say;
use oarmaster_protocol::journal::{Body, Record};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many runs at once.
const BESIDE: usize = 4;
/// The Task whose exec is killed in the middle of a tool call.
const MID_CALL: &str = "midcall";

/// A tool call, then the answer.
pub fn script(call: &Call) -> Reply {
    // What a killed tool call has done stays done; it is not repeated.
    let rest = if call.prompt() == MID_CALL {
        "; touch started; sleep 20"
    } else {
        ""
    };
    let command = format!("cat given; echo x >> count; cat count{rest}");
    match call.turn {
        0 => Reply::tool("Shell", &json!({ "command": command })).usage(111, 22),
        _ => Reply::text("done").usage(333, 44),
    }
}

/// A Task with a record of every kind.
pub fn work() -> Value {
    json!({
        "files": [{"path": "given", "content": "given\n"}],
        "artifacts": [{"name": "count", "path": "count"}],
        "accept": {"check": {"command": ["grep", "-q", "x", "count"]}, "rounds": 1},
    })
}

/// One run of such a Task: its end, its records, and what its first pilot asked.
pub async fn play(
    scene: &Scene<'_>,
    name: &str,
    armed: Option<(Point, Strike)>,
) -> Result<(Ending, Vec<Record>, Vec<String>)> {
    let point = armed.as_ref().map(|(point, _)| point.clone());
    let rule = Rule::new(calls, armed);
    let attempt = (scene.space.name.clone(), name.to_owned(), 1);
    scene.rig.kubelet.rule(attempt, &rule);
    let uid = scene.task(name, "worker", &work()).await?;
    struck(&rule, point.as_ref()).await?;
    let ending = scene.ending(name, &uid).await?;
    let journal = scene.journal(name).await?;
    Ok((ending, journal.0, rule.record()))
}

/// Whether the undisturbed run did all that the others are held to.
pub fn complete(undisturbed: &Ending, requests: &[String]) -> Result<()> {
    let kinds =
        "opened claimed isolation open answer toolIntent toolResult open answer check result";
    ensure!(
        undisturbed.journal.join(" ") == kinds && requests.len() == 10,
        "the undisturbed run went another way: {undisturbed:#?}, {requests:#?}"
    );
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Exec,
    Pilot,
}

fn kill(rig: &Rig, victim: Victim, namespace: &str, task: &str) -> Strike {
    let kubelet = Arc::clone(&rig.kubelet);
    let attempt = (namespace.to_owned(), task.to_owned(), 1);
    let dies = async move {
        let sandbox = kubelet.sandbox(&attempt).await?;
        match victim {
            Victim::Pilot => sandbox.pilot.kill().await,
            Victim::Exec => sandbox.exec.as_ref().context("no exec")?.kill().await,
        }
    };
    Box::new(move || dies.boxed())
}

async fn matrix(rig: &Rig, victim: Victim) -> Result<()> {
    let begun = Instant::now();
    in_space(rig, "crash", async |space| {
        let scene = Scene::set(rig, space, script).await?;
        let (undisturbed, records, requests) = play(&scene, "undisturbed", None).await?;
        say(&format!("{victim:?}: {requests:?} {undisturbed:#?}"), begun);
        complete(&undisturbed, &requests)?;
        let runs = points(&requests)
            .into_iter()
            .enumerate()
            .map(|(number, point)| {
                let (scene, undisturbed, records) = (&scene, &undisturbed, &records);
                async move {
                    let what = format!("{victim:?} killed {point}");
                    let name = format!("work{number}");
                    let strike = kill(rig, victim, &space.name, &name);
                    let done = play(scene, &name, Some((point.clone(), strike))).await;
                    let (ending, journal, _) = done.with_context(|| what.clone())?;
                    match victim {
                        Victim::Exec => same(&ending, undisturbed),
                        Victim::Pilot => {
                            same_again(&ending, &journal, undisturbed, records, &point)
                        }
                    }
                    .with_context(|| {
                        format!("{what}: {ending:#?}\ninstead of {undisturbed:#?}\n{journal:#?}")
                    })?;
                    say(&what, begun);
                    anyhow::Ok(())
                }
            });
        let runs = futures::stream::iter(runs).buffer_unordered(BESIDE);
        runs.try_collect::<Vec<()>>().await?;
        if victim == Victim::Exec {
            mid_call(&scene, &undisturbed).await?;
            say("Exec killed in the middle of a tool call", begun);
        }
        Ok(())
    })
    .await
}

/// exec came back and proved its isolation anew; nothing else differs.
fn same(ending: &Ending, undisturbed: &Ending) -> Result<()> {
    let plain = |ending: &Ending| {
        let mut ending = ending.clone();
        ending.journal.retain(|kind| kind != "isolation");
        ending
    };
    ensure!(
        plain(ending) == plain(undisturbed),
        "the run ended otherwise"
    );
    Ok(())
}

/// Another attempt went on from where the pilot died and ended the same, unless the result was handed in already: nothing is paid for twice, and
/// the tool call has had its effect once.
fn same_again(
    ending: &Ending,
    journal: &[Record],
    undisturbed: &Ending,
    records: &[Record],
    point: &Point,
) -> Result<()> {
    let over = point.request.starts_with("hand in result") && point.side == Side::After;
    let last = if over { 1 } else { 2 };
    let jobs: Vec<(String, usize)> = (1..=last).map(|number| (number.to_string(), 1)).collect();
    ensure!(
        ending.jobs == jobs.into_iter().collect(),
        "not one Job per attempt"
    );
    let plain = |ending: &Ending| {
        let mut status = ending.status.clone();
        without(&mut status, &["attempt", "retries", "job"]);
        status
    };
    ensure!(
        plain(ending) == plain(undisturbed),
        "the Task ended otherwise, or cost another sum"
    );
    ensure!(
        ending.calls == undisturbed.calls,
        "the provider was asked {} times in place of {}",
        ending.calls,
        undisturbed.calls
    );
    ensure!(
        ending.status["attempt"] == json!(last),
        "another number of attempts"
    );
    ensure!(
        work_of(journal)? == work_of(records)?,
        "the attempts together took another way"
    );
    let told = |records: &[Record]| -> Vec<String> {
        let results = records.iter().filter_map(|record| match &record.body {
            Body::ToolResult { text, .. } => Some(text.clone()),
            _ => None,
        });
        results.collect()
    };
    ensure!(
        told(journal) == told(records),
        "the workspace was another one"
    );
    ensure!(
        ending.estimated == 0,
        "no call was open at a gateway that died"
    );
    Ok(())
}

/// What was done, whichever attempt did it. A check whose outcome nobody drew is made again.
fn work_of(journal: &[Record]) -> Result<Vec<String>> {
    let of_attempts = [
        "opened",
        "claimed",
        "fenced",
        "isolation",
        "note",
        "observation",
    ];
    let mut kinds = kinds(journal)?;
    kinds.retain(|kind| !of_attempts.contains(&kind.as_str()));
    kinds.dedup_by(|this, before| this == "check" && before == "check");
    Ok(kinds)
}

/// exec dies while a program runs: the model is told, and the program is not run again.
async fn mid_call(scene: &Scene<'_>, undisturbed: &Ending) -> Result<()> {
    let killing = async {
        let attempt = (scene.space.name.clone(), MID_CALL.to_owned(), 1);
        let sandbox = scene.rig.kubelet.sandbox(&attempt).await?;
        let started = sandbox.dir.join("workspace/started");
        let runs = async {
            while !started.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), runs)
            .await
            .context("the tool did not start")?;
        sandbox.exec.as_ref().context("no exec")?.kill().await
    };
    let ((ending, journal, _), ()) = tokio::try_join!(play(scene, MID_CALL, None), killing)?;
    same(&ending, undisturbed).with_context(|| format!("{ending:#?}\n{journal:#?}"))?;
    let failed = |record: &Record| matches!(record.body, Body::ToolResult { ok: false, .. });
    ensure!(
        journal.iter().any(failed),
        "the model was not told: {journal:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_killed_at_each_record() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, Victim::Exec).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pilot_killed_at_each_record() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, Victim::Pilot).await).await
}
