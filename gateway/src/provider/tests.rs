use super::answer::Answer;
use super::failure::{Class, Failure, ProviderError, classify, retry_after};
use super::guard::{PrivateEndpoints, is_public};
use super::keys::ApiKey;
use super::redact::redact;
use oarmaster_dialect::sse::{Event, Parser};
use oarmaster_store::Billing;
use proptest::prelude::*;
use serde_json::{Value, json};
use static_assertions::assert_not_impl_any;

// It leaves as a header or a signature, and in no other way.
assert_not_impl_any!(ApiKey: Clone, std::fmt::Display, serde::Serialize, AsRef<str>, AsRef<[u8]>);

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut parser = Parser::default();
    pieces
        .iter()
        .flat_map(|piece| parser.push(piece).unwrap())
        .collect()
}

#[test]
fn events_follow_the_grammar() {
    let text = "\u{feff}: comment\r\ndata: one\r\ndata:two\r\n\r\nevent: error\rdata: {}\r\rid: 7\nretry: 1\ndata\n\nevent: none\n\ndata: cut off";
    let found: Vec<(String, String)> = events(&[text.as_bytes()])
        .into_iter()
        .map(|event| (event.name, String::from_utf8(event.data).unwrap()))
        .collect();
    let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
    assert_eq!(
        found,
        [pair("", "one\ntwo"), pair("error", "{}"), pair("", "")]
    );
}

#[test]
fn what_is_not_utf_8_passes() {
    let found = events(&[b"event: \xff\ndata: a\xe2", b"\x82\n", b"data: \xac\n\n"]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "\u{fffd}");
    assert_eq!(found[0].data, b"a\xe2\x82\n\xac");
}

#[test]
fn an_answer_is_repaired_and_says_so() {
    let body = |content: &str| {
        [
            br#"{"model":"m","choices":[{"message":{"role":"assistant","content":""#.as_slice(),
            content.as_bytes(),
            br#""},"finish_reason":"stop"}]}"#,
        ]
        .concat()
    };
    for (bytes, content, replaced) in [
        (body("plain"), "plain", 0),
        (body(r"a\ud800b"), "a\u{fffd}b", 1),
        (body(r"\ud83d\ude00\udc00"), "😀\u{fffd}", 1),
        (
            body("X")
                .iter()
                .map(|byte| if *byte == b'X' { 0xff } else { *byte })
                .collect(),
            "\u{fffd}",
            1,
        ),
    ] {
        let answer = Answer::read(&oarmaster_protocol::text::json(&bytes), "asked").unwrap();
        assert_eq!(
            (answer.message["content"].as_str(), answer.replaced),
            (Some(content), replaced)
        );
    }
}

/// The reason of a refusal counts, also when it quotes half a character.
#[test]
fn an_error_is_read_whatever_text_it_has() {
    let body = br#"{"error": {"code": "insufficient_quota", "message": "for \ud83d: none left"}}"#;
    let failure = Failure::from_answer(429, None, &ProviderError::read(body), None);
    assert_eq!(
        (failure.class, failure.billing),
        (Class::Quota, Billing::Unbilled)
    );
    assert_eq!(failure.message, "status 429: for \u{fffd}: none left");
}

#[test]
fn a_success_with_an_error_is_one() {
    for (body, error) in [
        (r#"{"error": {"code": "x"}}"#, true),
        (r#" {"choices": [], "error": "no"}"#, true),
        (r#"{"error": false}"#, true),
        (r#"{"error": null, "choices": []}"#, false),
        (r#"{"choices": [{"message": {"error": "x"}}]}"#, false),
        (r#"{"choices": []}"#, false),
        (r#"["error"]"#, false),
        (r#""error""#, false),
        (r#"{"error": "cut off"#, false),
        ("", false),
    ] {
        assert_eq!(ProviderError::in_success(body), error, "{body}");
    }
}

#[test]
fn of_several_choices_the_first_is_read() {
    let read = |choices: serde_json::Value| {
        let body = json!({"model": "m", "choices": choices}).to_string();
        Answer::read(&oarmaster_protocol::text::json(body.as_bytes()), "asked")
    };
    let choice = |text: &str| json!({"message": {"content": text}, "finish_reason": "length"});
    for rest in [json!([]), json!([choice("b")]), json!([7, null])] {
        let mut choices = vec![choice("a")];
        choices.extend(rest.as_array().unwrap().clone());
        let answer = read(json!(choices)).unwrap();
        assert_eq!(answer.message, json!({"content": "a"}));
        assert_eq!(answer.finish_reason, "length");
    }
    for (choices, why) in [
        (json!([]), "the answer has no choice"),
        (json!([{}]), "the answer has no message"),
        (json!({}), "the answer is not a chat completion"),
        (json!(null), "the answer is not a chat completion"),
    ] {
        assert_eq!(read(choices).unwrap_err().message, why);
    }
}

proptest! {
    #[test]
    fn the_same_events_come_out_wherever_the_bytes_are_cut(
        lines in proptest::collection::vec(prop_oneof![
            "data: [a-zé€😀 :]{0,8}", "data:[a-z]{0,3}", "event: [a-z]{0,4}", ": [a-z]{0,4}", Just(String::new()),
        ], 0..24),
        ends in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 24),
        cuts in proptest::collection::vec(0usize..400, 0..12),
    ) {
        let text: String = lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_str(), end]).collect();
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(events(&pieces), events(&[bytes]));
    }

    #[test]
    fn no_key_survives_the_redactor(
        key in "(sk-)?[A-Za-z0-9_-]{8,60}", before in ".{0,40}", after in ".{0,40}",
        from in 0usize..60, length in 8usize..60,
    ) {
        let api_key = ApiKey::new(key.as_bytes(), "1").unwrap();
        let from = from.min(key.len() - 8);
        let part = &key[from..(from + length).min(key.len())];
        let clean = redact(&format!("{before} {key} {part} {after}"), Some(&api_key));
        prop_assert!(!clean.contains(&key), "{clean}");
        // What stands before and after may have the part by chance of the generator only when it is in there as it is.
        prop_assert!(clean.contains("[redacted]") || clean.len() >= 512, "{clean}");
        prop_assert!(before.contains(part) || after.contains(part) || !clean.contains(part), "{clean}");
    }

    #[test]
    fn error_bodies_of_any_kind_are_read(body in proptest::collection::vec(any::<u8>(), 0..200), status in 300u16..600) {
        let failure = Failure::from_answer(status, None, &ProviderError::read(&body), None);
        prop_assert!(failure.message.chars().count() <= 600);
    }
}

#[test]
fn keys_are_recognised_without_being_known() {
    for text in [
        "Incorrect API key provided: sk-abc***********xyz1",
        "key=AIzaSyA-1234567890",
        "token 'gsk_0123456789'",
        "0123456789012345678901234567890123456789",
    ] {
        let clean = redact(text, None);
        assert!(clean.contains("[redacted]"), "{clean}");
    }
    let plain = "model 'gpt-4o-mini' takes at most 128000 tokens, task-runner asked for 200000";
    assert_eq!(redact(plain, None), plain);
    assert_eq!(redact("a\u{1b}[31mb\nc", None), "a [31mb c");
}

#[test]
fn classes_come_from_the_code_first() {
    for (status, body, class) in [
        (
            429,
            json!({"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}),
            Class::Quota,
        ),
        (
            400,
            json!({"error": {"message": "Your credit balance is too low"}}),
            Class::Quota,
        ),
        (402, json!({}), Class::Quota),
        (
            429,
            json!({"error": {"type": "rate_limit_error", "message": "slow"}}),
            Class::RateLimit,
        ),
        (429, json!("Too Many Requests"), Class::RateLimit),
        (
            400,
            json!({"error": {"code": "context_length_exceeded", "message": "x"}}),
            Class::ContextLength,
        ),
        (
            400,
            json!({"error": {"message": "This model's maximum context length is 8192 tokens"}}),
            Class::ContextLength,
        ),
        (
            400,
            json!([{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]),
            Class::Credential,
        ),
        (401, json!({"detail": "no"}), Class::Credential),
        (403, json!({}), Class::Credential),
        (
            404,
            json!({"error": "model 'x' not found"}),
            Class::ModelGone,
        ),
        (
            400,
            json!({"error": {"code": "model_decommissioned", "message": "x"}}),
            Class::ModelGone,
        ),
        (410, json!({}), Class::ModelGone),
        (
            400,
            json!({"error": {"message": "temperature must be below 2"}}),
            Class::CallerFault,
        ),
        (413, json!({}), Class::CallerFault),
        (
            422,
            json!({"detail": [{"loc": ["body"]}]}),
            Class::CallerFault,
        ),
        (408, json!({}), Class::Transient),
        (500, json!({"error": {"message": "oops"}}), Class::Transient),
        (
            529,
            json!({"error": {"type": "overloaded_error", "message": "Overloaded"}}),
            Class::Transient,
        ),
    ] {
        assert_eq!(
            classify(status, &ProviderError::read(body.to_string().as_bytes())),
            class,
            "{status} {body}"
        );
    }
    for class in [
        Class::Credential,
        Class::Quota,
        Class::RateLimit,
        Class::ModelGone,
        Class::ContextLength,
        Class::CallerFault,
        Class::Transient,
    ] {
        assert_eq!(Class::from_name(class.as_str()), Some(class));
    }
}

#[test]
fn only_refusals_are_known_to_be_unbilled() {
    let billing = |status, body: &str| {
        let error = ProviderError::read(body.as_bytes());
        Failure::from_answer(status, None, &error, None).billing
    };
    let reason = r#"{"error": {"message": "x"}}"#;
    for status in [400, 401, 404, 422, 429, 503, 529] {
        assert_eq!(billing(status, reason), Billing::Unbilled, "{status}");
    }
    for (status, body) in [
        (500, reason),
        (502, reason),
        (504, reason),
        (503, "<html>"),
        (400, "<html>"),
    ] {
        assert_eq!(billing(status, body), Billing::Unknown, "{status} {body}");
    }
}

#[test]
fn retry_after_is_bounded() {
    let read = |value: &'static str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("retry-after", http::HeaderValue::from_static(value));
        retry_after(&headers).map(|wait| wait.as_secs())
    };
    assert_eq!(
        [
            read("7"),
            read("1000000000"),
            read("0"),
            read("-1"),
            read("Wed, 21 Oct 2015 07:28:00 GMT")
        ],
        [Some(7), Some(3600), None, None, None]
    );
}

#[test]
fn a_wait_in_milliseconds_comes_first() {
    for (ms, seconds, wait) in [
        ("1500", "2", Some(1500)),
        ("1500", "", Some(1500)),
        ("0", "2", Some(2000)),
        ("soon", "2", Some(2000)),
        ("99999999999", "2", Some(3_600_000)),
        ("-1", "", None),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert("retry-after-ms", ms.parse().unwrap());
        headers.insert("retry-after", seconds.parse().unwrap());
        let read = retry_after(&headers).map(|wait| wait.as_millis());
        assert_eq!(read, wait, "{ms} and {seconds}");
    }
}

#[test]
fn private_addresses_need_to_be_listed() {
    for address in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:0a00:0001::",
        "2001::1",
        "::10.0.0.1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    for address in [
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "64:ff9b::1.1.1.1",
        "::ffff:1.1.1.1",
        "2001:4860:4860::8888",
    ] {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
    let list = PrivateEndpoints::parse(&[
        "10.1.0.0/16".into(),
        "192.168.0.7".into(),
        "Ollama.team.svc".into(),
        String::new(),
    ])
    .unwrap();
    let check = |host: &str, address: &str| list.check(host, address.parse().unwrap()).is_ok();
    assert!(check("x", "10.1.2.3") && check("x", "::ffff:10.1.2.3") && check("x", "192.168.0.7"));
    assert!(
        check("ollama.team.svc.", "10.96.0.9")
            && !check("evil.ollama.team.svc", "10.96.0.9")
            && !check("x", "10.2.0.1")
    );
    assert!(PrivateEndpoints::parse(&["http://x/".into()]).is_err());
    let literal = |url: &str| list.check_literal(&url.parse().unwrap()).is_ok();
    // Every spelling of an address is an address.
    assert!(
        !literal("http://2130706433/")
            && !literal("http://0x7f.1/")
            && !literal("http://[::ffff:127.0.0.1]/")
            && !literal("http://127.1/")
    );
}

#[test]
fn keys_are_one_line_of_ascii() {
    for (bytes, fits) in [
        (&b"abc"[..], true),
        (b"abc\n", true),
        (b"abc\r\n", true),
        (b"", false),
        (b"\n", false),
        (b"a\nb", false),
        (b"abc\n\n", false),
        (b"a b", false),
        (b"\xff", false),
        ("é".as_bytes(), false),
    ] {
        assert_eq!(ApiKey::new(bytes, "1").is_ok(), fits, "{bytes:?}");
    }
    let key = ApiKey::new(b"secret-value", "1").unwrap();
    assert!(!format!("{key:?}").contains("secret"));
    assert!(!format!("{:?}", key.bearer().unwrap()).contains("secret"));
}

/// Who says that a request is wrong repeats what is wrong of it, and that is the caller's to choose.
#[test]
fn a_caller_cannot_have_a_key_or_a_model_taken_out_by_what_it_says() {
    let class =
        |status, body: Value| classify(status, &ProviderError::read(body.to_string().as_bytes()));
    let said = |text: &str| json!({"error": {"message": text, "type": "invalid_request_error", "code": "invalid_value"}});
    for word in [
        "invalid_api_key",
        "incorrect api key",
        "insufficient_quota",
        "credit balance",
        "unknown model",
        "decommissioned",
        "rate_limit_exceeded",
    ] {
        let text = format!("Invalid value: '{word}'. Supported values are: 'low' and 'high'.");
        for status in [400, 413, 422] {
            assert_eq!(class(status, said(&text)), Class::CallerFault, "{text}");
        }
        assert_eq!(class(500, said(&text)), Class::Transient, "{text}");
        let within = json!({"error": {"message": text, "code": 400}}).to_string();
        let failure = Failure::sent_as_success(&ProviderError::read(within.as_bytes()), None);
        assert_eq!(failure.class, Class::Transient, "{text}");
    }
    for (status, text, expected) in [
        (
            400,
            "API key not valid. Please pass a valid API key.",
            Class::Credential,
        ),
        (400, "Incorrect API key provided: xa***", Class::Credential),
        (
            400,
            "Your credit balance is too low to access the API.",
            Class::Quota,
        ),
        (401, "No such thing: invalid_api_key", Class::Credential),
        (429, "You hit it: insufficient_quota", Class::Quota),
        (
            403,
            "Your chosen model requires moderation and your input was flagged",
            Class::CallerFault,
        ),
        (403, "This key may not do that", Class::Credential),
        (
            403,
            "account_deactivated: your account was flagged",
            Class::Credential,
        ),
        (
            400,
            r#"litellm.BadRequestError: AnthropicException - {"type":"error","error":{"message":"Your credit balance is too low"}}"#,
            Class::Quota,
        ),
        (
            400,
            r#"litellm.BadRequestError: OpenAIException - Invalid value: '"message":"invalid api key'"#,
            Class::CallerFault,
        ),
    ] {
        assert_eq!(class(status, said(text)), expected, "{text}");
    }
    let coded = json!({"error": {"message": "no", "code": "invalid_api_key"}});
    assert_eq!(class(400, coded), Class::Credential);
}

#[test]
fn an_answer_that_was_made_and_then_refused_may_be_billed() {
    for body in [
        json!({"error": {"message": "filtered", "code": "content_filter"}}),
        json!({"error": {"message": "Failed to call a function", "code": "tool_use_failed", "failed_generation": "x"}}),
        json!({"error": {"message": "Output blocked by content filtering policy", "type": "invalid_request_error"}}),
    ] {
        let error = ProviderError::read(body.to_string().as_bytes());
        let failure = Failure::from_answer(400, None, &error, None);
        assert_eq!(failure.billing, Billing::Unknown, "{body}");
    }
}
