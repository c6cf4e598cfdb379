//! The runner: what stands in a Task's pod.
//!
//! [`pilot`] is the trusted agent loop; it holds the token and talks to the gateway. [`exec`] is the supervisor of untrusted code in
//! the user's image; it talks to the pilot alone. [`node_probe`] looks at a node for a SandboxClass. All are subcommands of one static
//! binary, which [`install`] copies into the sandbox container. Nothing here knows Kubernetes.

pub mod exec;
pub mod install;
pub mod languages;
pub mod network;
pub mod node_probe;
pub mod pilot;
