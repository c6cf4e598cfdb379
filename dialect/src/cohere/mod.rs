//! Cohere's chat, version 2: what the gateway writes to Cohere and reads from it. No caller speaks it.
//!
//! It is asked at [`PATH`]. Its streams are of server-sent events that have a type both within and beside the data; the last is `message-end`.
//! Citations are passed over: no other dialect has them.
//!
//! The names of fields and the bounds are those of the types and texts of Cohere's own package for Python, as far as nothing else is noted.

mod answer;
mod error;
mod messages;
mod request;
mod stream;

pub use answer::read_answer;
pub use error::read_error;
pub use request::write_request;
pub use stream::Reader;

/// Where chat is, below the address of the service.
pub const PATH: &str = "/v2/chat";

/// The dialect's name in errors.
const DIALECT: &str = "cohere";

#[cfg(test)]
mod tests;
