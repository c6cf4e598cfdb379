//! CPU of a Task's call, whose request and answer are durable before the next step: pods with attempts of their own call one after another.

use crate::World;
use crate::load::{ask, body, to_f64};
use crate::objects::{self, OPERATOR};
use crate::wire::Server;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use oarmaster_e2e::bench::cpu::cpu;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use oarmaster_protocol::admin::AttemptReport;
use oarmaster_protocol::task::{CALL_HEADER, Claim, NEXT_HEADER, SESSION_HEADER};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::task::JoinSet;

/// Tasks that call at once: so many that none is held back by the pace that a Task has.
const TASKS: usize = 64;
/// Calls of each in a round.
const CALLS: usize = 64;
/// Rounds; the median counts.
const ROUNDS: usize = 5;

type Sender = SendRequest<Full<Bytes>>;

/// What the pilot of a claimed attempt knows.
#[derive(Clone, Serialize, Deserialize)]
pub struct Claimed {
    token: String,
    session: String,
    call: u64,
    next: u64,
}

/// A pilot, with its connection.
pub struct Pilot {
    sender: Sender,
    host: String,
    claimed: Claimed,
}

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    eprintln!("calls of {TASKS} Tasks");
    let pid = world.gateway.process.pid()?;
    let mut pilots = Vec::new();
    for number in 0..TASKS {
        let claimed = claim(world, number).await?;
        pilots.push(Pilot::new(&world.server(world.gateway.data), claimed).await?);
    }
    let (mut micros, mut rates, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (before, begun) = (cpu(pid)?, Instant::now());
        let mut running = JoinSet::new();
        for mut pilot in std::mem::take(&mut pilots) {
            let body = body("plain", 1, false);
            running.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..CALLS {
                    let begun = Instant::now();
                    let status = pilot.call(&body).await?;
                    ensure!(
                        status == StatusCode::OK,
                        "a Task's call was answered {status}"
                    );
                    times.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::Ok((pilot, times))
            });
        }
        while let Some(done) = running.join_next().await {
            let (pilot, took) = done??;
            pilots.push(pilot);
            times.extend(took);
        }
        let count = to_f64(TASKS * CALLS);
        if round == 0 {
            times.clear(); // cold caches
            continue;
        }
        micros.push((cpu(pid)? - before) * 1e6 / count);
        rates.push(count / begun.elapsed().as_secs_f64());
    }
    let row = vec![
        short(percentile(&micros, 50)),
        format!(
            "{} to {}",
            short(percentile(&micros, 1)),
            short(percentile(&micros, 100))
        ),
        short(percentile(&rates, 50)),
        short(percentile(&times, 50)),
        short(percentile(&times, 99)),
    ];
    let head = [
        "CPU of a Task's call, 1 KiB; us, median",
        "us, of the rounds",
        "calls/s of 64 Tasks",
        "ms, p50",
        "ms, p99",
    ];
    report.table(&head, &[row]);
    let median = percentile(&micros, 50);
    report.figure("gateway_cpu_us_per_task_call", median, Goal::AtMost(110.0));
    Ok(())
}

/// The pod, the attempt and the claim of a Task, as the cluster, the operator and the pilot would have them.
pub async fn claim(world: &World, number: usize) -> Result<Claimed> {
    let task = objects::pod(&world.api, number)?;
    let admin = world.server(world.gateway.admin);
    let mut sender: Sender = admin.connect().await?;
    let target = json!({"agent": {
        "pinned": "agent@sha256:00", "instructions": "be careful", "prompt": "fix it", "model": "team/plain",
        "maxOutputTokens": 200, "tools": [], "maxTurns": 1000, "maxToolCalls": 10,
    }});
    let open = json!({
        "runsIn": {"job": format!("job-{number}")}, "budget": {}, "requestedBy": "alice@acme",
        "assignment": {"task": {"namespace": "team", "name": format!("task-{number}"), "uid": task}, "target": target},
    });
    let path = format!("/admin/v1/attempts/{task}/1");
    let request = request(Method::PUT, &path, &admin.host(), OPERATOR, &open)?;
    let report: AttemptReport = read(&mut sender, request).await?;

    let data = world.server(world.gateway.data);
    let mut sender: Sender = data.connect().await?;
    let token = objects::pilot(number);
    let claim = json!({"assignment": report.assignment, "nonce": "n1"});
    let request = self::request(Method::POST, "/task/v1/claim", &data.host(), &token, &claim)?;
    let claim: Claim = read(&mut sender, request).await?;
    Ok(Claimed {
        token,
        session: claim.session,
        call: claim.next_call,
        next: claim.next,
    })
}

impl Pilot {
    /// One with a connection of its own.
    pub async fn new(server: &Server, claimed: Claimed) -> Result<Self> {
        Ok(Self {
            sender: server.connect().await?,
            host: server.host(),
            claimed,
        })
    }

    /// Goes back to what was known then.
    pub fn again(&mut self, claimed: &Claimed) {
        self.claimed.clone_from(claimed);
    }

    /// The next call, which is the same again after one that was not answered.
    pub async fn call(&mut self, body: &Bytes) -> Result<StatusCode> {
        let claimed = &self.claimed;
        let request = Request::post("/v1/chat/completions")
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Bearer {}", claimed.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(SESSION_HEADER, &claimed.session)
            .header(CALL_HEADER, claimed.call)
            .header(NEXT_HEADER, claimed.next)
            .body(Full::new(body.clone()))?;
        let (status, headers, _) = ask(&mut self.sender, request).await?;
        if status == StatusCode::OK {
            self.claimed.call += 1;
            self.claimed.next = next(&headers)?;
        }
        Ok(status)
    }
}

fn next(headers: &HeaderMap) -> Result<u64> {
    let value = headers
        .get(NEXT_HEADER)
        .and_then(|value| value.to_str().ok());
    value
        .and_then(|text| text.parse().ok())
        .with_context(|| format!("a Task's answer has no header {NEXT_HEADER}"))
}

fn request(
    method: Method,
    path: &str,
    host: &str,
    token: &str,
    body: &Value,
) -> Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .context("failed to build a request")
}

async fn read<T: serde::de::DeserializeOwned>(
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
) -> Result<T> {
    let path = request.uri().to_string();
    let (status, _, text) = ask(sender, request).await?;
    ensure!(
        status == StatusCode::OK,
        "{path} was answered {status}: {}",
        String::from_utf8_lossy(&text)
    );
    serde_json::from_slice(&text).with_context(|| format!("failed to read the answer of {path}"))
}
