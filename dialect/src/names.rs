//! Names that we make up.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Bytes of a digest in a name: as many hexadecimal digits twice.
const BYTES: usize = 12;

/// A name that is made up of what it stands for, so that it is the same each time: a prefix and 24 hexadecimal digits.
pub(crate) fn made_up(prefix: &str, of: &[&str]) -> String {
    let mut digest = Sha256::new();
    for text in of {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let mut name = prefix.to_owned();
    for byte in digest.finalize().iter().take(BYTES) {
        let _ = write!(name, "{byte:02x}"); // a String takes everything
    }
    name
}

/// A name for a tool call that its provider gave none: the same for the same call of the same answer.
pub(crate) fn call_id(answer: &str, part: usize, name: &str, arguments: &str) -> String {
    made_up("call_", &[answer, &part.to_string(), name, arguments])
}
