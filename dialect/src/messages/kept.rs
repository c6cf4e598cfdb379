//! A caller's body that goes on as it came: the edits that it gets all the same.

use super::OF_CALL;
use super::claude::{Form, Model};
use super::turns::call_id;
use crate::json::{Fields, quote, raw};
use crate::kept::{Edit, each, set_list, strings};
use crate::object::Object;
use crate::signature::{Signer, unmark};
use crate::writing::Dropped;
use serde_json::value::RawValue;

/// Edits a body for a model of this name: an answer of another vendor, sent back, holds what Anthropic refuses. Thoughts that others signed, or
/// nobody did, are left out; names of calls that it does not take are made anew, the same as [`super::write_request`] makes them; and a model does not
/// think by a budget in the middle of a turn that began without a thought. Returns the names of what was left out.
pub fn adapt(fields: &mut Fields, model: &str) -> Vec<String> {
    let Model {
        is_claude: claude,
        form,
        ..
    } = Model::of(model);
    let mut dropped = Dropped::default();
    let edited = fields
        .get("messages")
        .filter(|messages| is_foreign(messages.get(), claude))
        .and_then(|messages| each(messages, |message| edit(message, claude, &mut dropped)));
    if let Some(messages) = edited {
        set_list(fields, "messages", &messages);
    }
    let has_budget = fields
        .get("thinking")
        .is_some_and(|thinking| thinking.get().contains("\"enabled\""));
    if form == Form::Budget && has_budget && fields.get("messages").is_some_and(lacks_thoughts) {
        dropped.add_if(fields.remove("thinking"), "thinking");
    }
    dropped.into_list()
}

/// Whether the model spoke last to call tools, and did not think before.
fn lacks_thoughts(messages: &RawValue) -> bool {
    let messages: Vec<&RawValue> = serde_json::from_str(messages.get()).unwrap_or_default();
    let is_model = |message: &Object<'_>| message.text("role").as_deref() == Some("assistant");
    let last = messages
        .into_iter()
        .rev()
        .filter_map(|message| Object::parse(message.get()))
        .skip_while(|message| !is_model(message))
        .take_while(is_model);
    let (mut calls, mut thoughts) = (false, false);
    for block in last.flat_map(|message| message.list("content").unwrap_or_default()) {
        let kind = Object::parse(block.get()).and_then(|block| block.text("type"));
        match kind.as_deref() {
            Some("tool_use") => calls = true,
            Some("thinking" | "redacted_thinking") => thoughts = true,
            _ => {}
        }
    }
    calls && !thoughts
}

/// Whether anything of another vendor's may be in it.
fn is_foreign(messages: &str, claude: bool) -> bool {
    strings(messages, "signature").any(|signature| is_signed_by_others(signature, claude))
        || strings(messages, "data").any(|data| is_signed_by_others(data, false))
        || strings(messages, "tool_use_id").any(|id| call_id(id, b"") != id)
}

/// Whether others than the model's own vendor signed, or nobody. What is no Claude may sign nothing and take its own thoughts back.
fn is_signed_by_others(signature: &str, claude: bool) -> bool {
    let marked = unmark(signature, Signer::Anthropic).0 != Signer::Anthropic;
    marked || signature.starts_with(OF_CALL) || (claude && signature.is_empty())
}

/// A message without any content has no place.
fn edit(message: &RawValue, claude: bool, dropped: &mut Dropped) -> Edit {
    let Ok(mut fields) = Fields::parse(message.get().as_bytes()) else {
        return Edit::Keep; // the provider's to refuse
    };
    let edited = fields
        .get("content")
        .and_then(|content| each(content, |block| edit_block(block, claude, dropped)));
    match edited {
        None => Edit::Keep,
        Some(blocks) if blocks.is_empty() => Edit::LeaveOut,
        Some(blocks) => {
            set_list(&mut fields, "content", &blocks);
            Edit::Become(fields.to_json())
        }
    }
}

fn edit_block(block: &RawValue, claude: bool, dropped: &mut Dropped) -> Edit {
    let Some(object) = Object::parse(block.get()) else {
        return Edit::Keep;
    };
    let text = |name: &str| object.text(name).unwrap_or_default();
    let (leave_out, id) = match text("type").as_str() {
        "thinking" => (is_signed_by_others(&text("signature"), claude), None),
        "redacted_thinking" => (is_signed_by_others(&text("data"), claude), None),
        "tool_use" => (false, Some("id")),
        "tool_result" => (false, Some("tool_use_id")),
        _ => (false, None),
    };
    if leave_out {
        // The signature of a call is no thought that anybody had.
        dropped.add_if(!text("signature").starts_with(OF_CALL), "reasoning");
        return Edit::LeaveOut;
    }
    id.and_then(|name| rename(block, name, &text(name)))
        .map_or(Edit::Keep, Edit::Become)
}

fn rename(block: &RawValue, name: &str, id: &str) -> Option<String> {
    let fits = call_id(id, b"");
    if fits == id {
        return None;
    }
    let mut fields = Fields::parse(block.get().as_bytes()).ok()?;
    fields.set(name, raw(quote(&fits)).ok()?);
    Some(fields.to_json())
}
