//! The API of Oarmaster, group `oarmaster.dev`: its kinds, their schema with CEL rules, their defaults, the pure validation behind
//! them, and the vocabulary of conditions, labels and reasons.
//!
//! No client, no tokio, no clock. Whoever reads or writes one of our objects (controllers, gateway, CLI, generators) does it through
//! these types. Two rules keep the schema honest: a field is here only when something acts on it, and every text and list has a bound.

#![allow(
    clippy::duplicated_attributes,
    reason = "columns have the same keys; the lint takes those of two columns for one"
)]

pub mod access;
pub mod commands;
pub mod common;
pub mod conditions;
pub mod domain;
pub mod duration;
pub mod kinds;
pub mod money;
pub mod names;
pub mod quantity;
pub mod users;
pub mod validate;

pub use access::AllowedNamespaces;
pub use common::{Allowance, LocalRef, NamespacedRef, SecretKeyRef};
pub use domain::{Domain, DomainPattern};
pub use duration::GepDuration;
pub use kinds::agent::{Agent, AgentSpec, AgentStatus};
pub use kinds::approval::{Approval, ApprovalSpec, ApprovalStatus};
pub use kinds::budget::{Budget, BudgetSpec, BudgetStatus};
pub use kinds::class::{SandboxClass, SandboxClassSpec, SandboxClassStatus};
pub use kinds::goal::{Allow, GoalSpec, RunWorkflow, StepWorkflow};
pub use kinds::pool::{ModelPool, ModelPoolSpec, ModelPoolStatus};
pub use kinds::provider::{ModelProvider, ModelProviderSpec, ModelProviderStatus};
pub use kinds::task::{Task, TaskSpec, TaskStatus};
pub use kinds::workflow::{Workflow, WorkflowSpec, WorkflowStatus};
pub use money::Usd;
pub use quantity::Size;
pub use users::UserIds;

/// The API group.
pub const GROUP: &str = "oarmaster.dev";
/// The only API version.
pub const VERSION: &str = "v1alpha1";

#[cfg(test)]
mod tests;
