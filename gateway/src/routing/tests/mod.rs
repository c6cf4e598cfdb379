#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod breaker;
mod course;
mod fit;
mod gate;
mod lanes;
mod limits;
mod order;
