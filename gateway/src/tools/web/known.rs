//! What the searches of a Task have returned. The journal says so, and outlives the gateway; this remembers how far it was read.

use super::results;
use crate::error::ApiFailure;
use moka::future::Cache;
use oarmaster_protocol::journal::{Body, Record};
use oarmaster_store::Store;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Tasks whose addresses are remembered; another one's journal is read again.
const MAX_TASKS: u64 = 1000;
/// For how long after they were last asked for.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Most addresses of a Task: a thousand searches with ten results each. Later ones are not known.
const MAX_ADDRESSES: usize = 10_000;
/// Records that are read at once.
const PAGE: usize = 256;
/// The tool whose results count.
const SEARCH: &str = "WebSearch";

/// Addresses by the UIDs of Tasks.
pub struct Known(Cache<String, Arc<Mutex<Addresses>>>);

/// The addresses in a journal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Addresses {
    found: HashSet<String>,
    /// The record that was not read yet.
    next: u64,
}

impl Default for Known {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(MAX_TASKS)
            .time_to_idle(REMEMBERED)
            .build();
        Self(cache)
    }
}

impl Known {
    /// Whether a search of this Task returned the address.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn has(&self, store: &Store, task: &str, url: &str) -> Result<bool, ApiFailure> {
        let made = async { Arc::default() };
        let known = self.0.get_with(task.to_owned(), made).await;
        let mut known = known.lock().await;
        if known.found.contains(url) {
            return Ok(true);
        }
        loop {
            let records = store.records(task, known.next, PAGE).await?;
            if records.is_empty() {
                return Ok(known.found.contains(url));
            }
            known.read(&records);
        }
    }
}

impl Addresses {
    fn read(&mut self, records: &[Record]) {
        for record in records {
            self.next = record.seq + 1;
            // A call that failed may repeat what the model wrote.
            if let Body::ToolResult {
                tool,
                ok: true,
                text,
                ..
            } = &record.body
                && tool == SEARCH
            {
                let room = MAX_ADDRESSES - self.found.len();
                let addresses = results::addresses(text).take(room);
                self.found.extend(addresses.map(str::to_owned));
            }
        }
    }
}
