//! What every controller needs and no controller decides: calls with time limits, watches, events, the gateway's admin API, metrics, pods.

pub mod changes;
pub mod context;
pub mod error;
pub mod events;
pub mod gateway;
pub mod guard;
pub mod metrics;
pub mod pod;
pub mod ready;
pub mod run;
pub mod slim;
pub mod watch;
pub mod write;

pub use context::Context;
pub use error::{Error, chain};

/// The result of a pass.
pub type Result<T> = std::result::Result<T, Error>;
