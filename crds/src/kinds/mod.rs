//! One module per kind.

pub mod agent;
pub mod approval;
pub mod budget;
pub mod class;
pub mod command;
pub mod concurrency;
pub mod fault;
pub mod goal;
pub mod memo;
pub mod pool;
pub mod provider;
pub mod sandbox;
pub mod script;
pub mod steps;
pub mod task;
pub mod workflow;
