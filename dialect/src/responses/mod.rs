//! OpenAI's responses: what callers send and get, and what OpenAI takes and answers. The fields are those of the `openai` Python package.
//!
//! The gateway keeps no responses: whatever refers to one that was kept is [`crate::Feature::StoredState`].

mod answer;
mod input;
mod item;
mod kept;
mod outgoing;
mod output;
mod request;
mod stream;
mod usage;
mod writer;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, write_answer};
pub use kept::adapt;
pub use outgoing::write_request;
pub use request::read_request;
pub use stream::Reader;
pub use writer::{Writer, write_failure};

use crate::error::{Refused, Said};

/// The dialect's name in errors.
const DIALECT: &str = "responses";

/// What stands before the data of redacted thoughts in `encrypted_content`: it comes back as it was, the thought's kind would not.
const REDACTED: &str = "redacted:";

/// How names of thoughts begin that we made up: the vendor knows none of them.
const MADE_UP: &str = "rs_gateway_";

/// An error's body for a caller.
#[must_use]
pub fn write_error(refused: &Refused) -> String {
    crate::openai::error::write(refused)
}

/// A provider's error, in the forms that [`crate::chat::read_error`] reads.
#[must_use]
pub fn read_error(body: &str) -> Option<Said> {
    crate::openai::error::read(body)
}
