//! The open attempts that shared pilots run, so that nobody looks through all Tasks for them.

use super::Task;
use oarmaster_protocol::admin::RunsIn;
use oarmaster_protocol::journal::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// By namespace, the oldest first: when it was opened, the Task's UID, the attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shared(BTreeMap<String, BTreeSet<(i64, String, u32)>>);

impl Shared {
    /// What a record of this Task, which it has already, changes.
    pub fn follow(&mut self, task: &Task, record: Option<&Record>) {
        let Some(record) = record else { return };
        if let Body::Opened { .. } | Body::Fenced { .. } | Body::Result { .. } = record.body {
            self.settle(task, record.attempt);
        }
    }

    /// The Task is no longer kept.
    pub fn leave(&mut self, task: &Task) {
        for attempt in task.attempts.keys() {
            self.remove(task, *attempt);
        }
    }

    fn settle(&mut self, task: &Task, attempt: u32) {
        let Some(found) = task.attempts.get(&attempt) else {
            return;
        };
        if found.runs_in != RunsIn::Shared {
            return;
        }
        if !found.is_open() {
            self.remove(task, attempt);
            return;
        }
        let key = (found.opened_ms, task.task.uid.clone(), attempt);
        let namespace = task.task.namespace.clone();
        self.0.entry(namespace).or_default().insert(key);
    }

    fn remove(&mut self, task: &Task, attempt: u32) {
        let namespace = &task.task.namespace;
        let (Some(found), Some(open)) = (
            task.attempts.get(&attempt),
            self.0.get_mut(namespace.as_str()),
        ) else {
            return;
        };
        open.remove(&(found.opened_ms, task.task.uid.clone(), attempt));
        if open.is_empty() {
            self.0.remove(namespace.as_str());
        }
    }

    /// All of them, by UID of the Task and number: the namespaces behind this one come first, and in each the oldest.
    pub fn after(&self, namespace: &str) -> impl Iterator<Item = (&str, u32)> {
        let behind = (Bound::Excluded(namespace), Bound::Unbounded);
        let before = (Bound::Unbounded, Bound::Included(namespace));
        self.0
            .range::<str, _>(behind)
            .chain(self.0.range::<str, _>(before))
            .flat_map(|(_, open)| open)
            .map(|(_, uid, attempt)| (uid.as_str(), *attempt))
    }
}
