//! Makes Tasks and bare Jobs, and sees when they have ended.

use crate::machine;
use anyhow::{Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use oarmaster_e2e::bench::follow::{self, Object};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Creations at once of a burst.
const AT_ONCE: usize = 32;
/// After this without any further end, something is stuck.
const STALLED: Duration = Duration::from_secs(120);

/// Which objects run and which have ended.
pub struct Ends {
    seen: watch::Sender<HashMap<String, State>>,
}

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended { at: Instant, well: bool },
}

impl Ends {
    /// Follows a list of Tasks or Jobs.
    pub fn follow(client: &Client, list: String) -> Arc<Self> {
        let ends = Arc::new(Self {
            seen: watch::Sender::default(),
        });
        let own = Arc::clone(&ends);
        tokio::spawn(follow::follow(
            client.clone(),
            list,
            move |object: Object| own.saw(object),
        ));
        ends
    }

    fn saw(&self, object: Object) {
        let Object { metadata, status } = object;
        let well = status.is("Complete");
        let state = if well || status.is("Failed") {
            let at = Instant::now();
            State::Ended { at, well }
        } else if status.phase == "Running" {
            State::Running
        } else {
            return;
        };
        self.seen.send_if_modified(|seen| {
            let before = seen.get(&metadata.name).copied();
            if matches!(before, Some(State::Ended { .. })) || before == Some(state) {
                return false;
            }
            seen.insert(metadata.name, state);
            true
        });
    }

    /// Waits until all of these have ended well, and gives the time when the last one was seen.
    pub async fn of(&self, names: &[String]) -> Result<Instant> {
        let mut last = None;
        self.until(names, |state| match state {
            State::Ended { at, .. } => {
                last = last.max(Some(at));
                true
            }
            State::Running => false,
        })
        .await?;
        Ok(last.unwrap_or_else(Instant::now))
    }

    /// How many of these have ended, as far as is seen.
    pub fn ended(&self, names: &[String]) -> usize {
        let seen = self.seen.borrow();
        let ended = |name: &&String| matches!(seen.get(*name), Some(State::Ended { .. }));
        names.iter().filter(ended).count()
    }

    /// Waits until all of these run.
    pub async fn running(&self, names: &[String]) -> Result<()> {
        self.until(names, |state| state == State::Running).await
    }

    async fn until(&self, names: &[String], mut done: impl FnMut(State) -> bool) -> Result<()> {
        let mut seen = self.seen.subscribe();
        loop {
            let mut count = 0;
            for (name, state) in names.iter().zip(states(&mut seen, names)) {
                if matches!(state, Some(State::Ended { well: false, .. })) {
                    bail!("{name} failed");
                }
                count += usize::from(state.is_some_and(&mut done));
            }
            if count == names.len() {
                return Ok(());
            }
            if tokio::time::timeout(STALLED, seen.changed()).await.is_err() {
                bail!(
                    "{count} of {} are so far, and nothing happens for {STALLED:?}",
                    names.len()
                );
            }
        }
    }
}

fn states(
    seen: &mut watch::Receiver<HashMap<String, State>>,
    names: &[String],
) -> Vec<Option<State>> {
    let now = seen.borrow_and_update();
    names.iter().map(|name| now.get(name).copied()).collect()
}

/// Names of a round's objects.
pub fn names(round: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{round}-{number:05}"))
        .collect()
}

/// Creates objects as fast as the API server takes them.
pub async fn burst(client: &Client, list: &str, objects: Vec<Value>) -> Result<()> {
    stream::iter(objects)
        .map(|object| async move { machine::create(client, list, &object).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(())
}

/// Creates objects at a fixed rate, whether or not the API server keeps up. Gives the rate that it was.
pub async fn at_rate(
    client: &Client,
    list: &str,
    objects: Vec<Value>,
    each: Duration,
) -> Result<f64> {
    let count = u32::try_from(objects.len()).map_or(0.0, f64::from);
    let begun = Instant::now();
    let mut due = tokio::time::interval(each);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut under_way = tokio::task::JoinSet::new();
    for object in objects {
        due.tick().await;
        let (client, list) = (client.clone(), list.to_owned());
        under_way.spawn(async move { machine::create(&client, &list, &object).await });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(count / begun.elapsed().as_secs_f64())
}
