//! Checkpoints of the workspace: when one is taken, and what is needed to have it again.

use super::super::tools::Tool;
use super::{Machine, Next, Phase};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::Target;
use oarmaster_protocol::exec::Response;
use oarmaster_protocol::journal::{Blob, Checkpoint};
use oarmaster_protocol::task::MAX_BLOB_BYTES;

/// Layers over a base that are enough: each is a request when they are wanted again.
const MAX_LAYERS: usize = 64;
/// Bytes of layers that are not worth to be sent anew.
const SMALL: u64 = 16 << 20;

/// That a checkpoint is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Save {
    /// It is to be everything.
    pub base: bool,
}

/// How taking a checkpoint ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Nothing has changed.
    Same,
    /// It is in the store.
    Taken {
        /// Whether it is everything.
        base: bool,
        /// Its parts.
        blobs: Vec<Blob>,
        /// What was left out of it.
        skipped: Vec<String>,
    },
    /// It could not be taken or stored.
    Failed(String),
}

/// The layers that are the workspace at the last checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layers {
    base: Vec<Blob>,
    over: Vec<Vec<Blob>>,
    /// They are what this Task begins with: its files come on top.
    inherited: bool,
    /// They are lent: what this Task keeps cannot stand on them.
    lent: bool,
    /// What changed after the last layer was not kept.
    behind: bool,
    /// The workspace may have changed after the last layer: a call that changed it was cut off.
    stale: bool,
    /// Whether that was told.
    told: bool,
    /// Of the call that is about to end.
    taken: Option<Checkpoint>,
}

impl Layers {
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// The same, for a Task that continues the one whose they are.
    pub(super) fn inherited(self) -> Self {
        Self {
            inherited: true,
            lent: true,
            behind: false,
            stale: false,
            told: false,
            taken: None,
            ..self
        }
    }

    /// Those of a workspace that was handed to this Task.
    pub(super) fn handed(blobs: &[Blob]) -> Self {
        Self {
            lent: true,
            ..Self::taken_over(blobs)
        }
    }

    /// Those of a workspace that another Task kept. This one has them, too, from when it asked for them.
    pub(super) fn taken_over(blobs: &[Blob]) -> Self {
        let (base, over) = split(blobs);
        Self {
            base,
            over,
            inherited: true,
            ..Self::default()
        }
    }

    /// Whether they are the workspace as it is, and this Task's.
    pub(super) const fn are_whole(&self) -> bool {
        !self.base.is_empty() && !self.inherited && !self.behind && !self.stale
    }

    /// Whether something may have changed since the last of them.
    pub(super) const fn lack_something(&self) -> bool {
        self.behind || self.stale
    }

    /// What a Task that was handed them leaves: nothing where it changed nothing.
    pub(super) fn left(&self) -> Option<Checkpoint> {
        (!self.inherited || self.lack_something()).then(|| self.whole())
    }

    /// All that is needed to have the workspace as it is.
    pub(super) fn whole(&self) -> Checkpoint {
        if self.lack_something() || self.is_empty() {
            return Checkpoint::Failed {
                why: "its last checkpoint could not be taken or stored".to_owned(),
            };
        }
        Checkpoint::Layer {
            base: true,
            blobs: self.all(),
        }
    }

    pub(super) const fn are_inherited(&self) -> bool {
        self.inherited
    }

    pub(super) const fn is_behind(&self) -> bool {
        self.behind
    }

    /// All parts, in order.
    pub(super) fn all(&self) -> Vec<Blob> {
        self.base
            .iter()
            .chain(self.over.iter().flatten())
            .cloned()
            .collect()
    }

    /// A call was cut off that may have changed the workspace.
    pub(super) const fn cut_off(&mut self) {
        self.stale = true;
    }

    /// Adds what a record says.
    pub(super) fn add(&mut self, checkpoint: &Checkpoint) {
        self.stale = false;
        match checkpoint {
            Checkpoint::Layer { base: true, blobs } => {
                (self.base, self.over) = split(blobs);
                self.inherited = false;
                self.lent = false;
                self.behind = false;
            }
            Checkpoint::Layer { base: false, blobs } => {
                self.over.push(blobs.clone());
                self.inherited = false;
                self.behind = false;
            }
            Checkpoint::Failed { .. } => self.behind = true,
        }
    }

    /// The checkpoint for the record of the call that ends.
    pub(super) fn taken(&mut self) -> Option<Checkpoint> {
        self.taken.take()
    }

    /// Whether the next one is to be everything: the layers are no longer worth to be kept, or one is missing.
    fn wants_base(&self) -> bool {
        let size = |blobs: &[Blob]| blobs.iter().map(|blob| blob.size).sum::<u64>();
        let over: u64 = self.over.iter().map(|blobs| size(blobs)).sum();
        self.behind
            || self.lent
            || self.over.len() >= MAX_LAYERS
            || over > size(&self.base).max(SMALL)
    }
}

/// The layers that parts are of, the base first. Only the last part of a layer is not full; where a layer ends with a full one, it is taken as one with the next.
fn split(blobs: &[Blob]) -> (Vec<Blob>, Vec<Vec<Blob>>) {
    let mut layers = blobs
        .split_inclusive(|blob| blob.size < MAX_BLOB_BYTES)
        .map(<[Blob]>::to_vec);
    (layers.next().unwrap_or_default(), layers.collect())
}

impl Machine {
    /// The checkpoint at the end of a Task that keeps its workspace: where nothing has changed since the last one, nothing is sent.
    pub(super) fn last_save(&self) -> Save {
        let layers = &self.layers;
        Save {
            base: layers.is_empty() || layers.lack_something() || layers.wants_base(),
        }
    }

    /// Whether a checkpoint is to be taken, now that exec has answered so: what it was asked for may have changed the workspace, and another
    /// attempt would go on from there.
    #[must_use]
    pub fn saves(&self, response: &Response) -> Option<Save> {
        if !matches!(self.assignment.target, Target::Agent(_)) {
            return None;
        }
        let may_change = match &self.phase {
            Phase::Calling(call) => Tool::from_name(&call.name).is_some_and(Tool::may_change),
            // After one that accepts nothing is done that another attempt could not do again.
            Phase::Checking(_) => match (response, &self.assignment.accept) {
                (Response::Ran(ran), Some(accept)) => ran.exit_code != Some(accept.exit_code),
                _ => false,
            },
            _ => false,
        };
        may_change.then(|| Save {
            base: self.layers.wants_base(),
        })
    }

    /// Takes over how the checkpoint of the call that has just ended went. It is written down with the call's result.
    pub fn saved(&mut self, saved: Saved) {
        let checkpoint = match saved {
            Saved::Same => return,
            Saved::Taken {
                base,
                blobs,
                skipped,
            } => {
                if base && !skipped.is_empty() {
                    self.note(format!("checkpoint: left out {}", skipped.join(", ")));
                }
                Checkpoint::Layer { base, blobs }
            }
            Saved::Failed(why) => {
                if !self.layers.told {
                    self.layers.told = true;
                    self.note(format!(
                        "the workspace could not be checkpointed, so that another attempt would not have these changes: {why}"
                    ));
                }
                Checkpoint::Failed { why }
            }
        };
        self.layers.add(&checkpoint);
        self.layers.taken = Some(checkpoint);
    }

    pub(super) fn restore(&mut self) -> Next {
        self.phase = Phase::Restoring;
        Next::Restore(self.layers.all())
    }

    pub(super) fn restored(&mut self, restored: Result<(), String>) -> Next {
        match restored {
            // What a replay goes on with had its files from the beginning.
            Ok(()) if self.layers.are_inherited() && self.assignment.replay.is_none() => {
                self.place(0)
            }
            Ok(()) => self.start(),
            Err(why) => self.finish_now(
                FailureClass::StateRegressed,
                &format!("the workspace of the attempt before could not be restored: {why}"),
            ),
        }
    }
}
