//! What of a request a budget can bound: everything that cannot raise its cost above the bound of its bytes and its output limit. Under a budget only
//! this passes.

use super::fields::typed;
use crate::error::ApiFailure;
use oarmaster_dialect::json::{Fields, elements, members, quote};
use oarmaster_protocol::task::ErrorCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// How deep parts stand within parts.
const MAX_PARTS: usize = 4;

/// The lists of a surface. An empty kind stands for one that is not stated.
#[derive(Debug)]
pub struct Bounded {
    /// Fields.
    pub fields: &'static [&'static str],
    /// Whether another field is bounded with this value.
    pub with_value: fn(&str, &RawValue) -> bool,
    /// Kinds of tools that have no price of their own.
    pub tools: &'static [&'static str],
    /// Fields that hold what is said, as items.
    pub said: &'static [&'static str],
    /// Kinds of items.
    pub items: &'static [&'static str],
    /// Fields that hold parts without items around them.
    pub told: &'static [&'static str],
    /// Kinds of parts, within items and other parts, that have no more tokens than bytes.
    pub parts: &'static [&'static str],
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    r#type: Option<String>,
}

/// What of an item says whether it is bounded; a field that is `null` is not there.
#[derive(Default)]
struct Item<'a> {
    r#type: Option<&'a str>,
    /// Who speaks.
    role: Option<&'a str>,
    /// A sound that OpenAI keeps, in chat completions.
    audio: Option<&'a str>,
    content: Option<&'a str>,
    /// What a tool answered, in OpenAI's responses.
    output: Option<&'a str>,
}

impl<'a> Item<'a> {
    /// Reads an object; `None` where it is none, or has one of these fields twice: readers differ in which of the two they take.
    fn read(json: &'a str) -> Option<Self> {
        let mut item = Self::default();
        let mut seen = [false; 5];
        for (quoted, value) in members(json)? {
            let name = unquoted(quoted)?;
            let [kind, role, audio, content, output] = &mut seen;
            let (place, seen) = match &*name {
                "type" => (&mut item.r#type, kind),
                "role" => (&mut item.role, role),
                "audio" => (&mut item.audio, audio),
                "content" => (&mut item.content, content),
                "output" => (&mut item.output, output),
                _ => continue,
            };
            if std::mem::replace(seen, true) {
                return None;
            }
            *place = Some(value).filter(|value| *value != "null");
        }
        Some(item)
    }

    /// Its kind; empty where it states none.
    fn kind(&self) -> Option<Cow<'a, str>> {
        self.r#type.map_or(Some(Cow::Borrowed("")), unquoted)
    }
}

/// The text of a string of JSON.
fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

impl Bounded {
    /// Refuses what is not bounded.
    ///
    /// # Errors
    /// `unbounded_cost`, naming the field or kind; `invalid_request`.
    pub fn check(&self, fields: &Fields) -> Result<(), ApiFailure> {
        for name in fields.names() {
            let bounded = self.fields.contains(&name)
                || fields
                    .get(name)
                    .is_some_and(|value| (self.with_value)(name, value));
            if !bounded {
                return Err(refuse(format!(
                    "field {name} may change what the call costs and a budget is set: leave it out"
                )));
            }
        }
        let tools: Vec<Typed> = typed(fields, "tools", "a list of tools")?.unwrap_or_default();
        for tool in tools {
            if let Some(kind) = other_than(tool.r#type.as_deref(), self.tools) {
                return Err(refuse(format!(
                    "a tool of type {} has a price of its own and a budget is set",
                    quote(kind)
                )));
            }
        }
        for (names, kinds) in [(self.said, self.items), (self.told, self.parts)] {
            for name in names {
                let said = fields.get(name).map(RawValue::get);
                if let Some(list) = said.filter(|said| said.starts_with('[')) {
                    self.check_items(list, kinds, name, 0)?;
                }
            }
        }
        Ok(())
    }

    fn check_items(
        &self,
        list: &str,
        kinds: &[&str],
        field: &str,
        depth: usize,
    ) -> Result<(), ApiFailure> {
        // Each level is read once more, and no dialect has more than three.
        if depth > MAX_PARTS {
            return Err(refuse(format!(
                "field {field} has parts within parts more than {MAX_PARTS} levels deep and a budget is set"
            )));
        }
        let unread = || {
            ApiFailure::invalid(format!(
                "field {field} has a content that is no list of parts"
            ))
        };
        for json in elements(list).ok_or_else(unread)? {
            let item = Item::read(json).ok_or_else(unread)?;
            let kind = item.kind().ok_or_else(unread)?;
            if let Some(kind) = other_than(Some(&kind), kinds) {
                return Err(refuse(format!(
                    "a message part of type {} has a number of tokens that its bytes do not bound and a budget is set",
                    quote(kind)
                )));
            }
            // Nobody says how much it is that the name of something kept stands for.
            if (item.r#type.is_none() && item.role.is_none()) || item.audio.is_some() {
                return Err(refuse(format!(
                    "field {field} refers to what the provider keeps, of which the bytes here say nothing, and a budget is set: send the thing itself"
                )));
            }
            for inner in [item.content, item.output].into_iter().flatten() {
                if inner.starts_with('[') {
                    self.check_items(inner, self.parts, field, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Nothing is bounded by its value.
#[must_use]
pub fn never(_: &str, _: &RawValue) -> bool {
    false
}

fn other_than<'a>(kind: Option<&'a str>, known: &[&str]) -> Option<&'a str> {
    let kind = kind.unwrap_or("");
    (!known.contains(&kind)).then_some(kind)
}

fn refuse(what: String) -> ApiFailure {
    ApiFailure::new(ErrorCode::UnboundedCost, what)
}
