//! Leader election by one Lease: the next step is pure, and each step is at most one write under a resource version.

mod run;
mod step;
#[cfg(test)]
mod tests;

pub use run::Lease;
