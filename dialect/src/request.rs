//! A request in no dialect.

use crate::error::{Feature, Unsupported};
use crate::signature::{Signature, Signer};
use serde_json::Number;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// What a model is asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The model as the caller names it; for the gateway the name of a pool.
    pub model: String,
    /// The conversation, in its order. Turns of one role may follow each other.
    pub turns: Vec<Turn>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must.
    pub tool_choice: ToolChoice,
    /// Whether several tools may be called in one turn; `None`: as the provider likes.
    pub parallel_tools: Option<bool>,
    /// The form of the answer.
    pub format: Format,
    /// Most output tokens, reasoning among them.
    pub max_output: Option<u64>,
    /// How to sample.
    pub sampling: Sampling,
    /// How much to think.
    pub reasoning: Option<Reasoning>,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// Whether the caller wants usage in a stream of chat completions; the others always have it.
    pub stream_usage: bool,
    /// The caller's name of its user, which vendors use against abuse.
    pub user: Option<String>,
    /// Fields that another dialect has no place for and that do not change what the answer is about, and those that were not understood,
    /// by name.
    pub left: Vec<String>,
    /// What the caller asks for that only its own dialect can say, each with the field or the kind: no other upstream can take the request.
    pub only_here: Vec<(Feature, String)>,
}

/// One speaker's turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What.
    pub parts: Vec<Part>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever instructs the model; `developer` in OpenAI's newer words.
    System,
    /// The person, and the tools: a result of a tool is a part of a user's turn.
    User,
    /// The model.
    Assistant,
}

/// A part of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub content: Content,
    /// Whether the provider is asked to cache the request up to and with this part (Anthropic's `cache_control`), and for how long.
    pub cache: Option<CacheTtl>,
}

impl From<Content> for Part {
    fn from(content: Content) -> Self {
        Self {
            content,
            cache: None,
        }
    }
}

/// For how long a provider caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTtl {
    /// Five minutes, Anthropic's default.
    Minutes5,
    /// One hour.
    Hour1,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture, a document, a sound.
    Media(Media),
    /// The model calls a tool. Only in the assistant's turns.
    ToolCall(ToolCall),
    /// What a tool answered. Only in the user's turns.
    ToolResult(ToolResult),
    /// What the model thought. Only in the assistant's turns.
    Reasoning(Thought),
    /// The model's refusal, which OpenAI keeps apart from text. Only in the assistant's turns.
    Refusal(String),
}

/// Something that is not text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: MediaSource,
    /// A file's name, if the caller gave one.
    pub name: Option<String>,
    /// `low`, `high`, `auto` or `original`: OpenAI's choice of how closely a picture is looked at.
    pub detail: Option<String>,
}

/// What a medium is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A document, such as a PDF.
    Document,
    /// A sound.
    Audio,
}

/// Where a medium is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// In the request.
    Data {
        /// MIME type.
        mime: String,
        /// The bytes in base64 with padding, as they came.
        base64: String,
    },
    /// At an address that the provider fetches.
    Url(String),
}

/// The model's wish to call a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// What its result names.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments: JSON text, as the model wrote it. It may be broken.
    pub arguments: String,
    /// What the vendor signed with this call and wants back (Gemini's `thoughtSignature`).
    pub signature: Option<Signature>,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call.
    pub id: String,
    /// Text and media.
    pub content: Vec<Content>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// What the model thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought {
    /// In words, or a summary. Empty where the vendor hides it.
    pub text: String,
    /// What the vendor signed or encrypted.
    pub signature: Option<Signature>,
    /// Anthropic's redacted thinking: `signature` is its `data`.
    pub redacted: bool,
}

impl Thought {
    /// Words alone.
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Whether it says nothing and carries nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.signature.is_none()
    }

    /// What this vendor signed.
    pub(crate) fn signed_by(&self, signer: Signer) -> Option<&Signature> {
        self.signature
            .as_ref()
            .filter(|signature| signature.by == signer)
    }
}

/// A function that the model may call.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The JSON Schema of its arguments, as it came.
    pub parameters: Option<Box<RawValue>>,
    /// Whether the arguments must match the schema; `None`: not said.
    pub strict: Option<bool>,
    /// As [`Part::cache`].
    pub cache: Option<CacheTtl>,
}

/// Whether a tool must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// Not said.
    #[default]
    Unset,
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// The form of the answer.
#[derive(Clone, Debug, Default)]
pub enum Format {
    /// Text.
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// JSON that matches a schema.
    Schema {
        /// The schema's name; OpenAI wants one.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The JSON Schema, as it came.
        schema: Box<RawValue>,
        /// Whether the answer must match; `None`: not said.
        strict: Option<bool>,
    },
}

/// How to sample. Numbers stay as the caller wrote them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2, for Anthropic and Bedrock 0 to 1.
    pub temperature: Option<Number>,
    /// 0 to 1.
    pub top_p: Option<Number>,
    /// At least 1.
    pub top_k: Option<u64>,
    /// -2 to 2.
    pub presence_penalty: Option<Number>,
    /// -2 to 2.
    pub frequency_penalty: Option<Number>,
    /// Any.
    pub seed: Option<i64>,
    /// Where to stop.
    pub stop: Vec<String>,
    /// How many answers; anything but one is only for chat completions.
    pub choices: Option<u64>,
    /// Log probabilities of how many other tokens; `Some(0)` is those of the answer alone.
    pub logprobs: Option<u64>,
}

/// How much to think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens. Where both are said, a dialect that knows budgets takes this.
    pub budget: Option<u64>,
    /// Whether the caller wants to read the thoughts, or a summary of them.
    pub shown: Option<bool>,
}

/// How much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Very much.
    ExtraHigh,
}

/// A request as an upstream's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The body: JSON.
    pub body: String,
    /// What the upstream has no place for and does not change what the answer is about, by the name of the caller's field. The gateway tells
    /// the caller in a header.
    pub dropped: Vec<String>,
}

impl Request {
    /// The name of the tool of each call, by the call's id, for dialects whose results name the tool. Of two calls with one id the last one counts.
    #[must_use]
    pub fn tools_of_calls(&self) -> HashMap<&str, &str> {
        let parts = self.turns.iter().flat_map(|turn| &turn.parts);
        let calls = parts.filter_map(|part| match &part.content {
            Content::ToolCall(call) => Some((call.id.as_str(), call.name.as_str())),
            _ => None,
        });
        calls.collect()
    }

    /// Refuses what only the caller's own dialect can say, and what no answer of ours can hold: other choices, and log probabilities.
    ///
    /// # Errors
    /// [`Unsupported`], naming the first such thing.
    pub fn check_translatable(&self, dialect: &'static str) -> Result<(), Unsupported> {
        if let Some((feature, detail)) = self.only_here.first() {
            return Err(Unsupported {
                dialect,
                feature: *feature,
                detail: Some(detail.clone()),
            });
        }
        if self.sampling.choices.is_some_and(|choices| choices > 1) {
            return Err(Unsupported::new(dialect, Feature::Choices));
        }
        if self.sampling.logprobs.is_some() {
            return Err(Unsupported::new(dialect, Feature::Logprobs));
        }
        Ok(())
    }

    /// Whether it holds a thought that is not one of those that an upstream takes.
    pub(crate) fn has_thoughts_but(&self, takes: impl Fn(&Thought) -> bool) -> bool {
        let mut parts = self.turns.iter().flat_map(|turn| &turn.parts);
        parts.any(|part| match &part.content {
            Content::Reasoning(thought) => !thought.is_empty() && !takes(thought),
            _ => false,
        })
    }

    /// The system's turns first, all of them in their order, then the others: for dialects with one place for instructions. OpenAI lets
    /// them stand anywhere.
    #[must_use]
    pub fn split(&self) -> (Vec<&Part>, Vec<&Turn>) {
        let (system, rest): (Vec<_>, Vec<_>) = self
            .turns
            .iter()
            .partition(|turn| turn.role == Role::System);
        (
            system.into_iter().flat_map(|turn| &turn.parts).collect(),
            rest,
        )
    }
}
