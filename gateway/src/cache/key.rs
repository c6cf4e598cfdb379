//! What makes two requests equal: then the answer to one is the answer to the other.

use super::canonical::canonical;
use crate::calls::route::Routed;
use crate::request::{Caching, Request};
use crate::surface::Surface;
use oarmaster_crds::kinds::pool::CachePer;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The name of an answer.
pub type Key = [u8; 32];

/// Changed whenever what an entry holds, or what its key is made of, becomes another.
const VERSION: &str = "1";
/// Larger requests are not kept.
const MAX_REQUEST: usize = 4 << 20;
/// Fields that say how the answer is delivered; the pool stands for the model. Whatever else a request says is part of the key, such as `user`: it
/// changes nothing at the vendors, but a server of one's own may go by it.
const DELIVERY: &[&str] = &["model", "stream", "stream_options"];

/// What a ModelPool wants to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How long an answer is given again.
    pub ttl: Duration,
    /// Whether that is so for requests whose answers are drawn at random, too.
    pub sampled: bool,
    /// Who shares answers.
    pub per: CachePer,
    /// What the pool is: with another one, nothing is found that was kept before.
    pub version: String,
}

/// A request whose answer may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub key: Key,
    /// How long.
    pub ttl: Duration,
    /// Whether a kept answer will do.
    pub reads: bool,
}

impl Wanted {
    /// What is wanted of the cache for a request; `None` where it has no part in it.
    #[must_use]
    pub fn of(routed: &Routed) -> Option<Self> {
        let pool = routed.snapshot.pools.get(&routed.pool)?;
        let rule = pool.cache.as_ref()?;
        let request = &routed.request;
        let sampled = is_sampled(request) && !rule.sampled;
        if request.caching == Caching::Never
            || request.stream
            || request.choices > 1
            || request.len() > MAX_REQUEST
            || sampled
        {
            return None;
        }
        let mut fields = request.unchanged()?.clone();
        fields.retain(|name| !DELIVERY.contains(&name));
        let body = canonical(&fields.to_json())?;
        let mut hash = Hash(Sha256::new());
        hash.text(VERSION);
        hash.text(&rule.version);
        for member in &pool.members {
            let provider = routed.snapshot.providers.get(&member.provider);
            let version = provider.map(|provider| &provider.version);
            hash.text(version.map_or("", |(uid, _)| uid));
            hash.number(version.map_or(0, |(_, generation)| generation.unsigned_abs()));
        }
        match rule.per {
            CachePer::Pool => hash.text(""),
            CachePer::Namespace => hash.text(&routed.namespace),
            CachePer::Requester if routed.requester.is_empty() => hash.text(&routed.caller()),
            CachePer::Requester => hash.text(&routed.requester),
        }
        // A Task's answer is kept in another form, and a budget has a limit written into the request.
        hash.number(u64::from(routed.bounded));
        hash.number(routed.assigned.map_or(0, |most| most.saturating_add(1)));
        hash.text(request.surface.path());
        let beta = request.beta.as_ref();
        hash.bytes(beta.map_or(&[], |beta| beta.as_bytes()));
        hash.bytes(&body);
        Some(Self {
            key: hash.0.finalize().into(),
            ttl: rule.ttl,
            reads: request.caching == Caching::Allowed,
        })
    }
}

/// Whether the answer is drawn at random: only a temperature of 0 says that it is not, since without one the vendors' is 1.
fn is_sampled(request: &Request) -> bool {
    if request.surface == Surface::Embeddings {
        return false;
    }
    let temperature = request.read().get("temperature");
    let temperature = temperature.and_then(|value| value.get().parse::<f64>().ok());
    temperature.is_none_or(|temperature| temperature != 0.0)
}

/// A hash over parts of any length, none of which can be taken for a part of its neighbour.
struct Hash(Sha256);

impl Hash {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}
