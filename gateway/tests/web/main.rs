//! WebSearch and FetchPage over real sockets: searches and pages of servers that these tests are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // of the scene of egress only its names are needed
#[path = "../egress/support.rs"]
mod egress;

mod fetch;
mod hostile;
mod seam;
mod search;
mod support;
