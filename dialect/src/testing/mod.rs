//! What the tests of several dialects need. What we write is held in fixtures, which the vendors' own packages check (`sdk/`).

mod json;
mod requests;
mod streams;
mod upstreams;

pub(crate) use json::arbitrary;
pub(crate) use requests::*;
pub(crate) use streams::{check_order, events_of, joined, lines, read_stream};
pub(crate) use upstreams::UPSTREAMS;

use crate::Envelope;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// A fixture's text.
pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("fixture {name}: {error}"))
}

/// Checks that a fixture holds what is produced; with `INSTA_UPDATE=always` it is written. JSON ends with a line break, whatever is produced.
pub(crate) fn check_fixture(name: &str, produced: &(impl AsRef<[u8]> + ?Sized)) {
    let mut produced = produced.as_ref().to_vec();
    if name.ends_with(".json") && !produced.ends_with(b"\n") {
        produced.push(b'\n');
    }
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::write(path(name), &produced).unwrap();
    }
    let held = std::fs::read(path(name)).unwrap_or_default();
    assert!(
        held == produced,
        "fixture {name} is not what is produced: {}",
        String::from_utf8_lossy(&produced)
    );
}

/// The envelope of all answers in tests.
pub(crate) fn envelope() -> Envelope {
    Envelope {
        id: "abc123".to_owned(),
        created: 1_790_000_000,
        model: "team/smart".to_owned(),
    }
}
