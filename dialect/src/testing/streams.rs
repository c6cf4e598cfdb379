//! Streams of events.

use crate::error::Broken;
use crate::event::{Delta, Event};
use crate::sse::{self, Parser};
use oarmaster_protocol::text;

/// The events of a stream's bytes, cut at `cut`.
pub(crate) fn events_of(bytes: &[u8], cut: usize) -> Vec<(String, String)> {
    let mut parser = sse::Parser::default();
    let (head, tail) = bytes.split_at(cut);
    let mut events = parser.push(head).unwrap();
    events.extend(parser.push(tail).unwrap());
    let text = |event: sse::Event| (event.name, String::from_utf8(event.data).unwrap());
    events.into_iter().map(text).collect()
}

/// Feeds a stream to a reader in these pieces.
pub(crate) fn read_stream<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut read: impl FnMut(&str, &str, &mut Vec<Event>) -> Result<(), Broken>,
) -> Result<Vec<Event>, Broken> {
    let mut parser = Parser::default();
    let mut out = Vec::new();
    for piece in pieces {
        for event in parser.push(piece).unwrap() {
            read(&event.name, &text::json(&event.data).text, &mut out)?;
        }
    }
    Ok(out)
}

/// Events, one a line.
pub(crate) fn lines(events: &[Event]) -> String {
    let lines: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
    lines.join("\n")
}

/// Checks what `event.rs` promises.
pub(crate) fn check_order(events: &[Event]) {
    let mut last = None;
    let mut kind = 0;
    let mut begun = 0;
    let mut stopped = false;
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Start { .. } => assert_eq!(place, 0, "{events:?}"),
            Event::Usage(usage) => assert!(usage.is_credible()),
            Event::Stop(_) => assert!(!std::mem::replace(&mut stopped, true), "{events:?}"),
            Event::Delta { part, delta } => {
                assert!(
                    !stopped && last.is_none_or(|last| last <= *part),
                    "{events:?}"
                );
                let kind_of_delta = match delta {
                    Delta::Text(_) => 0,
                    Delta::Refusal(_) => 1,
                    Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) => 2,
                    Delta::ToolCall { .. } | Delta::Arguments(_) => 3,
                };
                if last == Some(*part) {
                    assert_eq!(kind, kind_of_delta, "{events:?}");
                } else {
                    assert_eq!(*part, begun, "{events:?}");
                    assert!(!matches!(delta, Delta::Arguments(_)), "{events:?}");
                    kind = kind_of_delta;
                    begun += 1;
                }
                last = Some(*part);
            }
        }
    }
}

/// Joins the deltas of a part that follow each other, as far as they are text.
pub(crate) fn joined(events: Vec<Event>) -> Vec<Event> {
    use crate::event::Delta::{Arguments, Reasoning, Refusal, Text};
    let mut out: Vec<Event> = Vec::new();
    for event in events {
        if let (
            Some(Event::Delta {
                part: last,
                delta: Text(before) | Refusal(before) | Reasoning(before) | Arguments(before),
            }),
            Event::Delta {
                part,
                delta: Text(more) | Refusal(more) | Reasoning(more) | Arguments(more),
            },
        ) = (out.last_mut(), &event)
            && last == part
        {
            before.push_str(more);
            continue;
        }
        out.push(event);
    }
    out
}
