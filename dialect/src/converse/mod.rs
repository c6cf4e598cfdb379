//! Amazon Bedrock's Converse and ConverseStream, as an upstream.
//!
//! Shapes, patterns and statuses are those of the service model of `bedrock-runtime` in botocore 1.44.8 on PyPI. The model is named in the
//! path ([`path`]), not in the body; one body serves both operations.
//!
//! `inputTokens` counts neither what was read from a cache nor what was written into one: a stream's metadata with 4 input tokens, 1490 read and
//! 832 output tokens has a `totalTokens` of 2326.

mod answer;
mod blocks;
mod error;
pub mod frames;
mod reader;
mod request;

pub use answer::read_answer;
pub use error::{is_error, read_error, read_typed_error};
pub use reader::Reader;
pub use request::{path, write_request};

/// What [`crate::Unsupported`] calls this dialect.
const DIALECT: &str = "converse";

#[cfg(test)]
mod tests;
