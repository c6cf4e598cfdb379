//! Wherever an attempt is cut off, the next one comes to the same end.

use super::world::{World, conversation, patient, said, shell, two};
use super::*;
use oarmaster_protocol::assignment::{Judge, Score};
use oarmaster_protocol::journal::{Dropped, Part, Record};
use oarmaster_protocol::request::Waits;
use std::collections::BTreeSet;

/// Cuts at every record, and at every record of what follows.
fn cut_everywhere(assignment: &Assignment, script: &[Value]) {
    let mut undisturbed = World::new(assignment.clone(), script.to_vec());
    let outcome = undisturbed.attempt(usize::MAX).unwrap();
    let records = undisturbed.journal.len();
    for cut in 1..records {
        for again in [usize::MAX, cut + 1, cut + 3] {
            let mut world = World::new(assignment.clone(), script.to_vec());
            let mut ended = world.attempt(cut);
            assert_eq!(ended, None, "cut at {cut}");
            if again < usize::MAX {
                ended = world.attempt(again);
            }
            let ended = ended.or_else(|| world.attempt(usize::MAX));
            assert_eq!(ended.as_ref(), Some(&outcome), "cut at {cut}, {again}");
            assert_eq!(world.told(), undisturbed.told(), "cut at {cut}, {again}");
            assert_eq!(
                world.asked.len(),
                undisturbed.asked.len(),
                "no answer is paid for twice, cut at {cut}, {again}"
            );
        }
    }
}

#[test]
fn ten_steps_cut_at_every_record() {
    let script = vec![
        shell("one"),
        two("two", "three"),
        said(text("")),
        said(calls(&[("Nothing", "{}")])),
        shell("four"),
        said(finish("half of", "length")),
        shell("five"),
        said(text("done")),
        shell("repair"),
        said(text("now done")),
    ];
    let mut assignment = patient(checked(agent(&["Shell"]), 3));
    assignment.files = vec![File {
        path: "given".into(),
        content: "b".into(),
    }];
    cut_everywhere(&assignment, &script);
}

#[test]
fn files_that_are_handed_on_and_come_back_cut_at_every_record() {
    let hand_on = |files: bool| {
        let arguments = json!({"agent": "coder", "prompt": "Fix it.", "files": files}).to_string();
        said(calls(&[("Delegate", &arguments)]))
    };
    let mut assignment = patient(agent(&["Shell", "Delegate"]));
    if let Target::Agent(agent) = &mut assignment.target {
        agent.delegates = vec!["coder".into()];
    }
    assignment.files = vec![File {
        path: "given".into(),
        content: "b".into(),
    }];
    let script = vec![
        hand_on(true),
        shell("one"),
        hand_on(true),
        shell("two"),
        hand_on(false),
        said(text("done")),
    ];
    let mut world = World::new(assignment.clone(), script.clone());
    world.attempt(usize::MAX).unwrap();
    let printed = world
        .messages
        .iter()
        .filter_map(|message| message["content"].as_str());
    let printed: Vec<&str> = printed.filter(|text| text.contains("given,")).collect();
    assert_eq!(printed.len(), 2, "{printed:?}");
    assert!(
        printed[0].ends_with("given,theirs,sh -c one"),
        "{printed:?}"
    );
    assert!(
        printed[1].ends_with("given,theirs,sh -c one,theirs,sh -c two"),
        "{printed:?}"
    );
    cut_everywhere(&assignment, &script);
}

#[test]
fn without_a_sandbox_nothing_is_told_of_a_seam() {
    let mut assignment = with_schema(
        patient(agent(&[])),
        json!({"type": "object", "required": ["n"]}),
    );
    assignment.sandbox = None;
    let script = vec![
        said(text("no json")),
        said(text("{}")),
        said(text("{\"n\": 1}")),
    ];
    cut_everywhere(&assignment, &script);
    let mut world = World::new(assignment, script);
    assert_eq!(world.attempt(4), None);
    world.attempt(usize::MAX).unwrap();
    assert_eq!(world.told(), world.messages);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_conversation_cut_anywhere(choices in prop::collection::vec(0..6_u8, 0..6), rounds in 2..4_u32) {
        let script = conversation(&choices);
        cut_everywhere(&patient(checked(agent(&["Shell"]), rounds)), &script);
    }
}

fn ended_by(class: FailureClass, waits: bool) -> Body {
    let waits = waits.then_some(Waits::Budget);
    Body::Result {
        outcome: Outcome {
            failure: Some(Failure {
                waits,
                ..failure(class, "x")
            }),
            ..Outcome::default()
        },
    }
}

#[test]
fn what_the_next_attempt_goes_on_from() {
    for (class, waits, goes_on) in [
        (FailureClass::ModelUnavailable, false, true),
        (FailureClass::Disrupted, false, true),
        (FailureClass::BudgetExceeded, true, true),
        (FailureClass::ToolFailed, false, false),
        (FailureClass::NotAccepted, false, false),
    ] {
        let mut world = World::new(
            patient(agent(&["Shell"])),
            vec![shell("one"), said(text("done"))],
        );
        world.attempt(6);
        world.write(ended_by(class, waits));
        let machine = Machine::resume(world.assignment.clone(), None, &world.journal);
        assert_eq!(machine.turns > 0, goes_on, "{class}");
    }
    let mut world = World::new(run_task(), vec![]);
    world.attempt(1);
    let machine = Machine::resume(world.assignment.clone(), None, &world.journal);
    assert_eq!(machine, Machine::new(world.assignment), "a run begins anew");
}

/// What a program did with others before it was cut off cannot be taken back by a checkpoint.
#[test]
fn with_a_network_an_open_call_is_not_made_again() {
    let mut assignment = patient(agent(&["Shell"]));
    if let Some(sandbox) = &mut assignment.sandbox {
        sandbox.egress = vec!["example.com".into()];
        sandbox.network_policy_within_ms = None;
    }
    let mut world = World::new(assignment, vec![shell("order"), said(text("done"))]);
    let intent = |record: &Record| matches!(record.body, Body::ToolIntent { .. });
    let mut cut = 1;
    while !world.journal.last().is_some_and(intent) {
        world = World::new(world.assignment, world.script);
        assert_eq!(world.attempt(cut), None);
        cut += 1;
    }
    world.ran.clear();
    world.attempt(usize::MAX).unwrap();
    assert_eq!(world.ran, [""; 0]);
    let unknown = |record: &Record| matches!(&record.body, Body::ToolResult { ok: false, text, .. } if text.starts_with("The outcome of this call is unknown"));
    assert!(world.journal.iter().any(unknown));
}

#[test]
fn an_answer_to_a_call_that_was_given_up_is_no_part_of_the_conversation() {
    let mut world = World::new(
        patient(agent(&["Shell"])),
        vec![shell("one"), shell("late"), said(text("done"))],
    );
    // The second call was made twice: the first of the two under another runner.
    world.attempt(5);
    let open = |call| Body::Open {
        call,
        hop: 0,
        provider: "n/p".into(),
        model: "m".into(),
        reason: String::new(),
        digest: "d".into(),
        reserved_pico: 0,
    };
    world.write(open(1));
    world.write(open(2));
    world.answer(1);
    let machine = Machine::resume(world.assignment.clone(), None, &world.journal);
    assert_eq!(machine.left, Some(fold::Left::Asked(2)));
    assert_eq!(machine.turns, 1);
}

#[test]
fn a_follow_up_has_the_conversation_and_the_workspace() {
    let mut first = World::new(
        patient(agent(&["Shell"])),
        vec![shell("one"), said(text("done"))],
    );
    first.attempt(usize::MAX).unwrap();
    let mut assignment = patient(agent(&["Shell"]));
    if let Target::Agent(agent) = &mut assignment.target {
        agent.instructions = "Be better.".into();
        agent.prompt = "And now?".into();
    }
    assignment.files = vec![File {
        path: "more".into(),
        content: String::new(),
    }];
    let script = vec![shell("two"), said(text("done again"))];
    let before = Some(Before::Task(
        Box::new(first.assignment.clone()),
        first.journal.clone(),
    ));
    let follow = |cut: usize| {
        let mut world = World::new(assignment.clone(), script.clone());
        world.before = before.clone();
        world.blobs = first.blobs.clone();
        if world.attempt(cut).is_none() {
            world.attempt(usize::MAX).unwrap();
        }
        world
    };
    let whole = follow(usize::MAX);
    let contents: Vec<String> = whole
        .told()
        .iter()
        .map(|message| message["content"].as_str().unwrap_or("-").to_owned())
        .collect();
    let first_result = "exit code 0\n[stdout]\nsh -c one";
    let second_result = "exit code 0\n[stdout]\nsh -c one,more,sh -c two";
    let wanted = [
        "Be better.",
        "Do it.",
        "-",
        first_result,
        "done",
        "And now?",
        "-",
        second_result,
    ];
    assert_eq!(contents, wanted);
    for cut in 1..whole.journal.len() {
        assert_eq!(follow(cut).told(), whole.told(), "cut at {cut}");
    }
}

/// A workspace that no tool changed has no checkpoint: it is what the Task said.
#[test]
fn a_follow_up_of_what_changed_nothing_has_the_files() {
    let file = |path: &str| File {
        path: path.into(),
        content: String::new(),
    };
    let mut first = World::new(patient(agent(&["Shell"])), vec![said(text("I see"))]);
    first.assignment.files = vec![file("given")];
    first.attempt(usize::MAX).unwrap();
    let script = vec![shell("look"), said(text("done"))];
    let mut world = World::new(patient(agent(&["Shell"])), script);
    world.assignment.files = vec![file("more")];
    world.before = Some(Before::Task(
        Box::new(first.assignment.clone()),
        first.journal.clone(),
    ));
    world.attempt(usize::MAX).unwrap();
    let printed = world.messages.last().unwrap()["content"].as_str().unwrap();
    assert!(printed.ends_with("given,more,sh -c look"), "{printed}");

    // One that runs no code has no workspace.
    let mut world = World::new(patient(agent(&[])), vec![said(text("well"))]);
    world.assignment.sandbox = None;
    world.before = Some(Before::Task(Box::new(first.assignment), first.journal));
    assert_eq!(world.attempt(usize::MAX).unwrap().failure, None);
}

/// The record of a follow-up counts its messages from the first one of what it continued, which its own follow-up has not.
#[test]
fn what_gave_way_elsewhere_gives_way_nowhere_else() {
    let script = vec![shell("one"), said(text("done"))];
    let mut world = World::new(patient(agent(&["Shell"])), script);
    world.attempt(usize::MAX).unwrap();
    world.journal.pop(); // its end
    let id = world.messages[3]["tool_call_id"].as_str().unwrap();
    for (id, left_out) in [(id.to_owned(), true), ("another".to_owned(), false)] {
        let texts = vec![Dropped {
            message: 3,
            id,
            part: Part::Result,
            text: "left out".into(),
        }];
        let mut journal = world.journal.clone();
        journal.push(Record {
            body: Body::Dropped { texts },
            ..journal[0].clone()
        });
        let machine = Machine::resume(world.assignment.clone(), None, &journal);
        let is_left_out = machine.messages[3]["content"] == "left out";
        assert_eq!(is_left_out, left_out);
    }
}

#[test]
fn a_follow_up_of_what_ended_in_the_middle_answers_every_call() {
    let mut first = World::new(
        patient(agent(&["Shell"])),
        vec![two("one", "two"), said(text("done"))],
    );
    if let Target::Agent(agent) = &mut first.assignment.target {
        agent.max_tool_calls = 1;
    }
    let outcome = first.attempt(usize::MAX).unwrap();
    assert_eq!(outcome.failure.unwrap().class, FailureClass::LimitReached);
    let mut world = World::new(patient(agent(&["Shell"])), vec![said(text("well"))]);
    world.before = Some(Before::Task(Box::new(first.assignment), first.journal));
    world.blobs = first.blobs;
    world.attempt(usize::MAX).unwrap();
    let results = world.messages.iter();
    let results = results.filter(|message| message["role"] == "tool").count();
    assert_eq!(results, 2);

    let mut world = World::new(patient(agent(&[])), vec![]);
    world.before = Some(Before::Gone("it is gone".into()));
    let outcome = world.attempt(usize::MAX).unwrap();
    assert_eq!(outcome.failure.unwrap().class, FailureClass::InvalidInput);
}

fn delegate(prompt: &str) -> Value {
    let arguments = json!({"agent": "helper", "prompt": prompt}).to_string();
    said(calls(&[("Delegate", &arguments)]))
}

/// Another agent's answer, and a judge's, are asked for under the same id whoever goes on: the work is done once.
#[test]
fn what_others_are_asked_for_is_asked_once() {
    let mut assignment = patient(checked(agent(&["Shell", "Delegate"]), 3));
    if let Target::Agent(agent) = &mut assignment.target {
        agent.delegates = vec!["helper".into()];
    }
    if let Some(accept) = &mut assignment.accept {
        accept.judge = Some(Judge {
            agent: "critic".into(),
            score: Score::from_f64(0.8).unwrap(),
            inclusive: true,
        });
    }
    let script = vec![
        delegate("one"),
        shell("two"),
        said(text("done")),
        delegate("three"),
        said(text("now done")),
    ];
    cut_everywhere(&assignment, &script);
    let ids = |world: &World| -> BTreeSet<String> {
        let asked = world.journal.iter();
        let asked = asked.filter_map(|record| match &record.body {
            Body::Asked { id, .. } => Some(id.clone()),
            _ => None,
        });
        asked.collect()
    };
    let mut whole = World::new(assignment.clone(), script.clone());
    whole.attempt(usize::MAX).unwrap();
    for cut in 1..whole.journal.len() {
        let mut world = World::new(assignment.clone(), script.clone());
        world.attempt(cut);
        world.attempt(usize::MAX).unwrap();
        assert_eq!(ids(&world), ids(&whole), "cut at {cut}");
    }
}

/// People approved one call: whether it was made cannot be known, and it is not made twice.
#[test]
fn an_approved_call_is_made_once_at_most() {
    let mut assignment = patient(agent(&["Shell"]));
    if let Target::Agent(agent) = &mut assignment.target {
        agent.approvals = vec!["Shell".into()];
    }
    let script = vec![shell("order"), said(text("done"))];
    let mut whole = World::new(assignment.clone(), script.clone());
    whole.attempt(usize::MAX).unwrap();
    for cut in 1..whole.journal.len() {
        let mut world = World::new(assignment.clone(), script.clone());
        world.attempt(cut);
        let before = world.ran.len();
        world.attempt(usize::MAX).unwrap();
        assert!(
            world.ran.len() <= 1,
            "cut at {cut}: {before} and {:?}",
            world.ran
        );
        let unknown = |record: &Record| matches!(&record.body, Body::ToolResult { text, .. } if text.starts_with("The outcome"));
        let told = world.journal.iter().any(unknown);
        assert!(world.ran.len() == 1 || told, "cut at {cut}");
    }
}

#[test]
fn a_note_about_arguments_is_part_of_a_result_once() {
    let broken = said(calls(&[("Shell", r#"{"command": "a\ud800"}"#)]));
    let script = vec![broken.clone(), broken, said(text("done"))];
    cut_everywhere(&patient(agent(&["Shell"])), &script);
}

#[test]
fn leave_is_asked_for_again_by_an_attempt_that_begins_anew() {
    let mut assignment = patient(agent(&["Shell"]));
    if let Target::Agent(agent) = &mut assignment.target {
        agent.approvals = vec!["Shell".into()];
    }
    let refused = said(finish("", "content_filter"));
    let mut world = World::new(
        assignment,
        vec![shell("order"), refused, shell("order"), said(text("done"))],
    );
    assert!(world.attempt(usize::MAX).unwrap().failure.is_some());
    assert_eq!(world.attempt(usize::MAX).unwrap().failure, None);
    let asked = |record: &Record| match &record.body {
        Body::Asked { id, .. } => Some(id.clone()),
        _ => None,
    };
    let ids: BTreeSet<_> = world.journal.iter().filter_map(asked).collect();
    assert_eq!((ids.len(), world.ran.len()), (2, 2), "{ids:?}");
}
