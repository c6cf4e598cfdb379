mod job;
mod plan;
mod sim;
mod targets;
