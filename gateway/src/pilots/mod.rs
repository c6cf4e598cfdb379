//! Attempts without a pod of their own: shared pilots take them here, one at a time, and have each for as long as they renew their claim.
//!
//! Which attempts there are is the store's to say. Here is who has which, in memory: a claim is a secret, of which only the digest is kept, and a
//! time. The digest is also the nonce of the claim in the log, so that a gateway that starts anew knows the claims of the one before.

pub mod route;

use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use oarmaster_protocol::admin::RunsIn;
use oarmaster_protocol::task::{CLAIM_LASTS, Capability};
use oarmaster_store::{Clock, SharedAttempt, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// How often it is looked for claims that are over, to forget them.
const FORGET_MS: i64 = 1000;

/// Who has which attempt.
pub struct Pilots {
    claims: Mutex<Claims>,
    more: Notify,
    /// Milliseconds from any beginning; nobody sets it.
    pub clock: Clock,
}

#[derive(Default)]
struct Claims {
    /// By the digest of the capability.
    of: HashMap<String, Held>,
    /// The digest of the newest claim of a Task, by its UID.
    newest: HashMap<String, String>,
    /// The namespace whose attempt was given out last.
    namespace: String,
    /// When those that are over are forgotten.
    forget: i64,
}

struct Held {
    pod: Arc<SandboxPod>,
    until: i64,
}

/// An attempt that was given out. Unless it is kept, it is given back.
struct Offer<'a> {
    pilots: &'a Pilots,
    capability: Capability,
    key: String,
    attempt: SharedAttempt,
    kept: bool,
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.pilots.release(&self.key);
        }
    }
}

/// Whether a bearer token is a capability and no token of Kubernetes.
#[must_use]
pub fn is_capability(token: &str) -> bool {
    token.starts_with(Capability::PREFIX)
}

/// By what a capability is known. Comparing digests tells nobody how far a guess was right.
fn key(capability: &str) -> String {
    oarmaster_protocol::digest(capability.as_bytes())
}

impl Pilots {
    /// With the claims that the log has: each lasts from now, as if it had been renewed.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let begun = Instant::now();
        let clock: Clock =
            Arc::new(move || i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX));
        let mut claims = Claims::default();
        for attempt in store.shared_attempts("", usize::MAX, |_, _| true) {
            if let Some(key) = attempt.claim.clone() {
                claims.hold(key, Arc::new(pod(&attempt, "")), clock());
            }
        }
        Self {
            claims: Mutex::new(claims),
            more: Notify::new(),
            clock,
        }
    }

    /// The attempt that a capability stands for.
    ///
    /// # Errors
    /// `unauthenticated` for one that is none, or no longer.
    pub fn holder(&self, capability: &str) -> Result<Arc<SandboxPod>, ApiFailure> {
        let claims = self.lock();
        let held = claims.of.get(&key(capability));
        held.filter(|held| held.until > (self.clock)())
            .map(|held| held.pod.clone())
            .ok_or_else(over)
    }

    /// The claim lasts from now.
    ///
    /// # Errors
    /// As [`Pilots::holder`]: what is over does not begin again.
    pub fn renew(&self, capability: &str) -> Result<(), ApiFailure> {
        let now = (self.clock)();
        let mut claims = self.lock();
        let held = claims.of.get_mut(&key(capability));
        let held = held.filter(|held| held.until > now).ok_or_else(over)?;
        held.until = now.saturating_add(lasts());
        Ok(())
    }

    /// Ends a claim; another pilot may have the attempt. Idempotent.
    pub fn give_back(&self, capability: &str) {
        self.release(&key(capability));
    }

    fn release(&self, key: &str) {
        self.lock().end(key);
        self.more.notify_one();
    }

    /// There may be something to do: an attempt was opened.
    pub fn wake(&self) {
        self.more.notify_one();
    }

    /// How many attempts nobody has.
    #[must_use]
    pub fn waiting(&self, store: &Store) -> usize {
        let now = (self.clock)();
        let claims = self.lock();
        store.shared_count(|uid, attempt| !claims.has(uid, attempt, now))
    }

    /// The next attempt that nobody has, if there is one: namespaces in turn, and in each the oldest.
    fn offer(&self, store: &Store, pilot: &str) -> Option<Offer<'_>> {
        let now = (self.clock)();
        let mut claims = self.lock();
        claims.forget(now);
        let free = |uid: &str, attempt: u32| !claims.has(uid, attempt, now);
        let attempt = store.shared_attempts(&claims.namespace, 1, free).pop()?;
        let capability = capability();
        let key = key(&capability.0);
        claims.hold(key.clone(), Arc::new(pod(&attempt, pilot)), now);
        claims.namespace.clone_from(&attempt.task.namespace);
        drop(claims);
        Some(Offer {
            pilots: self,
            capability,
            key,
            attempt,
            kept: false,
        })
    }

    // A panic while the lock was held leaves claims, which are whole.
    fn lock(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claims {
    fn has(&self, uid: &str, attempt: u32, now: i64) -> bool {
        let held = self.newest.get(uid).and_then(|key| self.of.get(key));
        held.is_some_and(|held| held.pod.attempt == attempt && held.until > now)
    }

    fn hold(&mut self, key: String, pod: Arc<SandboxPod>, now: i64) {
        let until = now.saturating_add(lasts());
        // One that is over is worth nothing the moment that the attempt is another's.
        if let Some(before) = self.newest.insert(pod.task_uid.clone(), key.clone()) {
            self.of.remove(&before);
        }
        self.of.insert(key, Held { pod, until });
    }

    fn end(&mut self, key: &str) {
        if let Some(held) = self.of.remove(key)
            && self
                .newest
                .get(&held.pod.task_uid)
                .is_some_and(|newest| newest == key)
        {
            self.newest.remove(&held.pod.task_uid);
        }
    }

    fn forget(&mut self, now: i64) {
        if now < self.forget {
            return;
        }
        self.forget = now.saturating_add(FORGET_MS);
        self.of.retain(|_, held| held.until > now);
        let of = &self.of;
        self.newest.retain(|_, key| of.contains_key(key));
    }
}

fn lasts() -> i64 {
    i64::try_from(CLAIM_LASTS.as_millis()).unwrap_or(i64::MAX)
}

/// Two random UUIDs have 244 bits of the system's randomness.
fn capability() -> Capability {
    let [one, two] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let (prefix, one, two) = (Capability::PREFIX, one.simple(), two.simple());
    Capability(format!("{prefix}{one}{two}"))
}

fn pod(attempt: &SharedAttempt, pilot: &str) -> SandboxPod {
    SandboxPod {
        namespace: attempt.task.namespace.clone(),
        pod: pilot.to_owned(),
        runs_in: RunsIn::Shared,
        task_uid: attempt.task.uid.clone(),
        attempt: attempt.attempt,
    }
}

fn over() -> ApiFailure {
    ApiFailure::unauthenticated(
        "the claim is over: it was not renewed in time, was given back, or another pilot has the attempt",
    )
}
