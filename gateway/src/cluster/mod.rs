//! What the gateway watches: pools, providers, and the Secrets that providers name.

pub mod lookup;
pub mod objects;
pub mod secrets;
