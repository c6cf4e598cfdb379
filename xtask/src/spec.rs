//! `cargo xtask spec`: writes `gateway/tests/spec/openai.json`, the schemas of OpenAI's OpenAPI document that tests hold the gateway's answers and
//! requests to. Only what constrains a value is kept of them: no prose, no examples.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::cache;
use crate::sources::{self, OPENAI};

/// `cargo xtask spec`.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail when the file is not what the pinned package gives
    #[arg(long)]
    check: bool,
}

const FILE: &str = "gateway/tests/spec/openai.json";

/// What callers send, what they get, and what each of these is made of.
const ROOTS: [&str; 10] = [
    "CreateChatCompletionRequest",
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateEmbeddingRequest",
    "CreateEmbeddingResponse",
    "CreateResponse",
    "ErrorResponse",
    "ListModelsResponse",
    "Response",
    "ResponseStreamEvent",
];

/// Keywords that say nothing about a value.
const PROSE: [&str; 8] = [
    "default",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "title",
];

/// Runs the command.
pub fn run(Args { check }: Args) -> Result<ExitCode> {
    let text = schemas(&sources::fetch(OPENAI)?.table)?;
    let path = cache::checkout().join(FILE);
    let held = fs::read_to_string(&path).unwrap_or_default();
    if held == text {
        println!("{FILE} is what the pinned package gives");
    } else if check {
        bail!("{FILE} is not what the pinned package gives; run `cargo xtask spec`");
    } else {
        fs::write(&path, text).with_context(|| format!("failed to write {FILE}"))?;
        println!("{FILE} written");
    }
    Ok(ExitCode::SUCCESS)
}

/// The schemas that the roots are made of, one a line.
fn schemas(document: &str) -> Result<String> {
    let options = serde_saphyr::options! { budget: None };
    let document: Value = serde_saphyr::from_str_with_options(document, options)
        .context("failed to read OpenAI's document")?;
    let all = document.pointer("/components/schemas");
    let all = all
        .and_then(Value::as_object)
        .context("the document has no schemas")?;
    let mut found = BTreeMap::new();
    let mut due: Vec<String> = ROOTS.map(str::to_owned).into();
    while let Some(name) = due.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let schema = all.get(&name);
        let schema = constraints(schema.with_context(|| format!("no schema {name}"))?);
        references(&schema, &mut due);
        found.insert(name, schema);
    }
    let lines: Vec<String> = found
        .iter()
        .map(|(name, schema)| format!("{}:{schema}", Value::from(name.as_str())))
        .collect();
    Ok(format!(
        "{{\"info\":{},\"components\":{{\"schemas\":{{\n{}\n}}}}}}\n",
        of(&document),
        lines.join(",\n")
    ))
}

/// Where the schemas are from.
fn of(document: &Value) -> Value {
    let info = |name: &str| document.pointer(&format!("/info/{name}")).cloned();
    serde_json::json!({
        "title": info("title"), "version": info("version"), "license": info("license"), "date": OPENAI.date, "home": OPENAI.home,
    })
}

/// A schema without what is for people.
fn constraints(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, _)| !PROSE.contains(&name.as_str()) && !name.starts_with("x-"));
            let kept = kept.map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    // Names of fields, whatever they are called.
                    ("properties", Value::Object(fields)) => {
                        let fields = fields.iter();
                        let fields = fields.map(|(name, value)| (name.clone(), constraints(value)));
                        Value::Object(fields.collect::<Map<_, _>>())
                    }
                    ("enum" | "const", value) => value.clone(),
                    (_, value) => constraints(value),
                };
                (name.clone(), value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(constraints).collect(),
        other => other.clone(),
    }
}

/// The names of the schemas that one refers to.
fn references(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            into.extend(
                name.and_then(|name| name.strip_prefix("#/components/schemas/"))
                    .map(str::to_owned),
            );
            fields.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn what_constrains_a_value_is_kept_with_what_it_refers_to() -> Result<()> {
        let mut document = String::from(
            "info: {title: T, version: '1', license: {name: MIT}}\ncomponents:\n  schemas:\n    Unused: {type: string}\n",
        );
        for root in ROOTS {
            let schema = "{$ref: '#/components/schemas/Inner', description: prose, x-oai: 1}";
            writeln!(document, "    {root}: {schema}")?;
        }
        document.push_str(
            "    Inner: {type: object, properties: {description: {type: string, example: x}}, enum: [{title: kept}]}\n",
        );
        let found: Value = serde_json::from_str(&schemas(&document)?)?;
        let schema = |name: &str| {
            found
                .pointer(&format!("/components/schemas/{name}"))
                .cloned()
        };
        assert_eq!(schema("Unused"), None);
        let reference = serde_json::json!({"$ref": "#/components/schemas/Inner"});
        assert_eq!(schema("Response"), Some(reference));
        let inner = serde_json::json!({
            "type": "object", "properties": {"description": {"type": "string"}}, "enum": [{"title": "kept"}],
        });
        assert_eq!(schema("Inner"), Some(inner));
        Ok(())
    }
}
