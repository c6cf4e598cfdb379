//! Bytes into events: server-sent events and AWS's event stream.

use crate::corpus::Bytes;
use crate::edits::{cuts, pieces, slipped, slips};
use crate::{Case, WIRES, corpus, fuzz};
use oarmaster_dialect::converse::frames::Frame;
use oarmaster_dialect::sse;
use oarmaster_gateway::provider::framing::Framing;
use oarmaster_gateway::provider::wire::Wire;
use proptest::prelude::*;
use proptest::sample::select;

/// All events of some pieces up to an error, and how it ended.
fn events(wire: Wire, pieces: &[&[u8]]) -> (Vec<Frame>, Option<String>) {
    let mut framing = Framing::of(wire);
    let mut events = Vec::new();
    for piece in pieces {
        match framing.push(piece) {
            Ok(more) => events.extend(more),
            Err(failure) => return (events, Some(failure.message)),
        }
    }
    (events, framing.end().err().map(|failure| failure.message))
}

/// Lines of every kind, joined by every line end.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "data: .{0,8}",
        1 => "data:.{0,3}",
        1 => Just("data".to_owned()),
        1 => "event: ?.{0,6}",
        1 => "(id|retry|:|[a-z]{0,3}): ?.{0,6}",
        3 => Just(String::new()),
    ];
    let end = select(&["\n", "\r", "\r\n", "\n\n"][..]);
    let start = prop_oneof![Just(""), Just("\u{feff}")];
    (start, prop::collection::vec((line, end), 0..12)).prop_map(|(start, lines)| {
        let lines = lines.into_iter().map(|(line, end)| line + end);
        (start.to_owned() + &lines.collect::<String>()).into_bytes()
    })
}

/// What the grammar says, read from the whole text at once.
fn by_the_grammar(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // What comes after the last line end is no line.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::<&str>::new());
    for line in whole.split('\n') {
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            let data = std::mem::take(&mut data);
            if !data.is_empty() {
                events.push((name, data.join("\n").into_bytes()));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data.push(value),
            "event" => value.clone_into(&mut name),
            _ => {}
        }
    }
    events
}

#[test]
fn sse() {
    fuzz(
        6000,
        &(lines(), slips(), cuts()),
        |(lines, slips, cuts)| -> Case {
            let bytes = slipped(lines, &slips);
            let mut parser = sse::Parser::default();
            let mut read = Vec::new();
            for piece in pieces(&bytes, &cuts) {
                read.extend(parser.push(piece).unwrap());
            }
            let size: usize = read
                .iter()
                .map(|event| event.name.len() + event.data.len())
                .sum();
            prop_assert!(
                size <= bytes.len() * 3,
                "a byte that is no character becomes three"
            );
            if std::str::from_utf8(&bytes).is_ok() {
                let read: Vec<_> = read
                    .into_iter()
                    .map(|event| (event.name, event.data))
                    .collect();
                prop_assert_eq!(read, by_the_grammar(&bytes));
            }
            Ok(())
        },
    );
}

#[test]
fn frames() {
    let streams: Vec<(Wire, Bytes)> = WIRES
        .into_iter()
        .flat_map(|wire| {
            corpus::streams(wire)
                .into_iter()
                .map(move |bytes| (wire, bytes))
        })
        .collect();
    let inputs = (select(streams), slips(), cuts());
    fuzz(3000, &inputs, |((wire, bytes), slips, cuts)| -> Case {
        let bytes = slipped(bytes.0, &slips);
        let (whole, cut) = (
            events(wire, &[&bytes]),
            events(wire, &pieces(&bytes, &cuts)),
        );
        // An error takes the events of its piece with it.
        prop_assert_eq!(&whole.1, &cut.1);
        if whole.1.is_none() {
            prop_assert_eq!(&whole.0, &cut.0);
        }
        let size: usize = cut
            .0
            .iter()
            .map(|event| event.name.len() + event.payload.len())
            .sum();
        prop_assert!(size <= bytes.len() * 3);
        Ok(())
    });
}
