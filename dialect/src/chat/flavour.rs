//! What vendors of chat completions want otherwise. A body that is passed on byte by byte gets these edits and no others.

use crate::chat::mistral;
use crate::json::{Fields, raw};
use crate::signature::Signer;
use crate::writing::Dropped;
use serde_json::value::RawValue;

/// Whose chat completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// OpenAI. Refuses fields that it does not know, and `max_tokens` for models that reason.
    OpenAi,
    /// Azure's OpenAI service: as OpenAI's.
    Azure,
    /// Mistral. Refuses fields that it does not know; has other names for some, and its own ids of tool calls.
    Mistral,
    /// Groq. Refuses fields of messages that it does not know; keeps thoughts in `reasoning`.
    Groq,
    /// OpenRouter. Takes `cache_control`, `reasoning` and `reasoning_details`, and always says what it charges.
    OpenRouter,
    /// Any other server: most know `max_tokens` only, and leave aside what they do not know.
    Compatible,
}

impl Flavour {
    /// Whether `cache_control` means something here.
    pub(crate) const fn caches(self) -> bool {
        matches!(self, Self::OpenRouter)
    }

    /// Whether a model of this name takes back what this signer signed. Of a compatible server only Google's own, with Gemini, takes any.
    pub(crate) fn takes(self, signer: Signer, model: &str) -> bool {
        match self {
            Self::OpenAi | Self::Azure | Self::Groq => false,
            Self::Mistral => signer == Signer::Mistral,
            Self::Compatible => {
                let name = model.rsplit('/').next().unwrap_or_default();
                signer == Signer::Google && name.starts_with("gemini")
            }
            Self::OpenRouter => match model.split('/').next().unwrap_or_default() {
                "anthropic" => signer == Signer::Anthropic,
                "openai" => matches!(signer, Signer::OpenAi | Signer::Azure),
                "google" => signer == Signer::Google,
                "x-ai" => signer == Signer::XAi,
                // Its routers choose the model, and know by the format what to pass on to it.
                "openrouter" => !matches!(signer, Signer::Mistral | Signer::Other),
                _ => signer == Signer::OpenRouter,
            },
        }
    }

    /// Whether these are the vendors of the dialect themselves.
    pub(crate) const fn is_openais(self) -> bool {
        matches!(self, Self::OpenAi | Self::Azure)
    }
}

/// Edits a body for a vendor. Returns the names of fields that were removed because the vendor refuses them.
pub fn adapt(fields: &mut Fields, flavour: Flavour) -> Vec<String> {
    let mut dropped = Dropped::default();
    match flavour {
        Flavour::OpenAi | Flavour::Azure => {
            limit(fields, "max_completion_tokens");
            strip(fields, flavour, &mut dropped);
        }
        Flavour::Groq => {
            limit(fields, "max_completion_tokens");
            strip(fields, flavour, &mut dropped);
        }
        Flavour::Mistral => {
            limit(fields, "max_tokens");
            mistral::adapt(fields, &mut dropped);
        }
        Flavour::Compatible => limit(fields, "max_tokens"),
        Flavour::OpenRouter => {} // knows both limits and every extension
    }
    dropped.into_list()
}

/// Says the limit of output tokens under this name alone. Where both are said the larger counts, as it does when the request is read.
fn limit(fields: &mut Fields, name: &str) {
    let other = if name == "max_tokens" {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    let Some(theirs) = fields.get(other).map(ToOwned::to_owned) else {
        fields.remove(other); // it may be null
        return;
    };
    let number = |raw: &RawValue| raw.get().parse::<u64>().ok();
    let ours = fields.get(name);
    if ours.is_none_or(|ours| number(ours) < number(&theirs)) {
        fields.set(name, theirs);
    }
    fields.remove(other);
}

/// Removes the extensions that a strict vendor refuses.
fn strip(fields: &mut Fields, flavour: Flavour, dropped: &mut Dropped) {
    const EXTENSIONS: [&str; 3] = ["\"reasoning", "\"cache_control\"", "\"extra_content\""];
    let mut edit = |name: &str, edit: &mut dyn FnMut(&mut Fields) -> bool| {
        let text = fields.get(name).filter(|raw| {
            let text = raw.get();
            EXTENSIONS.iter().any(|extension| text.contains(extension))
        });
        if let Some(list) = text.and_then(|raw| each(raw, edit)) {
            fields.set(name, list);
        }
    };
    edit("messages", &mut |message| {
        let mut changed = false;
        if flavour == Flavour::Groq {
            changed |= rename(message, "reasoning_content", "reasoning");
        } else {
            changed |= remove(message, "messages", "reasoning", dropped);
        }
        for name in ["reasoning_content", "reasoning_details", "cache_control"] {
            changed |= remove(message, "messages", name, dropped);
        }
        changed |= inner(message, "content", &mut |part| {
            remove(part, "messages.content", "cache_control", dropped)
        });
        changed |= inner(message, "tool_calls", &mut |call| {
            remove(call, "messages.tool_calls", "extra_content", dropped)
        });
        changed
    });
    edit("tools", &mut |tool| {
        let outer = remove(tool, "tools", "cache_control", dropped);
        let function = object(tool, "function", &mut |function| {
            remove(function, "tools", "cache_control", dropped)
        });
        outer || function
    });
}

/// Removes a field of an object within the body, and says so unless it was `null`.
pub(crate) fn remove(object: &mut Fields, path: &str, name: &str, dropped: &mut Dropped) -> bool {
    let stated = object.get(name).is_some();
    let removed = object.remove(name);
    if removed && stated {
        dropped.add(&format!("{path}.{name}"));
    }
    removed
}

/// Renames a field unless the new name is taken.
pub(crate) fn rename(object: &mut Fields, from: &str, to: &str) -> bool {
    let Some(value) = object.get(from).map(ToOwned::to_owned) else {
        return false;
    };
    if object.get(to).is_none() {
        object.set(to, value);
    }
    object.remove(from)
}

/// Edits each object of a list that is a field.
pub(crate) fn inner(
    object: &mut Fields,
    name: &str,
    edit: &mut dyn FnMut(&mut Fields) -> bool,
) -> bool {
    let edited = object.get(name).and_then(|raw| each(raw, edit));
    edited.is_some_and(|list| {
        object.set(name, list);
        true
    })
}

/// Edits an object that is a field.
pub(crate) fn object(
    outer: &mut Fields,
    name: &str,
    edit: &mut dyn FnMut(&mut Fields) -> bool,
) -> bool {
    let parsed = outer
        .get(name)
        .map(|raw| Fields::parse(raw.get().as_bytes()));
    let Some(Ok(mut fields)) = parsed else {
        return false;
    };
    edit(&mut fields) && set(outer, name, fields.to_json())
}

/// Sets a field to what is JSON.
pub(crate) fn set(fields: &mut Fields, name: &str, json: String) -> bool {
    raw(json).is_ok_and(|value| {
        fields.set(name, value);
        true
    })
}

/// Edits each object of a list; `None` where nothing changed. What is no list or no object is the vendor's to refuse.
pub(crate) fn each(
    list: &RawValue,
    edit: &mut dyn FnMut(&mut Fields) -> bool,
) -> Option<Box<RawValue>> {
    let mut items: Vec<Box<RawValue>> = serde_json::from_str(list.get()).ok()?;
    let mut changed = false;
    for item in &mut items {
        if let Ok(mut fields) = Fields::parse(item.get().as_bytes())
            && edit(&mut fields)
        {
            *item = raw(fields.to_json()).ok()?;
            changed = true;
        }
    }
    changed.then(|| serde_json::value::to_raw_value(&items).ok())?
}
