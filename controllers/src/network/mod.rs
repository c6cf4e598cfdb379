//! The NetworkPolicy of the sandboxes: one in each namespace that runs Tasks, made before the first Job there and mended when somebody
//! changes or deletes it. It lets sandbox pods reach the gateway's data port, and nothing reach them.

mod act;
pub mod plan;
pub mod repair;
mod schedule;
#[cfg(test)]
mod tests;

pub use act::{Made, ensure};
