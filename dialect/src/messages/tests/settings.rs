use super::upstream::{NEW, OLD, answers, asks, calls, hello, says, tool, turn, value, write};
use crate::messages::claude::{Form, Model};
use crate::messages::write_request;
use crate::request::{Effort, Reasoning, Request, Role, ToolChoice};

#[test]
fn generations() {
    let form = |name: &str| Model::of(name).form;
    for (name, expected, sampled) in [
        ("claude-3-5-sonnet-20241022", Form::Never, true),
        ("claude-2.1", Form::Never, true),
        ("claude-3-7-sonnet-20250219", Form::Budget, true),
        ("claude-sonnet-4-20250514", Form::Budget, true),
        (
            "anthropic.claude-opus-4-1-20250805-v1:0",
            Form::Budget,
            true,
        ),
        ("claude-haiku-4-5@20251001", Form::Budget, true),
        ("us.anthropic.claude-opus-4-6-v1", Form::Adaptive, true),
        ("anthropic/claude-opus-4.7", Form::Adaptive, false),
        ("claude-haiku-5-5", Form::Adaptive, false),
        ("claude-mythos-preview", Form::Adaptive, false),
        ("kimi-k3", Form::Budget, true),
    ] {
        assert_eq!(form(name), expected, "{name}");
        assert_eq!(Model::of(name).sampled, sampled, "{name}");
    }
    assert!(!Model::of("claude-opus-4-20250514").schemas);
    assert!(Model::of("claude-opus-4-1").schemas);
}

#[test]
fn thinking() {
    let thinks = |effort, budget, model: &str, limit| {
        let request = Request {
            reasoning: Some(Reasoning {
                effort,
                budget,
                shown: Some(false),
            }),
            ..hello()
        };
        let written = write_request(&request, model, limit).unwrap();
        let body = value(&written);
        (
            body.get("thinking").map(ToString::to_string),
            body["output_config"]["effort"].as_str().map(str::to_owned),
            written.dropped,
        )
    };
    let enabled = |tokens: u64| Some(format!(r#"{{"budget_tokens":{tokens},"type":"enabled"}}"#));
    let adaptive = Some(r#"{"display":"omitted","type":"adaptive"}"#.to_owned());
    let disabled = Some(r#"{"type":"disabled"}"#.to_owned());
    let high = Some(Effort::High);
    let budget = "thinking.budget_tokens".to_owned();
    let reasoning = vec!["reasoning".to_owned()];
    let word = |effort: &str| Some(effort.to_owned());
    assert_eq!(
        thinks(high, None, OLD, 10_000),
        (enabled(8000), None, vec![])
    );
    assert_eq!(
        thinks(Some(Effort::Minimal), None, OLD, 2000),
        (enabled(1024), None, vec![])
    );
    assert_eq!(
        thinks(None, None, OLD, 10_050),
        (enabled(5025), None, vec![])
    );
    assert_eq!(
        thinks(high, Some(4000), OLD, 10_000),
        (enabled(4000), None, vec![])
    );
    assert_eq!(
        thinks(None, Some(1), OLD, 10_000),
        (enabled(1024), None, vec![budget.clone()])
    );
    assert_eq!(
        thinks(None, Some(u64::MAX), OLD, 10_000),
        (enabled(9999), None, vec![budget.clone()])
    );
    assert_eq!(
        thinks(high, None, OLD, 1024),
        (None, None, reasoning.clone())
    );
    assert_eq!(
        thinks(high, None, "claude-3-opus", 9000),
        (None, None, reasoning.clone())
    );
    assert_eq!(
        thinks(high, None, NEW, 10_000),
        (adaptive.clone(), word("high"), vec![])
    );
    assert_eq!(
        thinks(Some(Effort::ExtraHigh), None, NEW, 9),
        (adaptive.clone(), word("xhigh"), vec![])
    );
    assert_eq!(
        thinks(Some(Effort::ExtraHigh), None, "claude-opus-4-6", 9),
        (adaptive.clone(), word("max"), vec![])
    );
    assert_eq!(
        thinks(None, Some(5000), NEW, 10_000),
        (adaptive, word("medium"), vec![budget])
    );
    assert_eq!(
        thinks(Some(Effort::None), None, OLD, 10_000),
        (None, None, vec![])
    );
    assert_eq!(
        thinks(Some(Effort::None), None, NEW, 10_000),
        (disabled, None, vec![])
    );
    assert_eq!(
        thinks(Some(Effort::None), None, "claude-fable-5", 10_000),
        (None, word("low"), reasoning)
    );
}

#[test]
fn a_forced_tool_goes_before_thoughts() {
    let mut request = Request {
        reasoning: Some(Reasoning::default()),
        tools: vec![tool("f", None)],
        tool_choice: ToolChoice::Named("f".to_owned()),
        ..hello()
    };
    let written = write(&request, OLD);
    assert!(value(&written).get("thinking").is_none());
    assert_eq!(written.dropped, ["reasoning"]);
    assert_eq!(value(&write(&request, NEW))["thinking"]["type"], "disabled");
    request.tool_choice = ToolChoice::Auto;
    assert_eq!(value(&write(&request, OLD))["thinking"]["type"], "enabled");
}

#[test]
fn thoughts_of_others_end_thinking_within_calls_of_tools() {
    let mut request = asks(vec![
        turn(Role::User, vec![says("x")]),
        turn(Role::Assistant, vec![calls("a", "f", "{}")]),
        turn(Role::User, vec![answers("a", "1")]),
    ]);
    request.reasoning = Some(Reasoning::default());
    assert_eq!(write(&request, OLD).dropped, ["reasoning"]);
    assert!(write(&request, NEW).dropped.is_empty());
}

#[test]
fn sampling() {
    let mut request = hello();
    request.sampling.temperature = Some(0.into());
    request.sampling.top_p = Some(1.into());
    request.sampling.top_k = Some(5);
    let written = write(&request, "kimi-k3");
    assert!(written.dropped.is_empty());
    assert!(
        written
            .body
            .contains(r#""temperature":0,"top_p":1,"top_k":5"#)
    );
    assert_eq!(write(&request, OLD).dropped, ["top_p"]);
    let written = write(&request, NEW);
    assert_eq!(written.dropped, ["temperature", "top_p", "top_k"]);
    assert!(!written.body.contains("top_"));
}
