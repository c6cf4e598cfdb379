//! What holds for every dialect.

use crate::testing::{UPSTREAMS, asks, burdened, call, number, result, text, turn};
use crate::{Content, Feature, Request, Role, chat, messages, responses};
use serde_json::{Value, json};
use std::collections::HashSet;

fn refused(request: &Request) -> Vec<Feature> {
    let write = |(name, write): &(&str, fn(&Request) -> _)| match write(request) {
        Err(crate::Unsupported { feature, .. }) => feature,
        Ok(written) => panic!("{name} takes it: {written:?}"),
    };
    UPSTREAMS.iter().map(write).collect()
}

#[test]
fn what_is_dropped_begins_with_what_was_left_and_is_named_once() {
    let mut request = burdened();
    request.sampling.stop.clear();
    request.reasoning = Some(crate::request::Reasoning {
        effort: None,
        budget: Some(u64::MAX),
        shown: Some(true),
    });
    let left = ["metadata", "seed", "x", "seed", "temperature"];
    request.left = left.map(str::to_owned).into();
    for (name, write) in UPSTREAMS {
        let dropped = write(&request).unwrap().dropped;
        assert_eq!(
            dropped[..4],
            ["metadata", "seed", "x", "temperature"],
            "{name}"
        );
        let each: HashSet<_> = dropped.iter().collect();
        assert_eq!(each.len(), dropped.len(), "{name}: {dropped:?}");
    }
}

#[test]
fn numbers_out_of_range_are_clamped_and_named() {
    for (value, name_of) in [(9.0, "above"), (-9.0, "below")] {
        let mut hot = asks("Hi");
        hot.sampling.temperature = number(value);
        let mut wide = asks("Hi");
        wide.sampling.top_p = number(value);
        let mut many = asks("Hi");
        many.sampling.top_k = Some(u64::MAX);
        for (name, write) in UPSTREAMS {
            let written = write(&hot).unwrap();
            assert!(!written.body.contains("9.0"), "{name} {name_of}");
            assert_eq!(written.dropped, ["temperature"], "{name}");
            let written = write(&wide).unwrap();
            assert!(!written.body.contains("9.0"), "{name} {name_of}");
            assert_eq!(written.dropped, ["top_p"], "{name}");
            let written = write(&many).unwrap();
            assert!(!written.body.contains(&u64::MAX.to_string()), "{name}");
            assert_eq!(written.dropped, ["top_k"], "{name}");
        }
    }
}

#[test]
fn what_no_answer_holds_is_refused() {
    let mut request = asks("Hi");
    request.sampling.choices = Some(1);
    for (name, write) in UPSTREAMS {
        assert!(write(&request).is_ok(), "{name}");
    }
    request.sampling.choices = Some(2);
    assert!(refused(&request).iter().all(|it| *it == Feature::Choices));
    request.sampling.choices = None;
    request.sampling.logprobs = Some(0);
    assert!(refused(&request).iter().all(|it| *it == Feature::Logprobs));
    // What only the caller's own dialect can say comes first.
    request.only_here = vec![(Feature::StoredState, "conversation".to_owned())];
    assert!(
        refused(&request)
            .iter()
            .all(|it| *it == Feature::StoredState)
    );
}

#[test]
fn stop_sequences_are_not_lost() {
    let mut request = asks("Hi");
    request.sampling.stop = vec!["END".to_owned()];
    for (name, write) in UPSTREAMS {
        match write(&request) {
            Ok(written) => {
                assert!(written.body.contains("\"END\""), "{name}");
                assert!(written.dropped.is_empty(), "{name}");
            }
            Err(error) => assert_eq!((name, error.feature), ("responses", Feature::StopSequences)),
        }
    }
}

#[test]
fn empty_texts_are_left_out() {
    let mut request = asks("Hi");
    request.turns[0].parts.push(text("").into());
    request.turns.insert(0, turn(Role::System, [text("")]));
    request.turns.push(turn(Role::Assistant, [text("")]));
    request
        .turns
        .push(turn(Role::Assistant, [text(""), text("Yes.")]));
    request.turns.push(turn(Role::User, [text("")]));
    request.turns.push(turn(Role::User, [text("On.")]));
    for (name, write) in UPSTREAMS {
        let written = write(&request).unwrap();
        assert!(!written.body.contains("\"\""), "{name}: {}", written.body);
        assert!(written.body.contains("Yes."), "{name}");
    }
}

/// So many that whatever is quadratic does not end. All of it is linear, but tests that are not optimised are slow.
const MANY: usize = if cfg!(debug_assertions) {
    50_000
} else {
    200_000
};

fn read_write(read: fn(&[u8]) -> Result<Request, crate::Invalid>, body: &Value) {
    let request = read(body.to_string().as_bytes()).unwrap();
    let results = |part: &&crate::Part| matches!(part.content, Content::ToolResult(_));
    let parts = request.turns.iter().flat_map(|turn| &turn.parts);
    assert_eq!(parts.filter(results).count(), MANY);
}

fn names() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("c{number:08}"))
}

#[test]
fn many_results_are_read() {
    let call = |id: String| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let mut said =
        vec![json!({"role": "assistant", "tool_calls": names().map(call).collect::<Vec<_>>()})];
    said.extend(names().map(|id| json!({"role": "tool", "tool_call_id": id, "content": "x"})));
    read_write(chat::read_request, &json!({"model": "m", "messages": said}));
    let call = |id: String| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let result = |id: String| json!({"type": "tool_result", "tool_use_id": id, "content": "x"});
    let said = json!([{"role": "assistant", "content": names().map(call).collect::<Vec<_>>()},
        {"role": "user", "content": names().map(result).collect::<Vec<_>>()}]);
    read_write(
        messages::read_request,
        &json!({"model": "m", "max_tokens": 9, "messages": said}),
    );
    let call = |id: String| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let result = |id: String| json!({"type": "function_call_output", "call_id": id, "output": "x"});
    let said: Vec<_> = names().map(call).chain(names().map(result)).collect();
    read_write(
        responses::read_request,
        &json!({"model": "m", "input": said}),
    );
}

#[test]
fn many_results_are_written() {
    let calls = names().map(|id| Content::ToolCall(call(&id, "f", "{}")));
    let mut request = asks("Hi");
    request.turns.push(turn(Role::Assistant, calls));
    let results = names().map(|id| turn(Role::User, [result(&id, "x", false)]));
    request.turns.extend(results);
    // Also where no tool is offered: Bedrock then gets them told as text.
    for (name, write) in UPSTREAMS {
        let written = write(&request).unwrap();
        assert!(written.body.len() > MANY, "{name}");
    }
}

#[test]
fn many_names_are_kept() {
    let mut fields = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "input": "hi"});
    for number in 0..MANY {
        fields[format!("field{number}")] = json!(1);
    }
    let body = fields.to_string();
    for read in [
        chat::read_request,
        messages::read_request,
        responses::read_request,
    ] {
        let request = read(body.as_bytes()).unwrap();
        assert!(request.left.len() >= MANY);
        for (name, write) in UPSTREAMS {
            assert!(write(&request).unwrap().dropped.len() >= MANY, "{name}");
        }
    }
    let kinds: Vec<_> = names().map(|kind| json!({"type": kind})).collect();
    let body =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": kinds}]});
    assert_eq!(
        messages::read_request(body.to_string().as_bytes())
            .unwrap()
            .only_here
            .len(),
        MANY
    );
}
