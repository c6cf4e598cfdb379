//! What the benchmarks share: the account of processes, the machine's description, a watch that reads little, and the report.

pub mod cpu;
pub mod follow;
pub mod machine;
pub mod report;
