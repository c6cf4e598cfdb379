//! Whole answers.

use crate::answer::{Answer, Stop, Usage};
use crate::error::NotAnAnswer;
use crate::object::{NotCredible, Object};
use crate::request::{Content, Media, MediaKind, MediaSource, Part, Thought, ToolCall};
use crate::signature::{Signature, Signer};
use serde_json::value::RawValue;

/// Why it ended, from Bedrock's word.
pub(super) fn read_stop(reason: &str, more: Option<&Object<'_>>) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "tool_use" => Stop::ToolCalls,
        "max_tokens" => Stop::Length,
        // Claude says which, where it was asked to.
        "stop_sequence" => Stop::Sequence(more.and_then(|more| more.text("stop_sequence"))),
        "guardrail_intervened" | "content_filtered" => Stop::Filter,
        "model_context_window_exceeded" => Stop::Context,
        // Claude's own words, should they come through.
        "refusal" => Stop::Refusal,
        "pause_turn" => Stop::Pause,
        other => Stop::Other(other.to_owned()),
    }
}

/// Tokens; `None` where they are missing or cannot be believed.
pub(super) fn read_usage(holder: &Object<'_>) -> Option<Usage> {
    let count = |usage: &Object<'_>| -> Result<Option<Usage>, NotCredible> {
        let (input, output) = (usage.count("inputTokens")?, usage.count("outputTokens")?);
        if input.is_none() && output.is_none() {
            return Ok(None);
        }
        let mut hour = 0u64;
        for detail in usage.list("cacheDetails").unwrap_or_default() {
            if let Some(detail) = Object::parse(detail.get())
                && detail.text("ttl").as_deref() == Some("1h")
            {
                let tokens = detail.count("inputTokens")?;
                hour = hour.saturating_add(tokens.unwrap_or(0));
            }
        }
        let written = usage.count("cacheWriteInputTokens")?.unwrap_or(0);
        Ok(Some(Usage {
            input: input.unwrap_or(0),
            cache_read: usage.count("cacheReadInputTokens")?.unwrap_or(0),
            cache_write: written.saturating_sub(hour),
            cache_write_hour: hour,
            output: output.unwrap_or(0),
            tier: holder
                .object("serviceTier")
                .and_then(|tier| tier.text("type")),
            ..Usage::default()
        }))
    };
    let usage = count(&holder.object("usage")?).ok().flatten()?;
    usage.is_credible().then_some(usage)
}

/// The model that a prompt router chose.
pub(super) fn read_model(holder: &Object<'_>) -> Option<String> {
    let router = holder.object("trace")?.object("promptRouter")?;
    router.text("invokedModelId")
}

/// Reads the answer of Converse.
///
/// # Errors
/// [`NotAnAnswer`] for what is none, with what was counted.
pub fn read_answer(body: &str) -> Result<Answer, NotAnAnswer> {
    let not = "the answer is not a JSON object";
    let top = Object::parse(body).ok_or_else(|| NotAnAnswer::new(not))?;
    let usage = read_usage(&top);
    let content = top
        .object("output")
        .and_then(|output| output.object("message"))
        .and_then(|message| message.list("content"));
    let Some(content) = content else {
        let message = "the answer has no message with a list of content";
        return Err(NotAnAnswer { message, usage });
    };
    let parts: Vec<Part> = content.into_iter().filter_map(read_block).collect();
    let calls = |part: &Part| matches!(part.content, Content::ToolCall(_));
    let more = top.object("additionalModelResponseFields");
    let stop = match top.text("stopReason") {
        Some(reason) => read_stop(&reason, more.as_ref()),
        None if parts.iter().any(calls) => Stop::ToolCalls,
        None => Stop::End,
    };
    Ok(Answer {
        id: None,
        model: read_model(&top),
        parts,
        stop,
        usage,
    })
}

/// A block of an answer; `None` for those of tools that the vendor runs, and for empty ones.
fn read_block(block: &RawValue) -> Option<Part> {
    let block = Object::parse(block.get())?;
    let content = if let Some(text) = block.text("text") {
        filled(text).map(Content::Text)
    } else if let Some(call) = block.object("toolUse") {
        if call.text("type").as_deref() == Some("server_tool_use") {
            return None;
        }
        Some(Content::ToolCall(ToolCall {
            id: call.text("toolUseId").unwrap_or_default(),
            name: call.text("name")?,
            arguments: call
                .get("input")
                .map_or("{}", |input| input.get())
                .to_owned(),
            signature: None,
        }))
    } else if let Some(reasoning) = block.object("reasoningContent") {
        read_thought(&reasoning).map(Content::Reasoning)
    } else if let Some(cited) = block.object("citationsContent") {
        // The text of an answer that cites is only in here.
        let pieces = cited.list("content").unwrap_or_default();
        let texts = pieces
            .into_iter()
            .filter_map(|piece| Object::parse(piece.get())?.text("text"));
        filled(texts.collect()).map(Content::Text)
    } else {
        read_image(&block.object("image")?).map(Content::Media)
    };
    content.map(Part::from)
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn read_thought(reasoning: &Object<'_>) -> Option<Thought> {
    if let Some(data) = reasoning.text("redactedContent") {
        return Some(Thought {
            signature: Some(Signature::new(Signer::Anthropic, data)),
            redacted: true,
            ..Thought::default()
        });
    }
    let text = reasoning.object("reasoningText")?;
    let thought = Thought {
        text: text.text("text").unwrap_or_default(),
        signature: text
            .text("signature")
            .and_then(filled)
            .map(|value| Signature::new(Signer::Anthropic, value)),
        ..Thought::default()
    };
    (thought != Thought::default()).then_some(thought)
}

fn read_image(image: &Object<'_>) -> Option<Media> {
    let format = image.text("format")?;
    let base64 = image.object("source")?.text("bytes")?;
    Some(Media {
        kind: MediaKind::Image,
        source: MediaSource::Data {
            mime: format!("image/{format}"),
            base64,
        },
        name: None,
        detail: None,
    })
}
