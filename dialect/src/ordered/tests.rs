use super::Keyed;
use crate::event::{Delta, Event};
use crate::testing::check_order;

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn call() -> Delta {
    Delta::ToolCall {
        id: "c".to_owned(),
        name: "f".to_owned(),
        signature: None,
    }
}

fn arguments() -> Delta {
    Delta::Arguments("{}".to_owned())
}

fn told(steps: impl IntoIterator<Item = (u8, Option<Delta>)>) -> Vec<(usize, Delta)> {
    let (mut parts, mut out) = (Keyed::default(), Vec::new());
    for (key, delta) in steps {
        match delta {
            Some(delta) => parts.push(key, delta, &mut out),
            None => parts.end(&key, &mut out),
        }
    }
    parts.end_all(&mut out);
    check_order(&out);
    let deltas = out.into_iter().map(|event| match event {
        Event::Delta { part, delta } => (part, delta),
        other => panic!("{other:?}"),
    });
    deltas.collect()
}

#[test]
fn later_parts_wait_and_are_joined() {
    let steps = [(7, "a"), (3, "b"), (3, "c"), (7, "d")];
    let steps = steps.map(|(key, words)| (key, Some(text(words))));
    assert_eq!(
        told(steps),
        [(0, text("a")), (0, text("d")), (1, text("bc"))]
    );
}

#[test]
fn what_turns_into_something_else_is_two_parts() {
    let steps = [
        (0, Some(text("a"))),
        (0, Some(arguments())),
        (0, Some(call())),
        (0, Some(arguments())),
        (0, Some(call())),
        (0, None),
        (0, Some(text("b"))),
    ];
    let expected = [
        (0, text("a")),
        (1, call()),
        (1, arguments()),
        (2, call()),
        (3, text("b")),
    ];
    assert_eq!(told(steps), expected);
}
