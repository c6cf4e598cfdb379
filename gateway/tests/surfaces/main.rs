//! Every surface over every type of provider: what callers are told is what the provider said, in the callers' words. What the vendors say is in the
//! fixtures of the dialects, and the dialects' readers of providers read what callers get.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

#[path = "../common/mod.rs"]
mod common;
#[macro_use]
mod words;
mod answers;
mod embeddings;
mod passed;
