//! What was taken of the minute of a pool, a caller and a provider, in Redis: one key for each bound, which holds the time at which its bucket is full again and goes then.
//! Requests at once are each process's own: what a replica had out when it died, nobody would give back.

use super::{Note, Redis};
use crate::catalog::Id;
use crate::routing::course::Admission;
use crate::routing::gate::{Held, Limits, Whose};
use crate::routing::limits::Bound;
use redis::Pipeline;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Takes an amount of each bucket, of at most its limit, or of none: then the number of the one that has not enough, and for how many milliseconds.
///
/// `KEYS` are the buckets; `ARGV` has for each its limit and the amount. Times are microseconds of Redis' own clock, as in
/// [`crate::routing::limits::Bucket`].
const TAKE: &str = r"
local time = redis.call('TIME')
local now, minute = time[1] * 1000000 + time[2], 60000000
local wait, short, full = 0, 0, {}
for i, key in ipairs(KEYS) do
  local limit, amount = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  full[i] = math.max(tonumber(redis.call('GET', key) or '0'), now)
  local ready = full[i] - (minute - amount * minute / limit)
  if ready - now > wait then wait, short = ready - now, i end
end
if short > 0 then return {short, math.ceil(wait / 1000)} end
for i, key in ipairs(KEYS) do
  local limit, amount = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local at = full[i] + amount * minute / limit
  redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
end
return {0, 0}
";

/// Takes amounts that may be negative, whatever there is.
const CORRECT: &str = r"
local time = redis.call('TIME')
local now, minute = time[1] * 1000000 + time[2], 60000000
for i, key in ipairs(KEYS) do
  local limit, amount = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local full = math.max(tonumber(redis.call('GET', key) or '0'), now)
  local at = full + math.min(amount * minute / limit, 86400000000)
  if at <= now then redis.call('DEL', key)
  else redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000)) end
end
return {0, 0}
";

/// What of a bucket is taken, or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    key: String,
    whose: Whose,
    bound: Bound,
    limit: u64,
    amount: i64,
}

/// What a call took, to be corrected once it is known. Dropped before that, it took nothing.
#[derive(Debug)]
pub struct Passed {
    amounts: Vec<Amount>,
    notes: mpsc::Sender<Note>,
}

/// Whose minute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A pool's, and its caller's.
    Pool,
    /// A provider's.
    Provider,
}

impl Redis {
    /// Takes of the minute what a call is expected to have; nothing to be corrected where Redis does not answer.
    ///
    /// # Errors
    /// What keeps it out.
    pub async fn enter(
        &self,
        of: Of,
        (id, limits): (&Id, &Limits),
        caller: &str,
        tokens: u64,
    ) -> Result<Option<Passed>, Held> {
        let amounts = amounts(of, (id, limits), caller, tokens);
        if amounts.is_empty() {
            return Ok(None);
        }
        let answer = self.ask("take", &script(TAKE, &amounts)).await;
        let Some(((short, wait),)): Option<((usize, u64),)> = answer else {
            return Ok(None);
        };
        match short.checked_sub(1).and_then(|short| amounts.get(short)) {
            None => Ok(Some(Passed {
                amounts,
                notes: self.notes.clone(),
            })),
            Some(by) => Err(Held {
                whose: by.whose,
                bound: by.bound,
                admission: Admission::From(Instant::now() + Duration::from_millis(wait)),
            }),
        }
    }
}

impl Passed {
    /// The call has ended; `had` are its tokens, if anybody knows.
    pub fn ended(mut self, had: Option<u64>) {
        let mut amounts = std::mem::take(&mut self.amounts);
        amounts.retain_mut(|of| {
            let signed = had.map(|had| i64::try_from(had).unwrap_or(i64::MAX));
            let more = signed.map_or(0, |had| had.saturating_sub(of.amount));
            of.amount = more;
            of.bound == Bound::Tokens && more != 0
        });
        self.tell(amounts);
    }

    fn tell(&self, amounts: Vec<Amount>) {
        if !amounts.is_empty() {
            // With a full queue the estimate stays.
            let _ = self.notes.try_send(Note::Amounts(amounts));
        }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let mut amounts = std::mem::take(&mut self.amounts);
        for of in &mut amounts {
            of.amount = -of.amount;
        }
        self.tell(amounts);
    }
}

/// The keys of a call are on one node of a cluster, as a script needs: they share what is in braces. A caller's name may be long and is nobody's
/// business there.
fn amounts(of: Of, (id, limits): (&Id, &Limits), caller: &str, tokens: u64) -> Vec<Amount> {
    let kind = match of {
        Of::Pool => "pool",
        Of::Provider => "provider",
    };
    let caller = || hex::encode(Sha256::digest(caller));
    let mut amounts = Vec::new();
    for (whose, limits) in [(Whose::Pool, &limits.all), (Whose::Caller, &limits.each)] {
        for (bound, limit, amount) in [
            (Bound::Requests, limits.requests, 1),
            (Bound::Tokens, limits.tokens, tokens),
        ] {
            let Some(limit) = limit else { continue };
            let of = match whose {
                Whose::Pool => String::new(),
                Whose::Caller => caller(),
            };
            let (namespace, name) = id;
            let (field, bound_name) = (whose.as_str(), bound.as_str());
            amounts.push(Amount {
                key: format!("oarmaster:{{{kind}/{namespace}/{name}}}:{field}:{bound_name}:{of}"),
                whose,
                bound,
                limit,
                amount: i64::try_from(amount.min(limit)).unwrap_or(i64::MAX), // as in the process
            });
        }
    }
    amounts
}

pub(super) fn correction(amounts: &[Amount]) -> Pipeline {
    script(CORRECT, amounts)
}

fn script(text: &str, amounts: &[Amount]) -> Pipeline {
    let mut commands = redis::pipe();
    let mut eval = commands.cmd("EVAL").arg(text).arg(amounts.len());
    for amount in amounts {
        eval = eval.arg(&amount.key);
    }
    for amount in amounts {
        eval = eval.arg(amount.limit).arg(amount.amount);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::limits;

    #[test]
    fn the_buckets_of_a_call_are_on_one_node_and_name_no_caller() {
        let all = limits::Limits {
            requests: Some(60),
            ..limits::Limits::default()
        };
        let each = limits::Limits {
            tokens: Some(1000),
            concurrency: Some(1),
            ..limits::Limits::default()
        };
        let pool = ("team".to_owned(), "fast".to_owned());
        let limits = Limits { all, each };
        let amounts = amounts(Of::Pool, (&pool, &limits), "user:{x}y", 7);
        let found: Vec<_> = amounts
            .iter()
            .map(|of| (of.whose, of.bound, of.limit, of.amount))
            .collect();
        assert_eq!(
            found,
            [
                (Whose::Pool, Bound::Requests, 60, 1),
                (Whose::Caller, Bound::Tokens, 1000, 7)
            ]
        );
        for of in amounts {
            assert!(
                of.key.starts_with("oarmaster:{pool/team/fast}:"),
                "{}",
                of.key
            );
            assert!(!of.key.contains("user"), "{}", of.key);
        }
    }
}
