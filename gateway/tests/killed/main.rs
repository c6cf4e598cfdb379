//! The gateway is killed at every step of a call's way, is started again on its volume, and the callers go on: the ledger then holds what it
//! promises ([`books`]). `OARMASTER_KILLS=full` kills it at many more places, under many callers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // a helper of tests is a test

mod books;
#[path = "../common/mod.rs"]
mod common;
mod crew;
mod program;
mod rig;
mod seeds;

use crew::{Said, Way};
use program::Point;
use rig::{CHEAP, Rig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Steps that every call with a failed first hop comes along, and the log beside it.
const ALL: [&str; 12] = [
    "received",
    "reserving",
    "writing",
    "written",
    "synced",
    "reserved",
    "asking",
    "head",
    "settling",
    "settled",
    "answering",
    "read",
];
/// What a stream has in place of `read`.
const STREAM: [&str; 2] = ["chunk", "ending"];
/// Steps of the log. What callers of SDKs write is gathered, so how often they come is not the same in two runs.
const LOG: [&str; 3] = ["writing", "written", "synced"];
const PATIENCE: Duration = Duration::from_secs(60);
/// A step that may not come again is not waited for.
const MOMENT: Duration = Duration::from_millis(200);

#[test]
#[ignore = "it is the process that the others kill"]
fn the_gateway() {
    program::main();
}

/// The steps of one undisturbed call, each as often as it comes.
async fn steps(rig: &mut Rig, way: Way) -> BTreeMap<String, u32> {
    rig.program.record().await;
    assert_eq!(rig.call(way).await, Said::Answer);
    let mut counted = BTreeMap::new();
    for step in rig.program.recorded().await {
        *counted.entry(step).or_default() += 1;
    }
    counted
}

/// Kills the gateway at each step of a call that goes this way, again and again on one volume.
async fn at_each_step(way: Way, expected: &[&str]) {
    let mut rig = Rig::start(CHEAP, None).await;
    let steps = steps(&mut rig, way).await;
    let mut names: Vec<&str> = steps.keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected, "a step is in no call, or not known here");
    for (name, times) in &steps {
        // What a socket gives at once is not the same in two runs either.
        let counted = name != "chunk" && (way == Way::Task || !LOG.contains(&name.as_str()));
        for nth in 1..=*times {
            let point = Point::new(name, nth);
            rig.program.arm(&point).await;
            let said = rig.call(way).await;
            let certain = counted || nth == 1;
            let within = if certain { PATIENCE } else { MOMENT };
            if !rig.program.killed(within).await {
                assert!(!certain, "{point:?} was not reached");
                rig.program.disarm().await; // its end writes, too
                continue;
            }
            rig.check(); // of what the dead process wrote
            rig.again().await;
            rig.go_on(way, said).await;
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_call_of_a_task() {
    at_each_step(Way::Task, &ALL).await;
}

#[tokio::test]
async fn a_whole_answer_for_anybody() {
    at_each_step(Way::Whole, &ALL).await;
}

#[tokio::test]
async fn a_stream_for_anybody() {
    let expected: Vec<&str> = ALL
        .into_iter()
        .filter(|step| *step != "read")
        .chain(STREAM)
        .collect();
    at_each_step(Way::Stream, &expected).await;
}
