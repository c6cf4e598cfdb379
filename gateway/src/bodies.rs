//! Memory for bodies: of requests, and of answers. A call holds its request several times over, as it came, as fields and as it is sent, until it ends,
//! and its answer until the caller has taken it; so without a bound a few callers with large bodies, or slow ones, would take the gateway from all others.
//!
//! Small bodies, as most are, are not counted: their number is bounded by that of connections.

use crate::error::ApiFailure;
use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use oarmaster_protocol::task::ErrorCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout, timeout_at};

/// A body must arrive within this, and a second more for each [`A_SECOND`] of its bytes: who is slower holds what others wait for.
const ARRIVES: Duration = Duration::from_secs(15);
/// Bytes that arrive in a second at least.
const A_SECOND: usize = 512 << 10;
/// Nobody waits longer for room.
const WAITS: Duration = Duration::from_secs(60);
/// Bodies up to this are not counted.
pub const SMALL: usize = 64 << 10;
/// Requests of the largest size that there is room for. Each namespace has the room of one: more of its own callers it can make itself.
pub const REQUESTS: usize = 6;
/// The same for answers.
pub const ANSWERS: usize = 3;
/// What is done with a body of this size at once takes more than a millisecond.
const LONG: usize = 1 << 20;
/// Room is counted in these.
const UNIT: usize = 1 << 10;

/// The room for bodies.
#[derive(Debug)]
pub struct Bodies {
    /// Largest body.
    limit: usize,
    all: Arc<Semaphore>,
    each: Mutex<HashMap<String, Weak<Semaphore>>>,
    turns: Arc<Semaphore>,
}

/// Room that a body has, until this is dropped.
#[derive(Debug)]
pub struct Room {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
    turns: Arc<Semaphore>,
}

impl Bodies {
    /// Room for `all` bodies of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, all: usize) -> Self {
        Self {
            limit,
            all: Arc::new(Semaphore::new(units(limit).saturating_mul(all))),
            each: Mutex::default(),
            turns: Arc::new(Semaphore::new(turns())),
        }
    }

    /// Who works on a body that is not small has one of these meanwhile. There are half as many as cores, one at least; small ones need none.
    #[must_use]
    pub fn turns(&self) -> &Arc<Semaphore> {
        &self.turns
    }

    /// Reads the body of a known caller, after a wait where there is no room. The room is to be kept for as long as what is made of the body.
    /// `group` is whose callers share the room of one.
    ///
    /// # Errors
    /// `too_large`, `invalid_request`; `unavailable` where there was no room for long.
    pub async fn read(
        &self,
        mut body: Body,
        group: impl FnOnce() -> String,
    ) -> Result<(Bytes, Option<Room>), ApiFailure> {
        let stated = body.size_hint().exact();
        let stated = stated.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if stated.is_some_and(|size| size > self.limit) {
            return Err(too_large(self.limit));
        }
        let mut read = Vec::new();
        let mut ended = false;
        if stated.is_none_or(|size| size <= SMALL) {
            read.reserve_exact(stated.unwrap_or_default());
            // What turns out to be small waits for nobody.
            ended = fill(&mut body, &mut read, SMALL, ARRIVES).await?;
        }
        if ended {
            return Ok((read.into(), None));
        }
        // Of what does not say its size the largest is to be expected.
        let expected = stated.unwrap_or(self.limit);
        let room = self.room(group(), expected).await;
        let mut room = room.ok_or_else(|| {
            ApiFailure::unavailable("too many large requests are on their way; try again")
        })?;
        read.reserve_exact(stated.unwrap_or_default());
        let seconds = u64::try_from(expected / A_SECOND).unwrap_or(u64::MAX);
        let arrives = ARRIVES.saturating_add(Duration::from_secs(seconds));
        if !fill(&mut body, &mut read, self.limit, arrives).await? {
            return Err(too_large(self.limit));
        }
        room.leave(read.len());
        Ok((read.into(), Some(room)))
    }

    /// Room for so many bytes, at most those of the largest body: first in the group's own, where nobody else waits. `None` where there was none for
    /// long.
    pub async fn room(&self, group: String, bytes: usize) -> Option<Room> {
        let units = u32::try_from(units(bytes)).unwrap_or(u32::MAX);
        let each = self.each(group);
        let take = async {
            let own = each.acquire_many_owned(units).await?;
            let all = self.all.clone().acquire_many_owned(units).await?;
            let turns = self.turns.clone();
            Ok::<_, tokio::sync::AcquireError>(Room { own, all, turns })
        };
        timeout(WAITS, take).await.ok()?.ok()
    }

    fn each(&self, group: String) -> Arc<Semaphore> {
        // A panic while the lock was held leaves a map, which is whole.
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = each.get(&group).and_then(Weak::upgrade) {
            return own;
        }
        each.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(units(self.limit)));
        each.insert(group, Arc::downgrade(&own));
        own
    }
}

impl Room {
    /// Gives back what is beyond so many bytes.
    pub fn leave(&mut self, bytes: usize) {
        let over = self.all.num_permits().saturating_sub(units(bytes));
        drop((self.own.split(over), self.all.split(over)));
    }

    /// Does something with the body that takes its time, in turn.
    async fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.turns.acquire().await; // they are never closed
        let kind = Handle::current().runtime_flavor();
        if self.all.num_permits() >= units(LONG) && kind == RuntimeFlavor::MultiThread {
            // Whatever else waited for this thread goes on on another.
            block_in_place(work)
        } else {
            work()
        }
    }

    /// Bytes that have this room for as long as there is a copy of them.
    #[must_use]
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

/// Does something with a body: in turn where it is large, which is where it has room.
pub async fn work<T>(room: Option<&Room>, work: impl FnOnce() -> T) -> T {
    match room {
        Some(room) => room.work(work).await,
        None => work(),
    }
}

/// Bytes, and the room that they have.
struct Held {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Half of the cores.
fn turns() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 2).max(1)
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

/// Reads until there are more than `most` bytes; whether the body has ended before.
async fn fill(
    body: &mut Body,
    read: &mut Vec<u8>,
    most: usize,
    within: Duration,
) -> Result<bool, ApiFailure> {
    let deadline = Instant::now() + within;
    while read.len() <= most {
        let frame = timeout_at(deadline, body.frame()).await;
        let frame = frame.map_err(|_| late(within))?;
        match frame {
            None => return Ok(true),
            Some(Err(_)) => return Err(broke()),
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    read.extend_from_slice(bytes);
                }
            }
        }
    }
    Ok(false)
}

fn late(within: Duration) -> ApiFailure {
    ApiFailure::invalid(format!("the body did not arrive within {within:?}"))
}

fn broke() -> ApiFailure {
    ApiFailure::invalid("the body broke off")
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// `too_large`, `invalid_request`.
pub async fn read(body: Body, most: usize) -> Result<Bytes, ApiFailure> {
    match timeout(ARRIVES, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Ok(Err(_)) => Err(broke()),
        Err(_) => Err(late(ARRIVES)),
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
    use super::{Bodies, SMALL, units};
    use axum::body::Body;
    use bytes::Bytes;
    use futures::FutureExt as _;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;
    const ALL: usize = 6;

    fn large() -> Body {
        Body::from(vec![b'x'; LIMIT])
    }

    #[tokio::test]
    async fn a_namespace_with_much_waits_and_others_do_not() {
        let bodies = Bodies::new(LIMIT, ALL);
        let read = async |group: &str, body| {
            let group = group.to_owned();
            bodies.read(body, || group).await.unwrap().1
        };
        let greedy = read("greedy", large()).await.unwrap();
        assert!(read("greedy", large()).now_or_never().is_none());
        assert!(read("greedy", Body::from("small")).await.is_none());
        let mut others = Vec::new();
        for group in 1..ALL {
            others.push(read(&group.to_string(), large()).await.unwrap());
        }
        assert!(read("one more", large()).now_or_never().is_none());
        let (waits, ()) = tokio::join!(read("greedy", large()), async { drop(greedy) });
        assert!(waits.is_some());
    }

    #[tokio::test]
    async fn a_body_has_the_room_that_it_takes() {
        let bodies = Bodies::new(LIMIT, ALL);
        // Sizes are not stated.
        let body = |size: usize| {
            let pieces = vec![vec![b'x'; size / 2]; 2].into_iter();
            Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, std::io::Error>)))
        };
        for (size, takes) in [(SMALL, 0), (2 * SMALL, units(2 * SMALL))] {
            let (read, room) = bodies.read(body(size), || "a".to_owned()).await.unwrap();
            assert_eq!(read.len(), size);
            let free = bodies.all.available_permits();
            assert_eq!(ALL * units(LIMIT) - free, takes, "{size}");
            drop(room);
            assert_eq!(bodies.all.available_permits(), ALL * units(LIMIT));
        }
        let large = bodies.read(body(2 * LIMIT), || "a".to_owned()).await;
        assert_eq!(large.unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn bytes_hold_their_room_to_the_last_copy() {
        let bodies = Bodies::new(LIMIT, ALL);
        let room = bodies.room("a".to_owned(), LIMIT).await.unwrap();
        let held = room.hold(Bytes::from_static(b"answer"));
        let part = held.slice(1..);
        drop(held);
        assert!(bodies.room("a".to_owned(), LIMIT).now_or_never().is_none());
        assert_eq!(part, "nswer");
        drop(part);
        assert!(bodies.room("a".to_owned(), LIMIT).await.is_some());
    }

    #[tokio::test]
    async fn work_on_large_bodies_is_done_in_turn() {
        let bodies = Bodies::new(LIMIT, ALL);
        let [one, other] = ["a", "b"].map(str::to_owned);
        let one = bodies.room(one, LIMIT).await.unwrap();
        let other = bodies.room(other, 2 * SMALL).await.unwrap();
        let most = u32::try_from(super::turns()).unwrap();
        let taken = bodies.turns().acquire_many(most).await.unwrap();
        assert!(one.work(|| ()).now_or_never().is_none());
        assert!(other.work(|| ()).now_or_never().is_none());
        drop(taken);
        assert_eq!(one.work(|| 1).await + other.work(|| 2).await, 3);
    }

    /// It is as in the gateway's process, whose threads others wait for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn long_work_keeps_nobody_from_a_thread() {
        let bodies = Bodies::new(LIMIT, ALL);
        let room = bodies.room("a".to_owned(), LIMIT).await.unwrap();
        let long = tokio::spawn(async move {
            let (sender, receiver) = std::sync::mpsc::channel();
            tokio::spawn(async move { sender.send("done meanwhile") });
            room.work(move || receiver.recv()).await
        });
        assert_eq!(long.await.unwrap(), Ok("done meanwhile"));
    }

    #[tokio::test]
    async fn what_states_too_much_is_refused_before_it_is_read() {
        let bodies = Bodies::new(LIMIT, ALL);
        let body = Body::from(vec![b'x'; LIMIT + 1]);
        let error = bodies.read(body, || "a".to_owned()).await.unwrap_err();
        assert_eq!(error.status, 413);
    }

    proptest! {
        #[test]
        fn all_room_comes_back(takes in prop::collection::vec((0..4u8, 1..=LIMIT, any::<bool>()), 0..64)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _within = runtime.enter();
            let bodies = Bodies::new(LIMIT, ALL);
            let mut rooms = Vec::new();
            for (group, bytes, frees) in takes {
                match bodies.room(group.to_string(), bytes).now_or_never() {
                    Some(room) => rooms.push(room.unwrap()),
                    None if frees => rooms.clear(),
                    None => {}
                }
                prop_assert!(bodies.each.lock().unwrap().len() <= 4);
            }
            drop(rooms);
            prop_assert_eq!(bodies.all.available_permits(), ALL * units(LIMIT));
        }
    }
}
