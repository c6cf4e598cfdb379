//! Turns at something of which there is little, like the threads that evaluate what users wrote: the namespaces share it evenly, however many
//! of one wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Who has a turn, and who waits for one.
#[derive(Debug)]
pub struct Turns {
    at_once: usize,
    all: Arc<Semaphore>,
    /// Of each namespace that has a turn or waits, as many again.
    namespaces: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A turn, until it is dropped.
pub type Turn = [OwnedSemaphorePermit; 2];

impl Turns {
    /// So many turns at once.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self {
            at_once,
            all: Arc::new(Semaphore::new(at_once)),
            namespaces: Mutex::default(),
        }
    }

    /// Waits for a turn. Whoever has the turn of its namespace waits for one of all, in the order of their coming: so at most `at_once` of each
    /// other namespace come first.
    ///
    /// # Errors
    /// Never: nobody closes them.
    pub async fn take(&self, namespace: &str) -> Result<Turn, AcquireError> {
        let own = self.of(namespace).acquire_owned().await?;
        let turn = Arc::clone(&self.all).acquire_owned().await?;
        Ok([own, turn])
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let held = self.namespaces.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = held.entry(namespace.to_owned());
        Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(self.at_once))))
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    #[tokio::test]
    async fn however_many_of_one_namespace_wait_anothers_turn_comes_soon() {
        let turns = Turns::new(2);
        let mut held = vec![
            turns.take("many").await.unwrap(),
            turns.take("many").await.unwrap(),
        ];
        let mut many: Vec<BoxFuture<'_, _>> = (0..50).map(|_| turns.take("many").boxed()).collect();
        for waiting in &mut many {
            assert!(waiting.now_or_never().is_none());
        }
        let mut other = turns.take("one").boxed();
        for _ in 0..3 {
            drop(held.remove(0));
            if let Some(turn) = (&mut other).now_or_never() {
                drop(turn);
                held.clear();
                drop(many);
                drop(other);
                assert_eq!(turns.of("one").available_permits(), 2);
                assert_eq!(turns.namespaces.lock().unwrap().len(), 1, "nothing is left");
                return;
            }
            for waiting in &mut many {
                if let Some(turn) = waiting.now_or_never() {
                    held.push(turn.unwrap());
                    break;
                }
            }
        }
        panic!("it still waits");
    }
}
