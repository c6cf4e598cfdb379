//! The store itself: the lock, the log and the state in one order.

use crate::{Options, StoreError};
use tokio::sync::watch;

/// The gateway's durable state. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens the directory, reads the log, and books every hop that was open when the process before ended.
    ///
    /// Call it before anything listens.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        let _ = options;
        Ok(Self {})
    }

    /// Waits until everything accepted so far is durable: before the process exits.
    pub async fn flush(&self) -> Result<(), crate::Refusal> {
        Ok(())
    }

    /// Why nothing new is accepted, or `None` while the log can be written. A change means: report not ready, and restart.
    #[must_use]
    pub fn unwritable(&self) -> watch::Receiver<Option<String>> {
        watch::channel(None).1
    }
}
