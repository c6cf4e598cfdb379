//! A command of an Agent: a named prompt with typed parameters.

use super::agent::OutputSpec;
use crate::common::any_object;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A prompt with parameters, under a name that Tasks call it by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandSpec {
    /// What a Task writes in `agent.command`. Letters and digits, the first a lower-case letter; none that YAML reads as a boolean, and no reserved word of CEL. At most 63.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z][a-zA-Z0-9]*$"))]
    pub name: String,
    /// What kind of work it is, like `testing`: lists are sorted by it. Lower-case letters, digits and hyphens, at most 63.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub category: Option<String>,
    /// What it does, in a sentence. At most 1024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub description: String,
    /// The parameters that it takes, as a JSON Schema of an object: `{type: object, required: [...], properties: {NAME: {type: ..., ...}}}`. Names are made like those of commands. Keywords: type, title, description, enum, const, minLength, maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, items, minItems, maxItems, uniqueItems, properties, required, additionalProperties, minProperties, maxProperties; of a parameter itself also default. At most 64 parameters, 8 levels, 16 patterns and 16 KiB. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub params: Option<Value>,
    /// What the agent is to do. `${params.NAME}` stands for a parameter, `$${` for the characters `${`. A text is put in as it is, everything else as JSON. 1 to 65536 characters, with its parameters at most 131072.
    #[schemars(length(min = 1, max = 65_536))]
    pub prompt: String,
    /// Parameters that it takes, to show how it is called. They are checked like those of a Task. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "examples_schema")]
    pub examples: Vec<BTreeMap<String, Value>>,
    /// The form of the answer. Default: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSpec>,
}

fn examples_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 16, "items": any_object(generator) })
}
