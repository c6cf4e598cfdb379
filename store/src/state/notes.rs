//! Which notes there are, and where they stand.

use super::{At, State};
use crate::notes::{MAX_NOTES, MAX_OWNER_BYTES, Note, NoteOwner, NoteQuery};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Where a note stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteAt {
    pub at: At,
}

/// The notes of all owners.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// By owner and id.
    owners: BTreeMap<NoteOwner, BTreeMap<String, NoteAt>>,
    /// Those that are no longer kept and stand in a segment still.
    dead: BTreeSet<(u32, String)>,
}

impl Notes {
    /// Whether an owner has a note.
    pub fn has(&self, owner: &NoteOwner, id: &str) -> bool {
        self.owners
            .get(owner)
            .is_some_and(|notes| notes.contains_key(id))
    }

    /// Whether an owner has a note, in this frame.
    pub fn is_at(&self, owner: &NoteOwner, id: &str, frame: u64) -> bool {
        let notes = self.owners.get(owner);
        let note = notes.and_then(|notes| notes.get(id));
        note.is_some_and(|note| note.at.frame == frame)
    }

    /// The notes that are meant, by owner.
    pub fn of(&self, query: &NoteQuery) -> impl Iterator<Item = (&NoteOwner, &str, NoteAt)> {
        let begin = NoteOwner {
            namespace: query.namespace.clone(),
            ..NoteOwner::default()
        };
        self.owners
            .range((Bound::Included(begin), Bound::Unbounded))
            .take_while(|(owner, _)| owner.namespace == query.namespace)
            .filter(|(owner, _)| query.is_of(owner))
            .flat_map(|(owner, notes)| notes.iter().map(move |(id, at)| (owner, id.as_str(), *at)))
            .filter(|(_, id, _)| query.id.as_ref().is_none_or(|wanted| wanted == id))
    }

    /// The ids of all notes for a person, by owner.
    pub fn for_person(&self, requester: &str) -> Vec<(NoteOwner, Vec<String>)> {
        let mine = self.owners.iter();
        let mine = mine.filter(|(owner, _)| owner.requester == requester);
        mine.map(|(owner, notes)| (owner.clone(), notes.keys().cloned().collect()))
            .collect()
    }

    /// The oldest notes of an owner that leave room for another one of so many bytes.
    pub fn in_the_way(&self, owner: &NoteOwner, bytes: u64) -> Vec<String> {
        let mut notes: Vec<_> = self.owners.get(owner).into_iter().flatten().collect();
        notes.sort_by_key(|(_, note)| note.at.frame);
        let mut sum = notes.iter().map(|(_, note)| note.bytes()).sum::<u64>();
        let mut count = notes.len();
        let oldest = notes.into_iter().take_while(|(_, note)| {
            let full = count >= MAX_NOTES || sum.saturating_add(bytes) > MAX_OWNER_BYTES;
            count = count.saturating_sub(1);
            sum = sum.saturating_sub(note.bytes());
            full
        });
        oldest.map(|(id, _)| id.clone()).collect()
    }

    /// Bytes of the notes of an owner's namespace without these of the owner.
    pub fn room(&self, owner: &NoteOwner, without: &[String]) -> u64 {
        let query = NoteQuery {
            namespace: owner.namespace.clone(),
            ..NoteQuery::default()
        };
        let all = self.of(&query);
        let left = all.filter(|(of, id, _)| *of != owner || !without.iter().any(|gone| gone == id));
        left.map(|(_, _, note)| note.bytes()).sum()
    }

    /// The segments with notes that are no longer kept.
    pub fn stale(&self) -> impl Iterator<Item = u32> {
        self.dead.iter().map(|(segment, _)| *segment)
    }

    /// Whether one of these stands in a segment, though it is no longer kept.
    pub fn stands(&self, ids: &[String]) -> bool {
        self.dead.iter().any(|(_, dead)| ids.contains(dead))
    }

    /// Those that are no longer kept and stand in a segment still.
    pub fn dead(&self) -> BTreeSet<(u32, String)> {
        self.dead.clone()
    }

    /// These are gone: every segment before this one was written anew without them.
    pub fn left(&mut self, full: u32, these: &BTreeSet<(u32, String)>) {
        self.dead
            .retain(|dead| dead.0 >= full || !these.contains(dead));
    }
}

impl NoteAt {
    fn bytes(&self) -> u64 {
        u64::from(self.at.bytes)
    }
}

impl State {
    pub(super) fn apply_note(&mut self, note: &Note, at: At) {
        let notes = self.notes.owners.entry(note.owner.clone()).or_default();
        let before = notes.insert(note.id.clone(), NoteAt { at });
        self.task_bytes = self.task_bytes.saturating_add(u64::from(at.bytes));
        if let Some(before) = before {
            self.let_go(&note.id, before);
        }
    }

    /// A note may be unknown: it has left already.
    pub(super) fn apply_forgotten(&mut self, owner: &NoteOwner, ids: &[String]) {
        let Some(notes) = self.notes.owners.get_mut(owner) else {
            return;
        };
        let mut gone = Vec::new();
        for id in ids {
            gone.extend(notes.remove(id).map(|note| (id, note)));
        }
        if notes.is_empty() {
            self.notes.owners.remove(owner);
        }
        for (id, note) in gone {
            self.let_go(id, note);
        }
    }

    fn let_go(&mut self, id: &str, note: NoteAt) {
        self.task_bytes = self.task_bytes.saturating_sub(note.bytes());
        let at = (note.at.place.segment, id.to_owned());
        self.notes.dead.insert(at);
    }
}
