//! What the benchmarks share: the account of processes, the machine's description, and the report.

pub mod cpu;
pub mod machine;
pub mod report;
