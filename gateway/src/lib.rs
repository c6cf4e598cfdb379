//! The gateway: the one component that holds provider keys.
//!
//! | listener | for whom | module |
//! |---|---|---|
//! | data | pods of Tasks, and whoever RBAC lets use a pool | [`data`], [`chat`] |
//! | read | people with a kubeconfig | [`read`] |
//! | admin | the operator | [`admin`] |
//! | plain | metrics and probes | [`plain`] |
//!
//! It writes no Kubernetes object. Keys are in memory and in headers to their provider, nowhere else; prompts and answers are in the
//! store, and never in logs or metrics.

pub mod admin;
pub mod audit;
pub mod bodies;
pub mod budgets;
pub mod cache;
pub mod calls;
pub mod catalog;
mod checkpoints;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod data;
pub mod egress;
pub mod error;
pub mod health;
pub mod identity;
pub mod metrics;
pub mod pilots;
pub mod plain;
pub mod price;
pub mod provider;
pub mod read;
pub mod request;
pub mod retention;
pub mod routing;
pub mod serve;
pub mod shared;
pub mod state;
pub mod surface;
pub mod tls;
pub mod tools;
pub mod traces;

#[cfg(test)]
mod tests;
