//! What replicas of the gateway share through Redis: what was taken of the minute of a pool, a caller and a provider ([`rates`]), kept answers
//! ([`answers`]) and open circuits ([`circuits`]).
//!
//! Redis is an aid and never the truth. The process keeps all of it for itself, too, and that is what holds while Redis is silent; so nobody here
//! fails, nobody waits for longer than [`BUDGET`], and money is never here.

pub mod answers;
pub mod circuits;
pub mod rates;

use crate::metrics::RedisOperations;
use crate::state::Gateway;
use arc_swap::ArcSwapOption;
use rates::Amount;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// Longest wait for an operation.
pub const BUDGET: Duration = Duration::from_millis(50);
/// Operations that fail one after the other, after which Redis is left alone.
const FAILURES: u32 = 3;
/// Longest wait for a connection, and its first answer.
const CONNECT: Duration = Duration::from_secs(2);
/// How long Redis is left alone at first, and at most; the time doubles while it fails, or fails again soon.
const FIRST_REST: Duration = Duration::from_millis(500);
const LAST_REST: Duration = Duration::from_secs(10);
/// A connection that held for so long was a good one.
const GOOD: Duration = Duration::from_secs(60);
/// Notes that wait to be told to Redis; what is beyond is not told.
const QUEUE: usize = 1024;

/// Keeps a gateway connected to its Redis, and tells it what others found out, for ever.
pub async fn run(gateway: Arc<Gateway>) {
    if let Some(redis) = &gateway.redis {
        tokio::join!(redis.run(), circuits::follow(&gateway, redis));
    }
}

/// Where Redis is. Its password is in no output.
#[derive(Clone)]
pub struct Address(Client);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address")
    }
}

impl Address {
    /// Reads a URL like `redis://:password@host:6379/0`, `rediss://` for TLS, `redis+unix:///path` for a socket.
    ///
    /// # Errors
    /// When it is none. The error does not have it, since it may hold a password.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let client = Client::open(url);
        client.map(Self).map_err(|_| {
            anyhow::anyhow!(
                "the URL of Redis cannot be read: write redis://[:PASSWORD@]HOST[:PORT][/DATABASE], with rediss:// for TLS"
            )
        })
    }
}

/// Redis, as far as it answers.
pub struct Redis {
    address: Address,
    /// None while it is left alone.
    live: ArcSwapOption<MultiplexedConnection>,
    failures: AtomicU32,
    lost: Notify,
    operations: RedisOperations,
    notes: mpsc::Sender<Note>,
    noted: Mutex<Option<mpsc::Receiver<Note>>>,
}

/// What is told to Redis when somebody has the time.
#[derive(Debug)]
pub enum Note {
    /// What was taken too much of buckets, or too little.
    Amounts(Vec<Amount>),
    /// Circuits that have opened, with the milliseconds since the Unix epoch until which they are.
    Opened(Vec<(u64, String)>),
}

impl Redis {
    /// Redis at an address; it is asked once [`run`] runs.
    #[must_use]
    pub fn new(address: Address, operations: RedisOperations) -> Self {
        let (notes, noted) = mpsc::channel(QUEUE);
        Self {
            address,
            live: ArcSwapOption::empty(),
            failures: AtomicU32::new(0),
            lost: Notify::new(),
            operations,
            notes,
            noted: Mutex::new(Some(noted)),
        }
    }

    /// Whether it answers.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.live.load().is_some()
    }

    /// Connects, and connects again after each loss, for ever.
    async fn run(&self) {
        let noted = self.noted.lock();
        let noted = noted.unwrap_or_else(PoisonError::into_inner).take();
        tokio::join!(self.stay_connected(), self.tell(noted));
    }

    /// Has something told, unless too much waits.
    fn note(&self, note: Note) {
        let _ = self.notes.try_send(note);
    }

    async fn tell(&self, notes: Option<mpsc::Receiver<Note>>) {
        let Some(mut notes) = notes else {
            return; // somebody else does
        };
        while let Some(note) = notes.recv().await {
            let _: Option<redis::Value> = match note {
                Note::Amounts(amounts) => self.ask("correct", &rates::correction(&amounts)).await,
                Note::Opened(told) => self.ask("open", &circuits::write(&told)).await,
            };
        }
    }

    async fn stay_connected(&self) {
        let (mut rest, mut silent) = (FIRST_REST, false);
        loop {
            let why = match tokio::time::timeout(CONNECT, self.connect()).await {
                Ok(Ok(connection)) => {
                    if std::mem::take(&mut silent) {
                        tracing::info!("Redis answers again");
                    }
                    let since = Instant::now();
                    self.failures.store(0, Ordering::Relaxed);
                    self.live.store(Some(Arc::new(connection)));
                    self.lost.notified().await;
                    if since.elapsed() > GOOD {
                        rest = FIRST_REST;
                    }
                    "operations failed".to_owned()
                }
                Ok(Err(error)) => error.category().to_owned(),
                Err(_) => format!("no connection within {CONNECT:?}"),
            };
            if !std::mem::replace(&mut silent, true) {
                tracing::warn!(
                    why,
                    "Redis does not answer: limits and kept answers are this process's own until it does"
                );
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(LAST_REST);
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let client = &self.address.0;
        let connected = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connected.await?;
        redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    }

    /// Asks; nothing where it does not answer in time. `name` is for the metric.
    async fn ask<T: FromRedisValue>(&self, name: &'static str, commands: &Pipeline) -> Option<T> {
        let Some(live) = self.live.load_full() else {
            self.operations.count(name, "skipped");
            return None;
        };
        let mut connection = MultiplexedConnection::clone(&live);
        let asked = commands.query_async(&mut connection);
        let lost = match tokio::time::timeout(BUDGET, asked).await {
            Ok(Ok(answer)) => {
                self.failures.store(0, Ordering::Relaxed);
                self.operations.count(name, "ok");
                return Some(answer);
            }
            Ok(Err(error)) => error.is_connection_dropped() || error.is_io_error(),
            Err(_) => false,
        };
        self.operations.count(name, "failed");
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // Of those who fail at once one ends it, and only the connection that failed.
        if lost || failures >= FAILURES {
            let before = self
                .live
                .compare_and_swap(&live, None::<Arc<MultiplexedConnection>>);
            if before
                .as_ref()
                .is_some_and(|before| Arc::ptr_eq(before, &live))
            {
                self.lost.notify_one();
            }
        }
        None
    }
}
