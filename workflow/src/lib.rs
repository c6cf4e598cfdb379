//! Workflows without I/O: what is decided about them, by whoever has to decide it (operator, webhook, CLI). No client, no clock, no await.

pub mod estimate;
pub mod expr;
pub mod graph;
pub mod made;
pub mod run;
