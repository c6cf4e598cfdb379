//! Requests, and two ways of sending them: as fast as answers come, and at fixed times whether or not they do.

use crate::objects::token;
use crate::wire::{Pool, Server};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// An answer must be complete within this.
const ANSWER: Duration = Duration::from_secs(60);
/// Most requests that wait for an answer at once: more than a machine that keeps the pace ever has.
const MOST: usize = 2048;

/// Longest time that is told apart from others, in microseconds.
pub const LONGEST: u64 = 120_000_000;
/// Most connections of an open loop, as a client's pool has a bound; who finds none waits for one.
const CONNECTIONS: usize = 256;
/// Connections that stand before an open loop begins.
const READY: usize = 32;

type Sender = SendRequest<Full<Bytes>>;

/// Something that answers `/v1/chat/completions`.
#[derive(Clone)]
pub struct Target {
    /// Its name in tables.
    pub name: &'static str,
    server: Server,
    /// What stands before `/v1`.
    prefix: &'static str,
    /// The one token that it takes; else the callers' own.
    token: Option<&'static str>,
}

impl Target {
    /// A target at this server.
    pub const fn new(
        name: &'static str,
        server: Server,
        prefix: &'static str,
        token: Option<&'static str>,
    ) -> Self {
        Self {
            name,
            server,
            prefix,
            token,
        }
    }

    /// The same below another prefix.
    #[must_use]
    pub fn with_prefix(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// The request of a number with this body.
    fn request(&self, number: usize, body: &Bytes) -> Result<Request<Full<Bytes>>> {
        let bearer = match self.token {
            Some(token) => format!("Bearer {token}"),
            None => format!("Bearer {}", token(number)),
        };
        Request::post(format!("{}/v1/chat/completions", self.prefix))
            .header(header::HOST, self.server.host())
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "oarmaster-bench")
            .body(Full::new(body.clone()))
            .context("failed to build a request")
    }

    /// Sends a request on a connection; gives the answer once its headers are there.
    pub async fn send(
        &self,
        sender: &mut Sender,
        number: usize,
        body: &Bytes,
    ) -> Result<hyper::Response<Incoming>> {
        sender
            .ready()
            .await
            .with_context(|| format!("{} has closed a connection", self.name))?;
        let request = self.request(number, body)?;
        sender
            .send_request(request)
            .await
            .with_context(|| format!("{} did not answer", self.name))
    }

    /// Sends a request and reads the answer to its end.
    pub async fn ask(
        &self,
        sender: &mut Sender,
        number: usize,
        body: &Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let exchange = async {
            let answer = self.send(sender, number, body).await?;
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            Ok((status, text))
        };
        tokio::time::timeout(ANSWER, exchange)
            .await
            .with_context(|| format!("{} did not answer within {ANSWER:?}", self.name))?
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Sender> {
        self.server.connect().await
    }

    /// `count` requests over `connections` connections, each as soon as the one before is answered. Any answer but 200 is an error.
    pub async fn closed(&self, body: &Bytes, count: usize, connections: usize) -> Result<Duration> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        let begun = Instant::now();
        for _ in 0..connections {
            let (target, body, next) = (self.clone(), body.clone(), next.clone());
            workers.spawn(async move {
                let mut sender = target.connect().await?;
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        return Ok(());
                    }
                    let (status, text) = target.ask(&mut sender, number, &body).await?;
                    check(target.name, status, &text)?;
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            let done: Result<()> = done?;
            done?;
        }
        Ok(begun.elapsed())
    }

    /// Requests at a fixed rate for a while. Their times, in microseconds, begin when each was due; those of the first second, in which
    /// connections are made, do not count.
    pub async fn open(&self, body: &Bytes, rate: u32, length: Duration) -> Result<Open> {
        let run = Arc::new(Run {
            target: self.clone(),
            pool: Pool::new(self.server.clone()),
            counted: usize::try_from(rate)?,
            body: body.clone(),
            times: Mutex::new(Histogram::new_with_bounds(1, LONGEST, 3)?),
            connections: Semaphore::new(CONNECTIONS),
            waiting: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            first: Mutex::default(),
        });
        for _ in 0..READY {
            run.pool.put(self.connect().await?);
        }
        let handle = tokio::runtime::Handle::current();
        let paced = run.clone();
        let count = usize::try_from(u64::from(rate) * length.as_secs())?;
        // A thread of its own keeps the time: the runtime's timers are exact to a millisecond only.
        let spent = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            for number in 0..count {
                let due = begun + Duration::from_secs_f64(to_f64(number) / f64::from(rate));
                if let Some(wait) = due.checked_duration_since(Instant::now()) {
                    std::thread::sleep(wait);
                }
                if paced.waiting.load(Relaxed) >= MOST {
                    paced.fail("too many requests wait for an answer");
                    continue;
                }
                paced.waiting.fetch_add(1, Relaxed);
                let run = paced.clone();
                handle.spawn(async move { run.one(number, due).await });
            }
            begun.elapsed()
        })
        .await?;
        let deadline = Instant::now() + ANSWER;
        while run.waiting.load(Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let times = run.times.lock().unwrap_or_else(PoisonError::into_inner);
        let first = run.first.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Open {
            times: times.clone(),
            failed: run.failed.load(Relaxed),
            why: first.clone(),
            rate: to_f64(count) / spent.as_secs_f64(),
        })
    }
}

/// What an open loop saw.
pub struct Open {
    /// Microseconds of each answer, from when its request was due.
    pub times: Histogram<u64>,
    /// Requests without one.
    pub failed: usize,
    /// Why the first of them had none.
    pub why: Option<String>,
    /// Requests a second, as they were sent.
    pub rate: f64,
}

impl Open {
    /// A percentile in milliseconds.
    pub fn ms(&self, percent: f64) -> f64 {
        ms(&self.times, percent)
    }
}

/// A percentile of microseconds, in milliseconds.
pub fn ms(micros: &Histogram<u64>, percent: f64) -> f64 {
    let micros = micros.value_at_percentile(percent);
    u32::try_from(micros).map_or(f64::INFINITY, f64::from) / 1e3
}

struct Run {
    target: Target,
    pool: Pool<Full<Bytes>>,
    connections: Semaphore,
    /// The first request whose time counts.
    counted: usize,
    body: Bytes,
    times: Mutex<Histogram<u64>>,
    waiting: AtomicUsize,
    failed: AtomicUsize,
    first: Mutex<Option<String>>,
}

impl Run {
    async fn one(&self, number: usize, due: Instant) {
        let asked = async {
            let _permit = self.connections.acquire().await?;
            let mut sender = self.pool.take().await?;
            let (status, text) = self.target.ask(&mut sender, number, &self.body).await?;
            check(self.target.name, status, &text)?;
            self.pool.put(sender);
            anyhow::Ok(())
        };
        let end = asked.await;
        let took = due.elapsed();
        match end {
            Ok(()) if number < self.counted => {}
            Ok(()) => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
                times.saturating_record(micros);
            }
            Err(error) => self.fail(&format!("{error:#}")),
        }
        self.waiting.fetch_sub(1, Relaxed);
    }

    fn fail(&self, why: &str) {
        self.failed.fetch_add(1, Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| why.to_owned());
    }
}

fn check(name: &str, status: StatusCode, text: &[u8]) -> Result<()> {
    ensure!(
        status == StatusCode::OK,
        "{name} answered {status}: {}",
        String::from_utf8_lossy(text.get(..500.min(text.len())).unwrap_or_default())
    );
    Ok(())
}

/// Sends a request that is no call of a model, or one of a Task, and reads the answer.
pub async fn ask(
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes)> {
    let exchange = async {
        sender.ready().await.context("the connection was closed")?;
        let answer = sender.send_request(request).await.context("no answer")?;
        let (parts, body) = answer.into_parts();
        let text = body.collect().await?.to_bytes();
        Ok((parts.status, parts.headers, text))
    };
    tokio::time::timeout(ANSWER, exchange)
        .await
        .with_context(|| format!("no answer within {ANSWER:?}"))?
}

/// A number as a float; beyond 2^53 the last digits are lost.
pub fn to_f64(number: usize) -> f64 {
    let low = u32::try_from(number & 0xffff_ffff).map_or(0.0, f64::from);
    let high = u32::try_from(number >> 32).map_or(0.0, f64::from);
    high * 4_294_967_296.0 + low
}

/// A request of about this many KiB to a pool: a conversation with messages of half a KiB.
pub fn body(pool: &str, kib: usize, stream: bool) -> Bytes {
    let text = "All work and no play makes an agent a dull one, \"they\" said.\n".repeat(8);
    let mut messages = vec![json!({"role": "system", "content": "Answer in one sentence."})];
    let mut size = 200;
    while size < kib * 1024 {
        let role = if messages.len() % 2 == 1 {
            "user"
        } else {
            "assistant"
        };
        let rest = (kib * 1024 - size).min(text.len());
        let content = text.get(..rest.max(1)).unwrap_or(&text);
        messages.push(json!({"role": role, "content": content}));
        size += content.len() + 50;
    }
    let mut body =
        json!({"model": format!("team/{pool}"), "max_tokens": 100, "messages": messages});
    if let (true, Some(body)) = (stream, body.as_object_mut()) {
        body.insert("stream".to_owned(), Value::Bool(true));
    }
    Bytes::from(body.to_string())
}
