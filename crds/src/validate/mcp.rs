//! Checks of an Agent's tools: each once, and of MCP servers what they are called, where they are, and what of them may be called.

use super::{Problem, bounds};
use crate::kinds::agent::{McpTool, ToolSpec};
use std::collections::BTreeSet;
use std::time::Duration;

/// Shortest and longest time of a call.
const TIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// Most servers of an Agent: the policy about their Secrets has an expression for each.
const SERVERS: usize = 8;
/// Longest name of a tool for the model.
const NAME: usize = 64;

/// What is wrong with the tools.
pub fn tools(problems: &mut Vec<Problem>, tools: &[ToolSpec]) {
    let (mut names, mut servers) = (BTreeSet::new(), BTreeSet::new());
    for (index, tool) in tools.iter().enumerate() {
        let field = format!("spec.tools[{index}]");
        if tool.builtin.is_some() == tool.mcp.is_some() {
            problems.push(Problem::spec(&field, "write one of builtin and mcp"));
        }
        if let Some(mcp) = &tool.mcp {
            if !servers.insert(&mcp.name) {
                let text = format!(
                    "{} is there twice: each mcp has a name of its own",
                    mcp.name
                );
                problems.push(Problem::spec(format!("{field}.mcp.name"), text));
            }
            server(problems, &format!("{field}.mcp"), mcp);
        }
        for name in tool.names() {
            if name.len() > NAME {
                let text =
                    format!("{name} is longer than {NAME} characters: write a shorter mcp.name");
                problems.push(Problem::spec(&field, text));
            } else if !names.insert(name.clone()) {
                problems.push(Problem::spec(&field, format!("{name} is there twice")));
            }
        }
    }
    if servers.len() > SERVERS {
        let text = format!("has {} mcp: write at most {SERVERS}", servers.len());
        problems.push(Problem::spec("spec.tools", text));
    }
}

fn server(problems: &mut Vec<Problem>, field: &str, mcp: &McpTool) {
    let McpTool {
        name,
        url,
        secret_key_ref,
        allow,
        timeout,
    } = mcp;
    let mut letters = name.bytes();
    let is_name = letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && name.len() <= 16;
    if !is_name {
        let text = "write a lower-case letter, then at most 15 lower-case letters and digits";
        problems.push(Problem::spec(format!("{field}.name"), text));
    }
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        !host.is_empty()
            && !host.contains('@')
            && !rest.contains('#')
            && !rest.chars().any(char::is_whitespace)
    });
    if !is_url || url.len() > 1024 {
        let text = "write where the server is, like https://mcp.example.com/mcp";
        problems.push(Problem::spec(format!("{field}.url"), text));
    }
    if let Some(named) = secret_key_ref {
        let field = format!("{field}.secretKeyRef");
        bounds::text(problems, &format!("{field}.name"), &named.name, 253);
        bounds::text(problems, &format!("{field}.key"), &named.key, 253);
    }
    let field_of_allow = format!("{field}.allow");
    if allow.is_empty() {
        let text = "name the tools that may be called, by the server's names";
        problems.push(Problem::spec(&field_of_allow, text));
    }
    bounds::list(problems, &field_of_allow, allow, 32);
    for (index, tool) in allow.iter().enumerate() {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
        if tool.is_empty() || tool.len() > 61 || !tool.bytes().all(known) {
            let text = "write the tool's name in full: 1 to 61 letters, digits, dots, slashes, hyphens and underscores";
            problems.push(Problem::spec(format!("{field_of_allow}[{index}]"), text));
        }
    }
    let (least, most) = TIMES;
    bounds::duration(problems, &format!("{field}.timeout"), timeout, least, most);
}
