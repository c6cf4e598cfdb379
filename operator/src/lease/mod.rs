//! Leader election by one Lease: the next step is pure, and each step is at most one write under a resource version.

mod gate;
mod run;
mod step;
mod tenure;
#[cfg(test)]
mod tests;

pub use gate::Gate;
pub use run::Lease;
pub use tenure::{Tenure, boot_time};
