//! A streamed answer in no dialect.

use crate::answer::{Stop, Usage};
use crate::signature::Signature;

/// One step of an answer. Readers keep this order, writers rely on it: [`Event::Start`] at most once and first; deltas by ascending part; a part
/// gets no delta after one of a later part; then [`Event::Stop`] exactly once. [`Event::Usage`] may come anywhere after the start, and after the
/// stop; the last one counts and is the total. A stream that ended without a stop was cut.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What the provider says at the beginning.
    Start {
        /// The provider's name for the answer.
        id: Option<String>,
        /// The model that the provider names.
        model: Option<String>,
    },
    /// More of a part.
    Delta {
        /// Which part, from 0. Not the provider's own number: parts count up in the order in which they begin.
        part: usize,
        /// What is added.
        delta: Delta,
    },
    /// Tokens so far.
    Usage(Usage),
    /// The answer is complete.
    Stop(Stop),
}

/// What is added to a part. The first delta of a part says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Text.
    Text(String),
    /// A refusal.
    Refusal(String),
    /// Reasoning, in words.
    Reasoning(String),
    /// The signature of the reasoning in this part, whole.
    Signature(Signature),
    /// Anthropic's redacted thinking: its data, whole.
    Redacted(Signature),
    /// A tool call begins.
    ToolCall {
        /// Its id.
        id: String,
        /// The tool.
        name: String,
        /// As [`crate::request::ToolCall::signature`].
        signature: Option<Signature>,
    },
    /// More of a tool call's arguments: JSON text.
    Arguments(String),
}

impl Event {
    /// Whether a caller could see something of the answer in it: after the first such event no other provider can take over.
    #[must_use]
    pub fn commits(&self) -> bool {
        match self {
            Self::Start { .. } | Self::Usage(_) => false,
            Self::Delta { delta, .. } => match delta {
                Delta::Text(text) | Delta::Refusal(text) | Delta::Reasoning(text) => {
                    !text.is_empty()
                }
                Delta::Signature(_)
                | Delta::Redacted(_)
                | Delta::ToolCall { .. }
                | Delta::Arguments(_) => true,
            },
            Self::Stop(_) => true,
        }
    }
}
