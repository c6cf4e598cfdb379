//! What a Task asks of the operator, and the answers.

use crate::state::By;
use crate::{Refusal, Store};
use oarmaster_protocol::admin::AttemptReport;
use oarmaster_protocol::journal::{Blob, Body};
use oarmaster_protocol::request::{Answer, Reply};

impl Store {
    /// Answers a request; the report is that of the Task's newest attempt. The first answer stays.
    pub async fn answer(
        &self,
        task_uid: &str,
        id: &str,
        answer: &Reply,
    ) -> Result<AttemptReport, Refusal> {
        let now = self.now();
        self.change(
            |state| Ok((state.decide_answer(task_uid, id, answer, now)?, ())),
            |state, ()| {
                let attempts = &state.task(task_uid)?.attempts;
                let newest = attempts.last_key_value().map_or(0, |(n, _)| *n);
                state.report(task_uid, newest)
            },
        )
        .await?
    }

    /// The parts of the workspace that an open request hands on.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where it is not open, or hands none on.
    pub fn handed(&self, task_uid: &str, id: &str) -> Result<Vec<Blob>, Refusal> {
        let core = self.lock();
        core.state.handed(task_uid, id).cloned()
    }

    /// The Task below `task_uid` that left a workspace with this part.
    ///
    /// # Errors
    /// When the store is closed.
    pub fn left_by(&self, task_uid: &str, digest: &str) -> Result<Option<String>, Refusal> {
        let core = self.lock();
        Ok(core.state.left_by(task_uid, digest))
    }

    /// The answer to a request, once there is one.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] for a session that may not act; [`Refusal::NotFound`] for a request that was not made.
    pub async fn answered(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        id: &str,
    ) -> Result<Option<Answer>, Refusal> {
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        let at = self
            .read(|state| {
                let task = state.session(by)?;
                let answer = task.request(id)?.answer;
                Ok((answer.and_then(|seq| task.record_at(seq)), task.depends))
            })
            .await?;
        let Some(at) = at else {
            return Ok(None);
        };
        match self.record(at).await?.body {
            Body::Answered {
                ok,
                value,
                workspace,
                ..
            } => Ok(Some(Answer {
                ok,
                value,
                workspace,
            })),
            _ => Err(Refusal::Internal(
                "the record of an answer holds none".into(),
            )),
        }
    }
}
