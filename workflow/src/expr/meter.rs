//! How much one evaluation may do: counted, not timed, so that it ends the same way on each machine and each time.

use cel::{ExecutionError, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most rounds of comprehensions of one evaluation: well below a second.
const ROUNDS: u64 = 500_000;
/// Most bytes that may stay after rounds (32 MiB).
const BYTES: u64 = 32 << 20;
/// What the error says: told from others by it.
pub(super) const TOO_MUCH: &str = "@too-much";

/// The work of one evaluation.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<Work>);

#[derive(Debug, Default)]
struct Work {
    rounds: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// One more round.
    pub(super) fn round(&self) -> Result<bool, ExecutionError> {
        if self.0.rounds.fetch_add(1, Ordering::Relaxed) >= ROUNDS {
            return Err(too_much());
        }
        Ok(true)
    }

    /// One more round, and the value that it leaves.
    pub(super) fn made(&self, value: Value) -> Result<Value, ExecutionError> {
        self.round()?;
        let own = bytes(&value);
        let before = self.0.bytes.fetch_add(own, Ordering::Relaxed);
        if before.saturating_add(own) > BYTES {
            return Err(too_much());
        }
        Ok(value)
    }
}

fn too_much() -> ExecutionError {
    ExecutionError::function_error(TOO_MUCH, "")
}

/// About how many bytes a value takes.
fn bytes(value: &Value) -> u64 {
    const OWN: u64 = 16;
    let inner = match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.iter().map(bytes).sum(),
        Value::Map(map) => map
            .map
            .values()
            .map(|value| bytes(value).saturating_add(OWN))
            .sum(),
        _ => 0,
    };
    inner.saturating_add(OWN)
}
