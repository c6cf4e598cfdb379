//! The tools that the gateway carries out and that come with Oarmaster: what the model is told about them, and whether its arguments will do.
//!
//! A new one is a variant of [`GatewayTool`], its arms here, and its arm in the gateway (`gateway/src/tools`).

use oarmaster_protocol::tool::GatewayTool;
use serde_json::{Value, json};

/// The tool in the form of OpenAI's `tools`.
#[must_use]
pub fn definition(tool: GatewayTool) -> Value {
    json!({
        "type": "function",
        "function": {"name": tool.name(), "description": description(tool), "parameters": parameters(tool)},
    })
}

/// Whether a call may have an effect that another call sees.
#[must_use]
pub const fn may_change(tool: GatewayTool) -> bool {
    match tool {
        GatewayTool::Remember => true,
        GatewayTool::Recall => false,
    }
}

/// Whether a call of which nobody knows whether it was carried out may be made again.
#[must_use]
pub const fn may_repeat(tool: GatewayTool) -> bool {
    match tool {
        // The gateway knows a call by its number: the same one keeps nothing twice.
        GatewayTool::Remember | GatewayTool::Recall => true,
    }
}

/// Checks the arguments of a call against what the model was told.
///
/// # Errors
/// A sentence that tells the model what is wrong with them.
pub fn check(tool: GatewayTool, arguments: &Value) -> Result<(), String> {
    let schema = parameters(tool);
    let unusable = |why: String| {
        format!(
            "The arguments of {} are not usable: {why}. They must match this JSON Schema: {schema}",
            tool.name()
        )
    };
    let validator =
        jsonschema::validator_for(&schema).map_err(|error| unusable(error.to_string()))?;
    match validator.iter_errors(arguments).next() {
        None => Ok(()),
        // Without the value itself, which may be long.
        Some(error) => Err(unusable(error.masked().to_string())),
    }
}

const fn description(tool: GatewayTool) -> &'static str {
    match tool {
        GatewayTool::Remember => {
            "Keeps a note for later tasks: yours, for the person who asked for this task. Nobody else is given it. Keep what will be of use then, like decisions, preferences and facts that were hard to find, each as one note that can be understood by itself. Keep no passwords and no keys."
        }
        GatewayTool::Recall => {
            "Searches the notes that were kept with Remember in this and earlier tasks, and returns those that fit best. Without a query it returns the newest ones."
        }
    }
}

fn parameters(tool: GatewayTool) -> Value {
    let (properties, required) = match tool {
        GatewayTool::Remember => (
            json!({"text": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The note."}}),
            json!(["text"]),
        ),
        GatewayTool::Recall => (
            json!({
                "query": {"type": "string", "maxLength": 512, "description": "Words that the notes should have."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 20, "description": "Most notes; 5 by default."},
            }),
            json!([]),
        ),
    };
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_schemas_that_accept_their_own_examples() {
        for tool in GatewayTool::ALL {
            assert_eq!(GatewayTool::from_name(tool.name()), Some(tool));
            let (good, wrong) = match tool {
                GatewayTool::Remember => (
                    vec![json!({"text": "x"})],
                    vec![
                        json!({}),
                        json!({"text": ""}),
                        json!({"text": "x".repeat(4097)}),
                    ],
                ),
                GatewayTool::Recall => (
                    vec![json!({}), json!({"query": "ships", "limit": 3})],
                    vec![json!({"limit": 0}), json!({"query": 1})],
                ),
            };
            for arguments in good {
                check(tool, &arguments).unwrap();
            }
            let any = [json!(null), json!("text"), json!({"fly": true})];
            for arguments in wrong.into_iter().chain(any) {
                let told = check(tool, &arguments).unwrap_err();
                assert!(told.contains("JSON Schema"), "{told}");
                assert!(told.len() < 2048, "{}", told.len());
            }
        }
    }
}
