//! What the Tasks of a tree send one another.
//!
//! A message is durable before its sender is told so. Whoever reads says which message it was shown last, so that nothing here changes when
//! it reads: an answer that was lost is the same again.

use crate::state::{By, SentAs, Unread};
use crate::{Refusal, Store};
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::message::{Awaited, MAX_READ, Message};
use tokio::sync::watch;

/// What a Task has not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// The first of them, in order, at most [`MAX_READ`].
    pub messages: Vec<Received>,
    /// How many there are behind these.
    pub more: usize,
    /// Whether what was waited for is among all of them.
    pub is_there: bool,
}

/// A message for a Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which of the tree's messages it is, from 1.
    pub number: u64,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Name of the sender's Task.
    pub task: String,
    /// The sender's step, where it is one of the reader's run.
    pub step: Option<String>,
    /// Which item of that step it is, where it is one.
    pub item: Option<String>,
    /// What it says.
    pub message: Message,
}

impl Store {
    /// Sends a message of a Task to others of its tree, by its tool call with this number. Durable when it returns; the same one of the same call is
    /// sent once.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] for a session that may not act, [`Refusal::Invalid`] for a message that is none, [`Refusal::TooLarge`] where Task or
    /// tree has sent enough, [`Refusal::Full`] where the log has no room.
    pub async fn send(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        call: u32,
        message: &Message,
    ) -> Result<SentAs, Refusal> {
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        let (now, quota) = (self.now(), self.options().journal_bytes);
        self.change(
            |state| {
                let (entries, sent) = state.decide_send(by, call, message, quota, now)?;
                if !entries.is_empty() {
                    self.room_for_tasks(state)?;
                }
                Ok((entries, sent))
            },
            |_, sent| sent,
        )
        .await
    }

    /// What a Task has not read: the messages for it behind the one with the number `after`.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] for a session that may not act; [`Refusal::Internal`] where the log cannot be read.
    pub async fn unread(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        after: u64,
        awaited: &Awaited,
    ) -> Result<Inbox, Refusal> {
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        let (unread, more, is_there) = self
            .read(|state| {
                let (mut unread, is_there) = state.unread(by, after, awaited)?;
                let more = unread.len().saturating_sub(MAX_READ);
                unread.truncate(MAX_READ);
                let depends = unread.last().map_or(0, |last| last.at.frame + 1);
                Ok(((unread, more, is_there), depends))
            })
            .await?;
        let places = unread.iter().map(|one| one.at).collect();
        let entries = self.entries(places).await?;
        let mut messages = Vec::with_capacity(unread.len());
        for (unread, entry) in unread.into_iter().zip(entries) {
            let Unread {
                number,
                task,
                step,
                item,
                at: _,
            } = unread;
            let record = entry.into_record();
            let Some((at_ms, Body::Sent { message, .. })) =
                record.map(|record| (record.at_ms, record.body))
            else {
                return Err(Refusal::Internal(
                    "the record of a message holds none".into(),
                ));
            };
            messages.push(Received {
                number,
                at_ms,
                task,
                step,
                item,
                message,
            });
        }
        Ok(Inbox {
            messages,
            more,
            is_there,
        })
    }

    /// Changes whenever a message of this Task's tree has become durable.
    #[must_use]
    pub fn listen(&self, task_uid: &str) -> watch::Receiver<u64> {
        let tree = self.lock().state.root(task_uid);
        self.hub().listen(tree)
    }
}
