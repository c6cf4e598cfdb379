//! Checks of an Agent.

use super::requests::requests;
use super::{Problem, bounds, command, mcp, sandbox};
use crate::kinds::agent::AgentSpec;
use crate::names::is_dns_label;
use serde_json::Value;

/// Largest output schema in bytes of JSON.
pub const MAX_OUTPUT_SCHEMA_BYTES: usize = 32 << 10;
/// Deepest nesting of an output schema.
const MAX_OUTPUT_SCHEMA_DEPTH: usize = 64;

/// What is wrong with an Agent.
#[must_use]
pub fn agent(spec: &AgentSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    bounds::text(
        &mut problems,
        "spec.instructions",
        &spec.instructions,
        65_536,
    );
    bounds::reference(&mut problems, "spec.model.pool", &spec.model.pool);
    bounds::number(
        &mut problems,
        "spec.model.maxOutputTokens",
        spec.model.max_output_tokens,
        1,
        1_000_000,
    );
    if let Some(temperature) = &spec.model.temperature
        && !is_temperature(temperature)
    {
        problems.push(Problem::spec(
            "spec.model.temperature",
            "write a decimal from 0 to 2 in quotes, like \"0.2\"",
        ));
    }
    bounds::list(&mut problems, "spec.tools", &spec.tools, 32);
    mcp::tools(&mut problems, &spec.tools);
    capabilities(&mut problems, "spec.capabilities", &spec.capabilities);
    command::commands(&mut problems, &spec.commands);
    requests(&mut problems, spec);
    sandbox::sandbox(&mut problems, "spec.sandbox", &spec.sandbox);
    if let Some(output) = &spec.output {
        output_schema(&mut problems, "spec.output.schema", &output.schema);
    }
    if let Some(accept) = &spec.accept {
        sandbox::accept(&mut problems, "spec.accept", accept);
    }
    bounds::number(
        &mut problems,
        "spec.limits.turns",
        spec.limits.turns,
        1,
        1000,
    );
    bounds::number(
        &mut problems,
        "spec.limits.toolCalls",
        spec.limits.tool_calls,
        1,
        10_000,
    );
    if let Some(limit) = spec.limits.parallel_tasks {
        let field = "spec.limits.parallelTasks";
        bounds::number(&mut problems, field, limit, 1, 100_000);
    }
    if let Some(budget) = &spec.budget {
        bounds::budget(&mut problems, "spec.budget", budget);
    }
    problems
}

/// Capabilities are compared and told: their number and length are bounded.
pub(super) fn capabilities(problems: &mut Vec<Problem>, field: &str, capabilities: &[String]) {
    bounds::list(problems, field, capabilities, 32);
    for (index, capability) in capabilities.iter().take(32).enumerate() {
        if !is_dns_label(capability) {
            problems.push(Problem::spec(
                format!("{field}[{index}]"),
                "write 1 to 63 lower-case letters, digits and hyphens",
            ));
        }
    }
}

/// `0` to `2` with at most four decimals. By text: a float would round.
fn is_temperature(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    matches!(whole, "0" | "1" | "2")
        && (1..=4).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_digit())
        && (whole != "2" || part.bytes().all(|byte| byte == b'0'))
}

/// The schema must be an object of bounded size without references out of itself. Whether it compiles is seen where it is used.
pub(super) fn output_schema(problems: &mut Vec<Problem>, field: &str, schema: &Value) {
    if !schema.is_object() {
        problems.push(Problem::spec(
            field,
            "write a JSON Schema as an object, like {type: object, properties: {answer: {type: string}}}",
        ));
        return;
    }
    let size = serde_json::to_vec(schema).map_or(usize::MAX, |bytes| bytes.len());
    if size > MAX_OUTPUT_SCHEMA_BYTES {
        problems.push(Problem::spec(
            field,
            format!("is {size} bytes of JSON: write at most {MAX_OUTPUT_SCHEMA_BYTES}"),
        ));
        return;
    }
    // A stack of our own: the input is foreign, the call stack is not to depend on its depth.
    let mut open = vec![(schema, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_OUTPUT_SCHEMA_DEPTH {
            problems.push(Problem::spec(
                field,
                format!("is nested deeper than {MAX_OUTPUT_SCHEMA_DEPTH} levels"),
            ));
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if matches!(name.as_str(), "$ref" | "$dynamicRef")
                        && value
                            .as_str()
                            .is_some_and(|target| !target.starts_with('#'))
                    {
                        problems.push(Problem::spec(
                            format!("{field}.{name}"),
                            "must point inside the schema, like #/$defs/item",
                        ));
                    }
                    open.push((value, depth + 1));
                }
            }
            Value::Array(list) => open.extend(list.iter().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
}
