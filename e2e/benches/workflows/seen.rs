//! What a watch shows of all Tasks: when each was there, and when it had ended.

use anyhow::{Result, bail};
use kube::Client;
use oarmaster_crds::{conditions, names};
use oarmaster_e2e::bench::follow::{self, Object};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// After this without anything new, something is stuck.
const STALLED: Duration = Duration::from_secs(60);

/// A Task.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The UID of its run and the name of its step, where it is one's.
    pub step: Option<(String, String)>,
    /// When it was there.
    pub made: Instant,
    /// When it had ended.
    pub ended: Option<Instant>,
}

/// How many there are whose names begin in the same way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Tasks of steps.
    pub steps: usize,
    /// Tasks that have ended and are no steps.
    pub ended: usize,
    /// Tasks that did not end well.
    pub badly: usize,
}

/// All Tasks of a namespace, for as long as this is kept.
pub struct Tasks {
    state: Arc<State>,
    following: AbortHandle,
}

#[derive(Default)]
struct State {
    /// By name.
    seen: Mutex<HashMap<String, Seen>>,
    /// By what their names begin with.
    counts: Mutex<BTreeMap<String, Count>>,
    more: Notify,
}

impl Tasks {
    /// Watches a list of Tasks.
    pub fn follow(client: Client, list: String) -> Self {
        let state = Arc::<State>::default();
        let own = Arc::clone(&state);
        let following = tokio::spawn(follow::follow(client, list, move |object: Object| {
            own.saw(object);
        }));
        Self {
            state,
            following: following.abort_handle(),
        }
    }

    /// How many there are of a group: those whose names begin so, up to a hyphen.
    pub fn count(&self, group: &str) -> Count {
        let counts = lock(&self.state.counts);
        counts.get(group).copied().unwrap_or_default()
    }

    /// Waits until there are so many of a group.
    pub async fn until(&self, group: &str, done: impl Fn(Count) -> bool) -> Result<()> {
        loop {
            let count = self.count(group);
            if count.badly > 0 {
                bail!("{} Tasks of {group} did not end well", count.badly);
            }
            if done(count) {
                return Ok(());
            }
            let more = self.state.more.notified();
            if tokio::time::timeout(STALLED, more).await.is_err() {
                bail!("{group} is at {count:?}, and nothing happens for {STALLED:?}");
            }
        }
    }

    /// All Tasks of a group.
    pub fn all(&self, group: &str) -> Vec<Seen> {
        let seen = lock(&self.state.seen);
        let of_group = seen
            .values()
            .filter(|task| self::group(&task.name) == group);
        of_group.cloned().collect()
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl State {
    fn saw(&self, object: Object) {
        let now = Instant::now();
        let Object { metadata, status } = object;
        let over = status.is(conditions::FINISHED);
        let mut seen = lock(&self.seen);
        let mut counts = lock(&self.counts);
        let count = counts.entry(group(&metadata.name).to_owned()).or_default();
        let task = seen.entry(metadata.name.clone()).or_insert_with(|| {
            let label = |name: &str| metadata.labels.get(name).cloned();
            let step = label(names::PARENT_UID_LABEL).zip(label(names::STEP_LABEL));
            count.steps += usize::from(step.is_some());
            Seen {
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                step,
                made: now,
                ended: None,
            }
        });
        if over && task.ended.is_none() {
            task.ended = Some(now);
            count.ended += usize::from(task.step.is_none());
            count.badly += usize::from(!status.is(conditions::COMPLETE));
        }
        self.more.notify_one();
    }
}

fn group(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
