use super::{fields, parse, with};
use crate::kinds::class::SandboxClassSpec;
use crate::validate::{self, Rule};
use crate::{AgentSpec, Size};
use serde_json::{Value, json};

#[test]
fn a_sandbox_is_held_to_its_class() {
    let agent: AgentSpec = parse(
        json!({ "instructions": "x", "sandbox": { "image": "evil.io/x", "cpu": "5", "memory": "5Gi", "disk": "9Gi", "callTimeout": "2h" } }),
    );
    let mut class = SandboxClassSpec::default();
    let problems = validate::within_class("spec.sandbox", &agent.sandbox, "default", &class);
    assert_eq!(
        fields(&problems),
        [
            "spec.sandbox.image",
            "spec.sandbox.cpu",
            "spec.sandbox.memory",
            "spec.sandbox.disk",
            "spec.sandbox.callTimeout"
        ]
    );
    assert!(
        problems
            .iter()
            .all(|problem| problem.rule == Rule::Class && problem.message.contains("default"))
    );
    class.images.require_digest = true;
    let agent: AgentSpec = parse(json!({ "instructions": "x" }));
    let problems = validate::within_class("s", &agent.sandbox, "strict", &class);
    assert!(problems[0].message.contains("digest"), "{problems:?}");
}

#[test]
fn servers_of_tools_are_checked_beyond_their_schema() {
    let agent = |changes: Value, approvals: Value| {
        let mcp = with(
            json!({ "name": "hub", "url": "https://mcp.example.com/mcp", "allow": ["search", "a.b"] }),
            changes,
        );
        let spec = json!({ "instructions": "x", "tools": [{ "builtin": "Recall" }, { "mcp": mcp }], "approvals": approvals });
        validate::agent(&parse::<AgentSpec>(spec))
    };
    let leave = |tool: &str| json!([{ "tool": tool, "approvers": { "users": ["carol"] } }]);
    for tool in ["hub__search", "hub__a_b", "Recall"] {
        assert_eq!(agent(json!({}), leave(tool)), [], "{tool}");
    }
    for tool in ["hub__drop", "search", "Remember", "AskHuman"] {
        let problems = agent(json!({}), leave(tool));
        assert_eq!(fields(&problems), ["spec.approvals[0].tool"], "{tool}");
    }
    let key = |name: &str| json!({ "secretKeyRef": { "name": name, "key": "token" } });
    assert_eq!(agent(key("hub"), json!([])), []);
    let long = "x".repeat(60);
    for (changes, field) in [
        (json!({ "name": "Hub" }), "name"),
        (json!({ "name": "a_b" }), "name"),
        (json!({ "url": "ftp://mcp.example.com" }), "url"),
        (json!({ "url": "https://key@mcp.example.com" }), "url"),
        (json!({ "url": "https:///mcp" }), "url"),
        (key(""), "secretKeyRef.name"),
        (json!({ "allow": [] }), "allow"),
        (json!({ "allow": ["*"] }), "allow[0]"),
        (json!({ "allow": ["two words"] }), "allow[0]"),
        (json!({ "timeout": "11m" }), "timeout"),
    ] {
        let problems = agent(changes.clone(), json!([]));
        assert_eq!(
            fields(&problems),
            [format!("spec.tools[1].mcp.{field}")],
            "{changes}"
        );
    }
    for changes in [
        json!({ "allow": ["a.b", "a/b"] }),
        json!({ "allow": [long] }),
    ] {
        let problems = agent(changes.clone(), json!([]));
        assert_eq!(fields(&problems), ["spec.tools[1]"], "{changes}");
    }
    let server =
        |name: &str| json!({ "mcp": { "name": name, "url": "https://a.example", "allow": ["x"] } });
    let tools = |tools: Vec<Value>| {
        let spec = json!({ "instructions": "x", "tools": tools });
        let problems = validate::agent(&parse::<AgentSpec>(spec));
        problems
            .into_iter()
            .map(|problem| problem.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(tools(vec![server("a"), server("b")]), [""; 0]);
    let twice = tools(vec![server("a"), server("a")]);
    assert_eq!(twice[0], "spec.tools[1].mcp.name");
    let nine = (b'a'..=b'i').map(|letter| server(&char::from(letter).to_string()));
    assert_eq!(tools(nine.collect()), ["spec.tools"]);
    let mut both = server("a");
    both["builtin"] = json!("Shell");
    assert_eq!(tools(vec![both]), ["spec.tools[0]"]);
    assert_eq!(tools(vec![json!({})]), ["spec.tools[0]"]);
}

#[test]
fn an_agent_is_checked_beyond_its_schema() {
    let agent = |changes: Value| {
        validate::agent(&parse::<AgentSpec>(with(
            json!({ "instructions": "x" }),
            changes,
        )))
    };
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "not": inner }));
    for (changes, field) in [
        (json!({ "instructions": " " }), "spec.instructions"),
        (
            json!({ "model": { "temperature": "2.1" } }),
            "spec.model.temperature",
        ),
        (
            json!({ "model": { "temperature": "warm" } }),
            "spec.model.temperature",
        ),
        (
            json!({ "model": { "maxOutputTokens": 0 } }),
            "spec.model.maxOutputTokens",
        ),
        (
            json!({ "tools": [{ "builtin": "Shell" }, { "builtin": "Shell" }] }),
            "spec.tools[1]",
        ),
        (
            json!({ "sandbox": { "image": "A B" } }),
            "spec.sandbox.image",
        ),
        (
            json!({ "sandbox": { "memory": "1Mi" } }),
            "spec.sandbox.memory",
        ),
        (json!({ "sandbox": { "cpu": "0" } }), "spec.sandbox.cpu"),
        (
            json!({ "sandbox": { "callTimeout": "1ms" } }),
            "spec.sandbox.callTimeout",
        ),
        (
            json!({ "output": { "schema": true } }),
            "spec.output.schema",
        ),
        (
            json!({ "output": { "schema": { "$ref": "https://x/y" } } }),
            "spec.output.schema.$ref",
        ),
        (
            json!({ "output": { "schema": { "description": "x".repeat(33_000) } } }),
            "spec.output.schema",
        ),
        (
            json!({ "output": { "schema": deep } }),
            "spec.output.schema",
        ),
        (json!({ "limits": { "turns": 0 } }), "spec.limits.turns"),
        (
            json!({ "limits": { "toolCalls": 10_001 } }),
            "spec.limits.toolCalls",
        ),
    ] {
        assert_eq!(fields(&agent(changes.clone())), [field], "{changes}");
    }
    for temperature in ["0", "0.2", "1.9999", "2", "2.0"] {
        assert_eq!(
            agent(json!({ "model": { "temperature": temperature } })),
            []
        );
    }
    assert_eq!(
        agent(json!({ "output": { "schema": { "$ref": "#/$defs/a" } } })),
        []
    );
}

/// The fields with a problem of the default class with a change.
fn class(change: impl FnOnce(&mut SandboxClassSpec)) -> Vec<String> {
    let mut spec = SandboxClassSpec::default();
    change(&mut spec);
    let problems = validate::class(&spec).into_iter();
    problems.map(|problem| problem.field).collect()
}

#[test]
fn a_class_is_checked_beyond_its_schema() {
    assert_eq!(
        class(|spec| spec.users.exec = spec.users.pilot),
        ["spec.users"]
    );
    assert_eq!(class(|spec| spec.users.exec = 0), ["spec.users.exec"]);
    assert_eq!(
        class(|spec| spec.images.allow = vec!["python".to_owned()]),
        ["spec.images.allow[0]"]
    );
    assert_eq!(
        class(|spec| spec.maximum.memory = Size::new("huge")),
        ["spec.maximum.memory"]
    );
    assert_eq!(
        class(|spec| spec.maximum.cpu = crate::quantity::Cpu::new("10m")),
        ["spec.requests.cpu"]
    );
    assert_eq!(
        class(|spec| spec.startup_timeout = crate::GepDuration::new("0s")),
        ["spec.startupTimeout"]
    );
    assert_eq!(
        class(|spec| spec.default_task_budget = crate::Allowance::default()),
        ["spec.defaultTaskBudget"]
    );
    for users in [
        json!({ "from": "FromNamespace" }),
        json!({ "pilot": 65_536 }),
        json!({ "exec": 1_000_650_000 }),
    ] {
        let spec = parse(json!({ "hostUsers": false, "users": users }));
        assert_eq!(fields(&validate::class(&spec)), ["spec.users"], "{users}");
        let spec = parse(json!({ "users": users }));
        assert_eq!(validate::class(&spec), [], "{users}");
    }
    let labelled =
        |label: &str| class(|spec| spec.pod_labels = [(label.to_owned(), "a".to_owned())].into());
    for label in [
        "oarmaster.dev/sandbox",
        "x.oarmaster.dev/y",
        "batch.kubernetes.io/job-name",
        "job-name",
        "controller-uid",
    ] {
        assert_eq!(labelled(label), ["spec.podLabels"], "{label}");
    }
    for label in ["team", "example.com/job-name", "notoarmaster.dev/x"] {
        assert_eq!(labelled(label), [""; 0], "{label}");
    }
}

#[test]
fn a_task_names_an_agent_or_what_it_must_be_able_to_do() {
    let agent = |agent: Value| super::task(json!({ "agent": agent }));
    assert_eq!(
        agent(json!({ "select": { "capabilities": ["python"] } })),
        []
    );
    let chosen = "spec.agent.select.capabilities";
    let many: Vec<String> = (0..33).map(|index| format!("c{index}")).collect();
    for (named, field) in [
        (json!({}), "spec.agent"),
        (
            json!({ "name": "a", "select": { "capabilities": ["b"] } }),
            "spec.agent",
        ),
        (json!({ "name": " " }), "spec.agent.name"),
        (json!({ "select": { "capabilities": [] } }), chosen),
        (json!({ "select": { "capabilities": many } }), chosen),
        (
            json!({ "select": { "capabilities": ["Unit tests"] } }),
            "spec.agent.select.capabilities[0]",
        ),
        (
            json!({ "select": { "capabilities": ["b"] }, "command": "explain" }),
            "spec.agent.command",
        ),
    ] {
        assert_eq!(fields(&agent(named.clone())), [field], "{named}");
    }
    let spec = json!({ "instructions": "x", "capabilities": ["a", "B"], "limits": { "parallelTasks": 0 } });
    assert_eq!(
        fields(&validate::agent(&parse::<AgentSpec>(spec))),
        ["spec.capabilities[1]", "spec.limits.parallelTasks"]
    );
}
