use super::{least, parse, with};
use crate::error::ApiFailure;
use crate::identity::api_key;
use crate::provider::wire::{Embedder, Unfit, Wire};
use crate::surface::messages::estimate;
use crate::surface::{Surface, frame};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use oarmaster_dialect::chat::Flavour;
use oarmaster_dialect::messages::read_count_request;
use oarmaster_prices::{Mode, Table, Vendor};
use oarmaster_protocol::task::ErrorCode;
use serde_json::{Value, json};

#[test]
fn what_the_gateway_must_know_is_read() {
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    let tools = json!([{"type": "function", "name": "f"}]);
    for (surface, body, stream, usage, limit, items) in [
        (
            Surface::Chat,
            json!({"model": "p", "messages": messages, "stream": true, "max_completion_tokens": 7, "tools": tools}),
            true,
            false,
            Some(7),
            2,
        ),
        (
            Surface::Messages,
            json!({"model": "p", "messages": messages, "max_tokens": 8, "stream": true, "tools": tools}),
            true,
            true,
            Some(8),
            2,
        ),
        // It fills a cache.
        (
            Surface::Messages,
            json!({"model": "p", "messages": messages, "max_tokens": 0}),
            false,
            true,
            Some(0),
            2,
        ),
        (
            Surface::CountTokens,
            json!({"model": "p", "messages": messages, "stream": "x", "max_tokens": "x"}),
            false,
            true,
            None,
            2,
        ),
        (
            Surface::Responses,
            json!({"model": "p", "input": messages, "max_output_tokens": 9, "background": false, "tools": tools}),
            false,
            true,
            Some(9),
            2,
        ),
        (
            Surface::Responses,
            json!({"model": "p", "input": "a", "stream": true}),
            true,
            true,
            None,
            1,
        ),
        (
            Surface::Responses,
            json!({"model": "p", "prompt": {"id": "x"}}),
            false,
            true,
            None,
            0,
        ),
        (
            Surface::Embeddings,
            json!({"model": "p", "input": "a", "max_tokens": 5}),
            false,
            false,
            None,
            1,
        ),
        (
            Surface::Embeddings,
            json!({"model": "p", "input": ["a", "b", "c"]}),
            false,
            false,
            None,
            3,
        ),
        (
            Surface::Embeddings,
            json!({"model": "p", "input": [1, 2, 3]}),
            false,
            false,
            None,
            1,
        ),
        (
            Surface::Embeddings,
            json!({"model": "p", "input": [[1, 2], [3]]}),
            false,
            false,
            None,
            2,
        ),
    ] {
        let read = parse(surface, &body).unwrap();
        assert_eq!(
            (
                read.stream,
                read.include_usage,
                read.max_output,
                read.items,
                read.choices
            ),
            (stream, usage, limit, items, 1),
            "{surface:?} {body}"
        );
    }
}

#[test]
fn wrong_requests_are_refused_by_the_name_of_the_field() {
    for (surface, body, words) in [
        (
            Surface::Chat,
            json!({"model": "p", "input": "a"}),
            "field messages is missing",
        ),
        (
            Surface::Messages,
            json!({"model": "p", "messages": []}),
            "field messages is empty",
        ),
        (
            Surface::Messages,
            json!({"model": "p", "messages": "a"}),
            "field messages is not a list",
        ),
        (
            Surface::Messages,
            with(Surface::Messages, "max_tokens", &json!(-1)),
            "field max_tokens is not a whole number of at least 0",
        ),
        (
            Surface::Messages,
            with(Surface::Messages, "stream", &json!(1)),
            "field stream is not true or false",
        ),
        (
            Surface::CountTokens,
            json!({"model": "p"}),
            "field messages is missing",
        ),
        (
            Surface::Responses,
            json!({"model": "p"}),
            "field input is missing",
        ),
        (
            Surface::Responses,
            json!({"model": "p", "input": {}}),
            "field input is not a string or a list of items",
        ),
        (
            Surface::Responses,
            with(Surface::Responses, "max_output_tokens", &json!(0)),
            "field max_output_tokens is not a whole number of at least 1",
        ),
        (
            Surface::Embeddings,
            json!({"model": "p", "input": []}),
            "field input is empty",
        ),
        (
            Surface::Embeddings,
            json!({"model": "p", "input": {}}),
            "field input is not a text",
        ),
        (
            Surface::Embeddings,
            json!({"input": "a"}),
            "field model is missing: name a pool",
        ),
    ] {
        let error = parse(surface, &body).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert!(
            error.message.contains(words),
            "{surface:?} {body}: {}",
            error.message
        );
    }
}

#[test]
fn no_caller_says_where_a_request_goes() {
    for surface in Surface::ALL {
        for name in [
            "api_base",
            "api_key",
            "extra_headers",
            "fallbacks",
            "organization",
        ] {
            let error = parse(surface, &with(surface, name, &json!("x"))).unwrap_err();
            assert!(
                error.message.contains("is not the caller's to set"),
                "{surface:?} {name}"
            );
        }
    }
}

#[test]
fn what_only_a_store_of_responses_could_answer_says_what_to_do_instead() {
    for (name, value, words) in [
        (
            "previous_response_id",
            json!("resp_1"),
            "send the whole conversation in input",
        ),
        (
            "conversation",
            json!({"id": "c"}),
            "send the whole conversation in input",
        ),
        ("background", json!(true), "set stream"),
        (
            "input",
            json!([{"role": "user", "content": "a"}, {"type": "item_reference", "id": "x"}]),
            "input[1] refers to an item",
        ),
    ] {
        let error = parse(Surface::Responses, &with(Surface::Responses, name, &value)).unwrap_err();
        assert!(error.message.contains(words), "{name}: {}", error.message);
    }
    // Words that look like one.
    for text in ["\"item_reference\"", "item_reference"] {
        let input = json!([{"role": "user", "content": text}]);
        assert!(
            parse(
                Surface::Responses,
                &with(Surface::Responses, "input", &input)
            )
            .is_ok()
        );
    }
}

#[test]
fn each_vendor_is_called_in_its_best_words() {
    let row = |mode: Mode| {
        let rows = Table::builtin().rows().iter();
        let mut rows = rows.filter(|row| row.vendor == Vendor::OpenAi && row.mode == mode);
        rows.next().unwrap()
    };
    let (chats, embeds, responds) = (row(Mode::Chat), row(Mode::Embedding), row(Mode::Responses));
    let is_responses = |wire| matches!(wire, Wire::Responses { .. });
    let openai = Wire::Chat(Flavour::OpenAi);
    for surface in [Surface::Chat, Surface::Messages, Surface::Responses] {
        for wire in [
            Wire::Chat(Flavour::Groq),
            Wire::Chat(Flavour::Azure),
            Wire::Messages,
            Wire::Gemini,
            Wire::Cohere,
            Wire::Converse,
        ] {
            assert_eq!(wire.for_call(surface, None).unwrap(), wire, "{surface:?}");
        }
        let own = openai.for_call(surface, Some(chats)).unwrap();
        assert_eq!(
            is_responses(own),
            surface == Surface::Responses,
            "{surface:?}"
        );
        // A model with one path alone is called by it.
        let azure = Wire::Chat(Flavour::Azure);
        for wire in [openai, azure] {
            assert!(is_responses(
                wire.for_call(surface, Some(responds)).unwrap()
            ));
        }
        assert_eq!(azure.for_call(surface, Some(chats)).unwrap(), azure);
        let Err(Unfit::Unsupported(why)) = openai.for_call(surface, Some(embeds)) else {
            panic!("{surface:?}");
        };
        assert!(why.contains("makes embeddings"), "{why}");
    }
    let embedder = |wire: Wire, row| match wire.for_call(Surface::Embeddings, row) {
        Ok(Wire::Embeddings(embedder)) => Ok(embedder),
        Ok(other) => panic!("{other:?}"),
        Err(Unfit::Unsupported(why)) => Err(why),
        Err(Unfit::Invalid(error)) => panic!("{error}"),
    };
    for flavour in [
        Flavour::OpenAi,
        Flavour::Azure,
        Flavour::Mistral,
        Flavour::Compatible,
    ] {
        assert_eq!(
            embedder(Wire::Chat(flavour), None),
            Ok(Embedder::OpenAi(flavour))
        );
    }
    assert_eq!(embedder(Wire::Gemini, None), Ok(Embedder::Gemini));
    assert_eq!(embedder(Wire::Cohere, None), Ok(Embedder::Cohere));
    assert_eq!(
        embedder(openai, Some(embeds)),
        Ok(Embedder::OpenAi(Flavour::OpenAi))
    );
    for (wire, row) in [
        (Wire::Messages, None),
        (Wire::Converse, None),
        (Wire::Chat(Flavour::Groq), None),
        (Wire::Chat(Flavour::OpenRouter), None),
        (openai, Some(chats)),
        (openai, Some(responds)),
    ] {
        assert!(
            embedder(wire, row).unwrap_err().contains("no embeddings"),
            "{wire:?}"
        );
    }
}

#[test]
fn counts_are_asked_of_anthropic_alone() {
    let request = parse(Surface::CountTokens, &least(Surface::CountTokens)).unwrap();
    for (wire, bodies) in [
        (Wire::Messages, 1),
        (Wire::Chat(Flavour::OpenAi), 0),
        (Wire::Gemini, 0),
    ] {
        let sent = wire.say(&request, "m", 0, false).unwrap();
        assert_eq!(sent.bodies.len(), bodies, "{wire:?}");
    }
}

#[test]
fn an_estimate_grows_with_what_is_said() {
    let count = |body: Value| estimate(&read_count_request(body.to_string().as_bytes()).unwrap());
    let said = |content: Value| {
        count(json!({"model": "p", "messages": [{"role": "user", "content": content}]}))
    };
    let picture = |size: usize| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A".repeat(size)}});
    assert_eq!(said(json!("a".repeat(401))), 101);
    assert_eq!(said(json!([picture(4)])), said(json!([picture(40_000)])));
    assert_eq!(
        said(json!([picture(4), {"type": "text", "text": "abcd"}])),
        1601
    );
    let nested = json!([{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "abcd"}, picture(4)]}]);
    assert_eq!(said(nested), 1601);
    let tool = json!([{"name": "abcd", "description": "efgh", "input_schema": {}}]);
    assert_eq!(
        count(json!({"model": "p", "messages": [{"role": "user", "content": "x"}], "tools": tool})),
        3
    );
}

#[test]
fn a_key_is_taken_from_either_header() {
    let headers = |list: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    };
    for (list, token) in [
        (&[("x-api-key", "t")][..], Some("t")),
        (&[("authorization", "Bearer t")], Some("t")),
        // Some SDKs send what they find in the environment, too.
        (
            &[("authorization", "Bearer t"), ("x-api-key", "sk-ant-1")],
            Some("t"),
        ),
        (&[("authorization", "Basic t"), ("x-api-key", "t")], None),
        (&[("x-api-key", "t"), ("x-api-key", "t")], None),
        (&[("x-api-key", "a b")], None),
        (&[("x-api-key", "")], None),
        (&[], None),
    ] {
        let headers = headers(list);
        assert_eq!(api_key(&headers).ok(), token, "{list:?}");
        assert_eq!(Surface::Messages.token(&headers).ok(), token);
        let bearer = list.len() == 1 && list[0].0 == "authorization";
        assert_eq!(
            Surface::Responses.token(&headers).is_ok(),
            bearer || list.len() == 2 && token.is_some(),
            "{list:?}"
        );
    }
    assert_eq!(
        Surface::of(&headers(&[("anthropic-version", "2023-06-01")])),
        Surface::Messages
    );
    assert_eq!(Surface::of(&HeaderMap::new()), Surface::Chat);
}

#[tokio::test]
async fn errors_have_the_form_and_status_that_the_callers_sdk_knows() {
    let unavailable = ApiFailure {
        status: StatusCode::SERVICE_UNAVAILABLE,
        ..ApiFailure::new(ErrorCode::ModelUnavailable, "later")
    };
    for (failure, status, openai, anthropic) in [
        (
            ApiFailure::invalid("x"),
            (400, 400),
            "invalid_request_error",
            "invalid_request_error",
        ),
        (
            ApiFailure::unauthenticated("x"),
            (401, 401),
            "authentication_error",
            "authentication_error",
        ),
        (
            ApiFailure::forbidden("x"),
            (403, 403),
            "permission_error",
            "permission_error",
        ),
        (
            ApiFailure::not_found("x"),
            (404, 404),
            "invalid_request_error",
            "not_found_error",
        ),
        (
            ApiFailure::new(ErrorCode::TooLarge, "x"),
            (413, 413),
            "invalid_request_error",
            "request_too_large",
        ),
        (
            ApiFailure::new(ErrorCode::BudgetExceeded, "x"),
            (429, 429),
            "rate_limit_error",
            "rate_limit_error",
        ),
        (
            ApiFailure::new(ErrorCode::ModelUnavailable, "x"),
            (502, 502),
            "api_error",
            "api_error",
        ),
        (
            ApiFailure::internal("x"),
            (500, 500),
            "api_error",
            "api_error",
        ),
        (unavailable, (503, 529), "api_error", "overloaded_error"),
    ] {
        for surface in Surface::ALL {
            let mut response = surface.refuse(&failure, "7f-1");
            surface.name("7f-1", &mut response);
            let anthropics = surface.is_anthropics();
            assert_eq!(
                response.status(),
                if anthropics { status.1 } else { status.0 }
            );
            assert_eq!(response.headers()["content-type"], "application/json");
            let header = if anthropics {
                "request-id"
            } else {
                "x-request-id"
            };
            assert_eq!(response.headers()[header], "req_7f-1");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["message"], failure.message);
            if anthropics {
                assert_eq!(body["type"], "error");
                assert_eq!(body["error"]["type"], anthropic, "{failure:?}");
                assert_eq!(
                    body["error"]["details"]["error_code"],
                    failure.code.as_str()
                );
                assert_eq!(body["request_id"], "req_7f-1");
            } else {
                assert_eq!(body["error"]["type"], openai, "{failure:?}");
                assert_eq!(body["error"]["code"], failure.code.as_str());
            }
        }
    }
}

#[test]
fn events_are_framed_line_by_line() {
    assert_eq!(frame("", b"a\nb"), b"data: a\ndata: b\n\n");
    assert_eq!(frame("ping", b"{}"), b"event: ping\ndata: {}\n\n");
}
