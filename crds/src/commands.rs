//! Commands of Agents: whether parameters fit, and the prompt that they make. Pure, so that controller, CLI and whoever else has an Agent at
//! hand say the same.
//!
//! Schema, prompt and parameters are written by users, and this runs in processes that serve everybody. So a schema has no references and
//! no alternatives (each value meets one schema, once), its patterns are those of an engine that takes linear time, and what is made of a
//! prompt is bounded while it is made.

mod schema;
mod template;

pub use schema::{Param, Params, list};
pub use template::{Piece, pieces};

use crate::kinds::command::CommandSpec;
use crate::validate::Problem;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most bytes of the parameters of a Task as JSON (256 KiB).
pub const MAX_PARAMS_BYTES: usize = 256 << 10;
/// Most parameters of a command.
pub const MAX_PARAMS: usize = 64;
/// Longest prompt that a command may make, in characters, as that of a Task.
pub const MAX_PROMPT: usize = 131_072;

/// How names of commands and of parameters are written.
pub(crate) const NAMES: &str = "write letters and digits, the first a lower-case letter, at most 63; neither a word that YAML reads as a boolean or null, nor one that CEL has for itself, like in or for";

/// What YAML 1.1 reads as another value than a text, and the words that CEL has or reserves.
const RESERVED: [&str; 27] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "n",
    "namespace",
    "no",
    "null",
    "off",
    "on",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
    "y",
    "yes",
];

/// Whether a text may be the name of a command or of a parameter.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !RESERVED.contains(&name)
}

/// Size of a value as JSON.
pub(crate) fn json_bytes<T: serde::Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// The prompt that a command makes of these parameters, defaults filled in. `field` is where they stand.
///
/// # Errors
/// What does not fit, each with its field; also where the command itself cannot be used.
pub fn prompt(
    command: &CommandSpec,
    field: &str,
    given: &BTreeMap<String, Value>,
) -> Result<String, Vec<Problem>> {
    let params = Params::new("params", command.params.as_ref())?;
    let pieces =
        pieces(&command.prompt).map_err(|message| vec![Problem::spec("prompt", message)])?;
    make(&params, &pieces, field, given)
}

/// The same, of what was read before.
pub(crate) fn make(
    params: &Params<'_>,
    pieces: &[Piece<'_>],
    field: &str,
    given: &BTreeMap<String, Value>,
) -> Result<String, Vec<Problem>> {
    let refused = |text: String| vec![Problem::spec(field, text)];
    let values = params.complete(field, given)?;
    let prompt = template::render(pieces, &values).ok_or_else(|| {
        refused(format!(
            "make a prompt of more than {MAX_PROMPT} characters; give long texts as files"
        ))
    })?;
    // The API server keeps NUL out of every other text of a spec; params are free-form there.
    if prompt.contains('\0') {
        return Err(refused("hold a NUL character; remove it".to_owned()));
    }
    Ok(prompt)
}

#[cfg(test)]
mod tests;
