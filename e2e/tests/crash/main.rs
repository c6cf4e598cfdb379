//! The crash matrix. `OARMASTER_CRASH=full` makes it the full one, as `make test-long` does; see docs/test-long.md.
#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes what is not there fails, as it should"
)]

mod support;

mod chaos;
mod gateway;
mod items;
mod operator;
mod requests;
mod restore;
mod sandbox;
mod unchecked;
mod workflow;
