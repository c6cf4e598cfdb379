//! Expressions: one language, CEL, for whatever a workflow computes from what its steps left. The only module that knows the `cel` crate.
//!
//! What users and models wrote is evaluated in a process that serves everybody, and again after each crash. So an expression is compiled once,
//! when a workflow is checked, and refused there for whatever can be seen without its values: an unknown name, an unknown function, a step
//! that does not exist. An evaluation gives the same for the same values, does a bounded amount of work, and cannot panic. Values are bound
//! to names, never pasted into the text of an expression.
//!
//! | differs from the crate | why |
//! |---|---|
//! | integers of JSON are CEL's `int` | the crate makes them `uint`, which is another type than a literal's |
//! | maps are gone through in the order of their keys | the crate's order is another one in each process |
//! | an evaluation that does too much ends with an error | the crate has no bound |

mod compile;
mod meter;
mod scan;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use compile::{Expression, Reads, Scope};
pub use template::Template;
pub(crate) use template::json_bytes;

use std::collections::BTreeMap;

/// Most characters of an expression.
pub const MAX_CHARACTERS: usize = 2048;
/// Most comprehensions (`map`, `filter`, `all`, `exists`, `exists_one`) within each other.
pub const MAX_NESTING: usize = 2;
/// Most bytes of the values that one evaluation reads, as JSON, and of what it gives (1 MiB).
pub const MAX_BYTES: usize = 1 << 20;
/// Most levels of data that has expressions in it, or comes of them: readers of JSON give up at 128.
pub const MAX_LEVELS: usize = 32;

/// What is wrong with an expression, before it is evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression `{expression}` {why}")]
pub struct Invalid {
    /// The expression, shortened.
    pub expression: String,
    /// What is wrong with it and what to write.
    pub why: String,
}

/// Why an evaluation gave nothing. No value is in it: values are what models and programs said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression `{expression}` {why}")]
pub struct Failed {
    /// The expression, shortened.
    pub expression: String,
    /// What went wrong and what to write.
    pub why: String,
    /// Whether values were too large.
    pub too_large: bool,
}

/// The values of names, by name. Steps are a map of their names under `steps`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// Each name but `steps`.
    pub names: BTreeMap<String, serde_json::Value>,
    /// What is known of steps: an object each.
    pub steps: BTreeMap<String, serde_json::Value>,
}

/// How many levels data has: 0 of what is neither list nor object.
pub(crate) fn depth(data: &serde_json::Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(data, 0)];
    while let Some((data, level)) = open.pop() {
        deepest = deepest.max(level);
        match data {
            serde_json::Value::Array(list) => {
                open.extend(list.iter().map(|one| (one, level + 1)));
            }
            serde_json::Value::Object(object) => {
                open.extend(object.values().map(|one| (one, level + 1)));
            }
            _ => {}
        }
    }
    deepest
}

/// The start of an expression, for messages.
fn shown(source: &str) -> String {
    const SHOWN: usize = 120;
    let source = source.trim();
    let mut text: String = source.chars().take(SHOWN).collect();
    if source.chars().count() > SHOWN {
        text.push('…');
    }
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}
