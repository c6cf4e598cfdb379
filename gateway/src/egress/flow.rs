//! What egress may take: connections, bytes and time, of an attempt and of all.

use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use moka::future::Cache;
use oarmaster_crds::Domain;
use oarmaster_protocol::task::ErrorCode;
use oarmaster_serve::pace::{Pace, Paid};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at once.
const OPEN: usize = 1024;
/// Connections of an attempt at once.
const OPEN_OF_ATTEMPT: usize = 64;
/// Connections to domains that an attempt may make.
const MADE_OF_ATTEMPT: u64 = 10_000;
/// Bytes of an attempt, in both directions together.
const BYTES_OF_ATTEMPT: u64 = 8 << 30;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(300);
/// How long a connection may last.
const LONGEST: Duration = Duration::from_secs(3600);
/// What an attempt took is forgotten after this time without a new connection.
const REMEMBERED: Duration = Duration::from_secs(86_400);
const MAX_ACCOUNTS: u64 = 10_000;

/// How fast the bytes of an attempt go, in kibibytes: 64 MiB at once, then 32 in a second. What the gateway does for them keeps calls waiting.
const PACE: Pace = Pace {
    every: Duration::from_nanos(1_000_000_000 / (32 << 10)),
    burst: 64 << 10,
    longest: Duration::from_secs(30),
};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Done,
    /// It was for nothing that the sandbox may reach.
    Refused,
    /// The domain could not be reached.
    Unreachable,
    /// It was silent for too long.
    Idle,
    /// It lasted too long.
    TooLong,
    /// The attempt has no bytes left.
    TooMuch,
    /// The attempt is over.
    Fenced,
    /// The gateway stops.
    Stopped,
}

impl End {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Idle => "idle",
            Self::TooLong => "too_long",
            Self::TooMuch => "too_much",
            Self::Fenced => "fenced",
            Self::Stopped => "stopped",
        }
    }
}

/// What an attempt has taken.
#[derive(Debug)]
pub struct Account {
    open: Arc<Semaphore>,
    made: AtomicU64,
    bytes: AtomicU64,
    paid: Mutex<Paid>,
}

impl Account {
    fn new() -> Self {
        Self {
            open: Arc::new(Semaphore::new(OPEN_OF_ATTEMPT)),
            made: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            paid: Mutex::default(),
        }
    }

    /// Whether one more connection may be made; it is counted.
    pub fn makes(&self) -> bool {
        self.made.fetch_add(1, Ordering::Relaxed) < MADE_OF_ATTEMPT
    }

    /// Bytes have gone; how long the next ones wait.
    fn passed(&self, bytes: u64) -> Duration {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let units = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        // A panic while the lock was held leaves a time, which is whole.
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        PACE.take(&mut paid, units, std::time::Instant::now())
    }

    fn is_used_up(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= BYTES_OF_ATTEMPT
    }
}

/// A connection's part of what there is; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_attempt: OwnedSemaphorePermit,
}

/// What attempts have taken.
pub struct Accounts {
    open: Arc<Semaphore>,
    of: Cache<(String, u32), Arc<Account>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            open: Arc::new(Semaphore::new(OPEN)),
            of: Cache::builder()
                .max_capacity(MAX_ACCOUNTS)
                .time_to_idle(REMEMBERED)
                .build(),
        }
    }
}

impl Accounts {
    /// The account of a pod's attempt, and a place for one more connection.
    ///
    /// # Errors
    /// `rate_limited`.
    pub async fn enter(&self, pod: &SandboxPod) -> Result<(Arc<Account>, Place), ApiFailure> {
        let key = (pod.task_uid.clone(), pod.attempt);
        let made = async { Arc::new(Account::new()) };
        let account = self.of.get_with(key, made).await;
        let full = |whose: &str| {
            let message = format!("{whose} has as many connections through egress as it may have");
            ApiFailure::new(ErrorCode::RateLimited, message)
        };
        let of_attempt = account.open.clone().try_acquire_owned();
        let place = Place {
            _of_attempt: of_attempt.map_err(|_| full("the attempt"))?,
            _of_all: (self.open.clone().try_acquire_owned()).map_err(|_| full("the gateway"))?,
        };
        Ok((account, place))
    }
}

/// One connection: where to, how much, and since when.
#[derive(Debug)]
pub struct Flow {
    account: Arc<Account>,
    begun: Instant,
    /// Of the last byte, in milliseconds since `begun`.
    last: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    domain: OnceLock<Domain>,
    /// A model is being asked: silence is as it should be.
    waits: AtomicBool,
}

/// Until it is dropped, silence does not end a connection.
#[must_use]
pub struct Patience<'a>(&'a Flow);

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.waits.store(false, Ordering::Relaxed);
    }
}

impl Flow {
    /// One that begins now.
    #[must_use]
    pub fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            begun: Instant::now(),
            last: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            domain: OnceLock::new(),
            waits: AtomicBool::new(false),
        }
    }

    /// A model is asked on it, which has bounds of its own.
    pub fn waits(&self) -> Patience<'_> {
        self.waits.store(true, Ordering::Relaxed);
        Patience(self)
    }

    /// The bound that is reached, if one is.
    #[must_use]
    pub fn over(&self) -> Option<End> {
        self.over_at(self.begun.elapsed())
    }

    fn over_at(&self, age: Duration) -> Option<End> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        if self.account.is_used_up() {
            Some(End::TooMuch)
        } else if age >= LONGEST {
            Some(End::TooLong)
        } else if age.saturating_sub(last) >= IDLE && !self.waits.load(Ordering::Relaxed) {
            Some(End::Idle)
        } else {
            None
        }
    }

    /// Bytes from the program.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes to the program.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Where to, once it was let through.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.domain.get()
    }

    /// Says where to. A connection goes to one domain; the first one counts.
    pub fn goes_to(&self, domain: Domain) {
        let _ = self.domain.set(domain);
    }

    /// Counts bytes; how long the next ones wait.
    fn count(&self, direction: &AtomicU64, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        direction.fetch_add(bytes, Ordering::Relaxed);
        self.touch();
        self.account.passed(bytes)
    }

    fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.account.is_used_up() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(())
    }
}

/// A program's side of a connection, counted, and no faster than the attempt's pace.
pub struct Metered<S> {
    inner: S,
    flow: Arc<Flow>,
    /// Until when nothing goes, where it is ahead.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Metered<S> {
    /// Counts what goes through `inner`.
    pub fn new(inner: S, flow: Arc<Flow>) -> Self {
        Self {
            inner,
            flow,
            waits: None,
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flow.check()?;
        if let Some(waits) = &mut self.waits {
            ready!(waits.as_mut().poll(cx));
            self.waits = None;
        }
        Poll::Ready(Ok(()))
    }

    fn wait(&mut self, delay: Duration) {
        if !delay.is_zero() {
            self.waits = Some(Box::pin(sleep(delay)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        let delay = self.flow.count(&self.flow.sent, read);
        self.wait(delay);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx))?;
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        let delay = self.flow.count(&self.flow.received, written);
        self.wait(delay);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use oarmaster_protocol::admin::RunsIn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn pod(attempt: u32) -> SandboxPod {
        SandboxPod {
            namespace: "team".to_owned(),
            pod: "pod".to_owned(),
            runs_in: RunsIn::Job("job".to_owned()),
            task_uid: "uid".to_owned(),
            attempt,
        }
    }

    #[tokio::test]
    async fn places_are_bounded_for_an_attempt_and_for_all_and_given_back() {
        let accounts = Accounts::default();
        let mut held = Vec::new();
        for _ in 0..OPEN_OF_ATTEMPT {
            held.push(accounts.enter(&pod(1)).await.unwrap());
        }
        let error = accounts.enter(&pod(1)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::RateLimited);
        assert!(error.message.starts_with("the attempt has"), "{error}");
        held.pop();
        held.push(accounts.enter(&pod(1)).await.unwrap());
        for attempt in 2.. {
            match accounts.enter(&pod(attempt / 32)).await {
                Ok(place) => held.push(place),
                Err(error) if error.message.starts_with("the gateway") => break,
                Err(_) => {} // the first one's
            }
        }
        assert_eq!(held.len(), OPEN);
    }

    #[test]
    fn an_attempt_makes_so_many_connections() {
        let account = Account::new();
        let made = (0..2 * MADE_OF_ATTEMPT).filter(|_| account.makes());
        assert_eq!(made.count() as u64, MADE_OF_ATTEMPT);
    }

    #[tokio::test]
    async fn bytes_are_counted_in_their_direction_until_there_are_none_left() {
        let account = Arc::new(Account::new());
        let flow = Arc::new(Flow::new(account.clone()));
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Metered::new(near, flow.clone());
        far.write_all(b"asked").await.unwrap();
        near.read_exact(&mut [0; 5]).await.unwrap();
        near.write_all(b"answered").await.unwrap();
        assert_eq!((flow.sent(), flow.received()), (5, 8));
        assert_eq!(flow.over(), None);
        account.bytes.store(BYTES_OF_ATTEMPT, Ordering::Relaxed);
        let refused = near.write_all(b"x").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        assert!(near.read(&mut [0]).await.is_err());
        assert_eq!(flow.over(), Some(End::TooMuch));
    }

    #[tokio::test]
    async fn bytes_beyond_the_burst_wait() {
        let account = Arc::new(Account::new());
        let (near, _far) = tokio::io::duplex(64);
        let mut near = Metered::new(near, Arc::new(Flow::new(account.clone())));
        near.write_all(b"a").await.unwrap();
        let ahead = account.passed(256 << 20);
        assert_eq!(ahead, Duration::ZERO, "nothing was before it");
        // The next byte goes, and those after it wait for what went.
        near.write_all(b"b").await.unwrap();
        assert!(near.write_all(b"c").now_or_never().is_none());
        assert!(near.read(&mut [0]).now_or_never().is_none());
        // Another attempt's go on.
        let (near, _far) = tokio::io::duplex(64);
        let other = Flow::new(Arc::new(Account::new()));
        let mut near = Metered::new(near, Arc::new(other));
        near.write_all(b"ab").await.unwrap();
        near.write_all(b"c").now_or_never().unwrap().unwrap();
    }

    #[test]
    fn silence_does_not_end_a_connection_while_a_model_is_asked() {
        let flow = Flow::new(Arc::new(Account::new()));
        let waits = flow.waits();
        assert_eq!(flow.over_at(IDLE * 2), None);
        assert_eq!(flow.over_at(LONGEST), Some(End::TooLong));
        drop(waits);
        assert_eq!(flow.over_at(IDLE * 2), Some(End::Idle));
    }

    #[test]
    fn silence_and_age_end_a_connection() {
        let flow = Flow::new(Arc::new(Account::new()));
        let moment = Duration::from_millis(1);
        for (last, age, end) in [
            (Duration::ZERO, IDLE - moment, None),
            (Duration::ZERO, IDLE, Some(End::Idle)),
            (IDLE, IDLE * 2 - moment, None),
            (IDLE, IDLE * 2, Some(End::Idle)),
            (LONGEST - moment, LONGEST - moment, None),
            (LONGEST, LONGEST, Some(End::TooLong)),
        ] {
            let last = u64::try_from(last.as_millis()).unwrap();
            flow.last.store(last, Ordering::Relaxed);
            assert_eq!(flow.over_at(age), end, "{last} {age:?}");
        }
    }
}
