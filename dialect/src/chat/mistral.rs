//! What Mistral wants otherwise: the fields of `ChatCompletionRequest` of the `mistralai` package and no others.

use crate::chat::flavour::{each, inner, object, rename, set};
use crate::json::{Fields, quote};
use crate::openai::write::Object;
use crate::request::Thought;
use crate::writing::Dropped;
use sha2::{Digest, Sha256};

const KNOWN: &[&str] = &[
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "stream",
    "stop",
    "random_seed",
    "metadata",
    "response_format",
    "tools",
    "tool_choice",
    "presence_penalty",
    "frequency_penalty",
    "min_tokens",
    "repetition_penalty",
    "top_k",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "top_prompt_logprobs",
    "n",
    "prediction",
    "parallel_tool_calls",
    "reasoning_effort",
    "prompt_mode",
    "guardrails",
    "prompt_cache_key",
    "service_tier",
    "safe_prompt",
];

/// Letters and digits of an id.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH: usize = 9;

/// Edits a body.
pub(crate) fn adapt(fields: &mut Fields, dropped: &mut Dropped) {
    rename(fields, "seed", "random_seed");
    fields.remove("stream_options"); // usage always comes
    if fields.get("tool_choice").map(|raw| raw.get()) == Some("\"required\"") {
        set(fields, "tool_choice", quote("any"));
    }
    let tier = fields.get("service_tier").map(|raw| raw.get());
    if !matches!(tier, None | Some("\"auto\"" | "\"standard_only\"")) {
        fields.remove("service_tier");
        dropped.add("service_tier");
    }
    for name in fields.names().filter(|name| !KNOWN.contains(name)) {
        dropped.add(name);
    }
    fields.retain(|name| KNOWN.contains(&name));
    if let Some(raw) = fields.get("messages")
        && let Some(messages) = each(raw, &mut |message| self::message(message, dropped))
    {
        fields.set("messages", messages);
    }
    if let Some(raw) = fields.get("tools")
        && let Some(tools) = each(raw, &mut |tool| self::tool(tool, dropped))
    {
        fields.set("tools", tools);
    }
}

fn message(message: &mut Fields, dropped: &mut Dropped) -> bool {
    let role = text(message, "role").unwrap_or_default();
    let known: &[&str] = match role.as_str() {
        "assistant" => &["role", "content", "tool_calls", "prefix"],
        "tool" => &["role", "content", "tool_call_id", "name"],
        _ => &["role", "content"],
    };
    let mut changed = false;
    if role == "developer" {
        changed |= set(message, "role", quote("system"));
    }
    if let Some(refusal) = text(message, "refusal")
        && message.get("content").is_none()
    {
        changed |= set(message, "content", quote(&refusal));
        message.remove("refusal");
    }
    changed |= keep(message, known, "messages", dropped);
    changed |= inner(message, "content", &mut |part| self::part(part, dropped));
    changed |= inner(message, "tool_calls", &mut |call| {
        let kept = keep(
            call,
            &["id", "type", "function", "index"],
            "messages.tool_calls",
            dropped,
        );
        let named = with_id(call, "id");
        kept || named
    });
    changed |= with_id(message, "tool_call_id");
    changed
}

/// Removes what is not known, also where it is `null`: callers send back the whole message that they got.
fn keep(object: &mut Fields, known: &[&str], path: &str, dropped: &mut Dropped) -> bool {
    for name in object.names().filter(|name| !known.contains(name)) {
        dropped.add(&format!("{path}.{name}"));
    }
    let mut changed = false;
    object.retain(|name| {
        let wanted = known.contains(&name);
        changed |= !wanted;
        wanted
    });
    changed
}

fn part(part: &mut Fields, dropped: &mut Dropped) -> bool {
    let path = "messages.content";
    match text(part, "type").as_deref() {
        Some("text") => keep(part, &["type", "text"], path, dropped),
        Some("image_url") => keep(part, &["type", "image_url"], path, dropped),
        Some("refusal") => {
            let renamed = rename(part, "refusal", "text");
            renamed && set(part, "type", quote("text"))
        }
        Some("input_audio") => {
            let audio = part
                .get("input_audio")
                .map(|raw| Fields::parse(raw.get().as_bytes()));
            let Some(Ok(audio)) = audio else {
                return false; // its own form, a string
            };
            let data = audio.get("data").map(|raw| raw.get().to_owned());
            data.is_some_and(|data| set(part, "input_audio", data))
        }
        Some("file") => document(part),
        _ => false,
    }
}

/// A file's data becomes the address of a document. A file's id stays: Mistral has files of its own.
fn document(part: &mut Fields) -> bool {
    let file = part
        .get("file")
        .map(|raw| Fields::parse(raw.get().as_bytes()));
    let Some(Ok(file)) = file else {
        return false;
    };
    let Some(data) = file.get("file_data").map(|raw| raw.get().to_owned()) else {
        return false;
    };
    let document = Object::of_type("document_url")
        .raw("document_url", &data)
        .maybe(file.get("filename"), |object, name| {
            object.raw("document_name", name.get())
        })
        .end();
    Fields::parse(document.as_bytes()).is_ok_and(|document| {
        *part = document;
        true
    })
}

/// What Mistral signed, as it wants it back.
pub(crate) fn thought(thought: &Thought) -> String {
    let words = (!thought.text.is_empty())
        .then(|| Object::of_type("text").text("text", &thought.text).end());
    let signature = thought.signature.as_ref();
    Object::of_type("thinking")
        .list("thinking", words)
        .maybe(signature, |object, signature| {
            object.text("signature", &signature.value)
        })
        .end()
}

fn tool(tool: &mut Fields, dropped: &mut Dropped) -> bool {
    let outer = keep(tool, &["type", "function"], "tools", dropped);
    let function = object(tool, "function", &mut |function| {
        let known = ["name", "description", "strict", "parameters"];
        let mut changed = keep(function, &known, "tools.function", dropped);
        if function.get("parameters").is_none() {
            let nothing = Object::of_type("object").raw("properties", "{}").end();
            changed |= set(function, "parameters", nothing);
        }
        changed
    });
    outer || function
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

fn with_id(fields: &mut Fields, name: &str) -> bool {
    let Some(id) = text(fields, name) else {
        return false;
    };
    let mapped = id_of(&id);
    mapped != id && set(fields, name, quote(&mapped))
}

/// Mistral takes ids of nine letters or digits. The same id becomes the same one in a call and in its result.
pub(crate) fn id_of(id: &str) -> String {
    if id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    let digest = Sha256::digest(id.as_bytes());
    let letters = digest.iter().take(ID_LENGTH).filter_map(|byte| {
        let letter = ALPHABET.get(usize::from(*byte) % ALPHABET.len());
        letter.map(|letter| char::from(*letter))
    });
    letters.collect()
}
