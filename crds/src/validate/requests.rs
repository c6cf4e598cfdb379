//! Checks of what an Agent may ask for: other agents, people's leave, people's answers.

use super::{Problem, bounds};
use crate::kinds::agent::{AgentSpec, Builtin, ToolSpec};
use crate::kinds::approval::Approvers;
use crate::names::is_dns_subdomain;
use std::collections::BTreeSet;
use std::time::Duration;

/// Shortest and longest time that people may have.
const TIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 24 * 3600));

/// What is wrong with the requests of an Agent.
pub fn requests(problems: &mut Vec<Problem>, spec: &AgentSpec) {
    for (index, tool) in spec.tools.iter().enumerate() {
        self::tool(problems, &format!("spec.tools[{index}]"), tool);
    }
    bounds::list(problems, "spec.approvals", &spec.approvals, 16);
    let mut seen = BTreeSet::new();
    for (index, approval) in spec.approvals.iter().enumerate() {
        let field = format!("spec.approvals[{index}]");
        let name = approval.tool.as_str();
        let request = [Builtin::Delegate, Builtin::AskHuman];
        if request.iter().any(|tool| tool.as_str() == name) {
            let text = "Delegate and AskHuman ask by themselves: approvals are for other tools";
            problems.push(Problem::spec(format!("{field}.tool"), text));
        } else if !spec
            .tools
            .iter()
            .flat_map(ToolSpec::names)
            .any(|tool| tool == name)
        {
            let text = format!("{name} is not one of spec.tools; add it there");
            problems.push(Problem::spec(format!("{field}.tool"), text));
        }
        if !seen.insert(name) {
            problems.push(Problem::spec(&field, format!("{name} is there twice")));
        }
        approvers(problems, &format!("{field}.approvers"), &approval.approvers);
        let (least, most) = TIMES;
        let timeout = format!("{field}.timeout");
        bounds::duration(problems, &timeout, &approval.timeout, least, most);
    }
}

fn tool(problems: &mut Vec<Problem>, field: &str, tool: &ToolSpec) {
    let agents = format!("{field}.agents");
    if (tool.builtin == Some(Builtin::Delegate)) == tool.agents.is_empty() {
        let text = "goes with Delegate, which needs it: the Agents that may be given work";
        problems.push(Problem::spec(&agents, text));
    }
    bounds::list(problems, &agents, &tool.agents, 16);
    if tool
        .agents
        .iter()
        .any(|agent| !is_dns_subdomain(&agent.name))
    {
        problems.push(Problem::spec(&agents, "write names of Agents, like coder"));
    }
    let people = format!("{field}.approvers");
    match (&tool.approvers, tool.builtin == Some(Builtin::AskHuman)) {
        (Some(found), true) => approvers(problems, &people, found),
        (None, false) => {}
        _ => {
            let text = "goes with AskHuman, which needs it: who may answer";
            problems.push(Problem::spec(people, text));
        }
    }
    if let Some(timeout) = &tool.timeout {
        let field = format!("{field}.timeout");
        let (least, most) = TIMES;
        bounds::duration(problems, &field, timeout, least, most);
        if tool.builtin != Some(Builtin::AskHuman) {
            problems.push(Problem::spec(field, "is for AskHuman"));
        }
    }
}

fn approvers(problems: &mut Vec<Problem>, field: &str, value: &Approvers) {
    if value.groups.is_empty() && value.users.is_empty() {
        let text = "name groups, users, or both: those who may decide";
        problems.push(Problem::spec(field, text));
    }
    bounds::list(problems, &format!("{field}.groups"), &value.groups, 16);
    bounds::list(problems, &format!("{field}.users"), &value.users, 16);
    bounds::number(problems, &format!("{field}.count"), value.count, 1, 10);
}
