//! Egress over real sockets: programs that nobody here wrote go through the gateway to servers of these tests, and nowhere else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

#[path = "../common/mod.rs"]
mod common;

mod callers;
mod hostile;
mod models;
mod names;
mod programs;
mod support;
