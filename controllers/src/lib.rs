//! The controllers of Oarmaster: one folder per kind, each in the same three steps. `observe` gathers by reads only, `plan` decides and
//! is pure, `act` writes. Only `act` writes, and it decides nothing.
//!
//! The library runs under a leader's lease that `operator` holds; it reads no Secret and no flag.

pub mod agent;
pub mod approval;
pub mod budget;
pub mod class;
pub mod kit;
pub mod network;
#[cfg(test)]
mod phases;
pub mod pool;
pub mod provider;
pub mod task;
pub mod workflow;
mod world;

pub use kit::context::Settings;
pub use kit::gateway::Gateway;
pub use kit::metrics::Metrics;
pub use kit::run::Shutdown;
pub use world::{World, active_tasks, oldest_queued};
