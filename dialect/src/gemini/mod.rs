//! Google's generateContent, version v1beta: what the gateway writes to Gemini and reads from it. No caller speaks it.
//!
//! The model and the method are in the address, see [`path`]; the key belongs into the header `x-goog-api-key`, never into the address. A stream is
//! one of server-sent events without types, each a whole answer in small. No event says that it is the last: the one with a `finishReason` is.
//!
//! How much to think, in words, becomes what Google's own endpoint for OpenAI's dialect makes of it: 1,024 tokens for minimal and low, 8,192 for
//! medium, 24,576 for high with models of generation 2.5, and the level of that name with later ones.
//!
//! The names of fields are those of google-genai's types; what they do not say is from Google's documentation, as far as noted.

mod answer;
mod config;
mod contents;
mod error;
mod model;
mod part;
mod request;
mod stream;

pub use answer::read_answer;
pub use error::read_error;
pub(crate) use model::method_path;
pub use model::path;
pub use request::write_request;
pub use stream::Reader;

/// The dialect's name in errors.
const DIALECT: &str = "gemini";

#[cfg(test)]
mod tests;
