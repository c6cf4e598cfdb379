//! Opening, claiming and fencing attempts, and what the gateway reports of them.

use crate::{Refusal, Store};
use bytes::Bytes;
use oarmaster_protocol::admin::{
    AttemptReport, OpenAttempt, OpenAttemptRef, TaskBudget, TaskUsage,
};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::task::{Claim, ClaimRequest};

impl Store {
    /// Opens attempt `attempt` of a Task and fences every lower one.
    ///
    /// The same Job and assignment again is the same attempt; another one is [`Refusal::Diverged`]. The budget is not part of that
    /// comparison: it is raised where the request's is higher, and never lowered (see [`Store::raise_budget`]).
    pub async fn open_attempt(
        &self,
        task_uid: &str,
        attempt: u32,
        request: OpenAttempt,
    ) -> Result<AttemptReport, Refusal> {
        let _ = (task_uid, attempt, request);
        Err(Refusal::Internal("".into()))
    }

    /// What is known of an attempt.
    pub async fn report(&self, task_uid: &str, attempt: u32) -> Result<AttemptReport, Refusal> {
        let _ = (task_uid, attempt);
        Err(Refusal::Internal("".into()))
    }

    /// The exact bytes of an attempt's assignment, and their digest.
    pub async fn assignment(
        &self,
        task_uid: &str,
        attempt: u32,
    ) -> Result<(Bytes, String), Refusal> {
        let _ = (task_uid, attempt);
        Err(Refusal::Internal("".into()))
    }

    /// Number and Job of the newest attempt of a Task.
    pub async fn newest_attempt(&self, task_uid: &str) -> Result<Option<NewestAttempt>, Refusal> {
        let _ = task_uid;
        Err(Refusal::Internal("".into()))
    }

    /// UID of the newest Task of that name.
    pub async fn find_task(&self, namespace: &str, name: &str) -> Result<Option<String>, Refusal> {
        let _ = (namespace, name);
        Err(Refusal::Internal("".into()))
    }

    /// Namespace and name of a Task.
    pub async fn task_ref(&self, task_uid: &str) -> Result<Option<TaskRef>, Refusal> {
        let _ = task_uid;
        Err(Refusal::Internal("".into()))
    }

    /// The attempts that are neither fenced nor ended.
    pub async fn open_attempts(&self) -> Result<Vec<OpenAttemptRef>, Refusal> {
        Err(Refusal::Internal("".into()))
    }

    /// Stops an attempt: its session may neither call a model nor write. Idempotent; without effect on an attempt that has ended.
    pub async fn fence(
        &self,
        task_uid: &str,
        attempt: u32,
        reason: &str,
    ) -> Result<AttemptReport, Refusal> {
        let _ = (task_uid, attempt, reason);
        Err(Refusal::Internal("".into()))
    }

    /// Raises the Task's budget; the report is that of its newest attempt. A lower value and an absent one change nothing, so that
    /// no budget becomes unlimited by omission.
    pub async fn raise_budget(
        &self,
        task_uid: &str,
        budget: TaskBudget,
    ) -> Result<AttemptReport, Refusal> {
        let _ = (task_uid, budget);
        Err(Refusal::Internal("".into()))
    }

    /// What a Task has used, over all its attempts.
    pub async fn usage(&self, task_uid: &str) -> Result<TaskUsage, Refusal> {
        let _ = task_uid;
        Err(Refusal::Internal("".into()))
    }

    /// Claims an attempt for a pilot process. The newest claim wins; the same nonce again is the same session, unless another claim
    /// came between, which is [`Refusal::Fenced`]. The caller has checked that `pod` is a pod of the attempt's Job.
    pub async fn claim(
        &self,
        task_uid: &str,
        attempt: u32,
        request: &ClaimRequest,
        pod: &str,
    ) -> Result<Claim, Refusal> {
        let _ = (task_uid, attempt, request, pod);
        Err(Refusal::Internal("".into()))
    }
}

/// The newest attempt of a Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestAttempt {
    /// Its number.
    pub attempt: u32,
    /// The Job whose pods may claim it.
    pub job: String,
}
