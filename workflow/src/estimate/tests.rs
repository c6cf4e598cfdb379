use super::*;
use serde_json::{Value, json};

fn graph(spec: Value) -> Graph {
    Graph::compile(&serde_json::from_value(spec).unwrap()).unwrap()
}

fn agent(name: &str, agent: &str) -> Value {
    json!({"name": name, "agent": {"name": agent}, "params": {"prompt": "x"}})
}

fn with(mut step: Value, more: Value) -> Value {
    if let (Value::Object(step), Value::Object(more)) = (&mut step, more) {
        step.extend(more);
    }
    step
}

/// The coder has a history, the writer a budget, others nothing.
fn known() -> Known {
    let past = Past {
        tasks: 3,
        tokens: Range::new(100, 1000),
        pico: Range::new(2, 20),
        seconds: Range::new(10, 60),
    };
    let bound = Bound {
        tokens: Some(5000),
        pico: Some(50),
    };
    Known {
        history: [("coder".to_owned(), past)].into(),
        agents: [("writer".to_owned(), bound)].into(),
        whole: Bound::default(),
        most_tasks: None,
    }
}

#[test]
fn ranges_follow_from_the_kind_of_a_step_and_from_how_often_it_is_done() {
    let unbounded = Range::default();
    let cases = [
        (
            "history",
            json!([agent("a", "coder")]),
            Range::new(100, 1000),
            Range::new(10, 60),
            None,
        ),
        (
            "budget",
            json!([agent("a", "writer")]),
            Range::new(0, 5000),
            Range::new(0, 1200),
            Some("what Agent writer takes"),
        ),
        (
            "nothing",
            json!([agent("a", "other")]),
            unbounded,
            Range::new(0, 1200),
            Some("what Agent other takes"),
        ),
        (
            "its own budget and time",
            json!([with(
                agent("a", "writer"),
                json!({"budget": {"tokens": 7}, "timeout": "30s"})
            )]),
            Range::new(0, 7),
            Range::new(0, 30),
            Some("writer"),
        ),
        (
            "code",
            json!([{"name": "a", "run": {"command": ["ls"]}, "timeout": "5m"}]),
            Range::new(0, 0),
            Range::new(0, 300),
            None,
        ),
        (
            "code with a pool",
            json!([{"name": "a", "run": {"command": ["ls"], "pool": {"name": "p"}}}]),
            unbounded,
            Range::new(0, 1200),
            Some("what models"),
        ),
        (
            "items, some at a time",
            json!([with(
                agent("a", "coder"),
                json!({"forEach": [1, 2, 3, 4, 5], "parallel": 2})
            )]),
            Range::new(500, 5000),
            Range::new(30, 180),
            None,
        ),
        (
            "items of an expression",
            json!([
                agent("a", "coder"),
                with(
                    agent("b", "coder"),
                    json!({"forEach": "${steps.a.output.list}", "parallel": 100})
                )
            ]),
            Range::new(100, 20_001_000),
            // Not longer than the run may take.
            Range::new(10, 7200),
            Some("how many items step b has"),
        ),
        (
            "repeat",
            json!([with(
                agent("a", "coder"),
                json!({"repeat": {"until": "true", "limit": 4}})
            )]),
            Range::new(100, 4000),
            Range::new(10, 240),
            None,
        ),
        (
            "if",
            json!([with(agent("a", "coder"), json!({"if": "false"}))]),
            Range::new(0, 1000),
            Range::new(0, 60),
            None,
        ),
        (
            "people",
            json!([{"name": "a", "approval": {"ask": "?", "approvers": {"users": ["u"]}}}]),
            Range::new(0, 0),
            Range::new(0, 0),
            None,
        ),
        (
            "time",
            json!([{"name": "a", "wait": {"for": "90s"}}]),
            Range::new(0, 0),
            Range::new(90, 90),
            None,
        ),
        (
            "another workflow",
            json!([{"name": "a", "workflow": {"name": "w"}}]),
            unbounded,
            Range::new(0, 7200),
            Some("what the run of step a takes"),
        ),
        (
            "whom nobody knows",
            json!([with(
                agent("a", "x"),
                json!({"agent": {"select": {"capabilities": ["python"]}}})
            )]),
            unbounded,
            Range::new(0, 1200),
            Some("which Agent does step a"),
        ),
    ];
    for (name, steps, tokens, seconds, unknown) in cases {
        let found = estimate(&graph(json!({ "steps": steps })), &known());
        assert_eq!(found.tokens, tokens, "{name}");
        assert_eq!(found.seconds, seconds, "{name}");
        let told = found.unknown.join("; ");
        match unknown {
            None => assert_eq!(told, "", "{name}"),
            Some(text) => assert!(told.contains(text), "{name}: {told}"),
        }
    }
}

#[test]
fn the_longest_way_counts_for_the_time_and_every_step_for_the_money() {
    let spec = json!({
        "steps": [
            agent("a", "coder"),
            agent("b", "coder"),
            with(agent("c", "coder"), json!({"after": ["a", "b"]})),
        ],
        "finally": [agent("d", "coder")],
    });
    let found = estimate(&graph(spec.clone()), &known());
    assert_eq!(found.pico, Range::new(8, 80));
    assert_eq!(found.seconds, Range::new(30, 180));
    let mut bounded = known();
    bounded.whole.pico = Some(30);
    assert_eq!(
        estimate(&graph(spec.clone()), &bounded).pico,
        Range::new(8, 30)
    );
    let texts = found.texts();
    assert_eq!(
        (
            texts.tokens.as_str(),
            texts.usd.as_str(),
            texts.duration.as_str()
        ),
        ("400-4000", "0.000000001", "30s-3m")
    );
    // No way is longer than the run may take.
    let mut short = spec;
    short["timeouts"] = json!({"run": "1m", "finally": "5s"});
    assert_eq!(
        estimate(&graph(short), &known()).seconds,
        Range::new(25, 65)
    );
}

#[test]
fn what_nothing_bounds_is_a_question_mark() {
    let found = estimate(
        &graph(json!({"steps": [agent("a", "other")]})),
        &Known::default(),
    );
    let texts = found.texts();
    assert_eq!((texts.tokens.as_str(), texts.usd.as_str()), ("0-?", "0-?"));
}
