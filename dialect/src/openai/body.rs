//! The fields of a caller's body, read by their types.

use crate::Invalid;
use crate::json::Fields;
use crate::openai::node::Node;
use serde_json::Number;

/// A text.
pub(crate) fn text(fields: &Fields, name: &str) -> Result<Option<String>, Invalid> {
    node(fields, name)?.map(Node::text).transpose()
}

/// Any value, for a closer look.
pub(crate) fn node(fields: &Fields, name: &str) -> Result<Option<Node>, Invalid> {
    fields
        .get(name)
        .map(|raw| Node::read(name, raw))
        .transpose()
}

/// True or false.
pub(crate) fn flag(fields: &Fields, name: &str) -> Result<Option<bool>, Invalid> {
    node(fields, name)?.map(|node| node.flag()).transpose()
}

/// A number.
pub(crate) fn number(fields: &Fields, name: &str) -> Result<Option<Number>, Invalid> {
    parsed(fields, name, "must be a number")
}

/// A number of things.
pub(crate) fn count(fields: &Fields, name: &str) -> Result<Option<u64>, Invalid> {
    parsed(fields, name, "must be a whole number of at least 0")
}

/// A whole number.
pub(crate) fn integer(fields: &Fields, name: &str) -> Result<Option<i64>, Invalid> {
    parsed(fields, name, "must be a whole number")
}

fn parsed<T: serde::de::DeserializeOwned>(
    fields: &Fields,
    name: &str,
    what: &str,
) -> Result<Option<T>, Invalid> {
    fields
        .get(name)
        .map(|raw| serde_json::from_str(raw.get()).map_err(|_| Invalid::field(name, what)))
        .transpose()
}

/// One text or a list of them.
pub(crate) fn texts(fields: &Fields, name: &str) -> Result<Vec<String>, Invalid> {
    let Some(node) = node(fields, name)? else {
        return Ok(Vec::new());
    };
    match node.try_text() {
        Ok(text) => Ok(vec![text]),
        Err(node) => node.list()?.into_iter().map(Node::text).collect(),
    }
}

/// The model, which must be there.
pub(crate) fn model(fields: &Fields) -> Result<String, Invalid> {
    text(fields, "model")?
        .filter(|model| !model.is_empty())
        .ok_or_else(|| Invalid::field("model", "must name a model"))
}

/// Fields that are set to something else than what holds without them, by name.
pub(crate) fn left(fields: &Fields, known: &[&str]) -> Vec<String> {
    let others = fields.names().filter(|name| !known.contains(name));
    others.map(str::to_owned).collect()
}
