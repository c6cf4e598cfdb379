//! What the writer thread tells the rest of the process.

use crate::changes::CHANGES;
use crate::entry::Entry;
use crate::log::{self, Repair, Sink};
use crate::seal::{Reading, Sealer};
use crate::state::State;
use crate::store::{Core, apply_frame, lock};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Body, Record};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{broadcast, watch};

/// What goes with a frame.
#[derive(Debug)]
pub struct Note {
    /// The Task and the number of its next record; `None` for a frame that is about no Task.
    task: Option<(String, u64)>,
    /// The Task, where the operator wants to look at it again.
    changed: Option<TaskRef>,
    /// The tree that a message was sent in, and its number.
    sent: Option<(String, u64)>,
}

/// Followers of journals, readers of changes, and the state of the log.
#[derive(Debug)]
pub struct Hub {
    dir: PathBuf,
    sealer: Arc<Sealer>,
    core: Arc<Mutex<Core>>,
    files: Arc<RwLock<()>>,
    followers: Mutex<HashMap<String, watch::Sender<u64>>>,
    /// Who waits for messages, by tree.
    listeners: Mutex<HashMap<String, watch::Sender<u64>>>,
    changes: broadcast::Sender<TaskRef>,
    unwritable: watch::Sender<Option<String>>,
}

impl Note {
    /// The note of a frame with these entries of one Task, before they are applied.
    pub fn of(state: &State, uid: &str, entries: &[Entry]) -> Self {
        if uid.is_empty() {
            return Self {
                task: None,
                changed: None,
                sent: None,
            };
        }
        let known = state.tasks.get(uid);
        let records = entries.iter().filter(|entry| entry.record().is_some());
        let next = known.map_or(0, |task| task.next()) + records.count() as u64;
        let task = known.map(|task| &task.task).or_else(|| {
            entries.iter().find_map(|entry| match entry {
                Entry::Attempt { task, .. } => Some(task),
                _ => None,
            })
        });
        let interesting = entries.iter().filter_map(Entry::record).any(|record| {
            !matches!(
                record.body,
                Body::Open { .. }
                    | Body::Tools { .. }
                    | Body::ToolResult { .. }
                    | Body::Sent { .. }
                    | Body::Observation { .. }
                    | Body::Note { .. }
                    | Body::Check { .. }
                    | Body::Judged { .. }
            )
        });
        Self {
            task: Some((uid.to_owned(), next)),
            changed: task.filter(|_| interesting).cloned(),
            sent: entries.iter().filter_map(Entry::record).find_map(sent),
        }
    }
}

impl Hub {
    pub fn new(
        dir: PathBuf,
        sealer: Arc<Sealer>,
        core: Arc<Mutex<Core>>,
        files: Arc<RwLock<()>>,
    ) -> Self {
        Self {
            dir,
            sealer,
            core,
            files,
            followers: Mutex::default(),
            listeners: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            unwritable: watch::Sender::new(None),
        }
    }

    pub fn unwritable(&self) -> watch::Receiver<Option<String>> {
        self.unwritable.subscribe()
    }

    pub fn changes(&self) -> broadcast::Receiver<TaskRef> {
        self.changes.subscribe()
    }

    /// Tells every reader of changes.
    pub fn announce(&self, task: TaskRef) {
        let _ = self.changes.send(task); // an error says that nobody reads changes now
    }

    /// Follows a journal. `durable` says how far it is durable now; it is asked under the lock that the writer's news take, so that none
    /// is missed.
    pub fn follow<E>(
        &self,
        uid: &str,
        durable: impl FnOnce(&State) -> Result<u64, E>,
    ) -> Result<watch::Receiver<u64>, E> {
        let followers = self.followers.lock();
        let mut followers = followers.unwrap_or_else(PoisonError::into_inner);
        let next = durable(&lock(&self.core).state)?;
        let follower = followers
            .entry(uid.to_owned())
            .or_insert_with(|| watch::Sender::new(next));
        Ok(follower.subscribe())
    }

    /// Follows the messages of a tree.
    pub fn listen(&self, tree: String) -> watch::Receiver<u64> {
        let mut listeners = self.listeners();
        // A tree in which nobody sends any more says nothing that would end its place here.
        listeners.retain(|_, listener| listener.receiver_count() > 0);
        let listener = listeners
            .entry(tree)
            .or_insert_with(|| watch::Sender::new(0));
        listener.subscribe()
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        let listeners = self.listeners.lock();
        listeners.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells who follows this that it has come to a number.
fn tell(followers: &mut HashMap<String, watch::Sender<u64>>, of: &str, number: u64) {
    let Some(follower) = followers.get(of) else {
        return;
    };
    if follower.receiver_count() == 0 {
        followers.remove(of);
        return;
    }
    follower.send_if_modified(|known| {
        let more = number > *known;
        *known = number.max(*known);
        more
    });
}

fn sent(record: &Record) -> Option<(String, u64)> {
    match &record.body {
        Body::Sent { tree, number, .. } => Some((tree.clone(), *number)),
        _ => None,
    }
}

impl Sink for Arc<Hub> {
    type Note = Note;

    fn durable(&self, notes: Vec<Note>) {
        let followers = self.followers.lock();
        let mut followers = followers.unwrap_or_else(PoisonError::into_inner);
        for Note {
            task,
            changed,
            sent,
        } in notes
        {
            if let Some((uid, next)) = task {
                tell(&mut followers, &uid, next);
            }
            if let Some((tree, number)) = sent {
                tell(&mut self.listeners(), &tree, number);
            }
            if let Some(task) = changed {
                self.announce(task);
            }
        }
    }

    /// Puts the state back to what is durable, so that readers see that and nothing else.
    fn failed(&self, durable: u64, reason: &str) {
        let files = self.files.read();
        let _files = files.unwrap_or_else(PoisonError::into_inner);
        let mut core = lock(&self.core);
        let mut state = State::default();
        let repair = Repair::ReadOnly { before: durable };
        let mut reading = Reading::new(&self.sealer);
        let read = log::replay(&self.dir, repair, &mut |frame, place, payload| {
            apply_frame(&mut state, frame, place, payload, &mut reading)
        });
        match read.and_then(|_| reading.end()) {
            Ok(()) => core.state = state,
            Err(error) => {
                tracing::error!(%error, "cannot read the log back");
                core.unreadable = Some(error.to_string());
            }
        }
        drop(core);
        self.unwritable.send_replace(Some(reason.to_owned()));
    }
}
