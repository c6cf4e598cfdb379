//! The schema of a command's parameters: which part of JSON Schema it may use, and whether values fit it.

use super::{MAX_PARAMS, MAX_PARAMS_BYTES, NAMES, is_name, json_bytes};
use crate::validate::Problem;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Largest schema in bytes of JSON.
const MAX_SCHEMA_BYTES: usize = 16 << 10;
/// Deepest nesting of schemas.
const MAX_DEPTH: usize = 8;
/// Most patterns of one schema, and the size that each may have when it is compiled: both take time.
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN_BYTES: usize = 32 << 10;
/// Most values of one `enum`: each is compared.
const MAX_ENUM: usize = 256;

const TYPES: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];
const WRITE_TYPE: &str = "write one of string, integer, number, boolean, array, object";
/// Each value meets one schema: no alternatives and no references, with which a small schema could take very long.
const KEYWORDS: [&str; 22] = [
    "type",
    "title",
    "description",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
];

/// A parameter, as its schema tells of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param<'a> {
    /// Its name.
    pub name: &'a str,
    /// `string`, `integer`, `number`, `boolean`, `array` or `object`.
    pub kind: &'a str,
    /// Whether it must be given.
    pub required: bool,
    /// Its value where it is not given.
    pub default: Option<&'a Value>,
    /// What it is for.
    pub description: &'a str,
    /// Its whole schema.
    pub schema: &'a Value,
}

/// The parameters of a schema in the order of their names. Nothing is checked: what is not there is empty.
#[must_use]
pub fn list(schema: Option<&Value>) -> Vec<Param<'_>> {
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let required: Vec<&str> = schema
        .and_then(|schema| schema.get("required")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| Param {
            name,
            kind: text(schema, "type").unwrap_or_default(),
            required: required.contains(&name.as_str()),
            default: schema.get("default"),
            description: text(schema, "description").unwrap_or_default(),
            schema,
        })
        .collect()
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

/// Parameters whose schema was read.
#[derive(Debug)]
pub struct Params<'a>(Vec<(Param<'a>, Validator)>);

impl<'a> Params<'a> {
    /// Reads a schema; `field` is where it stands. Without one there are no parameters.
    ///
    /// # Errors
    /// Every place where the schema is not one that can be used, and what to write there.
    pub fn new(field: &str, schema: Option<&'a Value>) -> Result<Self, Vec<Problem>> {
        let Some(schema) = schema else {
            return Ok(Self(Vec::new()));
        };
        let mut walk = Walk::default();
        walk.root(field, schema);
        if !walk.problems.is_empty() {
            return Err(walk.problems);
        }
        let mut problems = Vec::new();
        let mut read = Vec::new();
        for param in list(Some(schema)) {
            let field = format!("{field}.properties.{}", param.name);
            match compile(param.schema) {
                Ok(validator) => {
                    if let Some(Err(message)) = param.default.map(|value| fits(&validator, value)) {
                        problems.push(Problem::spec(format!("{field}.default"), message.1));
                    }
                    read.push((param, validator));
                }
                Err(message) => problems.push(Problem::spec(field, message)),
            }
        }
        if problems.is_empty() {
            Ok(Self(read))
        } else {
            Err(problems)
        }
    }

    /// The parameters.
    pub fn iter(&self) -> impl Iterator<Item = &Param<'a>> {
        self.0.iter().map(|(param, _)| param)
    }

    /// The values of all parameters: those that are given, and defaults. A null is as if it were not given.
    ///
    /// # Errors
    /// The first thing of each parameter that does not fit.
    pub fn complete<'b>(
        &'b self,
        field: &str,
        given: &'b BTreeMap<String, Value>,
    ) -> Result<BTreeMap<&'b str, Cow<'b, Value>>, Vec<Problem>> {
        let size = json_bytes(given);
        if size > MAX_PARAMS_BYTES {
            let text = format!("are {size} bytes of JSON: write at most {MAX_PARAMS_BYTES}");
            return Err(vec![Problem::spec(field, text)]);
        }
        let mut problems = Vec::new();
        for name in given.keys().filter(|name| !self.takes(name)).take(8) {
            let name: String = name.chars().take(63).collect();
            problems.push(Problem::spec(format!("{field}.{name}"), self.unknown()));
        }
        let mut values = BTreeMap::new();
        for (param, validator) in &self.0 {
            let field = format!("{field}.{}", param.name);
            let value = given.get(param.name).filter(|value| !value.is_null());
            match value.map(|value| (value, fits(validator, value))) {
                Some((value, Ok(()))) => {
                    values.insert(param.name, Cow::Borrowed(value));
                }
                Some((_, Err((path, message)))) => {
                    problems.push(Problem::spec(field + &path, message));
                }
                None => match param.default {
                    Some(value) => {
                        values.insert(param.name, Cow::Borrowed(value));
                    }
                    None if param.required => {
                        let text = format!("is missing: write a value of type {}", param.kind);
                        problems.push(Problem::spec(field, text));
                    }
                    None => {}
                },
            }
        }
        if problems.is_empty() {
            Ok(values)
        } else {
            Err(problems)
        }
    }

    fn takes(&self, name: &str) -> bool {
        self.iter().any(|param| param.name == name)
    }

    fn unknown(&self) -> String {
        let names: Vec<&str> = self.iter().map(|param| param.name).take(16).collect();
        if names.is_empty() {
            "the command takes no parameters; remove it".to_owned()
        } else {
            let names = names.join(", ");
            format!("the command has no such parameter; it takes {names}")
        }
    }
}

/// Meta-schema included. Formats are not among the keywords, so nothing is looked up.
fn compile(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| {
            if matches!(error.kind(), ValidationErrorKind::Format { .. }) {
                return "has a pattern that cannot be used: write one that Rust's regex takes (no look-around), with maxLength in place of a long repetition".to_owned();
            }
            let text: String = error.to_string().chars().take(200).collect();
            format!("cannot be used: {text}")
        })
}

/// The first place that does not fit, below the value, and what is expected there. The value itself is not repeated.
fn fits(validator: &Validator, value: &Value) -> Result<(), (String, String)> {
    validator.validate(value).map_err(|error| {
        let path = error.instance_path().to_string().replace('/', ".");
        (path, error.masked_with("the value").to_string())
    })
}

/// A walk over a schema. Its depth is bounded, so it may use the call stack.
#[derive(Default)]
struct Walk {
    problems: Vec<Problem>,
    patterns: usize,
}

impl Walk {
    fn tell(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::spec(field, message));
    }

    fn root(&mut self, field: &str, schema: &Value) {
        let size = json_bytes(schema);
        if size > MAX_SCHEMA_BYTES {
            self.tell(
                field,
                format!("is {size} bytes of JSON: write at most {MAX_SCHEMA_BYTES}"),
            );
            return;
        }
        let Some(held) = schema
            .as_object()
            .filter(|held| held.get("type").and_then(Value::as_str) == Some("object"))
        else {
            self.tell(
                field,
                "write {type: object, properties: {NAME: {type: string}}}",
            );
            return;
        };
        for (key, value) in held {
            let taken = match key.as_str() {
                "type" | "title" | "description" | "properties" | "required" => true,
                "additionalProperties" => *value == Value::Bool(false),
                _ => false,
            };
            if !taken {
                let shown: String = key.chars().take(40).collect();
                self.tell(
                    format!("{field}.{shown}"),
                    "is not taken here: write type, title, description, properties and required; other parameters are always refused",
                );
            }
        }
        self.properties(field, held, 0);
        for name in self.names(field, held) {
            if !is_name(&name) {
                self.tell(format!("{field}.properties.{name}"), NAMES);
            }
        }
    }

    /// The names of the properties. Those that are required must be among them.
    fn names(&mut self, field: &str, held: &Map<String, Value>) -> Vec<String> {
        let properties = held.get("properties").and_then(Value::as_object);
        let names: Vec<String> = properties
            .into_iter()
            .flatten()
            .map(|(name, _)| name.chars().take(64).collect())
            .collect();
        if names.len() > MAX_PARAMS {
            self.tell(
                format!("{field}.properties"),
                format!("has {} parameters: write at most {MAX_PARAMS}", names.len()),
            );
        }
        match held.get("required") {
            None => {}
            Some(Value::Array(required)) => {
                for name in required {
                    if !name
                        .as_str()
                        .is_some_and(|name| names.iter().any(|held| held == name))
                    {
                        let field = format!("{field}.required");
                        self.tell(field, "must name parameters that properties has");
                        break;
                    }
                }
            }
            Some(_) => self.tell(format!("{field}.required"), "write a list of names"),
        }
        names
    }

    fn properties(&mut self, field: &str, held: &Map<String, Value>, depth: usize) {
        match held.get("properties") {
            None => {}
            Some(Value::Object(properties)) => {
                for (name, below) in properties {
                    let name: String = name.chars().take(63).collect();
                    self.node(&format!("{field}.properties.{name}"), below, depth + 1);
                }
            }
            Some(_) => self.tell(
                format!("{field}.properties"),
                "write {NAME: {type: string}}",
            ),
        }
    }

    /// One value's schema; `depth` is 1 for a parameter itself.
    fn node(&mut self, field: &str, schema: &Value, depth: usize) {
        if depth > MAX_DEPTH {
            self.tell(field, format!("is nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        let Some(held) = schema.as_object() else {
            self.tell(field, "write a schema, like {type: string}");
            return;
        };
        let kind = held.get("type").and_then(Value::as_str);
        if !kind.is_some_and(|kind| TYPES.contains(&kind)) {
            self.tell(format!("{field}.type"), WRITE_TYPE);
        }
        for key in held.keys() {
            let own = key == "default" && depth == 1;
            if !own && !KEYWORDS.contains(&key.as_str()) {
                let shown: String = key.chars().take(40).collect();
                self.tell(
                    format!("{field}.{shown}"),
                    format!("is not taken; keywords are {}", KEYWORDS.join(", ")),
                );
            }
        }
        if held.contains_key("pattern") {
            self.patterns += 1;
            if self.patterns == MAX_PATTERNS + 1 {
                let text =
                    format!("is one pattern more than the {MAX_PATTERNS} that params may have");
                self.tell(format!("{field}.pattern"), text);
            }
        }
        let values = held.get("enum").and_then(Value::as_array);
        if values.is_some_and(|values| values.len() > MAX_ENUM) {
            let text = format!("write at most {MAX_ENUM} values");
            self.tell(format!("{field}.enum"), text);
        }
        if let Some(items) = held.get("items") {
            self.node(&format!("{field}.items"), items, depth + 1);
        }
        match held.get("additionalProperties") {
            None | Some(Value::Bool(_)) => {}
            Some(below) => self.node(&format!("{field}.additionalProperties"), below, depth + 1),
        }
        self.properties(field, held, depth);
    }
}
