use super::*;
use crate::answer::{Stop, Usage};
use crate::converse::Reader;
use crate::converse::frames::Decoder;
use crate::error::{Broken, Said};
use crate::event::{Delta, Event};
use crate::signature::{Signature, Signer};

fn read_frames(bytes: &[u8], piece: usize) -> (Vec<Event>, Option<Broken>) {
    let (mut decoder, mut reader, mut out) = (Decoder::default(), Reader::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        for frame in decoder.push(piece).unwrap() {
            if let Err(broken) = reader.read_frame(&frame, &mut out) {
                return (out, Some(broken));
            }
        }
    }
    reader.end(&mut out);
    check_order(&out);
    (out, None)
}

fn delta(part: usize, delta: Delta) -> Event {
    Event::Delta { part, delta }
}

fn call(id: &str, name: &str) -> Delta {
    Delta::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        signature: None,
    }
}

#[test]
fn providers() {
    let bytes = provider_frames();
    let (events, broken) = read_frames(&bytes, usize::MAX);
    assert_eq!(broken, None);
    assert_eq!(
        events,
        [
            Event::Start {
                id: None,
                model: None
            },
            delta(0, Delta::Reasoning("Let me ".to_owned())),
            delta(0, Delta::Reasoning("think.".to_owned())),
            delta(
                0,
                Delta::Signature(Signature::new(Signer::Anthropic, "EqQBCgIYAg=="))
            ),
            delta(
                1,
                Delta::Redacted(Signature::new(Signer::Anthropic, "EmwKAhgB"))
            ),
            delta(2, Delta::Text("Hello, ".to_owned())),
            delta(2, Delta::Text("wörld 🦀".to_owned())),
            delta(3, call("tooluse_1", "f")),
            delta(3, Delta::Arguments("{\"a\": ".to_owned())),
            delta(3, Delta::Arguments("1}".to_owned())),
            delta(4, call("tooluse_2", "g")),
            Event::Stop(Stop::Sequence(Some("END".to_owned()))),
            Event::Usage(Usage {
                input: 4,
                cache_read: 1490,
                output: 832,
                tier: Some("default".to_owned()),
                ..Usage::default()
            }),
        ]
    );
    for piece in 1..100 {
        assert_eq!(read_frames(&bytes, piece), (events.clone(), None));
    }
}

#[test]
fn a_stream_that_is_cut_has_no_stop() {
    let events = provider_stream();
    let stop = events
        .iter()
        .position(|(name, _)| name == "messageStop")
        .unwrap();
    for length in 0..stop {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for (name, payload) in &events[..length] {
            reader.read(name, payload, &mut out).unwrap();
        }
        reader.end(&mut out);
        check_order(&out);
        assert!(!out.iter().any(|event| matches!(event, Event::Stop(_))));
    }
}

#[test]
fn exceptions() {
    for (name, kind, status) in [
        ("internalServerException", "InternalServerException", 500),
        (
            "modelStreamErrorException",
            "ModelStreamErrorException",
            424,
        ),
        ("throttlingException", "ThrottlingException", 429),
        ("validationException", "ValidationException", 400),
        (
            "serviceUnavailableException",
            "ServiceUnavailableException",
            503,
        ),
    ] {
        let (_, broken) = read_frames(&exception(name, r#"{"message":"no"}"#), 9);
        let said = Said {
            status: Some(status),
            kind: Some(kind.to_owned()),
            message: "no".to_owned(),
            ..Said::default()
        };
        assert_eq!(broken, Some(Broken::Said(said.clone())));
        let named = Reader::default().read(name, r#"{"message":"no"}"#, &mut Vec::new());
        assert_eq!(named, Err(Broken::Said(said)));
    }
    let (_, broken) = read_frames(&exception("newException", "<"), 9);
    let Some(Broken::Said(said)) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!((said.status, said.message.as_str()), (None, ""));
}

#[test]
fn what_is_new_or_odd() {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    for (name, payload) in [
        ("contentBlockDelta", r#"{"delta":{"text":"x"}}"#),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":-1,"delta":{"text":"y"}}"#,
        ),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":"lost"}}}"#,
        ),
        (
            "contentBlockDelta",
            r#"{"contentBlockIndex":3,"delta":{"citation":{"title":"t"}}}"#,
        ),
        ("contentBlockDelta", r#"{"contentBlockIndex":3}"#),
        (
            "contentBlockStart",
            r#"{"contentBlockIndex":4,"start":{"image":{"format":"png"}}}"#,
        ),
        ("somethingNew", "{}"),
        ("messageStop", r#"{"stopReason":"malformed_tool_use"}"#),
        ("contentBlockDelta", r#"{"delta":{"text":"late"}}"#),
        (
            "metadata",
            r#"{"usage":{"inputTokens":-4,"outputTokens":1}}"#,
        ),
    ] {
        reader.read(name, payload, &mut out).unwrap();
    }
    reader.end(&mut out);
    check_order(&out);
    assert_eq!(
        out[1..3],
        [
            delta(0, Delta::Text("x".to_owned())),
            delta(0, Delta::Text("y".to_owned()))
        ]
    );
    assert_eq!(
        out[3..],
        [Event::Stop(Stop::Other("malformed_tool_use".to_owned()))]
    );
    assert!(matches!(
        reader.read("messageStart", "[", &mut out),
        Err(Broken::NotAnAnswer(_))
    ));
}
