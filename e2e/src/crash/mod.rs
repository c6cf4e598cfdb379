//! The crash matrix: the programs of this build as processes of this machine against a real API server, so that each can be killed exactly
//! before and after each of its requests. Who runs what:
//!
//! | in a cluster | here |
//! |---|---|
//! | API server, Job controller, garbage collector | the same |
//! | operator, gateway, pilot, exec | the same programs as processes, restarted when they die |
//! | kubelet | [`kubelet`]: starts the containers' programs, tells their states, gives out pod-bound tokens |
//! | provider | [`crate::mock`] |
//!
//! Between the processes stand [`crate::proxy`]s. Every record of a journal is caused by one request (of the operator or of the pilot) or
//! by the provider's answer, so the records need no failpoints in the programs to be killed at.

pub mod books;
mod files;
pub mod kubelet;
pub mod process;
mod programs;
pub mod requests;
pub mod rig;
pub mod run;
pub mod scene;

pub use rig::Rig;
