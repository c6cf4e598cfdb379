//! The installation's own certificates: a CA, and the servers' certificates (leaves) from it. No cert-manager.
//!
//! The operator may patch these Secrets by name and read none. So the CA comes from the mounted Secret, and the state of each from its
//! annotation `oarmaster.dev/issued`. Every write is made under the version that was seen, so that two processes can never both issue.

mod issue;
mod plan;
mod run;
mod secret;
mod store;
#[cfg(test)]
mod tests;

pub use plan::Rules;
pub use run::{Certificates, Leaf};
