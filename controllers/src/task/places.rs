//! How many Tasks have a live attempt at once: of an agent (`limits.parallelTasks`), and in a namespace (the installation's limits). A run
//! has no place, only its steps have: otherwise runs could take all places, and none of their steps would ever have one.
//!
//! The caches know who runs, a moment late. So what this process gave away counts, too, until a cache shows it; there is one leader, so
//! nobody else gives. A Task that gets no place waits: by priority, then age, then UID. When a place is free, the first ones are called, and
//! until they have come nobody behind them takes it.

use super::census;
use super::limits::Limits;
use arc_swap::ArcSwap;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::task::Phase;
use oarmaster_crds::{Task, TaskStatus};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many are called for one place: the first one may wait for something else by now.
const CALLED: usize = 2;
/// How long a place is kept for those that were called. Who does not come, since its pass fails, does not stop the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Task that wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Its priority.
    pub priority: i64,
    /// When it was created.
    pub created: jiff::Timestamp,
    /// The attempt that would begin.
    pub attempt: u32,
    /// The agent, if one does it.
    pub agent: Option<Employer<'a>>,
    /// Most Tasks of the namespace.
    pub limit: Option<u32>,
}

/// The agent whose place a Task wants.
#[derive(Clone, Copy, Debug)]
pub struct Employer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether another agent would do: then it is called by any.
    pub any: bool,
    /// Most Tasks of it.
    pub limit: Option<u32>,
}

/// What has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The agent.
    Agent,
    /// The namespace.
    Namespace,
}

/// What the cache shows of a Task that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its newest attempt, 0 before the first.
    attempt: u32,
    /// Whether that is live.
    live: bool,
    /// The agent that is pinned.
    agent: Option<String>,
    waits: Option<(Turn, Waiting)>,
}

/// Who is first: the higher priority, the older, the smaller UID.
pub(super) type Turn = (Reverse<i64>, jiff::Timestamp, String);

/// A Task that waits for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    name: String,
    /// The agent, of one that waits for that; `None`: for a place of the namespace.
    agent: Option<String>,
    any: bool,
    called: Option<Instant>,
}

/// The places that are taken, and who waits for one.
pub struct Places {
    /// How many there are.
    pub limits: ArcSwap<Limits>,
    spaces: Mutex<HashMap<String, Space>>,
    call: Call,
}

/// Has a Task looked at, by namespace and name.
type Call = Box<dyn Fn(&str, &str) + Send + Sync>;

/// A namespace.
#[derive(Debug, Default)]
struct Space {
    /// By UID.
    held: HashMap<String, Held>,
    /// How many of each agent.
    agents: HashMap<String, u32>,
    waiting: BTreeMap<Turn, Waiting>,
    /// By UID.
    turns: HashMap<String, Turn>,
}

/// A place.
#[derive(Clone, Debug)]
struct Held {
    agent: Option<String>,
    attempt: u32,
    /// Whether a cache shows it.
    shown: bool,
}

impl Shown {
    /// Reads a Task; `None` of one that has ended, or that is a run. `priority` is the one that counts.
    #[must_use]
    pub fn of(task: &Task, priority: i64) -> Option<Self> {
        let nothing = TaskStatus::default();
        let status = task.status.as_ref().unwrap_or(&nothing);
        let ended = conditions::is_true(&status.conditions, conditions::FINISHED);
        if ended || task.spec.is_run() {
            return None;
        }
        Some(Self {
            attempt: census::attempt(Some(status)),
            live: census::holds_a_place(status),
            agent: census::agent(status).map(str::to_owned),
            waits: waits(task, status).map(|waiting| (turn(task, priority), waiting)),
        })
    }
}

/// What a Task waited for when its status was written.
fn waits(task: &Task, status: &TaskStatus) -> Option<Waiting> {
    let ready = conditions::find(&status.conditions, conditions::READY)?;
    let call = task.spec.agent.as_ref();
    let agent = match ready.reason.as_str() {
        _ if status.phase != Some(Phase::Queued) => return None,
        reason::NAMESPACE_BUSY => None,
        reason::AGENT_BUSY => {
            let named = call.and_then(|call| call.name.as_deref());
            let agent = named.or(census::agent(status));
            Some(agent.unwrap_or_default().to_owned())
        }
        _ => return None,
    };
    Some(Waiting {
        name: task.metadata.name.clone().unwrap_or_default(),
        any: agent.is_some() && call.is_some_and(|call| call.select.is_some()),
        agent,
        called: None,
    })
}

pub(super) fn turn(task: &Task, priority: i64) -> Turn {
    let created = task.metadata.creation_timestamp.as_ref();
    (
        Reverse(priority),
        created.map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        task.metadata.uid.clone().unwrap_or_default(),
    )
}

impl Places {
    /// No places yet. `call` has a Task looked at, by namespace and name.
    #[must_use]
    pub fn new(call: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self {
            limits: ArcSwap::default(),
            spaces: Mutex::default(),
            call: Box::new(call),
        }
    }

    fn spaces(&self) -> MutexGuard<'_, HashMap<String, Space>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many other Tasks of an agent than this one have a place.
    #[must_use]
    pub fn running(&self, namespace: &str, agent: &str, uid: &str) -> u32 {
        let spaces = self.spaces();
        spaces
            .get(namespace)
            .map_or(0, |space| space.of_agent(agent, uid))
    }

    /// The cache shows a Task; `None`: it has ended, or is gone.
    pub fn saw(&self, namespace: &str, uid: &str, shown: Option<Shown>) {
        self.within(namespace, |space| space.saw(uid, shown, Instant::now()));
    }

    /// Takes a place for a Task. Taking one again is taking the same. `shown` is what the cache shows of the Task: asked under the lock, since
    /// what an older look showed could have a place counted that nobody gives back.
    ///
    /// # Errors
    /// What has no place for it; it is then called when there may be one.
    pub fn take(&self, wish: &Wish<'_>, shown: impl FnOnce() -> Option<Shown>) -> Result<(), Full> {
        self.within(wish.namespace, |space| {
            let now = Instant::now();
            let Some(shown) = shown() else {
                let freed = space.saw(wish.uid, None, now);
                return (Ok(()), freed.1); // nothing comes of it: it is over
            };
            let (_, mut calls) = space.saw(wish.uid, Some(shown), now);
            let (taken, more) = space.take(wish, now);
            calls.extend(more);
            (taken, calls)
        })
    }

    /// A Task begins nothing after all.
    pub fn give_back(&self, namespace: &str, uid: &str) {
        self.within(namespace, |space| {
            let given = space.held.get(uid).is_some_and(|held| !held.shown);
            let freed = given.then(|| space.release(uid)).flatten();
            let left = space.leave(uid);
            ((), space.call(freed.or(left), Instant::now()))
        });
    }

    /// Changes a namespace, then calls whom that lets in.
    fn within<T>(&self, namespace: &str, change: impl FnOnce(&mut Space) -> (T, Vec<String>)) -> T {
        let mut spaces = self.spaces();
        let space = spaces.entry(namespace.to_owned()).or_default();
        let (done, called) = change(space);
        if space.held.is_empty() && space.waiting.is_empty() {
            spaces.remove(namespace);
        }
        drop(spaces);
        for name in called {
            (self.call)(namespace, &name);
        }
        done
    }
}

/// A place that is free now, or a waiting one that is no longer in the way: of an agent, or of none.
type Freed = Option<String>;

impl Space {
    fn of_agent(&self, agent: &str, uid: &str) -> u32 {
        let all = self.agents.get(agent).copied().unwrap_or(0);
        let own = self
            .held
            .get(uid)
            .is_some_and(|held| held.agent.as_deref() == Some(agent));
        all.saturating_sub(u32::from(own))
    }

    fn saw(&mut self, uid: &str, shown: Option<Shown>, now: Instant) -> ((), Vec<String>) {
        let held = self.held.get(uid);
        let freed = match &shown {
            Some(shown) if shown.live => {
                let freed = self.release(uid);
                self.hold(uid, shown.agent.clone(), shown.attempt, true);
                // The same place, as a rule.
                freed.filter(|agent| *agent != shown.agent)
            }
            // Given, and not shown yet.
            Some(shown) if held.is_some_and(|held| !held.shown && held.attempt > shown.attempt) => {
                None
            }
            _ => self.release(uid),
        };
        let left = match shown {
            None => self.leave(uid),
            Some(shown) if shown.live => self.leave(uid),
            Some(shown) => {
                // After a restart: each one that waits will come, in whatever order.
                if let Some((turn, waiting)) = shown.waits
                    && !self.turns.contains_key(uid)
                    && !self.held.contains_key(uid)
                {
                    let called = Some(now);
                    self.wait(turn, Waiting { called, ..waiting });
                }
                None
            }
        };
        ((), self.call(freed.or(left), now))
    }

    fn take(&mut self, wish: &Wish<'_>, now: Instant) -> (Result<(), Full>, Vec<String>) {
        let agent = wish.agent.map(|agent| agent.name);
        let same = |held: &Held| held.attempt == wish.attempt && held.agent.as_deref() == agent;
        if self.held.get(wish.uid).is_some_and(same) {
            self.leave(wish.uid);
            return (Ok(()), Vec::new());
        }
        let turn: Turn = (Reverse(wish.priority), wish.created, wish.uid.to_owned());
        match self.full(wish, &turn, now) {
            Some(full) => {
                let freed = self.release(wish.uid);
                let waiting = Waiting {
                    name: wish.name.to_owned(),
                    agent: agent.filter(|_| full == Full::Agent).map(str::to_owned),
                    any: wish.agent.is_some_and(|agent| agent.any),
                    called: None,
                };
                // What it waited for before may be somebody else's now.
                let left = self.leave(wish.uid).filter(|left| *left != waiting.agent);
                let calls = self.call(freed.or(left), now);
                self.wait(turn, waiting);
                (Err(full), calls)
            }
            None => {
                let freed = self.release(wish.uid);
                let left = self.leave(wish.uid);
                self.hold(wish.uid, agent.map(str::to_owned), wish.attempt, false);
                // It may have waited for another place than the one that it took.
                let left = left.filter(|left| left.as_deref() != agent);
                let calls = self.call(freed.or(left), now);
                (Ok(()), calls)
            }
        }
    }

    /// What has no place for it: none at all, or none but those for which others are first.
    fn full(&mut self, wish: &Wish<'_>, turn: &Turn, now: Instant) -> Option<Full> {
        if let Some(agent) = wish.agent
            && let Some(limit) = agent.limit
        {
            let running = self.of_agent(agent.name, wish.uid);
            let free = limit.saturating_sub(running);
            let ahead = |waiting: &Waiting| waiting.waits_for(agent.name);
            if self.ahead(turn, free, now, ahead) >= free {
                return Some(Full::Agent);
            }
        }
        if let Some(limit) = wish.limit {
            let own = usize::from(self.held.contains_key(wish.uid));
            let running = u32::try_from(self.held.len() - own).unwrap_or(u32::MAX);
            let free = limit.saturating_sub(running);
            if self.ahead(turn, free, now, |waiting| waiting.agent.is_none()) >= free {
                return Some(Full::Namespace);
            }
        }
        None
    }

    /// How many that wait for the same come first; no more than `most` are counted.
    fn ahead(
        &mut self,
        turn: &Turn,
        most: u32,
        now: Instant,
        same: impl Fn(&Waiting) -> bool,
    ) -> u32 {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let here = self.waiting.range(..turn);
        let here = here.filter(|(_, waiting)| same(waiting) && !waiting.is_lost(now));
        u32::try_from(here.take(most).count()).unwrap_or(u32::MAX)
    }

    fn hold(&mut self, uid: &str, agent: Option<String>, attempt: u32, shown: bool) {
        if let Some(agent) = &agent {
            *self.agents.entry(agent.clone()).or_insert(0) += 1;
        }
        let held = Held {
            agent,
            attempt,
            shown,
        };
        self.held.insert(uid.to_owned(), held);
    }

    /// Gives a place back, if the Task has one.
    fn release(&mut self, uid: &str) -> Option<Freed> {
        let held = self.held.remove(uid)?;
        if let Some(agent) = &held.agent
            && let Some(count) = self.agents.get_mut(agent)
        {
            *count -= 1;
            if *count == 0 {
                self.agents.remove(agent);
            }
        }
        Some(held.agent)
    }

    fn wait(&mut self, turn: Turn, waiting: Waiting) {
        self.leave(&turn.2);
        self.turns.insert(turn.2.clone(), turn.clone());
        self.waiting.insert(turn, waiting);
    }

    /// A Task does not wait any more. Gives what for, if it did: somebody behind it may have that now.
    fn leave(&mut self, uid: &str) -> Option<Freed> {
        let turn = self.turns.remove(uid)?;
        let waiting = self.waiting.remove(&turn)?;
        Some(waiting.agent)
    }

    /// Whom to look at for what is free now: the first ones that wait for a place of the namespace, and the first ones that wait for this agent.
    fn call(&mut self, freed: Option<Freed>, now: Instant) -> Vec<String> {
        let Some(agent) = freed else {
            return Vec::new();
        };
        let (mut of_namespace, mut of_agent) = (CALLED, CALLED);
        let mut called = Vec::new();
        for waiting in self.waiting.values_mut() {
            if of_namespace == 0 && of_agent == 0 {
                break;
            }
            if waiting.called.is_some() {
                continue;
            }
            let left = if waiting.agent.is_none() {
                &mut of_namespace
            } else if agent
                .as_deref()
                .is_some_and(|agent| waiting.waits_for(agent))
            {
                &mut of_agent
            } else {
                continue;
            };
            if *left > 0 {
                *left -= 1;
                waiting.called = Some(now);
                called.push(waiting.name.clone());
            }
        }
        called
    }
}

impl Waiting {
    /// Whether a place of this agent is what it waits for.
    fn waits_for(&self, agent: &str) -> bool {
        let own = self.agent.as_deref();
        own.is_some_and(|own| self.any || own == agent)
    }

    /// Whether it was called, and did not come.
    fn is_lost(&self, now: Instant) -> bool {
        let called = self.called;
        called.is_some_and(|called| now.saturating_duration_since(called) > PATIENCE)
    }
}

#[cfg(test)]
mod tests;
