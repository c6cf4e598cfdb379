//! Sockets that do not keep to HTTP: providers that break off, drip and flood, and callers who pack several requests into one, split one into several,
//! or hold on to connections. Whatever they do, the others are served, and the ledger is right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod callers;
#[path = "../common/mod.rs"]
mod common;
mod providers;
