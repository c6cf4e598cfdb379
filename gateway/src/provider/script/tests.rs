//! Scripts as calls see them: everything that they say goes through the code that reads a provider's server.

use crate::error::ApiFailure;
use crate::provider::Asked;
use crate::provider::failure::{Class, Failure};
use crate::provider::http::{Http, Waits};
use crate::provider::script::Script;
use crate::provider::stream::AnswerStream;
use crate::provider::whole::{Reply, Whole};
use crate::request::Request;
use crate::surface::Surface;
use bytes::Bytes;
use oarmaster_store::Billing;
use serde_json::{Value, json};
use std::time::Duration;

/// A provider that answers by these rules, and waits for nothing longer than a moment.
fn provider(rules: &Value) -> Result<Http, String> {
    let script = Script::compile(&serde_json::from_value(json!({ "rules": rules })).unwrap())?;
    let wait = Duration::from_millis(200);
    let waits = Waits {
        connect: wait,
        first_token: wait,
        idle: wait,
        response: wait,
    };
    Ok(Http::scripted(script, waits))
}

fn request(messages: &Value, stream: bool) -> Request {
    let body = json!({"model": "p", "messages": messages, "max_tokens": 9, "stream": stream, "stream_options": {"include_usage": true}});
    let mut request = Request::parse(Surface::Chat, body.to_string().as_bytes()).unwrap();
    request.id = "7f-1".to_owned();
    request
}

async fn whole(rules: &Value, messages: &Value) -> Result<Whole, Failure> {
    let request = request(messages, false);
    let sent = Script::WIRE.say(&request, "m", 9, false).unwrap();
    let asked = Asked {
        request: &request,
        sent: &sent,
        model: "m",
        key: None,
    };
    let provider = provider(rules).unwrap();
    provider.complete(&asked, sent.bodies[0].clone()).await
}

/// What a stream gave before its end, what it counted, and how it failed.
async fn streamed(rules: &Value, messages: &Value) -> (String, Option<u64>, Option<Failure>) {
    let request = request(messages, true);
    let sent = Script::WIRE.say(&request, "m", 9, false).unwrap();
    let asked = Asked {
        request: &request,
        sent: &sent,
        model: "m",
        key: None,
    };
    let provider = provider(rules).unwrap();
    let source = match provider.stream(&asked, sent.bodies[0].clone()).await {
        Ok(source) => source,
        Err(failure) => return (String::new(), None, Some(failure)),
    };
    let mut stream = AnswerStream::new(&asked, source);
    let mut text = Vec::new();
    let failure = loop {
        match stream.next().await {
            Ok(Some(piece)) => text.extend(piece.bytes),
            Ok(None) => break None,
            Err(failure) => break Some(failure),
        }
    };
    text.extend(match &failure {
        None => stream.end(),
        Some(failure) => stream.fail(&ApiFailure::invalid(failure.message.clone()), "7f-1"),
    });
    let output = stream.usage().map(|usage| usage.output);
    (String::from_utf8(text).unwrap(), output, failure)
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[tokio::test]
async fn the_first_rule_that_holds_answers() {
    let rules = json!([
        {"when": {"tool": "Shell", "last": "FAILED"}, "reply": {"text": "red"}},
        {"when": {"turn": 1}, "reply": {"text": "second: ${last}"}},
        {"when": {"prompt": "bug"}, "reply": {"toolCalls": [{"name": "Shell", "arguments": {"command": "ls"}}, {"name": "X", "rawArguments": "{broken"}]}},
    ]);
    let user_says = json!({"role": "user", "content": [{"type": "text", "text": "a bug"}]});
    let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "Shell", "arguments": "{}"}}]});
    let result = |text: &str| json!({"role": "tool", "tool_call_id": "c1", "content": text});

    let first = json!([{"role": "system", "content": "s"}, user_says]);
    let first = whole(&rules, &first).await.unwrap().answer;
    assert_eq!(first.finish_reason, "tool_calls");
    let arguments = |at: usize| first.message["tool_calls"][at]["function"]["arguments"].clone();
    assert_eq!(arguments(0), r#"{"command":"ls"}"#);
    assert_eq!(arguments(1), "{broken");
    let usage = first.usage.as_ref().unwrap();
    assert!(usage.input > 10 && usage.output > 10);
    for (last, said) in [("2 FAILED", "red"), ("ok", "second: ok")] {
        let messages = json!([user_says, call, result(last)]);
        let answer = whole(&rules, &messages).await.unwrap().answer;
        assert_eq!(answer.message["content"], said);
    }
    let none = whole(&rules, &user("hello")).await.unwrap_err();
    assert!(
        none.message
            .contains("no rule of the script holds for turn 0"),
        "{none:?}"
    );
    assert_eq!(
        (none.class, none.billing),
        (Class::CallerFault, Billing::Unbilled)
    );
}

#[test]
fn bad_scripts_are_not_used() {
    for bad in ["(", "(a{1000}){1000}"] {
        let rules =
            json!([{"reply": {"text": "x"}}, {"when": {"last": bad}, "reply": {"text": "x"}}]);
        let problem = provider(&rules).unwrap_err();
        assert!(
            problem.contains("script.rules[1]: when.last") && problem.contains("usable"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn an_answer_has_a_length_whatever_the_last_message_has() {
    let rules = json!([{"reply": {"text": "${last}".repeat(1000)}}]);
    let said = |length: usize| json!([{"role": "user", "content": "x".repeat(length)}]);
    let answer = whole(&rules, &said(100)).await.unwrap();
    assert_eq!(
        answer.answer.message["content"].as_str().unwrap().len(),
        100_000
    );
    let failure = whole(&rules, &said(60_000)).await.unwrap_err();
    assert!(
        failure.message.contains("longer than 256 KiB"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_streamed_script_is_the_same_answer() {
    let text = "a text of more than one chunk, é€😀";
    let rules = json!([{"reply": {"text": text, "toolCalls": [{"name": "Shell", "arguments": {"command": "a long command line"}}]}}]);
    let (heard, output, failure) = streamed(&rules, &user("x")).await;
    assert_eq!(failure, None);
    assert!(output.is_some_and(|output| output > 10));
    let data: Vec<&str> = heard
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .collect();
    assert_eq!(data.last(), Some(&"[DONE]"));
    let parsed: Vec<Value> = data[..data.len() - 1]
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let join = |pointer: &str| {
        parsed
            .iter()
            .filter_map(|chunk| chunk.pointer(pointer)?.as_str())
            .collect::<String>()
    };
    assert_eq!(join("/choices/0/delta/content"), text);
    assert_eq!(
        join("/choices/0/delta/tool_calls/0/function/arguments"),
        r#"{"command":"a long command line"}"#
    );
    assert!(parsed.len() > 6);
}

/// What becomes of a fault: the text that a whole answer's failure has, and that a stream's has; nothing where it is answered all the same.
struct Case(Value, Option<&'static str>, Option<&'static str>);

fn cases() -> Vec<Case> {
    let error = |status: u16, code: &str| json!({"status": status, "code": code, "message": "no"});
    vec![
        Case(
            error(401, ""),
            Some("status 401: no"),
            Some("status 401: no"),
        ),
        Case(
            error(404, "model_not_found"),
            Some("status 404: no"),
            Some("status 404: no"),
        ),
        Case(
            error(413, ""),
            Some("status 413: no"),
            Some("status 413: no"),
        ),
        Case(
            error(529, "overloaded"),
            Some("status 529: no"),
            Some("status 529: no"),
        ),
        Case(
            json!({}),
            Some("status 500: a scripted fault"),
            Some("status 500: a scripted fault"),
        ),
        Case(
            json!({"kind": "Page"}),
            Some("not of type application/json"),
            Some("not of type text/event-stream"),
        ),
        Case(
            json!({"kind": "Page", "status": 502}),
            Some("status 502: no message"),
            Some("status 502: no message"),
        ),
        Case(
            json!({"kind": "Empty"}),
            Some("not a chat completion"),
            Some("ended before the answer did"),
        ),
        Case(
            json!({"kind": "Empty", "status": 204}),
            Some("not a chat completion"),
            Some("ended before the answer did"),
        ),
        Case(
            json!({"kind": "Empty", "status": 503}),
            Some("status 503"),
            Some("status 503"),
        ),
        Case(
            json!({"kind": "ErrorInSuccess"}),
            Some("status 200 with an error"),
            Some("status 200 with an error"),
        ),
        Case(
            json!({"kind": "ErrorInStream"}),
            Some("status 200 with an error"),
            Some("status 200 with an error"),
        ),
        Case(
            json!({"kind": "Silent"}),
            Some("no answer within"),
            Some("no answer within"),
        ),
        Case(
            json!({"kind": "Stall"}),
            Some("no answer within"),
            Some("nothing came in time"),
        ),
        Case(
            json!({"kind": "Stall", "after": 0}),
            Some("no answer within"),
            Some("nothing came in time"),
        ),
        Case(
            json!({"kind": "Cut"}),
            Some("the answer broke off"),
            Some("the stream broke"),
        ),
        Case(
            json!({"kind": "Unended"}),
            Some("not a chat completion"),
            Some("ended before the answer did"),
        ),
        Case(
            json!({"kind": "WrongType"}),
            Some("not of type application/json"),
            Some("not of type text/event-stream"),
        ),
        Case(
            json!({"kind": "MoreAfterEnd"}),
            Some("not a chat completion"),
            None,
        ),
        Case(
            json!({"kind": "Endless"}),
            Some("larger than 8192 KiB"),
            Some("larger than 8 MiB"),
        ),
        Case(json!({"kind": "NoUsage"}), None, None),
        Case(json!({"kind": "LateUsage"}), None, None),
        Case(json!({"kind": "RepeatedUsage"}), None, None),
        Case(json!({"kind": "NegativeUsage"}), None, None),
        Case(json!({"kind": "HugeUsage"}), None, None),
    ]
}

fn rule(fault: &Value) -> Value {
    let mut reply = json!({"fault": fault, "usage": {"inputTokens": 7, "outputTokens": 3}});
    let kind = fault["kind"].as_str().unwrap_or("Error");
    let silent = [
        "Error",
        "Page",
        "Empty",
        "ErrorInSuccess",
        "Silent",
        "Endless",
    ];
    if !silent.contains(&kind) {
        reply["text"] = json!("an answer that is longer than one chunk");
    }
    json!([{ "reply": reply }])
}

fn check(fault: &Value, failure: Option<&Failure>, expected: Option<&str>) {
    let message = failure.map(|failure| failure.message.as_str());
    match (message, expected) {
        (None, None) => {}
        (Some(message), Some(part)) => assert!(message.contains(part), "{fault}: {message}"),
        other => panic!("{fault}: {other:?}"),
    }
}

#[tokio::test]
async fn every_fault_is_read_as_a_servers_would_be() {
    for Case(fault, body, stream) in cases() {
        let found = whole(&rule(&fault), &user("x")).await;
        check(&fault, found.as_ref().err(), body);
        let (heard, _, failure) = streamed(&rule(&fault), &user("x")).await;
        check(&fault, failure.as_ref(), stream);
        let ends = heard.matches("data: [DONE]").count();
        assert_eq!(ends, usize::from(failure.is_none()), "{fault}: {heard}");
    }
}

/// What is not said, or cannot be believed, is nothing: the call is then booked at its reservation.
#[tokio::test]
async fn usage_counts_where_it_can_be_believed() {
    for (kind, body, stream) in [
        ("NoUsage", None, None),
        ("LateUsage", None, None),
        ("RepeatedUsage", Some(3), Some(3)),
        ("NegativeUsage", None, None),
        ("HugeUsage", None, None),
    ] {
        let rules = rule(&json!({ "kind": kind }));
        let found = whole(&rules, &user("x")).await.unwrap();
        let Reply::Body(bytes) = &found.reply else {
            panic!("{kind}");
        };
        assert!(bytes.len() > 10);
        let output = found.answer.usage.map(|usage| usage.output);
        assert_eq!(output, body, "{kind}");
        let (_, output, _) = streamed(&rules, &user("x")).await;
        assert_eq!(output, stream, "{kind}");
    }
}

#[tokio::test]
async fn waits_that_are_asked_for_are_believed_within_reason() {
    for (wait, believed) in [
        ("7", Some(7)),
        ("0", None),
        ("-1", None),
        ("1000000000", Some(3600)),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("soon", None),
    ] {
        let fault = json!({"status": 429, "retryAfter": wait});
        let failure = whole(&rule(&fault), &user("x")).await.unwrap_err();
        assert_eq!(failure.class, Class::RateLimit);
        assert_eq!(
            failure.retry_after,
            believed.map(Duration::from_secs),
            "{wait}"
        );
    }
}

/// A fault costs what it would cost at a provider.
#[tokio::test]
async fn faults_are_billed_as_a_servers_would_be() {
    for (fault, billing) in [
        (json!({"status": 500}), Billing::Unknown),
        (json!({"status": 503}), Billing::Unbilled),
        (json!({"kind": "ErrorInSuccess"}), Billing::Unknown),
        (json!({"kind": "Cut"}), Billing::Unknown),
    ] {
        let failure = whole(&rule(&fault), &user("x")).await.unwrap_err();
        assert_eq!(failure.billing, billing, "{fault}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused() {
    let request = request(&user("x"), false);
    let sent = Script::WIRE.say(&request, "m", 9, false).unwrap();
    let asked = Asked {
        request: &request,
        sent: &sent,
        model: "m",
        key: None,
    };
    let provider = provider(&json!([{"reply": {"text": "x"}}])).unwrap();
    let failure = provider.complete(&asked, Bytes::from_static(b"[")).await;
    assert_eq!(failure.unwrap_err().class, Class::CallerFault);
}
