//! The chunks of a streamed chat completion that is passed on as it comes: what each means for the meter, and what the caller gets of it.

use oarmaster_dialect::Usage;
use oarmaster_dialect::chat::read_usage;
use oarmaster_dialect::json::Fields;
use oarmaster_protocol::text;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Value>,
    #[serde(default)]
    finish_reason: Option<Value>,
}

/// What the chunks of a stream have said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Content has come: the caller is shown the stream from here on.
    pub content: bool,
    /// A choice has a finish reason.
    pub finished: bool,
    /// Usage, if the provider said.
    pub usage: Option<Usage>,
}

/// A chunk that is no JSON object of the known form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of the stream is no chat completion chunk")]
pub struct NotAChunk;

impl Meter {
    /// Counts a chunk, and returns what the caller is sent of it: everything as it came, or without `usage` where the caller did not ask
    /// for it.
    ///
    /// # Errors
    /// [`NotAChunk`].
    pub fn take(&mut self, data: Vec<u8>, keep_usage: bool) -> Result<Option<Vec<u8>>, NotAChunk> {
        let read = text::json(&data).text;
        let chunk: Chunk = serde_json::from_str(&read).map_err(|_| NotAChunk)?;
        let choices = chunk.choices.unwrap_or_default();
        for choice in &choices {
            self.finished |= choice
                .finish_reason
                .as_ref()
                .is_some_and(|reason| !reason.is_null());
            self.content |= choice.delta.as_ref().is_some_and(has_content);
        }
        // The last report counts: some providers send running sums.
        let reported = chunk.usage.as_deref();
        if let Some(usage) = reported.and_then(read_usage) {
            self.usage = Some(usage);
        }
        let has_usage = read.contains("\"usage\"");
        drop(read); // it may be the data itself
        if keep_usage || !has_usage {
            return Ok(Some(data));
        }
        if choices.is_empty() && reported.is_some() {
            return Ok(None);
        }
        without_usage(&data).map(Some)
    }

    /// Whether the bytes may end here: an answer without a finish reason was cut off.
    #[must_use]
    pub const fn may_end(&self) -> bool {
        self.finished
    }

    /// Whether `[DONE]` ends an answer here: a provider that never sent anything has not answered.
    #[must_use]
    pub const fn may_be_done(&self) -> bool {
        self.finished || self.content
    }
}

/// The chunk without its usage; every other field keeps its bytes.
fn without_usage(data: &[u8]) -> Result<Vec<u8>, NotAChunk> {
    let strip = |text: &str| {
        let mut fields = Fields::parse(text.as_bytes()).map_err(|_| NotAChunk)?;
        fields.remove("usage");
        Ok(fields.to_json())
    };
    if let Ok(text) = std::str::from_utf8(data) {
        return strip(text).map(String::into_bytes);
    }
    // In Latin-1 every byte is a character and the syntax of JSON the same: what is not UTF-8 goes through it and comes out as it was.
    let latin: String = data.iter().copied().map(char::from).collect();
    let stripped = strip(&latin)?;
    let bytes: Result<_, _> = stripped.chars().map(u8::try_from).collect();
    bytes.map_err(|_| NotAChunk)
}

fn has_content(delta: &Value) -> bool {
    [
        "content",
        "refusal",
        "reasoning",
        "reasoning_content",
        "tool_calls",
        "function_call",
        "audio",
    ]
    .iter()
    .any(|name| match delta.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    })
}
