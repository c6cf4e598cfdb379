//! The runner: what stands in a Task's pod.
//!
//! [`pilot`] is the trusted agent loop; it holds the token and talks to the gateway. [`exec`] is the supervisor of untrusted code in
//! the user's image; it talks to the pilot alone, and is a static binary of its own, `oarmaster-exec`, which [`install`] copies into the sandbox
//! container. [`pilots`] runs many attempts that need no sandbox. [`node_probe`] looks at a node for a SandboxClass. Nothing here knows Kubernetes.

pub mod exec;
pub mod install;
pub mod languages;
pub mod network;
pub mod node_probe;
pub mod pilot;
pub mod pilots;

use std::io::Write as _;
use std::process::ExitCode;

/// Prints an error with its causes to the container's log.
#[must_use]
pub fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line.push_str(": ");
        line.push_str(&next.to_string());
        cause = next.source();
    }
    let _ = writeln!(std::io::stderr(), "{line}"); // nobody is left to tell when stderr is gone
    ExitCode::FAILURE
}
