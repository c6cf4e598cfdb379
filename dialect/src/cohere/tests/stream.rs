use crate::answer::Stop;
use crate::cohere::{Reader, read_answer, read_error};
use crate::error::Broken;
use crate::event::{Delta, Event};
use crate::gather::gather;
use crate::testing::{arbitrary, check_order, events_of, fixture};
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "type",
    "index",
    "delta",
    "message",
    "content",
    "text",
    "thinking",
    "tool_plan",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "finish_reason",
    "usage",
    "billed_units",
    "tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "error",
    "message-start",
    "content-start",
    "content-delta",
    "content-end",
    "tool-plan-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "message-end",
    "COMPLETE",
    "ERROR",
];

fn read_all(events: &[(String, String)]) -> (Vec<Event>, Result<(), Broken>) {
    let mut reader = Reader::default();
    let mut out = Vec::new();
    for (name, data) in events {
        if let Err(broken) = reader.read(name, data, &mut out) {
            return (out, Err(broken));
        }
    }
    reader.end(&mut out);
    (out, Ok(()))
}

fn typed(events: &[&str]) -> Vec<(String, String)> {
    events
        .iter()
        .map(|data| (String::new(), (*data).to_owned()))
        .collect()
}

#[test]
fn streams_are_read_however_they_are_cut() {
    for name in ["text", "tools"] {
        let bytes = fixture(&format!("cohere/stream-{name}.sse")).into_bytes();
        let (events, ended) = read_all(&events_of(&bytes, 0));
        ended.unwrap();
        check_order(&events);
        insta::assert_debug_snapshot!(format!("stream-{name}"), events);
        for cut in 0..=bytes.len() {
            assert_eq!(
                read_all(&events_of(&bytes, cut)).0,
                events,
                "{name} at {cut}"
            );
        }
    }
}

#[test]
fn a_failure_is_no_end() {
    let bytes = fixture("cohere/stream-failed.sse");
    let (events, ended) = read_all(&events_of(bytes.as_bytes(), 0));
    let Err(Broken::Said(said)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(said.message, "internal server error");
    assert_eq!(said.kind.as_deref(), Some("ERROR"));
    assert!(matches!(events.last(), Some(Event::Usage(_))));
    let (_, ended) = read_all(&typed(&[r#"{"message":"too many requests"}"#]));
    assert!(matches!(ended, Err(Broken::Said(_))));
    let (_, ended) = read_all(&typed(&["[1]"]));
    assert!(matches!(ended, Err(Broken::NotAnAnswer(_))));
}

#[test]
fn a_stream_that_was_cut_has_no_stop() {
    let bytes = fixture("cohere/stream-tools.sse");
    let events = events_of(bytes.as_bytes(), 0);
    let (answer, stop) = gather(read_all(&events[..7]).0);
    assert_eq!((answer.parts.len(), stop), (2, None));
}

#[test]
fn what_comes_for_a_later_part_waits() {
    let start = |index, id| {
        format!(
            r#"{{"type":"tool-call-start","index":{index},"delta":{{"message":{{"tool_calls":{{"id":"{id}","function":{{"name":"f","arguments":""}}}}}}}}}}"#
        )
    };
    let more = |index, text| {
        format!(
            r#"{{"type":"tool-call-delta","index":{index},"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":"{text}"}}}}}}}}}}"#
        )
    };
    let end = |index| format!(r#"{{"type":"tool-call-end","index":{index}}}"#);
    let events = [
        start(0, "a"),
        start(1, "b"),
        more(1, "1"),
        more(0, "0"),
        end(1),
        more(0, "0"),
        end(0),
        start(2, "c"),
    ];
    let events: Vec<_> = events
        .into_iter()
        .map(|data| (String::new(), data))
        .collect();
    let (told, _) = read_all(&events);
    check_order(&told);
    let arguments: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::Delta {
                part,
                delta: Delta::Arguments(text),
            } => Some((*part, text.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(arguments, [(0, "0"), (0, "0"), (1, "1")]);
}

#[test]
fn text_without_a_beginning_is_text() {
    let (events, _) = read_all(&typed(&[
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"a"}}}}"#,
        r#"{"type":"content-end","index":0}"#,
        r#"{"type":"content-delta","delta":{"message":{"content":{"text":"b"}}}}"#,
        r#"{"type":"message-end"}"#,
        r#"{"type":"content-delta","delta":{"message":{"content":{"text":"c"}}}}"#,
    ]));
    check_order(&events);
    let (answer, stop) = gather(events);
    assert_eq!((answer.parts.len(), stop), (2, Some(Stop::End)));
}

proptest! {
    #[test]
    fn no_json_panics(values in proptest::collection::vec(arbitrary(WORDS), 1..6)) {
        let events: Vec<_> = values.iter().map(|value| (String::new(), value.to_string())).collect();
        check_order(&read_all(&events).0);
        for (_, body) in &events {
            let _ = (read_answer(body), read_error(body));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = (read_answer(&text), read_error(&text), read_all(&[(text.clone(), text)]));
    }

    /// Any order of events that are well formed.
    #[test]
    fn no_order_breaks_the_order(steps in proptest::collection::vec((0..9usize, 0..3u8), 0..40)) {
        let mut events = Vec::new();
        for (kind, index) in steps {
            let (kind, message) = match kind {
                0 => ("content-start", r#"{"content":{"type":"text","text":""}}"#),
                1 => ("content-delta", r#"{"content":{"text":"a"}}"#),
                2 => ("content-delta", r#"{"content":{"thinking":"b"}}"#),
                3 => ("content-end", "{}"),
                4 => ("tool-plan-delta", r#"{"tool_plan":"c"}"#),
                5 => ("tool-call-start", r#"{"tool_calls":{"id":"d","function":{"name":"e"}}}"#),
                6 => ("tool-call-delta", r#"{"tool_calls":{"function":{"arguments":"f"}}}"#),
                7 => ("tool-call-end", "{}"),
                _ => ("message-start", "{}"),
            };
            events.push((String::new(), format!(r#"{{"type":"{kind}","index":{index},"delta":{{"message":{message}}}}}"#)));
        }
        check_order(&read_all(&events).0);
    }
}
