//! Thoughts: `reasoning_content` in words, and OpenRouter's `reasoning_details` with what the vendor signed.

use crate::openai::said::member;
use crate::openai::write::Object;
use crate::request::Thought;
use crate::signature::{Signature, Signer};
use serde_json::Value;

/// OpenRouter's format where it does not know one.
const UNKNOWN: &str = "unknown";

/// Reads the thoughts of a message. Words that stand in both places count once.
pub(crate) fn read(details: Option<&Value>, plain: Option<&str>) -> Vec<Thought> {
    let mut thoughts = details_of(details);
    let said = thoughts.iter().any(|thought| !thought.text.is_empty());
    if let Some(text) = plain.filter(|text| !said && !text.is_empty()) {
        thoughts.insert(0, Thought::said(text));
    }
    thoughts
}

/// Reads a list of details. What was encrypted belongs to the summary right before it.
pub(crate) fn details_of(details: Option<&Value>) -> Vec<Thought> {
    let items = details.and_then(Value::as_array).map(Vec::as_slice);
    let mut thoughts: Vec<Thought> = Vec::new();
    for thought in items.unwrap_or_default().iter().filter_map(detail) {
        match thoughts.last_mut() {
            Some(last)
                if last.signature.is_none() && thought.text.is_empty() && !thought.redacted =>
            {
                last.signature = thought.signature;
            }
            _ => thoughts.push(thought),
        }
    }
    thoughts
}

fn detail(item: &Value) -> Option<Thought> {
    let text = |name| member(item, name).map(str::to_owned);
    let signature = |name| {
        let value = member(item, name)?;
        let mut signature = match member(item, "format").map(Signer::of_format) {
            None | Some(Signer::OpenRouter) => Signature::read(value, Signer::OpenRouter),
            Some(by) => Signature::new(by, value),
        };
        signature.id = text("id");
        Some(signature)
    };
    let thought = match member(item, "type")? {
        "reasoning.text" => Thought {
            text: text("text").unwrap_or_default(),
            signature: signature("signature"),
            redacted: false,
        },
        "reasoning.summary" => Thought::said(text("summary").unwrap_or_default()),
        "reasoning.encrypted" => {
            let signature = signature("data");
            let redacted = signature
                .as_ref()
                .is_some_and(|signature| has_both(signature.by));
            Thought {
                text: String::new(),
                signature,
                redacted,
            }
        }
        _ => return None,
    };
    (!thought.is_empty()).then_some(thought)
}

/// The words of all thoughts; `None` where there are none.
pub(crate) fn words(thoughts: &[&Thought]) -> Option<String> {
    let words: String = thoughts
        .iter()
        .map(|thought| thought.text.as_str())
        .collect();
    (!words.is_empty()).then_some(words)
}

/// All thoughts as details, if one of them carries more than words.
pub(crate) fn details(thoughts: &[&Thought]) -> Option<Vec<String>> {
    let more = thoughts.iter().any(|thought| thought.signature.is_some());
    more.then(|| {
        let list = thoughts.iter().enumerate();
        list.flat_map(|(position, thought)| write(thought, position))
            .collect()
    })
}

/// What OpenRouter takes back, if it is anything.
pub(crate) fn for_openrouter(signed: &[&Thought]) -> Option<Vec<String>> {
    let details = signed.iter().enumerate().flat_map(|(position, thought)| {
        let signature = thought.signature.as_ref();
        let value = signature.map_or("", |signature| &signature.value);
        written(thought, value, position)
    });
    (!signed.is_empty()).then(|| details.collect())
}

/// The details of one thought: what Anthropic signs stands beside its words, what others encrypt after them. `position` counts the thoughts of the
/// message.
pub(crate) fn write(thought: &Thought, position: usize) -> Vec<String> {
    let value = thought
        .signature
        .as_ref()
        .map(|signature| match signature.by.format() {
            UNKNOWN => signature.marked(Signer::OpenRouter),
            _ => signature.value.as_str().into(),
        });
    written(thought, &value.unwrap_or_default(), position)
}

/// Whether a signer both signs words and hides some: what others encrypt is all that they sign.
const fn has_both(signer: Signer) -> bool {
    matches!(
        signer,
        Signer::Anthropic | Signer::Mistral | Signer::OpenRouter | Signer::Other
    )
}

fn written(thought: &Thought, value: &str, position: usize) -> Vec<String> {
    let of_type = |kind, format: &str| {
        Object::of_type(kind)
            .text("format", format)
            .plain("index", position)
    };
    let Some(signature) = &thought.signature else {
        return vec![
            of_type("reasoning.text", UNKNOWN)
                .text("text", &thought.text)
                .end(),
        ];
    };
    let format = signature.by.format();
    let of_type = |kind| of_type(kind, format).maybe_text("id", signature.id.as_deref());
    if has_both(signature.by) && !thought.redacted {
        let detail = of_type("reasoning.text").text("text", &thought.text);
        return vec![detail.text("signature", value).end()];
    }
    let summary = (!thought.text.is_empty()).then(|| {
        of_type("reasoning.summary")
            .text("summary", &thought.text)
            .end()
    });
    let encrypted = of_type("reasoning.encrypted").text("data", value).end();
    summary.into_iter().chain([encrypted]).collect()
}
