//! Files of other Tasks: what is waited for, what is refused, and what an attempt is told.

use super::sim::{Sim, assert_end};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::memo::{MemoSource, MemoStatus};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::assignment::Assignment;
use oarmaster_protocol::journal::{Artifact, Blob, Checkpoint, Outcome};
use serde_json::{Value, json};

/// A Task of these files that has ended with this outcome.
fn ended(spec: Value, outcome: Outcome) -> Sim {
    let mut sim = Sim::new(spec);
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.succeeds();
    let report = sim.gateway.get_mut(&1).unwrap();
    let output = report.outcome.take().unwrap().output;
    report.outcome = Some(Outcome { output, ..outcome });
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    sim
}

fn kept() -> Outcome {
    let artifact = |name: &str, archive| Artifact {
        name: name.into(),
        size: 7,
        digest: format!("sha256:{name}"),
        archive,
    };
    let part = |size| Blob {
        digest: "sha256:p".into(),
        size,
    };
    Outcome {
        artifacts: vec![artifact("one", false), artifact("all", true)],
        workspace: Some(Checkpoint::Layer {
            base: true,
            blobs: vec![part(8), part(5)],
        }),
        ..Outcome::default()
    }
}

fn keeps() -> Value {
    json!({
        "workspace": { "keep": true },
        "artifacts": [{ "name": "one", "path": "a" }, { "name": "all", "path": "**" }, { "name": "none", "path": "b" }],
    })
}

fn begins() -> Value {
    json!({ "workspace": { "from": { "name": "build" }, "keep": true } })
}

fn places(name: &str) -> Value {
    json!({ "files": [
        { "path": "b", "content": "" },
        { "path": "a", "artifact": { "task": { "name": "build" }, "name": name } },
    ] })
}

fn assigned(mut sim: Sim) -> Assignment {
    sim.pass().start.unwrap().resolved.assignment.unwrap()
}

#[test]
fn a_source_is_waited_for_until_it_has_ended() {
    for (spec, field) in [
        (begins(), "workspace.from"),
        (places("one"), "files[1].artifact"),
    ] {
        let mut sim = Sim::new(spec);
        sim.settle();
        let (status, _, message) = sim.condition(conditions::ACCEPTED);
        assert_eq!(status, "False");
        assert!(message.contains("build"), "{message}");

        let mut source = Sim::new(keeps());
        source.settle();
        sim.earlier = Some(source.task.clone());
        sim.later(6); // a message alone is written a little later
        sim.settle();
        let (_, _, message) = sim.condition(conditions::ACCEPTED);
        let wanted = format!("{field}: Task build has not ended yet");
        assert!(message.contains(&wanted), "{message}");

        sim.earlier = Some(ended(keeps(), kept()).task);
        assert!(sim.pass().start.is_some());
    }
}

#[test]
fn what_a_task_took_of_another_one_is_that_ones() {
    let mut taken = ended(keeps(), kept()).task;
    let status = taken.status.as_mut().unwrap();
    status.attempt = None;
    status.memo = Some(MemoStatus {
        identity: "sha256:same".to_owned(),
        from: Some(MemoSource {
            name: "first".to_owned(),
            uid: "uid-first".to_owned(),
        }),
        ..MemoStatus::default()
    });
    let begun = |spec: Value| {
        let mut sim = Sim::new(spec);
        sim.earlier = Some(taken.clone());
        sim
    };
    let assignment = assigned(begun(begins()));
    assert_eq!(assignment.workspace.from.unwrap().uid, "uid-first");
    let placed = assigned(begun(places("one"))).placed.remove(0);
    assert_eq!(
        (placed.task.name.as_str(), placed.task.uid.as_str()),
        ("first", "uid-first")
    );
    assert_eq!(placed.digest, "sha256:one");
    // It has no record of its own.
    let mut follows = begun(json!({ "continueFrom": { "name": "build" } }));
    follows.settle();
    assert_eq!(follows.failure(), "InvalidInput");
    let status = follows.task.status.unwrap();
    assert_eq!(
        status.failure.unwrap().message,
        "continueFrom: Task build has no record to begin with: it took the outcome of Task first (spec.memo); name that one"
    );
}

#[test]
fn an_attempt_is_told_whose_files_it_has() {
    let source = ended(keeps(), kept());
    let status = source.task.status.clone().unwrap();
    assert_eq!(status.workspace.unwrap().size, 13);
    assert!(status.artifacts[1].archive && !status.artifacts[0].archive);

    let mut sim = Sim::new(begins());
    sim.earlier = Some(source.task.clone());
    let assignment = assigned(sim);
    assert_eq!(assignment.workspace.from.unwrap().uid, "uid-1");
    assert!(assignment.workspace.keep);
    assert!(assignment.sandbox.is_some());

    let mut sim = Sim::new(places("all"));
    sim.earlier = Some(source.task);
    let assignment = assigned(sim);
    assert!(assignment.workspace.is_plain());
    let [placed] = &assignment.placed[..] else {
        panic!("{assignment:?}")
    };
    assert_eq!((&*placed.path, &*placed.name), ("a", "all"));
    assert_eq!((&*placed.digest, placed.size), ("sha256:all", 7));
    assert!(placed.archive);
    // The content of the other file alone is in the assignment.
    assert_eq!(assignment.files.len(), 1);
}

/// An agent without any tool of the sandbox has one for its workspace, and so a pod.
#[test]
fn a_workspace_needs_a_sandbox() {
    let mut sim = Sim::new(json!({ "workspace": { "keep": true } }));
    sim.agent.as_mut().unwrap().spec.tools.clear();
    let resolved = sim.pass().start.unwrap().resolved;
    assert!(resolved.sandbox.is_some() && !resolved.shared);
}

#[test]
fn what_will_never_be_there_ends_the_task_and_says_what_to_do() {
    let nothing = Outcome::default;
    let lost = || Outcome {
        workspace: Some(Checkpoint::Failed {
            why: "the quota".into(),
        }),
        ..nothing()
    };
    let none = json!({});
    for (spec, source, outcome, wanted) in [
        (
            begins(),
            &none,
            nothing(),
            "workspace.from: Task build kept no workspace; create it again with workspace: {keep: true}",
        ),
        // Files that it was handed go back to whoever asked.
        (
            begins(),
            &none,
            kept(),
            "workspace.from: Task build kept no workspace",
        ),
        (
            begins(),
            &keeps(),
            lost(),
            "workspace.from: Task build ended before its workspace could be kept",
        ),
        (
            begins(),
            &keeps(),
            nothing(),
            "workspace.from: Task build ended before its workspace could be kept",
        ),
        (
            places("none"),
            &keeps(),
            kept(),
            "files[1].artifact: Task build has no artifact none: nothing matched its path there",
        ),
        (
            places("other"),
            &keeps(),
            kept(),
            "files[1].artifact: Task build has no artifact other: it kept one, all",
        ),
        (
            places("one"),
            &none,
            nothing(),
            "files[1].artifact: Task build has no artifact one: it kept none; name it in spec.artifacts there",
        ),
    ] {
        let mut sim = Sim::new(spec);
        sim.earlier = Some(ended(source.clone(), outcome).task);
        sim.settle();
        assert_end(&sim, Phase::Failed, "InvalidInput");
        let message = sim.task.status.unwrap().failure.unwrap().message;
        assert!(message.starts_with(wanted), "{message}");
    }
}

/// A replay begins as the other did, which its own record does not say.
#[test]
fn what_began_with_anothers_workspace_is_not_replayed() {
    let mut began = ended(keeps(), kept()).task;
    began.spec.workspace = serde_json::from_value(begins()["workspace"].clone()).unwrap();
    let mut sim = Sim::new(json!({ "replay": { "task": { "name": "build" } } }));
    sim.earlier = Some(began);
    sim.settle();
    assert_end(&sim, Phase::Failed, "InvalidInput");
    let message = sim.task.status.unwrap().failure.unwrap().message;
    assert!(
        message.ends_with("it begins with another Task's files"),
        "{message}"
    );
}
