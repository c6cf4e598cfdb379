//! What the end-to-end tests share: a cluster, a namespace per test, objects from YAML, waiting by watch, and commands.
//!
//! Every wait has a deadline and says what it saw last; nothing here sleeps in order to synchronise.

pub mod apply;
pub mod bench;
pub mod cluster;
pub mod command;
pub mod crash;
pub mod dump;
pub mod forward;
pub mod gateway;
pub mod installed;
pub mod javascript;
pub mod kept;
pub mod kill;
pub mod mock;
pub mod network;
pub mod proxy;
pub mod python;
pub mod release;
pub mod space;
pub mod task;
pub mod wait;

pub use cluster::Cluster;
pub use space::Space;
