//! A caller's body that goes on as it came: the edits that it gets all the same.

use crate::json::{Fields, quote, raw};
use crate::kept::{Edit, each, set_list};
use crate::object::{Object, read};
use crate::responses::{MADE_UP, REDACTED, outgoing};
use crate::signature::{Signer, unmark};
use crate::writing::Dropped;
use serde_json::value::RawValue;

/// What is asked for, so that thoughts come back whole from a caller who is the only one to keep them.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Edits a body for a model of this name at OpenAI: nothing is to be kept there, so thoughts are asked for encrypted where the model is known to think
/// (`thinks`) or the caller asks for it, and those that only OpenAI's store or another vendor could read are left out. Returns the names of what was
/// left out.
pub fn adapt(fields: &mut Fields, model: &str, thinks: bool) -> Vec<String> {
    let mut dropped = Dropped::default();
    let stores = fields.get("store").is_some_and(|raw| raw.get() == "true");
    dropped.add_if(stores, "store");
    set(fields, "store", "false".to_owned());
    if thinks || fields.get("reasoning").is_some() {
        include_encrypted(fields);
    }
    let signer = outgoing::signer(model);
    let edited = fields
        .get("input")
        .filter(|input| {
            let text = input.get();
            text.contains("\"reasoning\"") || text.contains("\"extra_content\"")
        })
        .and_then(|input| each(input, |item| edit(item, signer, &mut dropped)));
    if let Some(input) = edited {
        set_list(fields, "input", &input);
    }
    dropped.into_list()
}

fn set(fields: &mut Fields, name: &str, json: String) {
    // What we write is JSON.
    if let Ok(value) = raw(json) {
        fields.set(name, value);
    }
}

/// A list that is none stays: the vendor's to refuse.
fn include_encrypted(fields: &mut Fields) {
    let mut wanted: Vec<String> = match fields.get("include") {
        None => Vec::new(),
        Some(list) => match read(list) {
            Some(wanted) => wanted,
            None => return,
        },
    };
    if wanted.iter().any(|one| one == ENCRYPTED) {
        return;
    }
    wanted.push(ENCRYPTED.to_owned());
    let wanted: Vec<_> = wanted.iter().map(|one| quote(one)).collect();
    set_list(fields, "include", &wanted);
}

fn edit(item: &RawValue, signer: Signer, dropped: &mut Dropped) -> Edit {
    let Some(object) = Object::parse(item.get()) else {
        return Edit::Keep;
    };
    let text = |name: &str| object.text(name).unwrap_or_default();
    let remove = |name: &str| match Fields::parse(item.get().as_bytes()) {
        Ok(mut fields) => {
            fields.remove(name);
            Edit::Become(fields.to_json())
        }
        Err(_) => Edit::Keep,
    };
    match text("type").as_str() {
        "reasoning" => {
            let encrypted = text("encrypted_content");
            let theirs = unmark(&encrypted, Signer::OpenAi).0 == signer;
            if encrypted.is_empty() || encrypted.starts_with(REDACTED) || !theirs {
                dropped.add("reasoning");
                return Edit::LeaveOut;
            }
            // OpenAI knows no name that we made up, and does without one.
            if text("id").starts_with(MADE_UP) {
                return remove("id");
            }
            Edit::Keep
        }
        "function_call" if object.get("extra_content").is_some() => {
            dropped.add("extra_content");
            remove("extra_content")
        }
        _ => Edit::Keep,
    }
}
