//! Memory for the bodies of requests. A call holds its own several times over, as it came, as fields and as it is sent, until it ends; so without a
//! bound a few callers with large requests would take the gateway from all others.
//!
//! Small bodies, as most are, are not counted: their number is bounded by that of connections.

use crate::error::ApiFailure;
use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use oarmaster_protocol::task::ErrorCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A body must arrive within this.
const ARRIVES: Duration = Duration::from_secs(120);
/// Nobody waits longer for room.
const WAITS: Duration = Duration::from_secs(60);
/// Bodies up to this are not counted.
const SMALL: usize = 64 << 10;
/// Bodies of the largest size that there is room for.
const ALL: usize = 6;
/// Of them, those of one caller.
const EACH: usize = 2;

/// The room for bodies.
#[derive(Debug)]
pub struct Bodies {
    /// Largest body.
    limit: usize,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    each: HashMap<String, usize>,
}

/// Room that a body has, until this is dropped.
#[derive(Debug)]
pub struct Room {
    bodies: Arc<Bodies>,
    caller: String,
    bytes: usize,
}

impl Bodies {
    /// Room for bodies of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            held: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Reads the body of a known caller, after a wait where there is no room. The room is to be kept for as long as what is made of the body.
    ///
    /// # Errors
    /// `too_large`, `invalid_request`; `unavailable` where there was no room for long.
    pub async fn read(
        self: &Arc<Self>,
        body: Body,
        caller: impl FnOnce() -> String,
    ) -> Result<(Bytes, Option<Room>), ApiFailure> {
        let stated = body.size_hint().exact();
        let stated = stated.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        // Of what does not say its size the largest is to be expected.
        let expected = stated.unwrap_or(self.limit);
        if expected > self.limit {
            return Err(too_large(self.limit));
        }
        if expected <= SMALL {
            return Ok((read(body, self.limit).await?, None));
        }
        let room = tokio::time::timeout(WAITS, self.room(caller(), expected));
        let mut room = room.await.map_err(|_| {
            ApiFailure::unavailable("too many large requests are on their way; try again")
        })?;
        let body = read(body, self.limit).await?;
        room.leave(body.len());
        Ok((body, Some(room)))
    }

    async fn room(self: &Arc<Self>, caller: String, bytes: usize) -> Room {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable(); // what is freed from here on is not missed
            if self.take(&caller, bytes) {
                return Room {
                    bodies: self.clone(),
                    caller,
                    bytes,
                };
            }
            freed.await;
        }
    }

    fn take(&self, caller: &str, bytes: usize) -> bool {
        let mut held = self.lock();
        let own = held.each.get(caller).copied().unwrap_or_default();
        let within = |taken: usize, most: usize| {
            taken.saturating_add(bytes) <= self.limit.saturating_mul(most)
        };
        if !within(held.all, ALL) || !within(own, EACH) {
            return false;
        }
        held.all += bytes;
        *held.each.entry(caller.to_owned()).or_default() += bytes;
        true
    }

    fn free(&self, caller: &str, bytes: usize) {
        let mut held = self.lock();
        held.all = held.all.saturating_sub(bytes);
        if let Some(own) = held.each.get_mut(caller) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                held.each.remove(caller);
            }
        }
        drop(held);
        self.freed.notify_waiters();
    }

    // A panic while the lock was held leaves numbers, which are whole.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Gives back what is beyond so many bytes.
    fn leave(&mut self, bytes: usize) {
        let over = self.bytes.saturating_sub(bytes);
        if over > 0 {
            self.bytes -= over;
            self.bodies.free(&self.caller, over);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.free(&self.caller, self.bytes);
    }
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// `too_large`, `invalid_request`.
pub async fn read(body: Body, most: usize) -> Result<Bytes, ApiFailure> {
    match tokio::time::timeout(ARRIVES, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Ok(Err(_)) => Err(ApiFailure::invalid("the body broke off")),
        Err(_) => Err(ApiFailure::invalid(format!(
            "the body did not arrive within {ARRIVES:?}"
        ))),
    }
}

/// A body that is over its bound.
#[must_use]
pub fn too_large(most: usize) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::TooLarge,
        format!("the body is larger than {} MiB", most >> 20),
    )
}

#[cfg(test)]
mod tests {
    use super::{ALL, Bodies, EACH, SMALL};
    use axum::body::Body;
    use futures::FutureExt as _;
    use proptest::prelude::*;
    use std::sync::Arc;

    const LIMIT: usize = 1 << 20;

    fn large() -> Body {
        Body::from(vec![b'x'; LIMIT])
    }

    #[tokio::test]
    async fn a_caller_with_much_waits_and_others_do_not() {
        let bodies = Bodies::new(LIMIT);
        let read = async |caller: &str, body| {
            let caller = caller.to_owned();
            bodies.read(body, || caller).await.unwrap().1
        };
        let mut greedy = Vec::new();
        for _ in 0..EACH {
            greedy.push(read("greedy", large()).await.unwrap());
        }
        assert!(read("greedy", large()).now_or_never().is_none());
        assert!(read("greedy", Body::from("small")).await.is_none());
        let others = [read("a", large()).await, read("b", large()).await];
        assert!(others.iter().all(Option::is_some));
        let (waits, ()) = tokio::join!(read("greedy", large()), async { drop(greedy.pop()) });
        assert!(waits.is_some());
    }

    #[tokio::test]
    async fn a_body_has_the_room_that_it_takes() {
        let bodies = Bodies::new(LIMIT);
        // Its size is not stated.
        let piece = vec![b'x'; SMALL];
        let pieces = futures::stream::iter([Ok::<_, std::io::Error>(piece.clone()), Ok(piece)]);
        let body = Body::from_stream(pieces);
        let (read, room) = bodies.read(body, || "a".to_owned()).await.unwrap();
        assert_eq!(read.len(), 2 * SMALL);
        assert_eq!(bodies.lock().all, 2 * SMALL);
        drop(room);
        let held = bodies.lock();
        assert_eq!((held.all, held.each.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_states_too_much_is_refused_before_it_is_read() {
        let bodies = Bodies::new(LIMIT);
        let body = Body::from(vec![b'x'; LIMIT + 1]);
        let error = bodies.read(body, || "a".to_owned()).await.unwrap_err();
        assert_eq!(error.status, 413);
    }

    proptest! {
        #[test]
        fn no_bound_is_ever_passed(takes in prop::collection::vec((0..4usize, 1..=LIMIT, any::<bool>()), 0..64)) {
            let bodies: Arc<Bodies> = Bodies::new(LIMIT);
            let mut rooms = Vec::new();
            for (caller, bytes, frees) in takes {
                let caller = caller.to_string();
                if let Some(room) = bodies.room(caller, bytes).now_or_never() {
                    rooms.push(room);
                } else if frees {
                    rooms.clear();
                }
                let held = bodies.lock();
                prop_assert_eq!(held.all, held.each.values().sum::<usize>());
                prop_assert!(held.all <= ALL * LIMIT);
                prop_assert!(held.each.values().all(|own| *own <= EACH * LIMIT));
            }
            drop(rooms);
            prop_assert!(bodies.lock().each.is_empty());
        }
    }
}
