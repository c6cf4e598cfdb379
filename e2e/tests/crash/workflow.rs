//! Operator and gateway are killed at each of the writes of a run.

use crate::support::{full, in_space, kill, on_a_rig, points, struck};
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::books::without;
use oarmaster_e2e::crash::process::Daemon;
use oarmaster_e2e::crash::requests::writes;
use oarmaster_e2e::crash::run::{Ending, Stage};
use oarmaster_e2e::proxy::{Point, Rule};
use oarmaster_e2e::space::say;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// One run: its end, and the operator's writes.
async fn play(
    stage: &Stage<'_>,
    run: &str,
    killed: Option<(&Point, &Arc<Daemon>)>,
) -> Result<(Ending, Vec<String>)> {
    let (rig, space) = (stage.scene.rig, stage.scene.space);
    let starts = killed.map(|(_, victim)| victim.starts());
    let armed = killed.map(|(point, victim)| (point.clone(), kill(victim)));
    let rule = Rule::new(writes(&space.name, run), armed);
    rig.asked.set(&rule);
    let uid = stage.play(run).await;
    let uid = uid.with_context(|| format!("there were: {:#?}", rule.record()))?;
    struck(&rule, killed.map(|(point, _)| point)).await?;
    // Whoever was started again has now looked at everything; nothing may have changed.
    stage.looked_at(run).await?;
    let ending = stage.ending(run, &uid).await?;
    rig.asked.set(&Rule::idle());
    stage.remove(run).await?;
    if let Some(((_, victim), starts)) = killed.zip(starts) {
        ensure!(victim.starts() == starts + 1, "it died by itself");
    }
    Ok((ending, rule.record()))
}

/// The run that the others are held to, and its writes, each once: what is written again only shows progress.
async fn undisturbed(stage: &Stage<'_>) -> Result<(Ending, Vec<String>)> {
    let (ending, mut requests) = play(stage, "whole", None).await?;
    requests.retain(|request| request.ends_with(" #1"));
    let count = |counts: &[(&str, usize)]| -> BTreeMap<String, usize> {
        let counts = counts.iter();
        counts
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    };
    let made = [
        "run",
        "left",
        "right",
        "mended",
        "ship/1",
        "deploy",
        "deploy/inner",
        "report",
    ];
    let made = count(&made.map(|part| (part, 1)));
    // What says nothing is asked twice more.
    let calls = [
        ("left", 1),
        ("right", 3),
        ("mended", 1),
        ("inner", 1),
        ("report", 1),
    ];
    let calls = count(&calls);
    let status = |pointer: &str| ending.status.pointer(pointer).cloned().unwrap_or_default();
    let succeeded = json!(["left", "mended", "ship", "deploy", "report"]);
    ensure!(
        status("/phase") == "Succeeded"
            && status("/output/left") == "left is done"
            && status("/output/deployed") == "inner is done"
            && status("/steps/progress") == "7/7"
            && status("/steps/succeeded") == succeeded
            && status("/steps/failed/0/name") == "right"
            && status("/steps/skipped") == json!(["quiet"])
            && ending.made == made
            && ending.calls == calls
            && ending.estimated == 0
            && requests.contains(&"run: write status 7/7 ends as Succeeded ended #1".to_owned()),
        "the undisturbed run went another way: {ending:#?}, {requests:#?}"
    );
    Ok((ending, requests))
}

/// The writes that every run of the tests looks at. Nothing reads an event; an attempt of a step and an Approval are what they are elsewhere.
fn bounded(mut requests: Vec<String>) -> Vec<String> {
    if !full() {
        let of_runs = |request: &str| {
            ["run: ", "deploy: ", "make "]
                .iter()
                .any(|of| request.starts_with(of))
        };
        requests.retain(|request| of_runs(request) && !request.contains("send event"));
    }
    requests
}

async fn matrix(
    rig: &Rig,
    victim: &Arc<Daemon>,
    which: impl Fn(Vec<String>) -> Vec<String>,
    same: impl Fn(&Ending, &Ending) -> bool,
) -> Result<()> {
    let begun = Instant::now();
    in_space(rig, "crash", async |space| {
        Stage::with(rig, space, async |stage| {
            let (whole, requests) = undisturbed(stage).await?;
            say(&format!("{requests:#?} {whole:#?}"), begun);
            for (number, point) in points(&which(requests)).iter().enumerate() {
                let what = format!("killed {point}");
                let run = play(stage, &format!("run{number}"), Some((point, victim))).await;
                let (ending, _) = run.with_context(|| what.clone())?;
                ensure!(
                    same(&ending, &whole),
                    "{what}: {ending:#?}\ninstead of {whole:#?}"
                );
                say(&what, begun);
            }
            Ok(())
        })
        .await
    })
    .await
}

/// A call that was open at the gateway is booked at its reservation and asked once more; at most both of the steps that are held have one.
fn same_but_for_open_calls(ending: &Ending, whole: &Ending) -> bool {
    let plain = |ending: &Ending| {
        let mut status = ending.status.clone();
        without(&mut status, &["usage"]);
        (status, ending.made.clone())
    };
    let calls = |ending: &Ending| ending.calls.values().sum::<usize>();
    let steps = |ending: &Ending| ending.calls.keys().cloned().collect::<Vec<_>>();
    plain(ending) == plain(whole)
        && steps(ending) == steps(whole)
        && calls(ending) <= calls(whole) + ending.estimated
        && ending.estimated <= 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_killed_at_each_write_of_a_workflow() -> Result<()> {
    on_a_rig(async |rig| matrix(rig, &rig.operator, bounded, |ending, whole| ending == whole).await)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_killed_at_each_request_of_a_workflow() -> Result<()> {
    if !full() {
        return Ok(());
    }
    let asked = |mut requests: Vec<String>| {
        let verbs = [": open #1", ": fence #1"];
        requests.retain(|request| verbs.iter().any(|verb| request.ends_with(verb)));
        requests
    };
    on_a_rig(async |rig| matrix(rig, &rig.gateway, asked, same_but_for_open_calls).await).await
}
