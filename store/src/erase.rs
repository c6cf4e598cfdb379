//! Erasing: what was kept of one person's Tasks, and remembered for that person, goes before its time.
//!
//! It is a retention of those Tasks that is due now. Sums of money, digests and the audit stay, as they do then.

use crate::entry::{Audited, Entry};
use crate::log::Urgency;
use crate::state::State;
use crate::{Refusal, Store};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::read::AuditAct;
use std::collections::HashSet;

/// What of a person was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Tasks whose journals and artifacts go.
    pub tasks: u64,
    /// Notes of agents.
    pub notes: u64,
    /// Tasks that are not over, or stand below one that is not: nothing of them goes.
    pub stay: Vec<TaskRef>,
}

impl Store {
    /// The Tasks that a person asked for, by the Kubernetes user name.
    #[must_use]
    pub fn asked_for_by(&self, requester: &str) -> Vec<TaskRef> {
        let core = self.lock();
        let mine = core.state.asked_for_by(requester);
        mine.map(|task| task.task.clone()).collect()
    }

    /// Lets go of a person's Tasks that are `over`, by UID, and of the notes. Their keys are gone when it returns; their lines and files go with the next
    /// [`Store::sweep`]. With `try_only` nothing changes.
    ///
    /// # Errors
    /// [`Refusal::Unwritable`], or [`Refusal::Internal`] where the keys cannot be written: call it again.
    pub async fn erase(
        &self,
        requester: &str,
        over: &HashSet<String>,
        try_only: bool,
    ) -> Result<Erased, Refusal> {
        let at_ms = self.now();
        let decide = |state: &State| {
            let (entries, erased) = state.decide_erase(requester, over, at_ms);
            Ok(match try_only {
                true => (Vec::new(), erased),
                false => (entries, erased),
            })
        };
        let erased = self.change(decide, |_, erased| erased).await?;
        if try_only {
            return Ok(erased);
        }
        self.blocking(|store| store.drop_keys()).await?;
        self.end_segment();
        let audited = Audited {
            act: AuditAct::Erase,
            allowed: true,
            who: String::new(),
            namespace: String::new(),
            task: String::new(),
            object: requester.to_owned(),
            reason: String::new(),
            count: erased.tasks.saturating_add(erased.notes),
        };
        // In the next segment: the one before has ended now, and can be written anew.
        let entry = Entry::Audit { at_ms, audited };
        self.commit(Urgency::Now, |_| Ok((vec![entry], ())), |_, ()| ())?;
        self.flush().await?;
        Ok(erased)
    }
}
