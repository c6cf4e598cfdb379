//! What a Task asks of the operator, and the answers.

use crate::state::By;
use crate::{Refusal, Store};
use oarmaster_protocol::admin::AttemptReport;
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::request::Answer;

impl Store {
    /// Answers a request; the report is that of the Task's newest attempt. The first answer stays.
    pub async fn answer(
        &self,
        task_uid: &str,
        id: &str,
        answer: &Answer,
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
            Body::Answered { ok, value, .. } => Ok(Some(Answer { ok, value })),
            _ => Err(Refusal::Internal(
                "the record of an answer holds none".into(),
            )),
        }
    }
}
