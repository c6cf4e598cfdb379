//! Messages of other Tasks: what the model was shown is not asked for again, by whoever goes on, and pilots that talk come to an end.

use super::serve::{resumed, served, stopped};
use super::*;
use oarmaster_protocol::assignment::Replay;
use oarmaster_protocol::journal::{Failure, Record};

const TOOLS: [&str; 2] = ["SendMessage", "ReceiveMessages"];

fn shown(text: &str, heard: Option<u64>) -> ToolAnswer {
    ToolAnswer {
        ok: true,
        text: text.into(),
        heard,
    }
}

fn receives() -> Event {
    calls(&[("ReceiveMessages", "{}")])
}

fn heard_in(next: &Next) -> u64 {
    match next {
        Next::Serve {
            call: ToolCall { heard, .. },
            once: false,
            ..
        } => *heard,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_shown_is_written_down_and_not_asked_for_again() {
    let events = vec![
        receives(),
        Event::Served(shown("one", Some(4))),
        receives(),
        Event::Served(shown("nothing", None)),
        receives(),
    ];
    let (records, next) = play(served(&TOOLS), events);
    assert_eq!(heard_in(&next), 4);
    let heard = records.iter().filter_map(|body| match body {
        Body::ToolResult { heard, .. } => Some(*heard),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), [Some(4), None]);
}

fn result(heard: Option<u64>) -> Body {
    Body::ToolResult {
        id: "c0".into(),
        tool: "ReceiveMessages".into(),
        ok: true,
        text: "one".into(),
        checkpoint: None,
        heard,
    }
}

fn intent(id: &str) -> Body {
    Body::ToolIntent {
        id: id.into(),
        tool: "ReceiveMessages".into(),
        arguments: json!({}),
    }
}

fn two_calls(after: Vec<Body>) -> Vec<Record> {
    let two = [("ReceiveMessages", "{}"), ("ReceiveMessages", "{}")];
    stopped(&two, after)
}

#[test]
fn whoever_goes_on_has_read_what_the_attempt_before_was_shown_and_no_more() {
    for (after, heard, number) in [
        // Nothing was shown: the call is made again, and may have more by now.
        (vec![intent("c0")], 0, 1),
        (vec![intent("c0"), result(Some(4)), intent("c1")], 4, 2),
        (vec![intent("c0"), result(None), intent("c1")], 0, 2),
    ] {
        let step = resumed(served(&TOOLS), &two_calls(after));
        assert_eq!(heard_in(&step.next), heard);
        let Next::Serve { call, .. } = step.next else {
            unreachable!()
        };
        assert_eq!(call.number, number);
    }
}

#[test]
fn an_attempt_that_begins_anew_reads_from_the_beginning() {
    let mut records = two_calls(vec![intent("c0"), result(Some(4))]);
    records.push(Record {
        seq: records.len() as u64,
        at_ms: 0,
        attempt: 1,
        body: Body::Result {
            outcome: Outcome {
                failure: Some(Failure {
                    class: FailureClass::NotAccepted,
                    message: "no".into(),
                    waits: None,
                }),
                ..Outcome::default()
            },
        },
    });
    let machine = Machine::resume(served(&TOOLS), None, &records);
    let (machine, _) = machine.step(Event::Begin);
    let (_, step) = machine.step(receives());
    assert_eq!(heard_in(&step.next), 0);
}

#[test]
fn a_message_that_the_gateway_wrote_down_changes_nothing_of_its_sender() {
    let sent = Body::Sent {
        number: 1,
        call: 1,
        tree: "root".into(),
        message: oarmaster_protocol::message::Message {
            to: None,
            topic: None,
            text: "x".into(),
        },
    };
    let with = two_calls(vec![intent("c0"), sent, result(Some(4)), intent("c1")]);
    let without = two_calls(vec![intent("c0"), result(Some(4)), intent("c1")]);
    assert_eq!(
        resumed(served(&TOOLS), &with),
        resumed(served(&TOOLS), &without)
    );
}

/// What another Task was shown is of another tree.
#[test]
fn a_task_that_begins_with_anothers_record_reads_its_own_tree_from_the_beginning() {
    let records = two_calls(vec![intent("c0"), result(Some(4))]);
    for replay in [
        None,
        Some(Replay {
            live: true,
            until: None,
        }),
    ] {
        let assignment = Assignment {
            replay,
            ..served(&TOOLS)
        };
        let before = Before::Task(Box::new(served(&TOOLS)), records.clone());
        let machine = Machine::resume(assignment, Some(before), &[]);
        let (machine, step) = machine.step(Event::Begin);
        let next = match step.next {
            Next::Model(_) => machine.step(receives()).1.next,
            next => next,
        };
        assert_eq!(heard_in(&next), 0);
    }
}

/// A tree's messages: who sent them, and what.
#[derive(Default)]
struct Mail(Vec<(usize, String)>);

impl Mail {
    /// What the gateway answers; nothing while the call waits.
    fn serve(&mut self, who: usize, name: &str, call: &ToolCall) -> Option<ToolAnswer> {
        if name == "SendMessage" {
            let text = call.arguments["text"].as_str().unwrap().to_owned();
            self.0.push((who, text));
            return Some(shown("sent", None));
        }
        let new = self.0.iter().zip(1_u64..);
        let new = new.filter(|((from, _), number)| *from != who && *number > call.heard);
        let (texts, numbers): (Vec<_>, Vec<_>) = new
            .map(|((_, text), number)| (text.clone(), number))
            .unzip();
        let last = numbers.last().copied();
        last.map(|last| shown(&texts.join("; "), Some(last)))
    }
}

/// Two agents take turns: each sends what it was told last and one more, and ends at the third answer.
fn reply(told: &str) -> Event {
    match told.len() {
        0 => receives(),
        length if length >= 6 => text("enough"),
        _ => calls(&[(
            "SendMessage",
            &json!({"text": format!("{told}x")}).to_string(),
        )]),
    }
}

/// Runs both, each as far as it comes, the first one `ahead` steps before the other; returns what each was shown.
fn talk(ahead: usize) -> [Vec<String>; 2] {
    let mut mail = Mail::default();
    let mut shown = [Vec::new(), Vec::new()];
    let mut pilots: Vec<(Machine, Next, bool)> = Vec::new();
    let mut assignment = served(&TOOLS);
    if let Target::Agent(agent) = &mut assignment.target {
        (agent.max_turns, agent.max_tool_calls) = (50, 50);
    }
    for _ in 0..2 {
        let (machine, step) = Machine::new(assignment.clone()).step(Event::Begin);
        pilots.push((machine, step.next, false));
    }
    for round in 0..200 {
        let who = if round < ahead { 0 } else { round % 2 };
        let (machine, next, sent) = pilots[who].clone();
        let event = match &next {
            Next::Finish(_) => continue,
            // The first one begins.
            Next::Model(_) if who == 0 && shown[0].is_empty() && !sent => {
                pilots[0].2 = true;
                calls(&[("SendMessage", r#"{"text":"x"}"#)])
            }
            Next::Model(_) if last_message(&next) == "sent" => receives(),
            Next::Model(_) => reply(shown[who].last().map_or("", String::as_str)),
            Next::Serve { name, call, .. } => match mail.serve(who, name, call) {
                Some(answer) => {
                    if answer.heard.is_some() {
                        shown[who].push(answer.text.clone());
                    }
                    Event::Served(answer)
                }
                None => continue,
            },
            other => panic!("{other:?}"),
        };
        let (machine, step) = machine.step(event);
        (pilots[who].0, pilots[who].1) = (machine, step.next);
    }
    shown
}

#[test]
fn two_pilots_talk_in_turns_however_they_are_scheduled() {
    for ahead in 0..20 {
        let [first, second] = talk(ahead);
        assert_eq!(first, ["xx", "xxxx", "xxxxxx"], "{ahead}");
        assert_eq!(second, ["x", "xxx", "xxxxx"], "{ahead}");
    }
}
