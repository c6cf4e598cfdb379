//! The installation's own certificates: a CA, and the gateway's certificate from it. No cert-manager.
//!
//! The operator may patch two Secrets by name and read none. So the CA comes from the mounted Secret, and the state of both from the
//! annotation `oarmaster.dev/issued`, which every write tests: two processes can never both issue.

mod issue;
mod plan;
mod run;
mod store;
#[cfg(test)]
mod tests;

pub use run::Certificates;
