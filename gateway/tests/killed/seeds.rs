//! Many callers at once, under a limit that binds or not, killed at whatever step it is, three times on one volume.

use crate::crew::{Said, ask};
use crate::program::Point;
use crate::rig::{CHEAP, DEAR, Rig};
use crate::{ALL, STREAM};
use futures::future::join_all;
use std::time::Duration;

const CALLERS: usize = 12;
const KILLS: usize = 3;
/// Calls of the Task between two kills.
const CALLS: usize = 3;

fn seeds() -> u64 {
    if std::env::var("OARMASTER_KILLS").is_ok_and(|value| value == "full") {
        200
    } else {
        4
    }
}

#[tokio::test]
async fn many_callers_at_any_step() {
    for seed in 0..seeds() {
        println!("seed {seed}");
        let random = &mut fastrand::Rng::with_seed(seed);
        let price = if random.bool() { DEAR } else { CHEAP };
        // A hop reserves about two thirds of this.
        let hop = price.0 * 450_000_000;
        let limit = random.bool().then(|| random.u64(1..12) * hop);
        let mut rig = Rig::start(price, limit).await;
        for _ in 0..KILLS {
            let steps: Vec<&str> = ALL.into_iter().chain(STREAM).collect();
            let step = steps[random.usize(..steps.len())];
            rig.program.arm(&Point::new(step, random.u32(1..24))).await;
            crowd(&mut rig, random).await;
            if !rig.program.killed(Duration::from_millis(100)).await {
                rig.program.kill().await;
            }
            rig.check();
            rig.again().await;
        }
        rig.stop().await;
    }
}

/// The Task and the others ask at the same time. They are answered, or refused by a limit, or hear no more.
async fn crowd(rig: &mut Rig, random: &mut fastrand::Rng) {
    let (http, data) = (rig.http.clone(), rig.data.clone());
    let texts: Vec<_> = (0..CALLERS)
        .map(|_| {
            rig.next += 1;
            (format!("anybody {}", rig.next), random.bool())
        })
        .collect();
    let others = texts
        .iter()
        .map(|(text, stream)| ask(&http, &data, text, *stream));
    let task = async {
        let mut said = Vec::new();
        for _ in 0..CALLS {
            said.push(rig.ask_as_task().await);
        }
        said
    };
    let (others, task) = tokio::join!(join_all(others), task);
    for said in others.into_iter().chain(task) {
        let expected = [Said::Answer, Said::Nothing, Said::InDoubt, Said::Error(429)];
        assert!(expected.contains(&said), "{said:?}");
    }
}
