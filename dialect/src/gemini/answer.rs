//! Whole answers of Gemini, and what it counts.

use super::stream::Reader;
use crate::answer::{Answer, Stop, Usage};
use crate::error::{Broken, NotAnAnswer};
use crate::gather::gather;
use crate::reading::{Json, filled, tokens};

/// Reads an answer: the body is read as a stream of one event.
///
/// # Errors
/// [`NotAnAnswer`] for what is not JSON, for an error, and for a body that neither answers nor says that the prompt was blocked.
pub fn read_answer(body: &str) -> Result<Answer, NotAnAnswer> {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    reader
        .read("", body, &mut events)
        .map_err(|broken| match broken {
            Broken::NotAnAnswer(error) => error,
            Broken::Said(_) => NotAnAnswer::new("the body is an error"),
        })?;
    let answered = reader.has_answered();
    reader.end(&mut events);
    let (mut answer, stop) = gather(events);
    match stop {
        Some(_) => Ok(answer),
        None if answered => {
            answer.stop = reader.stop_of("STOP");
            Ok(answer)
        }
        None => Err(NotAnAnswer {
            message: "the body has no candidates",
            usage: answer.usage,
        }),
    }
}

/// What a reason to finish means, apart from function calls.
pub(super) fn stop(reason: &str) -> Stop {
    match reason {
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Stop::Filter,
        other => Stop::Other(other.to_owned()),
    }
}

/// Reads `usageMetadata`. The prompt has the cached tokens in it, but not those of tools. Thoughts are not among the candidates' tokens: google-genai
/// says that the total is the sum of the four. Some models have counted thoughts among them all the same; the total tells.
pub(super) fn usage(metadata: Json<'_>) -> Option<Usage> {
    let [prompt, tools, cached, candidates, thoughts, total, tier] = metadata.pick([
        "promptTokenCount",
        "toolUsePromptTokenCount",
        "cachedContentTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "totalTokenCount",
        "serviceTier",
    ]);
    let total = total.and_then(Json::count);
    let prompt = prompt?.count()?;
    let tools = tokens(tools)?;
    let cache_read = tokens(cached)?;
    let candidates = tokens(candidates)?;
    let reasoning = tokens(thoughts)?;
    let input = prompt.saturating_add(tools);
    let within = reasoning <= candidates && total == Some(input.saturating_add(candidates));
    let usage = Usage {
        // Google has reported more cached tokens than the prompt has.
        input: input.saturating_sub(cache_read),
        cache_read,
        output: if within {
            candidates
        } else {
            candidates.saturating_add(reasoning)
        },
        reasoning,
        tier: filled(tier).and_then(|tier| match tier.to_ascii_lowercase().as_str() {
            "unspecified" => None,
            "standard" => Some("default".to_owned()),
            other => Some(other.to_owned()),
        }),
        ..Usage::default()
    };
    usage.is_credible().then_some(usage)
}
