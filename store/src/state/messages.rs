//! What the Tasks of a tree send one another: in which order, who may read what, and how much there may be.
//!
//! A message is a record of its sender's journal; here is only where it stands. Who has read it is not known here: a reader says which one
//! it was shown last, and that stands in its own journal.

use super::attempts::Records;
use super::journal::journal_full;
use super::{At, By, State, Task};
use crate::Refusal;
use crate::entry::Entry;
use oarmaster_protocol::digest;
use oarmaster_protocol::journal::{Body, Record};
use oarmaster_protocol::message::{
    Awaited, ITEM_LABEL, MAX_MESSAGE_CHARS, MAX_TASK_BYTES, MAX_TASK_MESSAGES, MAX_TREE_BYTES,
    MAX_TREE_MESSAGES, Message, STEP_LABEL, is_name, is_topic,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most names that a sender is told of.
const MAX_NAMES: usize = 16;
/// Digits of a message's digest: it is compared within one call of one Task.
const DIGITS: usize = 16;

/// The messages of all trees, by the UID of the Task at the root, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trees(BTreeMap<String, Vec<SentAt>>);

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct SentAt {
    /// Which of the tree's messages it is, from 1.
    pub number: u64,
    /// UID of its sender.
    pub task: String,
    /// Its record in the sender's journal.
    pub seq: u64,
    /// The sender's tool call, and what it sent by it.
    call: u32,
    digest: String,
    to: Option<String>,
    topic: Option<String>,
    bytes: u64,
}

/// What became of a message that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentAs {
    /// Which of the tree's messages it is.
    pub number: u64,
    /// Where it names somebody whom the tree does not have so far: whom it has, at most 16.
    pub unknown: Option<Vec<String>>,
}

/// A message that a Task has not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub number: u64,
    /// Name of the sender's Task.
    pub task: String,
    /// The sender's step, where it is one of the reader's workflow, and its item.
    pub step: Option<String>,
    pub item: Option<String>,
    /// Where its record stands.
    pub at: At,
}

impl Trees {
    fn of(&self, root: &str) -> &[SentAt] {
        self.0.get(root).map_or(&[], Vec::as_slice)
    }

    /// A Task's messages are no longer kept.
    pub(super) fn leave(&mut self, task: &Task) {
        let Some(tree) = &task.tree else { return };
        if let Some(sent) = self.0.get_mut(tree) {
            sent.retain(|one| one.task != task.task.uid);
            if sent.is_empty() {
                self.0.remove(tree);
            }
        }
    }
}

impl State {
    /// UID of the Task at the root of a Task's tree: what the operator said when the attempts were opened.
    pub fn root(&self, uid: &str) -> String {
        let Some(task) = self.tasks.get(uid) else {
            return uid.to_owned();
        };
        let top = self.above(task).last().unwrap_or(task);
        top.parent.as_ref().unwrap_or(&top.task.uid).clone()
    }

    /// Sends a message. The same one of the same call is sent once, by whichever attempt.
    pub fn decide_send(
        &self,
        by: By<'_>,
        call: u32,
        message: &Message,
        quota: u64,
        now: i64,
    ) -> Result<(Vec<Entry>, SentAs), Refusal> {
        let task = self.session(by)?;
        check(message)?;
        let tree = self.root(by.task);
        let there = self.trees.of(&tree);
        let unknown = match &message.to {
            Some(to) => self.unless_known(task, &tree, to),
            None => None,
        };
        let content = content(message);
        let same = |one: &&SentAt| one.task == by.task && one.call == call && one.digest == content;
        if let Some(SentAt { number, .. }) = there.iter().find(same) {
            let number = *number;
            return Ok((Vec::new(), SentAs { number, unknown }));
        }
        let number = there.last().map_or(1, |last| last.number + 1);
        let body = Body::Sent {
            number,
            call,
            tree,
            message: message.clone(),
        };
        let entry = Entry::Record {
            task: by.task.to_owned(),
            record: Records::new(Some(task), now).next(by.attempt, body),
        };
        let bytes = serde_json::to_vec(&entry).map_or(u64::MAX, |line| line.len() as u64);
        let own = there.iter().filter(|one| one.task == by.task);
        for (whose, there, most, most_bytes) in [
            (
                "this Task has sent",
                size(own),
                MAX_TASK_MESSAGES,
                MAX_TASK_BYTES,
            ),
            (
                "the Tasks of this run have sent",
                size(there.iter()),
                MAX_TREE_MESSAGES,
                MAX_TREE_BYTES,
            ),
        ] {
            let (count, sum) = there;
            if count >= most || sum.saturating_add(bytes) > most_bytes {
                return Err(Refusal::TooLarge(format!(
                    "{whose} {count} messages of {sum} bytes, and may send {most} messages of {most_bytes} bytes in all"
                )));
            }
        }
        if task.journal_bytes.saturating_add(bytes) > quota {
            return Err(journal_full(quota));
        }
        Ok((vec![entry], SentAs { number, unknown }))
    }

    /// The messages for a Task behind the one with this number, in order, and whether what it waits for is among them.
    pub fn unread(
        &self,
        by: By<'_>,
        after: u64,
        awaited: &Awaited,
    ) -> Result<(Vec<Unread>, bool), Refusal> {
        let reader = self.session(by)?;
        let there = self.trees.of(&self.root(by.task));
        let new = there.partition_point(|one| one.number <= after);
        let mut unread = Vec::new();
        let mut is_there = false;
        for sent in there.iter().skip(new) {
            let Some(sender) = self.tasks.get(&sent.task) else {
                continue;
            };
            let Some(at) = sender.record_at(sent.seq) else {
                continue;
            };
            let for_reader = |to: &String| reader.is_called(to, sender);
            if sent.task == by.task || !sent.to.as_ref().is_none_or(for_reader) {
                continue;
            }
            let from = |from: &String| sender.is_called(from, reader);
            let about = |topic: &String| sent.topic.as_ref() == Some(topic);
            is_there |=
                awaited.from.as_ref().is_none_or(from) && awaited.topic.as_ref().is_none_or(about);
            let beside = sender.is_beside(reader);
            let label = |label: &str| sender.label(label).filter(|_| beside).map(str::to_owned);
            unread.push(Unread {
                number: sent.number,
                task: sender.task.name.clone(),
                step: label(STEP_LABEL),
                item: label(ITEM_LABEL),
                at,
            });
        }
        Ok((unread, is_there))
    }

    /// Whom the tree has, if nobody is called so by this Task.
    fn unless_known(&self, task: &Task, tree: &str, name: &str) -> Option<Vec<String>> {
        let mut names = BTreeSet::new();
        for other in self.tasks.values() {
            let near = other.is_beside(task);
            let meant = near || other.task.name == name;
            if !meant || other.task.uid == task.task.uid || self.root(&other.task.uid) != tree {
                continue;
            }
            if other.is_called(name, task) {
                return None;
            }
            let step = other.label(STEP_LABEL).unwrap_or(&other.task.name);
            names.insert(step.to_owned());
        }
        Some(names.into_iter().take(MAX_NAMES).collect())
    }

    /// Senders and numbers of a tree's messages.
    #[cfg(test)]
    pub fn sent(&self, root: &str) -> Vec<(String, u64)> {
        let sent = self.trees.of(root).iter();
        sent.map(|one| (one.task.clone(), one.number)).collect()
    }

    pub(super) fn apply_sent(&mut self, task: &str, record: &Record, at: At) {
        let Body::Sent {
            number,
            call,
            tree,
            message,
        } = &record.body
        else {
            return;
        };
        if let Some(sender) = self.tasks.get_mut(task) {
            sender.tree = Some(tree.clone());
        }
        let sent = self.trees.0.entry(tree.clone()).or_default();
        sent.push(SentAt {
            number: *number,
            task: task.to_owned(),
            seq: record.seq,
            call: *call,
            digest: content(message),
            to: message.to.clone(),
            topic: message.topic.clone(),
            bytes: u64::from(at.bytes),
        });
    }
}

impl Task {
    /// Whether a Task means this one by a name: the name of the Task, or of its step where both are steps of one run.
    fn is_called(&self, name: &str, by: &Self) -> bool {
        self.task.name == name || (self.is_beside(by) && self.label(STEP_LABEL) == Some(name))
    }

    /// Whether both are what one Task asked for.
    fn is_beside(&self, other: &Self) -> bool {
        self.parent.is_some() && self.parent == other.parent
    }

    /// Of its newest attempt. The operator alone makes a Task that has a parent, and its labels.
    fn label(&self, label: &str) -> Option<&str> {
        let (_, attempt) = self.attempts.last_key_value()?;
        attempt.labels.get(label).map(String::as_str)
    }
}

fn size<'a>(sent: impl Iterator<Item = &'a SentAt>) -> (usize, u64) {
    sent.fold((0, 0), |(count, sum): (usize, u64), one| {
        (count + 1, sum.saturating_add(one.bytes))
    })
}

fn content(message: &Message) -> String {
    let text = serde_json::to_vec(message).unwrap_or_default();
    let digest = digest(&text);
    let (_, digits) = digest.split_once(':').unwrap_or_default();
    digits.get(..DIGITS).unwrap_or_default().to_owned()
}

fn check(message: &Message) -> Result<(), Refusal> {
    let Message { to, topic, text } = message;
    let chars = text.chars().count();
    let wrong = if text.trim().is_empty() || chars > MAX_MESSAGE_CHARS {
        format!("a message has 1 to {MAX_MESSAGE_CHARS} characters, this one has {chars}")
    } else if to.as_ref().is_some_and(|to| !is_name(to)) {
        "`to` must be the name of a step or of a Task".to_owned()
    } else if topic.as_ref().is_some_and(|topic| !is_topic(topic)) {
        "a topic is a letter, then at most 62 letters, digits, hyphens and underscores".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(wrong))
}
