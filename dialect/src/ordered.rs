//! Parts of a streamed answer in their order: of several that are open at once the first is passed on, the others are held back.

use crate::event::{Delta, Event};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// More was sent for a part that had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

/// Parts that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    open: VecDeque<Slot>,
    /// How many have ended and left.
    gone: usize,
    /// How many parts of the answer have begun.
    parts: usize,
}

#[derive(Debug, Default)]
struct Slot {
    part: Option<usize>,
    held: Vec<Delta>,
    ended: bool,
}

impl Ordered {
    /// Begins a part after all others. It has no number in the answer until something is in it.
    pub(crate) fn open(&mut self) -> usize {
        self.open.push_back(Slot::default());
        self.gone + self.open.len() - 1
    }

    /// Adds to a part.
    pub(crate) fn push(
        &mut self,
        part: usize,
        delta: Delta,
        out: &mut Vec<Event>,
    ) -> Result<(), Late> {
        let at = part.checked_sub(self.gone).ok_or(Late)?;
        let slot = self.open.get_mut(at).ok_or(Late)?;
        if slot.ended {
            return Err(Late);
        }
        if at == 0 {
            let part = number(slot, &mut self.parts);
            out.push(Event::Delta { part, delta });
        } else {
            hold(&mut slot.held, delta);
        }
        Ok(())
    }

    /// Ends a part.
    pub(crate) fn end(&mut self, part: usize, out: &mut Vec<Event>) {
        let at = part.checked_sub(self.gone);
        if let Some(slot) = at.and_then(|at| self.open.get_mut(at)) {
            slot.ended = true;
        }
        while self.open.front().is_some_and(|slot| slot.ended) {
            self.open.pop_front();
            self.gone += 1;
            if let Some(slot) = self.open.front_mut() {
                for delta in std::mem::take(&mut slot.held) {
                    let part = number(slot, &mut self.parts);
                    out.push(Event::Delta { part, delta });
                }
            }
        }
    }

    /// Ends all parts.
    pub(crate) fn end_all(&mut self, out: &mut Vec<Event>) {
        while !self.open.is_empty() {
            self.end(self.gone, out);
        }
    }
}

fn number(slot: &mut Slot, parts: &mut usize) -> usize {
    *slot.part.get_or_insert_with(|| {
        *parts += 1;
        *parts - 1
    })
}

/// Holds a delta back, together with the one before it where both are text: many small pieces would take much more memory than they came in.
fn hold(held: &mut Vec<Delta>, delta: Delta) {
    match (held.last_mut(), &delta) {
        (Some(Delta::Text(before)), Delta::Text(more))
        | (Some(Delta::Refusal(before)), Delta::Refusal(more))
        | (Some(Delta::Reasoning(before)), Delta::Reasoning(more))
        | (Some(Delta::Arguments(before)), Delta::Arguments(more)) => before.push_str(more),
        _ => held.push(delta),
    }
}

/// Parts by the provider's own numbers. A number that ended may come again, for another part.
#[derive(Debug)]
pub(crate) struct Keyed<K> {
    parts: Ordered,
    open: HashMap<K, (usize, Kind)>,
}

/// What a part is, which its first delta says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
    Redacted,
    Call,
}

impl Kind {
    const fn of(delta: &Delta) -> Self {
        match delta {
            Delta::Text(_) => Self::Text,
            Delta::Refusal(_) => Self::Refusal,
            Delta::Reasoning(_) | Delta::Signature(_) => Self::Reasoning,
            Delta::Redacted(_) => Self::Redacted,
            Delta::ToolCall { .. } | Delta::Arguments(_) => Self::Call,
        }
    }
}

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self {
            parts: Ordered::default(),
            open: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Keyed<K> {
    /// More of the part that the provider calls `key`, which begins if it has not. What turns into something else is two parts; arguments of no call
    /// are left out.
    pub(crate) fn push(&mut self, key: K, delta: Delta, out: &mut Vec<Event>) {
        let kind = Kind::of(&delta);
        let begins = matches!(delta, Delta::ToolCall { .. });
        let part = match self.open.get(&key) {
            Some((part, open)) if *open == kind && !begins => *part,
            _ if matches!(delta, Delta::Arguments(_)) => return,
            _ => {
                self.end(&key, out);
                let part = self.parts.open();
                self.open.insert(key, (part, kind));
                part
            }
        };
        // A part that ended is not among those that are open.
        self.parts.push(part, delta, out).unwrap_or_default();
    }

    /// Whether a part has begun and not ended.
    pub(crate) fn is_open(&self, key: &K) -> bool {
        self.open.contains_key(key)
    }

    /// The part that the provider calls `key` has ended.
    pub(crate) fn end(&mut self, key: &K, out: &mut Vec<Event>) {
        if let Some((part, _)) = self.open.remove(key) {
            self.parts.end(part, out);
        }
    }

    /// All parts have ended.
    pub(crate) fn end_all(&mut self, out: &mut Vec<Event>) {
        self.open.clear();
        self.parts.end_all(out);
    }
}

#[cfg(test)]
mod tests;
