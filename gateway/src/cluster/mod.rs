//! What the gateway watches: pools, providers, the Secrets that providers name, Budgets, and the labels of namespaces.

pub mod budgets;
pub mod lookup;
pub mod objects;
pub mod secrets;
