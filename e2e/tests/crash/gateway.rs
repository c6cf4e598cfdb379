//! The gateway is killed at each record of the journal, and while a call is open.

use crate::operator::{self, Act};
use crate::sandbox;
use crate::support::{in_space, kill, on_a_rig, points};
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::books::Ending;
use oarmaster_e2e::crash::scene::Scene;
use oarmaster_e2e::mock::{Call, Gate};
use oarmaster_e2e::space::say;
use oarmaster_e2e::task::SOON;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Prompt of the Task whose call of this turn is held the first time.
fn held(turn: usize) -> String {
    format!("held{turn}")
}

async fn at_each_request_of_a_pilot(rig: &Rig) -> Result<()> {
    let begun = Instant::now();
    in_space(rig, "crash", async |space| {
        let gate = Gate::default();
        let shut = gate.clone();
        let asked: Arc<[AtomicBool; 2]> = Arc::default();
        let script = move |call: &Call| {
            let reply = sandbox::script(call);
            let first = asked.get(call.turn).is_some_and(|asked| {
                call.prompt() == held(call.turn) && !asked.swap(true, Ordering::SeqCst)
            });
            if first { reply.after(&shut) } else { reply }
        };
        let scene = Scene::set(rig, space, script).await?;
        let (undisturbed, _, requests) = sandbox::play(&scene, "undisturbed", None).await?;
        say(&format!("{requests:?} {undisturbed:#?}"), begun);
        sandbox::complete(&undisturbed, &requests)?;
        for (number, point) in points(&requests).into_iter().enumerate() {
            let what = format!("gateway killed {point}");
            let armed = (point, kill(&rig.gateway));
            let run = sandbox::play(&scene, &format!("work{number}"), Some(armed)).await;
            let (ending, journal, _) = run.with_context(|| what.clone())?;
            ensure!(
                ending == undisturbed,
                "{what}: {ending:#?}\ninstead of {undisturbed:#?}\n{journal:#?}"
            );
            say(&what, begun);
        }
        for turn in 0..2 {
            open_call(&scene, turn, &undisturbed).await?;
            say(&format!("gateway killed while call {turn} is open"), begun);
        }
        gate.open();
        Ok(())
    })
    .await
}

/// A call that was open is booked at its reservation and asked once more.
async fn open_call(scene: &Scene<'_>, turn: usize, undisturbed: &Ending) -> Result<()> {
    let name = held(turn);
    let killing = async {
        let open = |bill: &[Call]| {
            bill.iter()
                .any(|call| call.prompt() == name && call.turn == turn)
        };
        scene.mock.until("the call", SOON, open).await?;
        scene.rig.gateway.kill().await
    };
    let ((ending, journal, _), ()) = tokio::try_join!(sandbox::play(scene, &name, None), killing)?;
    let what = format!("{ending:#?}\ninstead of {undisturbed:#?}\n{journal:#?}");
    ensure!(
        ending.estimated == 1,
        "the open call is not booked once: {what}"
    );
    ensure!(
        ending.calls == undisturbed.calls + 1,
        "not asked once more: {what}"
    );
    ensure!(ending.jobs == undisturbed.jobs, "another Job: {what}");
    let plain = |ending: &Ending| {
        let mut status = ending.status.clone();
        oarmaster_e2e::crash::books::without(&mut status, &["usage"]);
        status
    };
    ensure!(
        plain(&ending) == plain(undisturbed),
        "it ended otherwise: {what}"
    );
    Ok(())
}

/// What the operator writes at the gateway: an attempt is opened, and fenced.
async fn at_each_request_of_the_operator(rig: &Rig) -> Result<()> {
    let begun = Instant::now();
    for act in [Act::Complete, Act::Delete] {
        let (undisturbed, mut requests) = operator::play(rig, act, None, &rig.gateway).await?;
        // The first opens an attempt, the second fences it.
        let wanted = if act == Act::Delete { "fence" } else { "open" };
        requests.retain(|request| request.starts_with(wanted));
        ensure!(!requests.is_empty(), "the operator never asked to {wanted}");
        requests.truncate(1); // on a slow machine a fence is asked for again before its answer is seen, which changes nothing
        for point in points(&requests) {
            let what = format!("{act:?}, gateway killed {point}");
            let run = operator::play(rig, act, Some(&point), &rig.gateway).await;
            let (ending, _) = run.with_context(|| what.clone())?;
            let same = match act {
                // The model's call is open meanwhile: it is booked, and may be asked once more before the fence stands.
                Act::Delete => {
                    ending.status == undisturbed.status
                        && ending.jobs == undisturbed.jobs
                        && ending.calls <= undisturbed.calls + 1
                        && ending.estimated == 1
                }
                _ => ending == undisturbed,
            };
            ensure!(same, "{what}: {ending:#?}\ninstead of {undisturbed:#?}");
            say(&what, begun);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_record() -> Result<()> {
    on_a_rig(async |rig| {
        at_each_request_of_a_pilot(rig).await?;
        at_each_request_of_the_operator(rig).await
    })
    .await
}
