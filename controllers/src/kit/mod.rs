//! What every controller needs and no controller decides: calls with time limits, watches, events, the gateway's admin API, metrics, pods.

/// The part of [`kube::Resource`] that says which kind something is: that of `$kind`, which it holds in another form.
macro_rules! as_its_kind {
    ($kind:ident) => {
        type DynamicType = $kind::DynamicType;
        type Scope = $kind::Scope;

        fn kind(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::kind(of)
        }

        fn group(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::group(of)
        }

        fn version(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::version(of)
        }

        fn plural(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::plural(of)
        }
    };
}

pub mod changes;
pub mod context;
pub mod error;
pub mod events;
pub mod gateway;
pub mod graphs;
pub mod guard;
pub mod metrics;
pub mod pod;
pub mod queue;
pub mod ready;
pub mod run;
pub mod slim;
pub mod turns;
pub mod watch;
pub mod write;

pub use context::Context;
pub use error::{Error, chain};
pub use run::Action;

/// The result of a pass.
pub type Result<T> = std::result::Result<T, Error>;
