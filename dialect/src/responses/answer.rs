//! Whole answers.

use crate::answer::{Answer, Envelope, Stop, Usage};
use crate::error::{NotAnAnswer, Said};
use crate::openai::said::{member, text, value};
use crate::openai::write::{Object, list};
use crate::openai::{error, stop_of};
use crate::request::{Content, Part};
use crate::responses::output::{self, Item};
use crate::responses::{outgoing, usage};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A provider's response, whole or within an event, each field read by itself.
#[derive(Default, Deserialize)]
pub(crate) struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
}

impl<'a> Response<'a> {
    pub(crate) fn read(body: &'a str) -> Result<Self, NotAnAnswer> {
        // A struct is read from a list, too.
        if !body.trim_start().starts_with('{') {
            return Err(NotAnAnswer::new("the answer is not a response"));
        }
        serde_json::from_str(body).map_err(|_| NotAnAnswer::new("the answer is not a response"))
    }

    pub(crate) fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub(crate) fn model(&self) -> Option<String> {
        text(self.model)
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        usage::read(self.usage, text(self.service_tier))
    }

    pub(crate) fn error(&self) -> Option<Said> {
        error::said(&value(self.error)?, None)
    }

    pub(crate) fn status(&self) -> Option<String> {
        text(self.status)
    }

    /// Why it ended, in the vendor's words.
    pub(crate) fn stop(&self) -> Stop {
        if self.status().as_deref() != Some("incomplete") {
            return Stop::End;
        }
        let details = value(self.incomplete_details);
        match details
            .as_ref()
            .and_then(|details| member(details, "reason"))
        {
            Some("max_output_tokens") => Stop::Length,
            Some("content_filter") => Stop::Filter,
            Some(other) => Stop::Other(other.to_owned()),
            None => Stop::Other("incomplete".to_owned()),
        }
    }

    pub(crate) fn output(&self) -> Option<Vec<Value>> {
        match value(self.output) {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        }
    }
}

/// Reads a provider's answer.
///
/// # Errors
/// When it has no output, is not finished, or the provider says that it failed.
pub fn read_answer(body: &str) -> Result<Answer, NotAnAnswer> {
    let response = Response::read(body)?;
    let usage = response.usage();
    let wrong = |message| NotAnAnswer {
        message,
        usage: usage.clone(),
    };
    let status = response.status();
    if response.error().is_some() || status.as_deref() == Some("failed") {
        return Err(wrong("the answer is an error"));
    }
    if matches!(
        status.as_deref(),
        Some("in_progress" | "queued" | "cancelled")
    ) {
        return Err(wrong("the answer is not finished"));
    }
    let items = response
        .output()
        .ok_or_else(|| wrong("the answer has no output"))?;
    let id = response.id();
    let answer = id.as_deref().unwrap_or_default();
    let model = response.model();
    let signer = outgoing::signer(model.as_deref().unwrap_or_default());
    let contents = items
        .iter()
        .enumerate()
        .flat_map(|(position, item)| output::read(item, signer, answer, position));
    let parts: Vec<Part> = contents.map(Part::from).collect();
    Ok(Answer {
        model,
        stop: stop_of(response.stop(), &parts),
        parts,
        usage,
        id,
    })
}

/// Writes an answer for a caller.
#[must_use]
pub fn write_answer(answer: &Answer, envelope: &Envelope) -> String {
    let items = output::items(answer.parts.iter().map(|part| &part.content));
    let refused = answer
        .parts
        .iter()
        .any(|part| matches!(part.content, Content::Refusal(_)));
    let outcome = Outcome::of(&answer.stop, refused);
    let model = answer.model.as_deref().unwrap_or(&envelope.model);
    let output = items
        .iter()
        .enumerate()
        .map(|(position, item): (_, &Item)| {
            item.write(&item.id(&envelope.id, position), "completed")
        });
    response(
        envelope,
        model,
        &outcome,
        output.collect(),
        answer.usage.as_ref(),
    )
    .end()
}

/// How a response stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    InProgress,
    Completed,
    /// With the reason.
    Incomplete(&'static str),
    /// With the error's JSON.
    Failed(String),
}

impl Outcome {
    /// What a stop makes of it. `refused` is whether the answer holds a refusal.
    pub(crate) const fn of(stop: &Stop, refused: bool) -> Self {
        match stop {
            Stop::Length | Stop::Context => Self::Incomplete("max_output_tokens"),
            Stop::Filter => Self::Incomplete("content_filter"),
            Stop::Refusal if !refused => Self::Incomplete("content_filter"),
            Stop::End
            | Stop::Sequence(_)
            | Stop::ToolCalls
            | Stop::Refusal
            | Stop::Pause
            | Stop::Other(_) => Self::Completed,
        }
    }

    pub(crate) const fn status(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }
}

/// A response. What it says of the request is what holds where nothing is said.
pub(crate) fn response(
    envelope: &Envelope,
    model: &str,
    outcome: &Outcome,
    output: Vec<String>,
    usage: Option<&Usage>,
) -> Object {
    let object = Object::new()
        .text("id", &format!("resp_{}", envelope.id))
        .text("object", "response")
        .plain("created_at", envelope.created)
        .text("status", outcome.status());
    let object = match outcome {
        Outcome::Failed(error) => object.raw("error", error),
        _ => object.raw("error", "null"),
    };
    let object = match outcome {
        Outcome::Incomplete(reason) => {
            object.object("incomplete_details", Object::new().text("reason", reason))
        }
        _ => object.raw("incomplete_details", "null"),
    };
    let object = object
        .raw("instructions", "null")
        .raw("metadata", "{}")
        .text("model", model)
        .list("output", output)
        .plain("parallel_tool_calls", true)
        .raw("temperature", "null")
        .text("tool_choice", "auto")
        .raw("tools", &list([]))
        .raw("top_p", "null")
        .maybe_text("service_tier", crate::chat::tier(usage));
    match usage {
        Some(usage) => object.object("usage", usage::write(usage)),
        None => object, // OpenAI's document has no null here
    }
}
