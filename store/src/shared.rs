//! The queue of the shared pilots: the open attempts that have no pod of their own.

use crate::Store;
use crate::state::MAX_CLAIMS;
use oarmaster_protocol::assignment::TaskRef;

/// An open attempt that shared pilots run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAttempt {
    /// The Task.
    pub task: TaskRef,
    /// The attempt.
    pub attempt: u32,
    /// Digest of its assignment.
    pub assignment: String,
    /// Nonce of the claim that has it; absent until there was one.
    pub claim: Option<String>,
}

impl Store {
    /// The open attempts of shared pilots for which `wanted` says yes to the Task's UID and the attempt: at most `most`. The namespaces
    /// behind `namespace` come first, and in each the oldest. One that was claimed too often is none of them: it waits for its Task's time.
    ///
    /// An attempt may be told of before it is durable: what is then done with it is durable after it.
    #[must_use]
    pub fn shared_attempts(
        &self,
        namespace: &str,
        most: usize,
        wanted: impl Fn(&str, u32) -> bool,
    ) -> Vec<SharedAttempt> {
        let core = self.lock();
        let state = &core.state;
        let open = state.shared.after(namespace);
        open.filter(|(uid, attempt)| wanted(uid, *attempt))
            .filter_map(|(uid, attempt)| {
                let (task, found) = state.attempt(uid, attempt).ok()?;
                (found.nonces.len() < MAX_CLAIMS).then(|| SharedAttempt {
                    task: task.task.clone(),
                    attempt,
                    assignment: found.digest.clone(),
                    claim: found.nonces.last().cloned(),
                })
            })
            .take(most)
            .collect()
    }

    /// How many open attempts of shared pilots there are for which `wanted` says yes.
    #[must_use]
    pub fn shared_count(&self, wanted: impl Fn(&str, u32) -> bool) -> usize {
        let core = self.lock();
        let open = core.state.shared.after("");
        open.filter(|(uid, attempt)| wanted(uid, *attempt)).count()
    }
}
