mod job;
mod plan;
pub(crate) mod sim;
mod targets;
