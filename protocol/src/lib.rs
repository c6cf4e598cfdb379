//! The messages between pilot, exec, gateway, controllers and CLI.
//!
//! Plain data with serde and nothing else: no I/O, no clock, no Kubernetes. Every type here crosses a process boundary, so a change
//! here is a change of a wire format. Text is UTF-8 everywhere; bytes travel as base64.

pub mod admin;
pub mod assignment;
pub mod exec;
pub mod failure;
pub mod journal;
pub mod message;
pub mod probe;
pub mod read;
pub mod request;
pub mod task;
pub mod text;
pub mod tool;

pub use failure::FailureClass;

/// Audience of tokens that the gateway's data listener accepts (model calls and the task API).
pub const AUDIENCE: &str = "oarmaster-gateway";

/// Audience of tokens that the gateway's admin listener accepts; only the operator's ServiceAccount is served there.
pub const ADMIN_AUDIENCE: &str = "oarmaster-gateway-admin";

/// Lower-case hex SHA-256 with the prefix `sha256:`, the form of every digest in this project.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};

    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
