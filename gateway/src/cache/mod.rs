//! Answers that are given again to equal requests: what is equal ([`key`]), what is kept, and that of equal requests at once one is asked.
//!
//! It knows nothing of rights: whoever asks here was let through to the pool before.

mod canonical;
pub mod key;
#[cfg(test)]
mod tests;

use crate::shared::Redis;
use bytes::Bytes;
use key::Key;
use moka::Expiry;
use moka::future::Cache as Memory;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Larger answers are not kept.
pub const MAX_BODY: usize = 1 << 20;
/// What an entry takes beside its texts, about.
const OVERHEAD: usize = 512;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `<namespace>/<provider>` that gave it.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// Fields of the request that it had no place for.
    pub dropped: Vec<String>,
    /// In the caller's words; for a Task what its journal says.
    pub body: Bytes,
}

impl Entry {
    fn weight(&self) -> u32 {
        let texts = self.provider.len() + self.model.len();
        let dropped: usize = self.dropped.iter().map(String::len).sum();
        let bytes = self.body.len() + texts + dropped + OVERHEAD;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// The answers that are kept.
pub struct Cache {
    kept: Memory<Key, Kept>,
    /// Where other replicas find them, too.
    redis: Option<Arc<Redis>>,
    /// Requests that somebody is asking.
    flights: Mutex<HashMap<Key, watch::Receiver<Option<Arc<Entry>>>>>,
}

#[derive(Clone)]
struct Kept {
    entry: Arc<Entry>,
    ttl: Duration,
}

/// Entries live as long as their pool says.
struct Ttl;

impl Expiry<Key, Kept> for Ttl {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.ttl)
    }
}

/// What is found of an answer.
pub enum Found<'a> {
    /// It was kept, or somebody just got it.
    Kept(Arc<Entry>),
    /// It is not there, and nobody else is asking: others wait until this is dropped.
    First(Flight<'a>),
    /// It is not there, and whoever asked got nothing that could be kept. Nobody is waited for twice.
    Missed,
}

/// A request that others wait for.
pub struct Flight<'a> {
    cache: &'a Cache,
    key: Key,
    landed: watch::Sender<Option<Arc<Entry>>>,
}

impl Cache {
    /// A cache of so many bytes, in front of Redis if there is one.
    #[must_use]
    pub fn new(bytes: u64, redis: Option<Arc<Redis>>) -> Self {
        Self {
            kept: Memory::builder()
                .max_capacity(bytes)
                .weigher(|_, kept: &Kept| kept.entry.weight())
                .expire_after(Ttl)
                .build(),
            redis,
            flights: Mutex::default(),
        }
    }

    /// An answer, after a wait where somebody is asking for it.
    pub async fn find(&self, key: &Key) -> Found<'_> {
        if let Some(kept) = self.kept.get(key).await {
            return Found::Kept(kept.entry);
        }
        let flight = match self.join(key) {
            Ok(flight) => flight,
            Err(mut landing) => {
                let entry = landing.wait_for(Option::is_some).await;
                // What ended without an answer says nothing about the next one: it may have been that caller's budget.
                return match entry.ok().and_then(|entry| entry.clone()) {
                    Some(entry) => Found::Kept(entry),
                    None => Found::Missed,
                };
            }
        };
        // Another one may have landed since the first look.
        let kept = self.kept.get(key).await;
        let entry = match (kept, &self.redis) {
            (Some(kept), _) => Some(kept.entry),
            (None, Some(redis)) => self.fetch(redis, key).await,
            (None, None) => None,
        };
        match entry {
            Some(entry) => {
                flight.land(entry.clone());
                Found::Kept(entry)
            }
            None => Found::First(flight),
        }
    }

    /// An answer that another replica, or this one before it started again, has kept.
    async fn fetch(&self, redis: &Redis, key: &Key) -> Option<Arc<Entry>> {
        let (entry, ttl) = redis.answer(key).await?;
        let kept = Kept {
            entry: entry.clone(),
            ttl,
        };
        self.kept.insert(*key, kept).await;
        Some(entry)
    }

    /// Keeps an answer for so long.
    pub async fn keep(&self, key: Key, entry: Arc<Entry>, ttl: Duration) {
        if let Some(redis) = &self.redis {
            redis.keep(&key, &entry, ttl).await;
        }
        self.kept.insert(key, Kept { entry, ttl }).await;
    }

    /// A flight for this key, or the landing of the one that there is.
    fn join(&self, key: &Key) -> Result<Flight<'_>, watch::Receiver<Option<Arc<Entry>>>> {
        let mut flights = self.flights();
        if let Some(landing) = flights.get(key) {
            return Err(landing.clone());
        }
        let (landed, landing) = watch::channel(None);
        flights.insert(*key, landing);
        Ok(Flight {
            cache: self,
            key: *key,
            landed,
        })
    }

    // A panic while the lock was held leaves a map, which is whole.
    fn flights(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Arc<Entry>>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight<'_> {
    /// Gives those who wait the answer.
    pub fn land(self, entry: Arc<Entry>) {
        self.landed.send_replace(Some(entry));
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.cache.flights().remove(&self.key);
    }
}
