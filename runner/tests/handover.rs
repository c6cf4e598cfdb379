//! Files that go from Task to Task: a workspace that is kept, the next Task that begins with it, and artifacts that are placed. Each in a sandbox of its own.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod gateway;
mod sandbox;

use gateway::{Gateway, assignment, call, final_text};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{
    ArtifactRule, Assignment, File, Placed, Program, RunTarget, Target, TaskRef, Workspace,
};
use oarmaster_protocol::journal::{Blob, Body, Checkpoint, Outcome};
use sandbox::{Options, Process};
use serde_json::json;

fn of(name: &str) -> TaskRef {
    TaskRef {
        namespace: "team".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
    }
}

fn shell(code: &str, workspace: Workspace) -> Assignment {
    let words = ["sh", "-c", code].map(str::to_owned);
    Assignment {
        target: Target::Run(RunTarget {
            program: Program::Command(words.to_vec()),
            env: [].into(),
        }),
        workspace,
        ..assignment()
    }
}

fn begins(keep: bool) -> Workspace {
    Workspace {
        from: Some(of("before")),
        keep,
    }
}

fn keeps() -> Workspace {
    Workspace {
        from: None,
        keep: true,
    }
}

fn run(gateway: &Gateway) -> Outcome {
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    assert_eq!(gateway.run_pilot(Some(&process.socket())), Some(0));
    match gateway.records().pop() {
        Some(Body::Result { outcome }) => outcome,
        other => panic!("{other:?}"),
    }
}

fn left(outcome: &Outcome) -> Vec<Blob> {
    match &outcome.workspace {
        Some(Checkpoint::Layer { base: true, blobs }) => blobs.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_third_task_has_what_the_first_and_the_second_left() {
    let first = shell("mkdir -p src; echo one > src/a; echo old > src/b", keeps());
    let one = Gateway::start(first, vec![]);
    let outcome = run(&one);
    assert_eq!(outcome.failure, None);
    let kept = left(&outcome);

    // A file of its own comes on top of what it begins with.
    let mut second = shell("cat src/a given > src/b && rm src/a", begins(true));
    second.files = vec![File {
        path: "given".into(),
        content: "two".into(),
    }];
    let two = Gateway::start(second, vec![]);
    two.hand(&one.parts(&kept));
    let outcome = run(&two);
    assert_eq!(outcome.failure, None);
    let both = left(&outcome);
    assert_eq!(both[..kept.len()], kept, "it stands on what it began with");
    assert_eq!(both.len(), kept.len() + 1, "and adds what it has changed");
    let size = |blobs: &[Blob]| blobs.iter().map(|blob| blob.size).sum::<u64>();
    assert!(size(&both[kept.len()..]) < 8192);

    let third =
        "test \"$(cat src/b)\" = \"$(printf 'one\\ntwo')\" && test ! -e src/a && ls src given";
    let three = Gateway::start(shell(third, begins(false)), vec![]);
    three.hand(&two.parts(&both));
    let outcome = run(&three);
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.workspace, None);
    assert_eq!(three.blobs(), both.len(), "nobody asked for it to be kept");
}

/// What is kept is the end, also of a program that failed; without a change nothing is sent again.
#[test]
fn a_failure_leaves_its_workspace_and_no_change_leaves_what_there_was() {
    let one = Gateway::start(shell("echo half > done; exit 3", keeps()), vec![]);
    let outcome = run(&one);
    assert_eq!(
        outcome.failure.as_ref().unwrap().class,
        FailureClass::ToolFailed
    );
    let kept = left(&outcome);
    let two = Gateway::start(shell("cat done", begins(true)), vec![]);
    two.hand(&one.parts(&kept));
    let outcome = run(&two);
    assert_eq!(outcome.output.as_ref().unwrap()["stdoutTail"], "half\n");
    assert_eq!(left(&outcome), kept);
}

#[test]
fn an_agent_works_on_in_what_a_program_left() {
    let one = Gateway::start(shell("echo one > a", keeps()), vec![]);
    let kept = left(&run(&one));
    let mut agent = assignment();
    agent.workspace = begins(true);
    let script = vec![
        call("Shell", json!({"command": "cat a > b"})),
        call("ReadFile", json!({"path": "b"})),
        final_text("done"),
    ];
    let two = Gateway::start(agent, script);
    two.hand(&one.parts(&kept));
    let outcome = run(&two);
    assert_eq!(outcome.failure, None);
    let both = left(&outcome);
    assert_eq!(both[..kept.len()], kept);
    assert_eq!(both.len(), kept.len() + 1);
}

#[test]
fn artifacts_are_placed_as_a_file_and_as_what_is_in_an_archive() {
    let mut first = shell(
        "mkdir -p out/deep; echo 1 > out/a; printf '\\377\\000x' > out/deep/b; chmod 755 out/a; head -c 9000000 /dev/zero > large",
        Workspace::default(),
    );
    let rules = [
        ("one", "out/deep/b"),
        ("all", "out/**"),
        ("dir", "out"),
        ("large", "large"),
    ];
    first.artifacts = rules
        .map(|(name, path)| ArtifactRule {
            name: name.into(),
            path: path.into(),
        })
        .to_vec();
    let one = Gateway::start(first, vec![]);
    let outcome = run(&one);
    assert_eq!(outcome.failure, None);
    let archives = outcome.artifacts.iter().map(|kept| kept.archive);
    assert_eq!(archives.collect::<Vec<_>>(), [false, true, true, false]);

    let check = "cmp out/deep/b plain/b && test -x out/a && test \"$(cat in/out/a)\" = 1 && cmp in/out/deep/b plain/b && test $(stat -c %s large) = 9000000 && cat out/over";
    let mut second = shell(check, Workspace::default());
    let paths = ["plain/b", ".", "in", "large"];
    let two = |paths: &[&str], mut second: Assignment| {
        let artifacts = outcome.artifacts.iter().zip(paths);
        second.placed = artifacts
            .map(|(kept, path)| Placed {
                path: (*path).to_owned(),
                task: of("before"),
                name: kept.name.clone(),
                digest: kept.digest.clone(),
                size: kept.size,
                archive: kept.archive,
            })
            .collect();
        let gateway = Gateway::start(second, vec![]);
        for kept in &outcome.artifacts {
            gateway.have(&one.artifact(&kept.name));
        }
        gateway
    };
    // Files may be put into what was unpacked.
    second.files = vec![File {
        path: "out/over".into(),
        content: "mine".into(),
    }];
    let ended = run(&two(&paths, second.clone()));
    assert_eq!(ended.failure, None);
    assert_eq!(ended.output.unwrap()["stdoutTail"], "mine");

    // A path that cannot be, and bytes that are not there: both are the input's fault, and nothing runs.
    let ended = run(&two(&["."], second.clone())).failure.unwrap();
    assert_eq!(ended.class, FailureClass::InvalidInput);
    let wanted = "files: artifact one of Task before at `.` could not be placed: ";
    assert!(ended.message.starts_with(wanted), "{}", ended.message);
    second.placed = vec![Placed {
        path: "x".into(),
        task: of("before"),
        name: "gone".into(),
        digest: oarmaster_protocol::digest(b"gone"),
        size: 4,
        archive: false,
    }];
    let ended = run(&Gateway::start(second, vec![])).failure.unwrap();
    assert_eq!(ended.class, FailureClass::InvalidInput);
}
