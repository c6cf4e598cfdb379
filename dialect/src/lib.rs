//! What model vendors and their SDKs speak, and the translations between it. Bytes in, bytes out: no I/O, no clock, no key, no price.
//!
//! Every dialect is translated to and from one neutral form: [`Request`], [`Answer`] and, for streams, [`Event`]. A surface is a dialect that
//! callers speak to the gateway, an upstream one that the gateway speaks to a provider.
//!
//! | dialect | surface | upstream |
//! |---|---|---|
//! | [`chat`]: OpenAI's chat completions | yes | yes |
//! | [`responses`]: OpenAI's responses | yes | yes |
//! | [`messages`]: Anthropic's messages | yes | yes |
//! | [`gemini`]: Google's generateContent | | yes |
//! | [`cohere`]: Cohere's chat, version 2 | | yes |
//! | [`converse`]: Amazon Bedrock's Converse | | yes |
//!
//! The functions have the same names everywhere. Embeddings have a small neutral form of their own: [`embeddings`].
//!
//! A surface:
//! - `read_request(body: &[u8]) -> Result<Request, Invalid>`
//! - `write_answer(answer: &Answer, envelope: &Envelope) -> String`
//! - `write_error(refused: &Refused) -> String`
//! - `Writer::new(envelope: Envelope, ...)`; `write(&mut self, event: &Event, out: &mut Vec<u8>)`; after the last event `end(&mut self, out)`, or
//!   `fail(&mut self, refused: &Refused, out)`: the answer's end is never clean then. What it writes is a stream of server-sent events.
//!
//! An upstream:
//! - `write_request(request: &Request, model: &str, ...) -> Result<Written, Unsupported>`
//! - `read_answer(body: &str) -> Result<Answer, NotAnAnswer>`
//! - `read_error(body: &str) -> Option<Said>`: `None` where the body is no error of the dialect
//! - `Reader::default()`; `read(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Broken>` for each event with its type;
//!   `end(&mut self, out: &mut Vec<Event>)` at the end of the bytes, which flushes what was held back and adds no stop that was not sent.
//!
//! A caller's body for an upstream of its own dialect is not written anew but passed on; `adapt(fields, ...)` edits of it what the upstream would
//! refuse.
//!
//! What a vendor signed goes back to it alone: [`signature`].
//!
//! What a target cannot carry is [`Unsupported`] where it would change the answer,
//! and named in [`Written::dropped`] where it would not.

pub mod answer;
pub mod chat;
pub mod cohere;
pub mod converse;
pub mod embeddings;
pub mod error;
pub mod event;
mod gather;
pub mod gemini;
pub mod json;
mod kept;
pub mod messages;
mod names;
mod object;
mod openai;
mod ordered;
mod reading;
pub mod request;
pub mod responses;
pub mod signature;
pub mod sse;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod writing;

pub use answer::{Answer, Envelope, Stop, Usage};
pub use error::{Broken, Feature, Invalid, NotAnAnswer, Refused, Said, Unsupported};
pub use event::{Delta, Event};
pub use request::{Content, Part, Request, Role, Turn, Written};
pub use signature::{Signature, Signer};
