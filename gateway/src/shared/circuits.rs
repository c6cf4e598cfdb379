//! Open circuits in Redis: a lane that one gateway leaves alone is left alone by the others. Only what a gateway found out by itself is told, once: what
//! was learnt from others is not told on, or it would never end. That a circuit has closed is not told either, since by then its time is over.

use super::{Note, Redis};
use crate::clock::since_epoch;
use crate::routing::lanes::Spot;
use crate::state::Gateway;
use redis::Pipeline;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// The set of open circuits: each with the time until which it is open, in milliseconds since the Unix epoch.
const KEY: &str = "oarmaster:circuits";
/// Goes when nobody has told anything for a day.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often others' circuits are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// Most of them.
const MOST: usize = 1000;

impl Redis {
    /// Tells others of circuits that opened here.
    pub fn opened(&self, spots: Vec<(Spot, Instant)>) {
        let (now, clock) = (Instant::now(), since_epoch());
        let until = |at: Instant| millis(clock + at.saturating_duration_since(now));
        let told = spots.into_iter().filter_map(|(spot, at)| {
            let name = serde_json::to_string(&spot).ok()?;
            Some((until(at), name))
        });
        let told: Vec<_> = told.collect();
        if !told.is_empty() {
            self.note(Note::Opened(told));
        }
    }

    /// Circuits that are open, with how long they still are.
    async fn circuits(&self) -> Option<Vec<(Spot, Duration)>> {
        let now = millis(since_epoch());
        let mut commands = redis::pipe();
        let open = commands.cmd("ZRANGEBYSCORE").arg(KEY).arg(now).arg("+inf");
        open.arg("WITHSCORES").arg("LIMIT").arg(0).arg(MOST);
        let (open,): (Vec<(String, f64)>,) = self.ask("circuits", &commands).await?;
        let open = open.into_iter().filter_map(|(name, until)| {
            #[allow(clippy::cast_precision_loss)] // milliseconds since 1970 are exact
            let left = (until - now as f64) / 1000.0;
            let left = Duration::try_from_secs_f64(left).ok()?;
            Some((serde_json::from_str(&name).ok()?, left.min(KEPT)))
        });
        Some(open.collect())
    }
}

/// Leaves alone what others leave alone, for ever.
pub async fn follow(gateway: &Gateway, redis: &Redis) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let open = redis.circuits().await.unwrap_or_default();
        let (snapshot, now) = (gateway.snapshot.load(), Instant::now());
        for (spot, left) in open {
            let provider = snapshot.providers.get(&spot.provider);
            if provider.is_some_and(|provider| spot.is_of(provider))
                && gateway.health.lanes.leave_alone(&spot, now + left, now)
            {
                gateway.health.circuit_changed(&spot.provider);
            }
        }
    }
}

pub(super) fn write(told: &[(u64, String)]) -> Pipeline {
    let mut commands = redis::pipe();
    let over = commands.cmd("ZREMRANGEBYSCORE").arg(KEY).arg("-inf");
    over.arg(millis(since_epoch())).ignore();
    for (until, name) in told {
        let add = commands.cmd("ZADD").arg(KEY).arg(*until).arg(name);
        add.ignore();
    }
    let expire = commands.cmd("EXPIRE").arg(KEY).arg(KEPT.as_secs());
    expire.ignore();
    commands
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
