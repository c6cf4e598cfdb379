//! Turns as messages.

use crate::chat::flavour::Flavour;
use crate::chat::outgoing::cache_control;
use crate::chat::{DIALECT, mistral, thoughts};
use crate::error::{Feature, Unsupported};
use crate::json::quote;
use crate::openai::call::signed;
use crate::openai::media::{audio_format, url};
use crate::openai::write::{Object, list};
use crate::request::{
    Content, Media, MediaKind, MediaSource, Part, Request, Role, Thought, ToolCall, ToolResult,
    Turn,
};
use crate::signature::Signature;
use crate::writing::Dropped;

/// The kinds of pictures that OpenAI takes.
const PICTURES: [&str; 5] = [
    "image/png",
    "image/jpeg",
    "image/jpg",
    "image/webp",
    "image/gif",
];

/// Writes all turns.
pub(crate) fn write(
    request: &Request,
    model: &str,
    flavour: Flavour,
    dropped: &mut Dropped,
) -> Result<Vec<String>, Unsupported> {
    let mut messages = Vec::new();
    for turn in &request.turns {
        match turn.role {
            Role::System => messages.extend(said("system", &turn.parts, flavour, dropped)?),
            Role::User => user(turn, flavour, dropped, &mut messages)?,
            Role::Assistant => messages.extend(assistant(turn, model, flavour, dropped)),
        }
    }
    Ok(messages)
}

/// Results come first: they must follow the calls at once.
fn user(
    turn: &Turn,
    flavour: Flavour,
    dropped: &mut Dropped,
    messages: &mut Vec<String>,
) -> Result<(), Unsupported> {
    for part in &turn.parts {
        if let Content::ToolResult(result) = &part.content {
            messages.push(tool_result(result, part, flavour, dropped)?);
        }
    }
    let others = turn.parts.iter();
    let others: Vec<Part> = others
        .filter(|part| !matches!(part.content, Content::ToolResult(_)))
        .cloned()
        .collect();
    messages.extend(said("user", &others, flavour, dropped)?);
    Ok(())
}

/// Whether a part is more than an empty text, which some vendors refuse.
fn is_said(part: &Part) -> bool {
    !matches!(&part.content, Content::Text(text) | Content::Refusal(text) if text.is_empty())
}

/// What a person or a system says; nothing where there is nothing.
fn said(
    role: &str,
    parts: &[Part],
    flavour: Flavour,
    dropped: &mut Dropped,
) -> Result<Option<String>, Unsupported> {
    if !parts.iter().any(is_said) {
        return Ok(None);
    }
    let content = content(parts, flavour, "\n\n", dropped)?;
    let message = Object::new().text("role", role).raw("content", &content);
    Ok(Some(message.end()))
}

/// A text alone as a string, which every server reads, anything else as a list. Servers that are only compatible get one string where all is
/// text.
fn content(
    parts: &[Part],
    flavour: Flavour,
    between: &str,
    dropped: &mut Dropped,
) -> Result<String, Unsupported> {
    let cached = parts.iter().any(|part| part.cache.is_some());
    if cached && !flavour.caches() {
        dropped.add("cache_control");
    }
    let said: Vec<&Part> = parts.iter().filter(|part| is_said(part)).collect();
    let texts: Option<Vec<&str>> = said
        .iter()
        .map(|part| match &part.content {
            Content::Text(text) | Content::Refusal(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if let Some(texts) = texts.filter(|_| !(cached && flavour.caches()))
        && (texts.len() < 2 || flavour == Flavour::Compatible)
    {
        return Ok(quote(&texts.join(between)));
    }
    let mut items = Vec::new();
    for part in said {
        let object = match &part.content {
            Content::Text(text) | Content::Refusal(text) => text_part(text),
            Content::Media(media) => self::media(media, flavour, dropped)?,
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => continue,
        };
        items.push(cache_control(object, part.cache.filter(|_| flavour.caches())).end());
    }
    Ok(list(items))
}

fn media(media: &Media, flavour: Flavour, dropped: &mut Dropped) -> Result<Object, Unsupported> {
    let lacks = |feature, detail: &str| Unsupported {
        dialect: DIALECT,
        feature,
        detail: Some(detail.to_owned()),
    };
    match (media.kind, &media.source) {
        (MediaKind::Image, source) => {
            if let MediaSource::Data { mime, .. } = source
                && flavour.is_openais()
                && !PICTURES.contains(&mime.as_str())
            {
                return Err(lacks(Feature::ImageType, mime));
            }
            let image = Object::new()
                .text("url", &url(source))
                .maybe_text("detail", media.detail.as_deref());
            Ok(Object::of_type("image_url").object("image_url", image))
        }
        (MediaKind::Audio, MediaSource::Data { mime, base64 }) if flavour != Flavour::Groq => {
            let format = audio_format(mime).ok_or_else(|| lacks(Feature::Audio, mime))?;
            let audio = Object::new().text("data", base64).text("format", format);
            Ok(Object::of_type("input_audio").object("input_audio", audio))
        }
        (MediaKind::Audio, MediaSource::Data { .. }) => {
            Err(Unsupported::new(DIALECT, Feature::Audio))
        }
        (MediaKind::Audio, MediaSource::Url(_)) => Err(lacks(Feature::Audio, "by address")),
        (MediaKind::Document, _) if flavour == Flavour::Groq => {
            Err(Unsupported::new(DIALECT, Feature::Documents))
        }
        (MediaKind::Document, MediaSource::Url(_))
            if !matches!(flavour, Flavour::Mistral | Flavour::OpenRouter) =>
        {
            Err(lacks(Feature::Documents, "by address"))
        }
        (MediaKind::Document, source) => {
            if media.detail.is_some() {
                dropped.add("detail");
            }
            // OpenAI refuses data without a name.
            let name = media.name.as_deref().unwrap_or("document.pdf");
            let file = Object::new()
                .text("filename", name)
                .text("file_data", &url(source));
            Ok(Object::of_type("file").object("file", file))
        }
    }
}

fn tool_result(
    result: &ToolResult,
    part: &Part,
    flavour: Flavour,
    dropped: &mut Dropped,
) -> Result<String, Unsupported> {
    if result.is_error {
        dropped.add("is_error");
    }
    let is_media = |content: &Content| matches!(content, Content::Media(_));
    if result.content.iter().any(is_media) {
        return Err(Unsupported::new(DIALECT, Feature::MediaInToolResults));
    }
    let mut parts: Vec<Part> = result.content.iter().cloned().map(Part::from).collect();
    if let Some(last) = parts.last_mut() {
        last.cache = part.cache;
    }
    let content = content(&parts, flavour, "\n\n", dropped)?;
    let message = Object::new()
        .text("role", "tool")
        .text("tool_call_id", &result.id)
        .raw("content", &content);
    Ok(message.end())
}

/// What the model said; nothing where only thoughts were said that the vendor does not take back.
fn assistant(turn: &Turn, model: &str, flavour: Flavour, dropped: &mut Dropped) -> Option<String> {
    let takes = |signature: &Signature| flavour.takes(signature.by, model);
    let mut texts: Vec<Part> = Vec::new();
    let mut refusal = None;
    let mut calls = Vec::new();
    let mut thoughts: Vec<&Thought> = Vec::new();
    for part in &turn.parts {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => {}
            Content::Text(_) => texts.push(part.clone()),
            Content::Refusal(text) if flavour.is_openais() => {
                refusal.get_or_insert_with(String::new).push_str(text);
            }
            Content::Refusal(_) => texts.push(part.clone()),
            Content::ToolCall(call) => calls.push(tool_call(
                call,
                call.signature.as_ref().filter(|signature| takes(signature)),
            )),
            Content::Reasoning(thought) if !thought.is_empty() => thoughts.push(thought),
            // The assistant has neither in this dialect, and its pictures are no part of what is asked.
            Content::Media(_) => dropped.add("media of the assistant"),
            Content::Reasoning(_) | Content::ToolResult(_) => {}
        }
    }
    let is_taken = |thought: &&&Thought| thought.signature.as_ref().is_some_and(takes);
    let signed: Vec<&Thought> = thoughts.iter().filter(is_taken).copied().collect();
    let message = Object::new().text("role", "assistant");
    if flavour == Flavour::Mistral && !signed.is_empty() {
        let chunks = signed.iter().map(|thought| mistral::thought(thought));
        let texts = texts.iter().filter_map(|part| match &part.content {
            Content::Text(text) | Content::Refusal(text) => Some(text_part(text).end()),
            _ => None,
        });
        let message = message.list("content", chunks.chain(texts));
        return Some(with_calls(message, calls).end());
    }
    let (message, thought) = with_thoughts(message, &thoughts, &signed, flavour, dropped);
    if texts.is_empty() && calls.is_empty() && refusal.is_none() && !thought {
        return None;
    }
    let message = if texts.is_empty() && (!calls.is_empty() || refusal.is_some()) {
        message.raw("content", "null")
    } else {
        // Text alone cannot fail.
        let content = content(&texts, flavour, "", dropped).unwrap_or_else(|_| quote(""));
        message.raw("content", &content)
    };
    let message = message.maybe_text("refusal", refusal.as_deref());
    Some(with_calls(message, calls).end())
}

fn with_calls(message: Object, calls: Vec<String>) -> Object {
    let calls = (!calls.is_empty()).then_some(calls);
    message.maybe(calls, |message, calls| message.list("tool_calls", calls))
}

fn text_part(text: &str) -> Object {
    Object::of_type("text").text("text", text)
}

/// Adds the thoughts where the vendor takes them back; whether it does.
fn with_thoughts(
    message: Object,
    thoughts: &[&Thought],
    signed: &[&Thought],
    flavour: Flavour,
    dropped: &mut Dropped,
) -> (Object, bool) {
    if thoughts.is_empty() {
        return (message, false);
    }
    let words = thoughts::words(thoughts);
    let name = match flavour {
        Flavour::OpenAi | Flavour::Azure | Flavour::Mistral => None,
        Flavour::Groq | Flavour::OpenRouter => Some("reasoning"),
        Flavour::Compatible => Some("reasoning_content"),
    };
    let details = thoughts::for_openrouter(signed).filter(|_| flavour == Flavour::OpenRouter);
    if name.is_none() || (words.is_none() && details.is_none()) {
        dropped.add("reasoning");
        return (message, false);
    }
    let message = message
        .maybe(name.zip(words), |message, (name, words)| {
            message.text(name, &words)
        })
        .maybe(details, |message, details| {
            message.list("reasoning_details", details)
        });
    (message, true)
}

fn tool_call(call: &ToolCall, signature: Option<&Signature>) -> String {
    let arguments = if call.arguments.trim().is_empty() {
        "{}" // servers parse it
    } else {
        &call.arguments
    };
    let function = Object::new()
        .text("name", &call.name)
        .text("arguments", arguments);
    let object = Object::new()
        .text("id", &call.id)
        .text("type", "function")
        .object("function", function);
    signed(object, signature).end()
}
