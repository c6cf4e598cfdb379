//! Values of JSON and of CEL.

use cel::Value;
use cel::objects::{Key, Map};
use serde_json::{Map as Object, Number, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;

/// A value of JSON as CEL has it. Integers are `int` where they fit.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_u64().map(Value::UInt))
            .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(list) => Value::List(Arc::new(list.iter().map(from_json).collect())),
        Json::Object(object) => Value::Map(Map {
            map: Arc::new(
                object
                    .iter()
                    .map(|(name, value)| (key(name), from_json(value)))
                    .collect::<HashMap<_, _>>(),
            ),
        }),
    }
}

/// The key of a map.
pub(super) fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

/// A value of CEL as JSON.
///
/// # Errors
/// What has no place in JSON, and what to write.
pub(super) fn to_json(value: &Value) -> Result<Json, &'static str> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        Value::UInt(number) => Json::from(*number),
        Value::Float(number) => {
            Json::Number(Number::from_f64(*number).ok_or("gives a number that is not finite")?)
        }
        Value::String(text) => Json::String(text.as_ref().clone()),
        Value::List(list) => Json::Array(list.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let mut object = Object::new();
            for (key, value) in map.map.iter() {
                let Key::String(name) = key else {
                    return Err("gives a map whose keys are not texts: write them as texts");
                };
                object.insert(name.as_ref().clone(), to_json(value)?);
            }
            Json::Object(object)
        }
        Value::Opaque(_) => {
            return Err(
                "gives an optional value: end it with .orValue(...), which says what stands in its place",
            );
        }
        _ => return Err("gives a value that has no place in JSON"),
    })
}
