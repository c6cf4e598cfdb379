//! Opening, claiming and fencing attempts, and what the gateway reports of them.

use crate::entry::Entry;
use crate::state::{At, By};
use crate::{Refusal, Store};
use bytes::Bytes;
use oarmaster_protocol::admin::{
    AttemptReport, Fence, OpenAttempt, OpenAttemptRef, RunsIn, TaskBudget, TaskUsage,
};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::task::{Claim, ClaimRequest};

/// The newest attempt of a Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestAttempt {
    /// Its number.
    pub attempt: u32,
    /// Where its pilot runs.
    pub runs_in: RunsIn,
}

impl Store {
    /// Opens attempt `attempt` of a Task and fences every lower one.
    ///
    /// The same place to run in and the same assignment again is the same attempt; another one is [`Refusal::Diverged`]. The budget is not part of that
    /// comparison: it is raised where the request's is higher, and never lowered (see [`Store::raise_budget`]).
    pub async fn open_attempt(
        &self,
        task_uid: &str,
        attempt: u32,
        request: OpenAttempt,
    ) -> Result<AttemptReport, Refusal> {
        // Written once, here: these bytes are digested, stored and served.
        let text = match &request.assignment {
            Some(assignment) => Some(serde_json::to_string(assignment).map_err(|error| {
                Refusal::Invalid(format!("the assignment cannot be written as JSON: {error}"))
            })?),
            None => None,
        };
        let now = self.now();
        self.seal_from_now(task_uid).await?;
        self.change(
            |state| {
                let entries = state.decide_open_attempt(task_uid, attempt, &request, text, now)?;
                if !entries.is_empty() {
                    self.room_for_tasks(state)?;
                }
                Ok((entries, ()))
            },
            |state, ()| state.report(task_uid, attempt),
        )
        .await?
    }

    /// A Task has a key before anything is written of it.
    async fn seal_from_now(&self, task_uid: &str) -> Result<(), Refusal> {
        if !self.sealer().is_on() || self.lock().state.tasks.contains_key(task_uid) {
            return Ok(());
        }
        let uid = task_uid.to_owned();
        self.blocking(move |store| store.sealer().give([uid.as_str()]))
            .await
    }

    /// What is known of an attempt.
    pub async fn report(&self, task_uid: &str, attempt: u32) -> Result<AttemptReport, Refusal> {
        self.read(|state| {
            let report = state.report(task_uid, attempt)?;
            Ok((report, state.task(task_uid)?.depends))
        })
        .await
    }

    /// The exact bytes of an attempt's assignment, and their digest.
    pub async fn assignment(
        &self,
        task_uid: &str,
        attempt: u32,
    ) -> Result<(Bytes, String), Refusal> {
        let (at, digest): (At, String) = self
            .read(|state| {
                let (task, found) = state.attempt(task_uid, attempt)?;
                Ok(((found.assignment, found.digest.clone()), task.depends))
            })
            .await?;
        match self.entry(at).await? {
            Entry::Attempt {
                assignment: Some(text),
                ..
            } => Ok((Bytes::from(text), digest)),
            _ => Err(Refusal::Internal(
                "the entry of an assignment holds none".into(),
            )),
        }
    }

    /// Number of the newest attempt of a Task, and where its pilot runs.
    pub async fn newest_attempt(&self, task_uid: &str) -> Result<Option<NewestAttempt>, Refusal> {
        self.read(|state| {
            let Some(task) = state.tasks.get(task_uid) else {
                return Ok((None, 0));
            };
            let newest = task.attempts.last_key_value();
            let newest = newest.map(|(attempt, found)| NewestAttempt {
                attempt: *attempt,
                runs_in: found.runs_in.clone(),
            });
            Ok((newest, task.depends))
        })
        .await
    }

    /// UID of the newest Task of that name.
    pub async fn find_task(&self, namespace: &str, name: &str) -> Result<Option<String>, Refusal> {
        let key = (namespace.to_owned(), name.to_owned());
        self.read(|state| {
            let uid = state.names.get(&key);
            let task = uid.and_then(|uid| state.tasks.get(uid));
            Ok((uid.cloned(), task.map_or(0, |task| task.depends)))
        })
        .await
    }

    /// Namespace and name of a Task.
    pub async fn task_ref(&self, task_uid: &str) -> Result<Option<TaskRef>, Refusal> {
        self.read(|state| {
            let task = state.tasks.get(task_uid);
            let depends = task.map_or(0, |task| task.depends);
            Ok((task.map(|task| task.task.clone()), depends))
        })
        .await
    }

    /// Who created a Task, as far as it is known.
    #[must_use]
    pub fn requested_by(&self, task_uid: &str) -> Option<String> {
        let core = self.lock();
        core.state.tasks.get(task_uid)?.requested_by.clone()
    }

    /// The attempts that are neither fenced nor ended.
    pub async fn open_attempts(&self) -> Result<Vec<OpenAttemptRef>, Refusal> {
        self.read(|state| Ok(state.open_attempts())).await
    }

    /// Stops an attempt that another one may follow: see [`Self::fence_as`].
    pub async fn fence(
        &self,
        task_uid: &str,
        attempt: u32,
        reason: &str,
    ) -> Result<AttemptReport, Refusal> {
        let fence = Fence {
            reason: reason.to_owned(),
            ends: None,
        };
        self.fence_as(task_uid, attempt, &fence).await
    }

    /// Stops an attempt: its session may neither call a model nor write. Idempotent. An attempt that has ended stays as it is; that the Task ends with
    /// it is written down all the same, unless it succeeded.
    pub async fn fence_as(
        &self,
        task_uid: &str,
        attempt: u32,
        fence: &Fence,
    ) -> Result<AttemptReport, Refusal> {
        let now = self.now();
        self.change(
            |state| {
                let entries = state.decide_fence(task_uid, attempt, fence, now)?;
                Ok((entries, ()))
            },
            |state, ()| state.report(task_uid, attempt),
        )
        .await?
    }

    /// Raises the Task's budget; the report is that of its newest attempt. A lower value and an absent one change nothing, so that
    /// no budget becomes unlimited by omission.
    pub async fn raise_budget(
        &self,
        task_uid: &str,
        budget: TaskBudget,
    ) -> Result<AttemptReport, Refusal> {
        let now = self.now();
        self.change(
            |state| Ok((state.decide_raise_budget(task_uid, budget, now)?, ())),
            |state, ()| {
                let attempts = &state.task(task_uid)?.attempts;
                let newest = attempts.last_key_value().map_or(0, |(n, _)| *n);
                state.report(task_uid, newest)
            },
        )
        .await?
    }

    /// What a Task has used, over all its attempts.
    pub async fn usage(&self, task_uid: &str) -> Result<TaskUsage, Refusal> {
        self.read(|state| {
            let task = state.task(task_uid)?;
            Ok((task.usage(), task.depends))
        })
        .await
    }

    /// The sequence number of the Task's next record.
    pub async fn next(&self, task_uid: &str) -> Result<u64, Refusal> {
        self.read(|state| {
            let task = state.task(task_uid)?;
            Ok((task.next(), task.depends))
        })
        .await
    }

    /// Whether this session may act in the attempt now.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] when the attempt was fenced, has ended, or is another session's.
    pub fn check_session(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
    ) -> Result<(), Refusal> {
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        self.lock().state.session(by).map(drop)
    }

    /// Claims an attempt for a pilot process. The newest claim wins; the same nonce again is the same session, unless another claim
    /// came between, which is [`Refusal::Fenced`]. The caller has checked that `pod` is a pod that may have the attempt.
    pub async fn claim(
        &self,
        task_uid: &str,
        attempt: u32,
        request: &ClaimRequest,
        pod: &str,
    ) -> Result<Claim, Refusal> {
        let fresh = uuid::Uuid::new_v4().to_string();
        let now = self.now();
        self.change(
            |state| {
                let decided = state.decide_claim(task_uid, attempt, request, pod, &fresh, now)?;
                Ok((decided.into_iter().collect(), ()))
            },
            |state, ()| {
                let (task, found) = state.attempt(task_uid, attempt)?;
                Ok(Claim {
                    session: found.session.clone().unwrap_or_default(),
                    next: task.next(),
                    next_call: self.next_call(task_uid, task),
                    context_tokens: None, // prices are not known here
                })
            },
        )
        .await?
    }
}
