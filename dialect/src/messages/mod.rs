//! Anthropic's messages, as a surface and as an upstream, and its count of tokens.
//!
//! Field names and kinds are those of the SDK `anthropic` 2.14.0 on PyPI. It no longer has `temperature`, `top_p` and `top_k`, which the models
//! since 4.7 refuse; they are still read, and written for the models that take them.

mod answer;
mod blocks;
pub(crate) mod claude;
mod content;
mod error;
mod fields;
mod kept;
mod reader;
mod request;
pub(crate) mod turns;
mod upstream;
mod usage;
mod writer;

pub use answer::{read_answer, read_count, write_answer, write_count};
pub use error::{read_error, write_error};
pub use kept::adapt;
pub use reader::Reader;
pub use request::{read_count_request, read_request};
pub use upstream::{write_count_request, write_request};
pub use writer::Writer;

/// What stands before the signature of a call in the thought that a caller gets before it: Anthropic's calls have no place for one.
const OF_CALL: &str = "call:";

/// What [`crate::Unsupported`] calls this dialect.
const DIALECT: &str = "messages";

#[cfg(test)]
pub(crate) mod tests;
