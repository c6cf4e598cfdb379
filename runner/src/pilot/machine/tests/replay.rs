//! A Task that goes through the journal of another one.

use super::world::{World, conversation, patient, said, shell};
use super::*;
use oarmaster_protocol::assignment::Replay;
use oarmaster_protocol::journal::Record;

const RECORDED: Replay = Replay {
    live: false,
    until: None,
};

fn live(until: Option<u32>) -> Replay {
    Replay { live: true, until }
}

/// The Task that replays what happened in `first`, and is otherwise as `assignment` says.
fn replaying(first: &World, mut assignment: Assignment, how: Replay) -> World {
    assignment.replay = Some(how);
    let mut world = World::new(assignment, first.script.clone());
    world.before = Some(Before::Task(
        Box::new(first.assignment.clone()),
        first.journal.clone(),
    ));
    world.blobs = first.blobs.clone();
    world
}

fn with_agent(assignment: &Assignment, change: impl Fn(&mut AgentTarget)) -> Assignment {
    let mut assignment = assignment.clone();
    if let Target::Agent(agent) = &mut assignment.target {
        change(agent);
    }
    assignment
}

fn ended(assignment: Assignment, script: Vec<Value>) -> (World, Outcome) {
    let mut world = World::new(assignment, script);
    let outcome = world.attempt(usize::MAX).unwrap();
    (world, outcome)
}

fn notes(world: &World) -> String {
    let note = |record: &Record| match &record.body {
        Body::Note { text } => Some(text.clone()),
        _ => None,
    };
    let notes: Vec<_> = world.journal.iter().filter_map(note).collect();
    notes.join("\n")
}

fn message(outcome: &Outcome) -> &str {
    let failure = outcome.failure.as_ref().unwrap();
    assert_eq!(failure.class, FailureClass::NotAccepted);
    &failure.message
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever was recorded, in however many attempts: the same agent comes to the same end, and neither model nor sandbox is asked; with a
    /// part of the record it asks for the rest alone.
    #[test]
    fn the_same_agent_comes_to_the_same_end(
        choices in prop::collection::vec(0..6_u8, 0..6), rounds in 2..4_u32, cut in 1..40_usize, until in 1..8_u32
    ) {
        let assignment = patient(checked(agent(&["Shell"]), rounds));
        let mut first = World::new(assignment.clone(), conversation(&choices));
        let outcome = first.attempt(cut);
        let outcome = outcome.or_else(|| first.attempt(usize::MAX)).unwrap();

        let mut again = replaying(&first, assignment.clone(), RECORDED);
        let replayed = again.attempt(usize::MAX);
        prop_assert_eq!(replayed.as_ref(), Some(&outcome));
        prop_assert!(again.asked.is_empty() && again.ran.is_empty());
        prop_assert!(notes(&again).contains("nothing differs"), "{}", notes(&again));

        let mut part = replaying(&first, assignment, live(Some(until)));
        let answers = first.answers();
        // The last one is said again and again.
        let taken = answers.min(until as usize).min(part.script.len() - 1);
        part.script.drain(..taken);
        let replayed = part.attempt(usize::MAX).unwrap();
        prop_assert_eq!(part.asked.len(), answers.saturating_sub(until as usize));
        prop_assert_eq!(replayed, outcome);
        if !part.asked.is_empty() {
            prop_assert_eq!(part.told(), first.told());
        }
    }
}

#[test]
fn the_first_difference_is_named() {
    let script = vec![shell("one"), shell("two"), said(text("{\"n\": 1}"))];
    let assignment = patient(agent(&["Shell"]));
    let (first, _) = ended(assignment.clone(), script);
    let table: Vec<(Assignment, &str)> = vec![
        (
            with_agent(&assignment, |agent| agent.instructions = "Be bad.".into()),
            "at model call 1: other instructions",
        ),
        (
            with_agent(&assignment, |agent| agent.prompt = "Do that.".into()),
            "at model call 1: another prompt",
        ),
        (
            with_agent(&assignment, |agent| {
                agent.tools.push("ReadFile".into());
                agent.model = "n/q".into();
            }),
            "at model call 1: other model, tools",
        ),
        (
            with_agent(&assignment, |agent| agent.max_turns = 2),
            "at model call 3: it has 2 turns (limits.turns), and more were taken",
        ),
        (
            with_agent(&assignment, |agent| agent.max_tool_calls = 1),
            "at model call 3: it has 1 tool calls (limits.toolCalls), and more were made",
        ),
        (
            checked(assignment.clone(), 2),
            "what accepts its answer is another check or judge (accept)",
        ),
    ];
    for (other, wanted) in table {
        let mut world = replaying(&first, other, RECORDED);
        let outcome = world.attempt(usize::MAX).unwrap();
        assert_eq!(
            message(&outcome),
            format!("the replay differs from Task t {wanted}")
        );
        assert!(world.asked.is_empty() && world.ran.is_empty());
    }
}

#[test]
fn a_recorded_failure_is_replayed_as_one() {
    let (first, outcome) = ended(
        patient(agent(&["Shell"])),
        vec![shell("one"), said(finish("", "content_filter"))],
    );
    let mut again = replaying(&first, first.assignment.clone(), RECORDED);
    assert_eq!(again.attempt(usize::MAX), Some(outcome));
}

#[test]
fn a_record_without_an_end_has_none_to_replay() {
    let mut first = World::new(
        patient(agent(&["Shell"])),
        vec![shell("one"), shell("two"), said(text("done"))],
    );
    first.attempt(8);
    let mut again = replaying(&first, first.assignment.clone(), RECORDED);
    let outcome = again.attempt(usize::MAX).unwrap();
    assert!(
        message(&outcome).contains("stopped from outside after"),
        "{outcome:?}"
    );
}

/// With the model after it, the workspace is that of the record, and an attempt that is cut off there asks for nothing again.
#[test]
fn where_it_differs_it_goes_on_with_the_model() {
    let script = vec![shell("one"), shell("two"), said(text("done"))];
    let (first, _) = ended(patient(agent(&["Shell"])), script);
    let other = with_agent(&first.assignment, |agent| agent.max_turns = 30);
    for (how, wanted) in [
        (live(Some(1)), "sh -c one,sh -c other"),
        (live(Some(2)), "sh -c one,sh -c two,sh -c other"),
    ] {
        let whole = |cut: usize| {
            let mut world = replaying(&first, other.clone(), how.clone());
            world.script = vec![shell("other"), said(text("done otherwise"))];
            let ended = world.attempt(cut);
            ended.or_else(|| world.attempt(usize::MAX)).unwrap();
            world
        };
        let undisturbed = whole(usize::MAX);
        assert_eq!(undisturbed.ran, ["sh -c other"]);
        let told = |message: &Value| {
            let text = message["content"].as_str().unwrap_or_default();
            text.ends_with(wanted)
        };
        assert!(
            undisturbed.told().iter().any(told),
            "{:?}",
            undisturbed.told()
        );
        for cut in 1..undisturbed.journal.len() {
            let world = whole(cut);
            assert_eq!(world.told(), undisturbed.told(), "cut at {cut}");
            assert_eq!(world.asked.len(), 2, "cut at {cut}");
        }
    }
    let bad = with_agent(&first.assignment, |agent| agent.prompt = "Do that.".into());
    let mut world = replaying(&first, bad, live(None));
    world.attempt(usize::MAX).unwrap();
    assert_eq!(world.asked.len(), 3);
    assert!(
        notes(&world).contains("it differs from there at model call 1: another prompt"),
        "{}",
        notes(&world)
    );
}

#[test]
fn what_cannot_be_had_ends_it() {
    let mut assignment = patient(agent(&[]));
    assignment.replay = Some(RECORDED);
    let mut world = World::new(assignment, vec![said(text("done"))]);
    world.before = Some(Before::Gone("the journal is no longer kept".into()));
    let failure = world.attempt(usize::MAX).unwrap().failure.unwrap();
    assert_eq!(failure.class, FailureClass::InvalidInput);
    assert_eq!(failure.message, "replay: the journal is no longer kept");
}
