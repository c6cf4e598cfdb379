use super::full_stream;
use crate::responses::{Reader, Writer, write_failure};
use crate::signature::{Signature, Signer};
use crate::testing::{check_fixture, check_order, envelope, fixture, joined, lines, read_stream};
use crate::{Broken, Delta, Event, Refused, Stop};
use serde_json::{Value, json};

fn write(events: &[Event]) -> String {
    let mut writer = Writer::new(envelope());
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out);
    }
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn read(stream: &str) -> Result<Vec<Event>, Broken> {
    let mut reader = Reader::default();
    let mut events = read_stream([stream.as_bytes()], |name, data, out| {
        reader.read(name, data, out)
    })?;
    reader.end(&mut events);
    check_order(&events);
    Ok(events)
}

/// A stream of these events.
fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

#[test]
fn writes_what_the_sdk_reads() {
    check_fixture("responses/stream.sse", &write(&full_stream()));
    let cut = [
        Event::Delta {
            part: 0,
            delta: Delta::Text("Hello".to_owned()),
        },
        Event::Stop(Stop::Length),
    ];
    check_fixture("responses/stream-incomplete.sse", &write(&cut));
    check_fixture(
        "responses/stream-empty.sse",
        &write(&[Event::Stop(Stop::End)]),
    );
}

#[test]
fn a_broken_stream_ends_as_failed() {
    let mut writer = Writer::new(envelope());
    let mut out = Vec::new();
    for event in &full_stream()[..7] {
        writer.write(event, &mut out);
    }
    let refused = Refused {
        status: 502,
        code: "provider_failed".to_owned(),
        message: "the provider's stream broke".to_owned(),
        field: None,
        request: None,
    };
    writer.fail(&refused, &mut out);
    let stream = String::from_utf8(out).unwrap();
    check_fixture("responses/stream-failed.sse", &stream);
    let Err(Broken::Said(said)) = read(&stream) else {
        panic!("no error");
    };
    assert_eq!(said.message, "provider_failed: the provider's stream broke");
}

#[test]
fn a_broken_stream_that_was_passed_on_ends_with_an_error() {
    let refused = Refused {
        status: 502,
        code: "model_unavailable".to_owned(),
        message: "the stream broke".to_owned(),
        field: None,
        request: None,
    };
    let mut out = Vec::new();
    write_failure(&refused, 7, &mut out);
    let stream = String::from_utf8(out).unwrap();
    check_fixture("responses/stream-passed-failed.sse", &stream);
    let Err(Broken::Said(said)) = read(&stream) else {
        panic!("no error");
    };
    assert_eq!(said.message, "the stream broke");
}

#[test]
fn reads_what_it_writes() {
    let mut expected = joined(full_stream());
    // An upstream's signatures are its own, whatever stands in them.
    for event in &mut expected {
        if let Event::Delta { delta, .. } = event
            && matches!(delta, Delta::Redacted(_))
        {
            *delta = Delta::Signature(Signature::new(Signer::OpenAi, "redacted:anthropic:cmVk"));
        }
    }
    assert_eq!(
        lines(&joined(read(&write(&full_stream())).unwrap())),
        lines(&expected)
    );
}

#[test]
fn reads_the_streams_of_vendors() {
    let events = read(&fixture("responses/provider-openai.sse")).unwrap();
    insta::assert_snapshot!(lines(&events));
}

#[test]
fn puts_items_in_order_that_come_in_turn() {
    let delta = |kind: &str, index: u64, text: &str| json!({"type": kind, "output_index": index, "content_index": 0, "delta": text});
    let call = |index: u64, id: &str| json!({"type": "response.output_item.added", "output_index": index, "item": {"type": "function_call", "call_id": id, "name": "f", "arguments": ""}});
    let arguments = "response.function_call_arguments.delta";
    let stream = sse(&[
        json!({"type": "response.created", "response": {"id": "r", "model": "m"}}),
        call(0, "a"),
        call(1, "b"),
        delta(arguments, 1, "{}"),
        delta(arguments, 0, "{"),
        delta("response.output_text.delta", 2, "hi"),
        delta(arguments, 0, "}"),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}}),
        json!({"type": "response.completed", "response": {"id": "r", "output": []}}),
    ]);
    insta::assert_snapshot!(lines(&read(&stream).unwrap()));
}

#[test]
fn items_that_come_whole_are_read_whole() {
    let item =
        |item: Value| json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let message = json!({"type": "message", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]});
    let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [{"text": "x"}, {"text": "y"}], "encrypted_content": "gAAAAA"});
    let done = |output: Value| json!({"type": "response.completed", "response": {"id": "r", "model": "m", "output": output, "usage": {"input_tokens": 1, "output_tokens": 2}}});
    let streams = [
        sse(&[item(message.clone()), done(json!([message]))]),
        sse(&[item(call.clone()), done(json!([call]))]),
        sse(&[item(thought.clone()), done(json!([thought]))]),
        sse(&[done(
            json!([thought, message, call, {"type": "web_search_call"}]),
        )]),
    ];
    let read: Vec<String> = streams
        .iter()
        .map(|stream| lines(&read(stream).unwrap()))
        .collect();
    insta::assert_snapshot!(read.join("\n\n"));
}

#[test]
fn a_cut_stream_has_no_stop() {
    let whole = fixture("responses/provider-openai.sse");
    let cut = whole.find("event: response.completed").unwrap();
    let events = read(&whole[..cut]).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Stop(_))));
}

#[test]
fn errors_break_a_stream() {
    let said = |event: Value| match read(&sse(std::slice::from_ref(&event))) {
        Err(Broken::Said(said)) => said,
        other => panic!("{event}: {other:?}"),
    };
    let failed = json!({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "slow"}}});
    assert_eq!(said(failed).code.as_deref(), Some("rate_limit_exceeded"));
    let error = json!({"type": "error", "code": "server_error", "message": "no", "param": null, "sequence_number": 1});
    assert_eq!(said(error).message, "no");
    let nested = json!({"type": "error", "error": {"type": "invalid_request_error", "code": "x", "message": "deep"}});
    assert_eq!(said(nested).message, "deep");
    assert!(!said(json!({"type": "response.failed"})).message.is_empty());
    for data in ["nonsense", "[]", "{\"type\":\"response.completed\"}"] {
        assert!(
            matches!(
                read(&format!("data: {data}\n\n")),
                Err(Broken::NotAnAnswer(_))
            ),
            "{data}"
        );
    }
    assert_eq!(
        read("data: {\"type\":\"response.new.kind\"}\n\ndata: [DONE]\n\n"),
        Ok(vec![])
    );
}
