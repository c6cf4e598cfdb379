//! Agent: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use anyhow::Result;
use serde_json::{Value, json};

/// An agent without tools.
pub fn agent() -> Value {
    object("Agent", json!({"instructions": "Write and fix Python."}))
}

pub fn cases() -> Vec<Case> {
    let a = |patch: Value| with_spec(&agent(), patch);
    let commands = |commands: Value| a(json!({ "commands": commands }));
    let temperature = |value: Value| a(json!({"model": {"temperature": value}}));
    vec![
        taken("an agent", agent()),
        taken(
            "every tool",
            a(json!({"tools": [
                {"builtin": "RunCode"}, {"builtin": "Shell"}, {"builtin": "ReadFile"}, {"builtin": "WriteFile"},
                {"builtin": "EditFile"}, {"builtin": "ListFiles"}, {"builtin": "SearchFiles"},
            ]})),
        ),
        taken(
            "tools that ask",
            a(json!({"tools": [
                {"builtin": "Delegate", "agents": [{"name": "coder"}]},
                {"builtin": "AskHuman", "approvers": {"groups": ["leads"]}, "timeout": "2h"},
            ]})),
        ),
        denied(
            "Delegate without agents",
            a(json!({"tools": [{"builtin": "Delegate"}]})),
            &["agents goes with Delegate, which needs it: the Agents that may be given work"],
        ),
        denied(
            "agents of another tool",
            a(json!({"tools": [{"builtin": "Shell", "agents": [{"name": "coder"}]}]})),
            &["agents goes with Delegate, which needs it: the Agents that may be given work"],
        ),
        denied(
            "AskHuman without approvers",
            a(json!({"tools": [{"builtin": "AskHuman"}]})),
            &["approvers goes with AskHuman, which needs it: who may answer"],
        ),
        denied(
            "a timeout of another tool",
            a(json!({"tools": [{"builtin": "Shell", "timeout": "1h"}]})),
            &["timeout is for AskHuman"],
        ),
        taken(
            "a tool that needs approval",
            a(
                json!({"tools": [{"builtin": "Shell"}], "approvals": [{"tool": "Shell", "approvers": {"users": ["carol"]}}]}),
            ),
        ),
        denied(
            "approval of a tool that it does not have",
            a(
                json!({"tools": [{"builtin": "RunCode"}], "approvals": [{"tool": "Shell", "approvers": {"users": ["carol"]}}]}),
            ),
            &["each tool of approvals must be one of tools"],
        ),
        denied(
            "approval of a question",
            a(json!({"approvals": [{"tool": "AskHuman", "approvers": {"users": ["carol"]}}]})),
            &["Delegate and AskHuman ask by themselves: approvals are for other tools"],
        ),
        taken(
            "tools of the gateway, and approval of some",
            a(json!({
                "tools": [
                    {"builtin": "Remember"},
                    {"builtin": "Recall"},
                    {"mcp": {"name": "hub", "url": "https://mcp.example.com/mcp", "secretKeyRef": {"name": "hub", "key": "token"}, "allow": ["search", "open.all"]}},
                    {"mcp": {"name": "docs", "url": "http://docs.tools.svc:8080/mcp", "allow": ["find"], "timeout": "5m"}},
                ],
                "approvals": [
                    {"tool": "hub__open_all", "approvers": {"users": ["carol"]}},
                    {"tool": "Remember", "approvers": {"users": ["carol"]}},
                ],
            })),
        ),
        denied(
            "approval of a server's tool that is not allowed",
            a(json!({
                "tools": [{"mcp": {"name": "hub", "url": "https://mcp.example.com", "allow": ["search"]}}],
                "approvals": [{"tool": "hub__drop", "approvers": {"users": ["carol"]}}],
            })),
            &["each tool of approvals must be one of tools: a builtin, or <mcp.name>__<tool>"],
        ),
        denied(
            "nine servers",
            a(json!({"tools": (0..9).map(|number| {
                json!({"mcp": {"name": format!("hub{number}"), "url": "https://a.example", "allow": ["x"]}})
            }).collect::<Vec<_>>()})),
            &["at most 8 tools are mcp"],
        ),
        denied(
            "a name that no model takes",
            a(
                json!({"tools": [{"mcp": {"name": "hub4567890123456", "url": "https://a.example", "allow": ["x".repeat(61)]}}]}),
            ),
            &["name and the name of a tool have at most 62 characters together"],
        ),
        denied(
            "two servers of one name",
            a(json!({"tools": [
                {"mcp": {"name": "hub", "url": "https://a.example", "allow": ["x"]}},
                {"mcp": {"name": "hub", "url": "https://b.example", "allow": ["x"]}},
            ]})),
            &["each mcp has a name of its own"],
        ),
        denied(
            "a server without tools",
            a(json!({"tools": [{"mcp": {"name": "hub", "url": "https://a.example"}}]})),
            &["spec.tools[0].mcp.allow: Required value"],
        ),
        denied(
            "a server by another protocol",
            a(
                json!({"tools": [{"mcp": {"name": "hub", "url": "ws://a.example", "allow": ["x"]}}]}),
            ),
            &["spec.tools[0].mcp.url", "should match"],
        ),
        denied(
            "a tool that is both",
            a(
                json!({"tools": [{"builtin": "Shell", "mcp": {"name": "hub", "url": "https://a.example", "allow": ["x"]}}]}),
            ),
            &["write one of builtin and mcp"],
        ),
        denied(
            "no instructions",
            a(json!({"instructions": null})),
            &["spec.instructions: Required value"],
        ),
        denied(
            "empty instructions",
            a(json!({"instructions": ""})),
            &["spec.instructions", "at least 1"],
        ),
        denied(
            "an unknown tool",
            a(json!({"tools": [{"builtin": "Fly"}]})),
            &[
                "spec.tools[0].builtin",
                "Unsupported value",
                "\"SearchFiles\"",
            ],
        ),
        denied(
            "a tool by its bare name",
            a(json!({"tools": ["Shell"]})),
            &["spec.tools[0]", "must be of type object"],
        ),
        denied(
            "the same tool twice",
            a(json!({"tools": [{"builtin": "Shell"}, {"builtin": "Shell"}]})),
            &["a builtin tool is there once"],
        ),
        taken("a temperature", temperature(json!("0.7"))),
        denied(
            "a temperature as a number",
            temperature(json!(0.7)),
            &["spec.model.temperature", "must be of type string"],
        ),
        denied(
            "too hot",
            temperature(json!("2.1")),
            &["spec.model.temperature", "should match"],
        ),
        taken(
            "a pool of another namespace",
            a(json!({"model": {"pool": {"name": "fast", "namespace": "models"}}})),
        ),
        denied(
            "a pool of another namespace without its name",
            a(json!({"model": {"pool": {"namespace": "models"}}})),
            &["spec.model.pool.name: Required value"],
        ),
        denied(
            "a pool by its bare name",
            a(json!({"model": {"pool": "default"}})),
            &["spec.model.pool", "must be of type object"],
        ),
        taken(
            "an agent that wants no kept answers",
            a(json!({"model": {"cache": "Off"}})),
        ),
        denied(
            "a cache of its own",
            a(json!({"model": {"cache": "Exact"}})),
            &["spec.model.cache", "supported values", "\"Off\""],
        ),
        denied(
            "no output",
            a(json!({"model": {"maxOutputTokens": 0}})),
            &["spec.model.maxOutputTokens", "greater than or equal to 1"],
        ),
        denied(
            "no turns",
            a(json!({"limits": {"turns": 0}})),
            &["spec.limits.turns", "greater than or equal to 1"],
        ),
        taken(
            "capabilities and a limit of Tasks",
            a(json!({"capabilities": ["python", "unit-tests"], "limits": {"parallelTasks": 5}})),
        ),
        denied(
            "the same capability twice",
            a(json!({"capabilities": ["python", "python"]})),
            &["spec.capabilities[1]", "Duplicate value"],
        ),
        denied(
            "a capability in words",
            a(json!({"capabilities": ["Unit tests"]})),
            &["spec.capabilities[0]", "should match"],
        ),
        denied(
            "no Tasks at all",
            a(json!({"limits": {"parallelTasks": 0}})),
            &["spec.limits.parallelTasks", "greater than or equal to 1"],
        ),
        denied(
            "a schema as a text",
            a(json!({"output": {"schema": "{}"}})),
            &["spec.output.schema", "must be of type object"],
        ),
        taken(
            "a schema",
            a(
                json!({"output": {"schema": {"type": "object", "required": ["answer"], "properties": {"answer": {"type": "string"}}}}}),
            ),
        ),
        taken(
            "a command",
            commands(json!([{
                "name": "writeTests", "category": "testing", "description": "Write tests.",
                "params": {"type": "object", "required": ["module"], "properties": {"module": {"type": "string"}}},
                "prompt": "Write tests for ${params.module}.",
                "examples": [{"module": "parser"}],
                "output": {"schema": {"type": "object"}},
            }])),
        ),
        denied(
            "two commands of one name",
            commands(json!([{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}])),
            &["spec.commands[1]", "Duplicate value"],
        ),
        denied(
            "a command with a hyphen",
            commands(json!([{"name": "write-tests", "prompt": "x"}])),
            &["spec.commands[0].name", "should match"],
        ),
        denied(
            "a command without a prompt",
            commands(json!([{"name": "a"}])),
            &["spec.commands[0].prompt: Required value"],
        ),
        denied(
            "a category in words",
            commands(json!([{"name": "a", "prompt": "x", "category": "Unit tests"}])),
            &["spec.commands[0].category", "should match"],
        ),
        denied(
            "params as a list",
            commands(json!([{"name": "a", "prompt": "x", "params": []}])),
            &["spec.commands[0].params", "must be of type object"],
        ),
        denied(
            "many examples",
            commands(json!([{"name": "a", "prompt": "x", "examples": vec![json!({}); 17]}])),
            &["spec.commands[0].examples", "at most 16"],
        ),
        denied(
            "an empty budget",
            a(json!({"budget": {}})),
            &["set usd, tokens, or both"],
        ),
        taken(
            "domains for its sandbox",
            a(json!({"sandbox": {"egress": {"domains": ["pypi.org"]}}})),
        ),
        denied(
            "a URL for its sandbox",
            a(json!({"sandbox": {"egress": {"domains": ["https://pypi.org/"]}}})),
            &["spec.sandbox.egress.domains[0]", "should match"],
        ),
        denied(
            "instructions with NUL",
            a(json!({"instructions": "a\0b"})),
            &["spec.instructions", "should match"],
        ),
    ]
}

#[tokio::test]
async fn an_agent_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("agent", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
