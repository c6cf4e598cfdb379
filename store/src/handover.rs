//! What goes from one Task to others.

use crate::state::By;
use crate::{Refusal, Store};
use bytes::Bytes;
use oarmaster_protocol::assignment::{Placed, TaskRef};
use oarmaster_protocol::journal::Blob;

impl Store {
    /// The parts of the workspace that another Task of the namespace kept. This one has them from then on, whatever becomes of the other; asked for
    /// again, they are the same.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] for a session that may not act; [`Refusal::NotFound`] where there is nothing to be had, and why.
    pub async fn take_over(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        from: &TaskRef,
    ) -> Result<Vec<Blob>, Refusal> {
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        self.change(
            |state| Ok((state.decide_take_over(by, from)?, ())),
            |state, ()| Ok(state.task(task_uid)?.taken.clone()),
        )
        .await?
    }

    /// The bytes of an artifact of another Task of the namespace, which stands in the assignment of this one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where the other has not ended, has no such artifact, or it is no longer kept.
    pub async fn placed(&self, task_uid: &str, placed: &Placed) -> Result<Bytes, Refusal> {
        let key = self
            .read(|state| {
                let (source, blob) = state.check_placed(task_uid, placed)?;
                Ok((blob.key.clone(), source.depends))
            })
            .await?;
        self.blobs().read(&placed.digest, key.as_ref()).await
    }
}
