//! OpenAI's chat completions: what callers send and get, and what OpenAI, Azure, Mistral, Groq, OpenRouter and the many compatible servers
//! take and answer. The fields are those of the `openai` Python package, and the extensions that are common: `reasoning_content` (DeepSeek,
//! vLLM), `reasoning_details` (OpenRouter), `cache_control` (LiteLLM, OpenRouter), `extra_content` (Google).

mod answer;
pub mod azure;
mod brackets;
mod chunk;
mod finish;
mod flavour;
mod message;
mod mistral;
mod outgoing;
mod request;
mod stream;
mod thoughts;
mod tool;
mod turns;
mod usage;
mod writer;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, write_answer};
pub(crate) use flavour::rename;
pub use flavour::{Flavour, adapt};
pub use outgoing::write_request;
pub use request::read_request;
pub(crate) use request::schema;
pub use stream::Reader;
pub use usage::read_usage;
pub(crate) use usage::tier;
pub use writer::Writer;

use crate::error::{Refused, Said};

/// The dialect's name in errors.
const DIALECT: &str = "chat completions";

/// An error's body for a caller.
#[must_use]
pub fn write_error(refused: &Refused) -> String {
    crate::openai::error::write(refused)
}

/// A provider's error: OpenAI's `{"error": {...}}`, also `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}` and
/// `{"object": "error", ...}`.
#[must_use]
pub fn read_error(body: &str) -> Option<Said> {
    crate::openai::error::read(body)
}
