//! The same call again and again.

use super::*;

/// What happens to an agent that makes these calls, one a turn, with these exit codes: `r` for each that ran, `h` for each that was not
/// and was answered with a hint, `s` where the Task was stopped.
fn fate(turns: &[(&str, i32)]) -> String {
    let mut assignment = agent(&["Shell", "ReadFile"]);
    if let Target::Agent(agent) = &mut assignment.target {
        (agent.max_turns, agent.max_tool_calls) = (100, 100);
    }
    let (mut machine, _) = Machine::new(assignment).step(Event::Begin);
    (machine, _) = machine.step(probed(true));
    let mut fate = String::new();
    for (call, code) in turns {
        let (name, argument) = match call.strip_prefix("read ") {
            Some(path) => ("ReadFile", json!({ "path": path })),
            None => ("Shell", json!({ "command": call })),
        };
        let (after, step) = machine.step(calls(&[(name, &argument.to_string())]));
        machine = after;
        match step.next {
            Next::Exec(_) => {
                fate.push('r');
                (machine, _) = machine.step(ended(*code));
            }
            Next::Model(body) => {
                let told = body["messages"].as_array().unwrap().last().unwrap().clone();
                assert!(told["content"].as_str().unwrap().contains("was not run"));
                fate.push('h');
            }
            Next::Finish(outcome) => {
                let failure = outcome.failure.unwrap();
                assert_eq!(failure.class, FailureClass::ToolFailed);
                assert!(failure.message.contains(&format!("`{name}`")));
                fate.push('s');
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    fate
}

#[test]
fn a_call_that_changes_nothing_is_run_twice_hinted_at_and_ends_the_task() {
    let cases: [(&[(&str, i32)], &str); 11] = [
        (&[("ls", 0), ("ls", 0), ("ls", 0), ("ls", 0)], "rrhs"),
        (
            &[("read a", 0), ("read a", 0), ("read a", 0), ("read a", 0)],
            "rrhs",
        ),
        // Another way is tried after the hint; what insists later insists all the same.
        (
            &[("ls", 0), ("ls", 0), ("ls", 0), ("read a", 0), ("ls", 0)],
            "rrhrs",
        ),
        // A change after the hint makes it worth a try again.
        (
            &[
                ("ls", 0),
                ("ls", 0),
                ("ls", 0),
                ("fix", 0),
                ("ls", 0),
                ("ls", 0),
                ("ls", 0),
            ],
            "rrhrrrh",
        ),
        // Edit, test, edit, test: each edit is a change, although the test stays red.
        (
            &[
                ("test", 1),
                ("fix 1", 0),
                ("test", 1),
                ("fix 2", 0),
                ("test", 1),
                ("fix 3", 0),
                ("test", 1),
            ],
            "rrrrrrr",
        ),
        // The same edits in turn are none.
        (
            &[
                ("fix 1", 0),
                ("test", 1),
                ("fix 1", 0),
                ("test", 1),
                ("fix 1", 0),
                ("test", 1),
                ("fix 1", 0),
                ("test", 1),
            ],
            "rrrrrhhs",
        ),
        // Another result is one.
        (
            &[("ls", 0), ("ls", 1), ("ls", 0), ("ls", 1), ("ls", 0)],
            "rrrrr",
        ),
        (
            &[
                ("ls", 0),
                ("ls", 0),
                ("date", 0),
                ("date", 1),
                ("ls", 0),
                ("ls", 0),
                ("ls", 0),
            ],
            "rrrrrrh",
        ),
        // Reading changes nothing, whatever is read.
        (&[("ls", 0), ("ls", 0), ("read a", 0), ("ls", 0)], "rrrh"),
        (
            &[
                ("ls", 0),
                ("ls", 0),
                ("read a", 0),
                ("read a", 1),
                ("ls", 0),
            ],
            "rrrrh",
        ),
        // Other arguments are another call.
        (&[("ls", 0), ("ls", 0), ("ls .", 0), ("ls ..", 0)], "rrrr"),
    ];
    for (turns, wanted) in cases {
        assert_eq!(fate(turns), wanted, "{turns:?}");
    }
}

/// The model is told after the turn: what it asked for before that is no insisting.
#[test]
fn the_same_call_many_times_in_one_turn_is_not_insisting() {
    let mut assignment = agent(&["Shell"]);
    if let Target::Agent(agent) = &mut assignment.target {
        agent.max_tool_calls = 100;
    }
    let same = || calls(&[("Shell", r#"{"command":"ls"}"#); 5]);
    let events = vec![probed(true), same(), ended(0), ended(0)];
    let (records, next) = play(assignment.clone(), events.clone());
    let kinds: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Body::ToolResult { ok, text, .. } => Some((*ok, text.contains("was not run"))),
            _ => None,
        })
        .collect();
    let told = (false, true);
    assert_eq!(kinds, [(true, false), (true, false), told, told, told]);
    let Next::Model(body) = next else { panic!() };
    let answers = body["messages"].as_array().unwrap();
    assert_eq!(
        answers
            .iter()
            .filter(|message| message["role"] == "tool")
            .count(),
        5
    );
    let failure = outcome(assignment, [events, vec![same()]].concat())
        .failure
        .unwrap();
    assert_eq!(failure.class, FailureClass::ToolFailed);
}

/// A call in which the sandbox was lost has a result, too.
#[test]
fn a_call_that_stops_the_sandbox_is_not_made_three_times() {
    let mut assignment = agent(&["Shell"]);
    if let Target::Agent(agent) = &mut assignment.target {
        (agent.max_turns, agent.max_tool_calls) = (9, 9);
    }
    let call = || calls(&[("Shell", r#"{"command":"eat"}"#)]);
    let lost = || vec![call(), Event::ExecRestarted, probed(true)];
    let events = [vec![probed(true)], lost(), lost(), vec![call()]].concat();
    let (_, next) = play(assignment, events);
    assert!(last_message(&next).contains("was not run"));
}

proptest! {
    /// Where every call has one result, each is run a few times at most, and the Task ends by itself.
    #[test]
    fn whoever_goes_round_in_circles_is_stopped(circle in prop::collection::vec(0u8..4, 1..6)) {
        let names: Vec<String> = circle.iter().map(|call| format!("do {call}")).collect();
        let turns: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 0)).cycle().take(60).collect();
        let fate = fate(&turns);
        prop_assert!(fate.ends_with('s'), "{}", fate);
    }

    /// Where every call has a result that it never had, nothing is stopped.
    #[test]
    fn whoever_learns_something_goes_on(commands in prop::collection::vec("[ab]", 1..40)) {
        let turns: Vec<(&str, i32)> = commands.iter().map(String::as_str).zip(0..).collect();
        prop_assert_eq!(fate(&turns), "r".repeat(turns.len()));
    }
}
