//! How much one evaluation may do: counted, not timed, so that it ends the same way on each machine and each time.
//!
//! What costs is going through bytes: to compare, copy or search them. A round of a comprehension is counted with all that the evaluation reads, as often
//! as its body names something from outside of it: each time it could be gone through from its beginning to its end.

use cel::objects::{Key, OptionalValue};
use cel::{ExecutionError, Value};
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes that are gone through (1 GiB): about a second.
const WORK: u64 = 1 << 30;
/// A round by itself is as much as so many bytes.
const ROUND: u64 = 4 << 10;
/// Most bytes that are made (32 MiB): of texts, lists and maps that an expression puts together.
const MADE: u64 = 32 << 20;
/// Most bytes of a compiled pattern. One takes milliseconds then.
const PATTERN: usize = 256 << 10;
/// Most patterns of one evaluation.
const PATTERNS: usize = 16;
/// What the error says: told from others by it.
pub(super) const TOO_MUCH: &str = "@too-much";
/// What it says of a number that is too large.
pub(super) const OVERFLOW: &str = "@overflow";
/// What it says of values that something cannot be done with.
pub(super) const KINDS: &str = "@kinds";
/// What it says of a pattern.
pub(super) const NO_PATTERN: &str = "@no-pattern";

/// The work of one evaluation.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Work>);

#[derive(Debug)]
struct Work {
    /// Bytes that the evaluation reads.
    read: u64,
    /// Bytes that were gone through.
    touched: AtomicU64,
    /// Bytes that were put together.
    made: AtomicU64,
    patterns: Mutex<HashMap<String, Regex>>,
}

impl Meter {
    /// Of an evaluation that reads so many bytes.
    pub(super) fn new(read: usize) -> Self {
        Self(Arc::new(Work {
            read: u64::try_from(read).unwrap_or(u64::MAX),
            touched: AtomicU64::new(0),
            made: AtomicU64::new(0),
            patterns: Mutex::default(),
        }))
    }

    /// One more round, whose body names so many things from outside.
    pub(super) fn round(&self, names: i64) -> Result<bool, ExecutionError> {
        let names = u64::try_from(names).unwrap_or(u64::MAX);
        let there = self
            .0
            .read
            .saturating_add(self.0.made.load(Ordering::Relaxed));
        self.touch(ROUND.saturating_add(names.saturating_mul(there)))?;
        Ok(true)
    }

    /// A value that becomes a part of another one.
    pub(super) fn made(&self, value: Value) -> Result<Value, ExecutionError> {
        self.make(bytes(&value))?;
        Ok(value)
    }

    /// A sum, a longer text or a longer list. Counted before it is made.
    pub(super) fn add(&self, one: Value, other: Value) -> Result<Value, ExecutionError> {
        self.make(bytes(&one).saturating_add(bytes(&other)))?;
        let overflow = || ExecutionError::function_error(OVERFLOW, "");
        Ok(match (one, other) {
            (Value::Int(one), Value::Int(other)) => {
                Value::Int(one.checked_add(other).ok_or_else(overflow)?)
            }
            (Value::UInt(one), Value::UInt(other)) => {
                Value::UInt(one.checked_add(other).ok_or_else(overflow)?)
            }
            (Value::Float(one), Value::Float(other)) => Value::Float(one + other),
            (Value::String(one), Value::String(other)) => {
                let mut text = String::with_capacity(one.len().saturating_add(other.len()));
                text.push_str(&one);
                text.push_str(&other);
                Value::String(Arc::new(text))
            }
            (Value::List(one), Value::List(other)) => {
                Value::List(Arc::new(one.iter().chain(other.iter()).cloned().collect()))
            }
            _ => return Err(ExecutionError::function_error(KINDS, "")),
        })
    }

    /// What a comprehension goes over: a list, or the keys of a map in their order.
    pub(super) fn range(&self, over: Value) -> Result<Value, ExecutionError> {
        self.touch(bytes(&over))?;
        match over {
            Value::Map(map) => {
                let mut keys: Vec<Key> = map.map.keys().cloned().collect();
                keys.sort();
                let keys = keys.into_iter().map(|key| match key {
                    Key::Int(number) => Value::Int(number),
                    Key::Uint(number) => Value::UInt(number),
                    Key::Bool(truth) => Value::Bool(truth),
                    Key::String(text) => Value::String(text),
                });
                Ok(Value::List(Arc::new(keys.collect())))
            }
            Value::List(_) => Ok(over),
            _ => Err(ExecutionError::function_error(KINDS, "")),
        }
    }

    fn make(&self, bytes: u64) -> Result<(), ExecutionError> {
        self.touch(bytes)?;
        within(&self.0.made, bytes, MADE)
    }

    /// Whether a pattern is found in a text. Patterns are those of an engine that takes linear time.
    pub(super) fn matches(&self, text: &str, pattern: &str) -> Result<bool, ExecutionError> {
        self.touch(ROUND.saturating_add(text.len() as u64))?;
        let held = &self.0.patterns;
        let mut patterns = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = patterns.get(pattern) {
            return Ok(regex.is_match(text));
        }
        if patterns.len() >= PATTERNS {
            return Err(ExecutionError::function_error(TOO_MUCH, ""));
        }
        let regex = RegexBuilder::new(pattern)
            .size_limit(PATTERN)
            .build()
            .map_err(|_| ExecutionError::function_error(NO_PATTERN, ""))?;
        let found = regex.is_match(text);
        patterns.insert(pattern.to_owned(), regex);
        Ok(found)
    }

    fn touch(&self, bytes: u64) -> Result<(), ExecutionError> {
        within(&self.0.touched, bytes, WORK)
    }
}

fn within(sum: &AtomicU64, more: u64, most: u64) -> Result<(), ExecutionError> {
    let before = sum.fetch_add(more, Ordering::Relaxed);
    if before.saturating_add(more) > most {
        return Err(ExecutionError::function_error(TOO_MUCH, ""));
    }
    Ok(())
}

/// About how many bytes a value takes.
fn bytes(value: &Value) -> u64 {
    const OWN: u64 = 16;
    let inner = match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.iter().map(bytes).sum(),
        Value::Map(map) => map
            .map
            .iter()
            .map(|(key, value)| {
                let key = match key {
                    Key::String(text) => text.len() as u64,
                    _ => 0,
                };
                bytes(value).saturating_add(key).saturating_add(OWN)
            })
            .sum(),
        Value::Opaque(_) => {
            let optional = <&OptionalValue>::try_from(value).ok();
            optional.and_then(OptionalValue::value).map_or(0, bytes)
        }
        _ => 0,
    };
    inner.saturating_add(OWN)
}
