//! Programs in a sandbox call models: at the port that they have, in whatever words they speak, at their Task's cost.

use crate::common::upstream::{Reply, Upstream, completion};
use crate::common::{OPERATOR, PILOT, UID, World, ask, http_provider, members, vendor_world};
use crate::support::{pilot, rest, upgrade, with_pool};
use oarmaster_protocol::admin::{RoomQuery, TaskBudget};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Body, Record};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt as _;

const PLENTY: TaskBudget = TaskBudget {
    pico_usd: Some(1_000_000_000_000),
    tokens: None,
    tasks: None,
    depth: None,
};

/// A Task with a pool, and the port that its programs have.
struct Programs {
    world: World,
    upstream: Upstream,
    session: String,
    port: SocketAddr,
}

impl Programs {
    async fn start() -> Self {
        Self::with(PLENTY, "team/fast", &[]).await
    }

    async fn with(budget: TaskBudget, pool: &str, domains: &[&str]) -> Self {
        let (world, upstream) = (World::start().await, Upstream::start().await);
        world.upstream(&upstream, &["k1"]).await;
        Self::within(world, upstream, budget, with_pool(pool, domains)).await
    }

    async fn within(
        world: World,
        upstream: Upstream,
        budget: TaskBudget,
        assignment: Value,
    ) -> Self {
        let claim = world.task_with(budget, assignment).await;
        Self {
            port: pilot(&world.data, &claim.session).await,
            session: claim.session,
            world,
            upstream,
        }
    }

    /// What an SDK sends with the key that it was given.
    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let url = format!("http://{}{path}", self.port);
        let request = self.world.http.post(url).bearer_auth("none");
        request.json(body).send().await.unwrap()
    }

    async fn records(&self) -> Vec<Record> {
        let store = &self.world.gateway.store;
        store.records(UID, 0, 1000).await.unwrap()
    }
}

fn chat(stream: bool) -> (&'static str, Value) {
    let mut body = ask("say it");
    body["model"] = json!("gpt-5.2");
    body["stream"] = json!(stream);
    ("/v1/chat/completions", body)
}

fn responses(stream: bool) -> (&'static str, Value) {
    let body = json!({"model": "gpt-5.2", "input": "say it", "stream": stream, "store": false});
    ("/v1/responses", body)
}

fn messages(stream: bool) -> (&'static str, Value) {
    let body = json!({
        "model": "claude-opus-5", "max_tokens": 100, "stream": stream,
        "messages": [{"role": "user", "content": "say it"}],
    });
    ("/v1/messages", body)
}

/// The upstream's stream, with 10 input and 5 output tokens as its whole answer.
fn streamed() -> Reply {
    let chunk = |delta: Value, reason: Value| json!({"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let usage = json!({"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    let events = [
        chunk(
            json!({"role": "assistant", "content": "a secret "}),
            Value::Null,
        ),
        chunk(json!({"content": "answer"}), Value::Null),
        chunk(json!({}), json!("stop")),
        usage,
    ];
    Reply::events(&events, true, false)
}

/// What 10 input and 5 output tokens cost at USD 1 and 2 per million.
const COST: u64 = 20_000_000;

#[tokio::test]
async fn programs_call_whole_and_streamed_on_every_surface_at_their_tasks_cost() {
    let programs = Programs::start().await;
    let world = &programs.world;
    let calls = [
        chat(false),
        chat(true),
        responses(false),
        responses(true),
        messages(false),
        messages(true),
        // Once more the same: another call.
        chat(false),
    ];
    for (path, body) in &calls {
        let stream = body["stream"] == true;
        programs.upstream.reply(if stream {
            streamed()
        } else {
            Reply::answer("a secret answer")
        });
        let response = programs.post(path, body).await;
        assert_eq!(response.status(), 200, "{path}");
        let kind = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        assert_eq!(response.headers()["content-type"], kind, "{path}");
        assert_eq!(response.headers()["connection"], "close");
        assert!(!response.headers().contains_key("oarmaster-next"));
        let text = response.text().await.unwrap();
        assert!(
            text.contains("a secret ") && text.contains("answer"),
            "{path}: {text}"
        );
    }
    let got = programs.upstream.got();
    assert_eq!(got.len(), calls.len());
    assert!(got.iter().all(|got| got.key == "k1"), "the provider's key");

    let count = calls.len() as u64;
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert_eq!((usage.calls, usage.sum.cost_pico), (count, count * COST));
    assert_eq!((usage.sum.estimated, usage.reserved_pico), (false, 0));
    assert_eq!(usage.requested_by.as_deref(), Some("alice@acme"));
    assert_eq!(world.gateway.store.sdk_total().calls, 0);

    // The journal has each call under its own number, what it cost, and nothing of what was said.
    let records = programs.records().await;
    let mut opened = Vec::new();
    let mut answered = Vec::new();
    for record in &records {
        match &record.body {
            Body::Open { call, provider, .. } => {
                assert_eq!(provider, "team/up");
                opened.push(*call);
            }
            Body::Answer {
                call,
                model,
                message,
                usage,
                ..
            } => {
                assert!(["upstream-model", "m"].contains(&model.as_str()), "{model}");
                assert_eq!((message, usage.cost_pico), (&Value::Null, COST));
                answered.push(*call);
            }
            _ => {}
        }
    }
    let numbers: Vec<u64> = (0..count).collect();
    assert_eq!((&opened, &answered), (&numbers, &numbers));
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("secret") && !text.contains("say it"));
    let metrics = world.metrics().await;
    let spent = "oarmaster_cost_usd_total{namespace=\"team\",pool=\"team/fast\"";
    assert!(metrics.contains(spent), "{metrics}");
}

#[tokio::test]
async fn who_a_program_says_that_it_is_changes_nothing() {
    let programs = Programs::start().await;
    let world = &programs.world;
    let user = world.user();
    let (path, body) = chat(false);
    for (name, value) in [
        ("authorization", format!("Bearer {user}")),
        ("authorization", format!("Bearer {OPERATOR}")),
        ("authorization", "nonsense".to_owned()),
        ("x-api-key", user.to_owned()),
        ("oarmaster-session", "another".to_owned()),
        ("oarmaster-call", "77".to_owned()),
        ("oarmaster-next", "77".to_owned()),
    ] {
        let url = format!("http://{}{path}", programs.port);
        let request = world.http.post(url).header(name, value).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 200, "{name}");
        let sent = programs.upstream.got().pop().unwrap();
        assert_eq!(sent.key, "k1");
        assert!(!sent.headers.contains_key(name) || name == "authorization");
    }
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert_eq!(usage.calls, 7);
    assert_eq!(world.gateway.store.sdk_total().calls, 0);
}

#[tokio::test]
async fn models_are_listed_and_tokens_counted_and_no_other_path_is_there() {
    let programs = Programs::start().await;
    let http = &programs.world.http;
    let url = |path: &str| format!("http://{}{path}", programs.port);
    let listed = http.get(url("/v1/models")).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["data"][0]["id"], "team/fast");
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);

    let (_, mut body) = messages(false);
    body.as_object_mut().unwrap().remove("max_tokens");
    body.as_object_mut().unwrap().remove("stream");
    let counted = programs.post("/v1/messages/count_tokens", &body).await;
    let counted: Value = counted.json().await.unwrap();
    assert!(counted["input_tokens"].as_u64().unwrap() > 0, "{counted}");

    for (path, status) in [
        ("/v1/files", 404),
        ("/task/v1/claim", 404),
        ("/task/v1/result", 404),
        ("/admin/v1/budgets", 404),
        ("/v1/models", 405),
    ] {
        assert_eq!(
            programs.post(path, &json!({})).await.status(),
            status,
            "{path}"
        );
    }
    let usage = programs.world.gateway.store.usage(UID).await.unwrap();
    assert_eq!((usage.calls, programs.records().await.len()), (0, 2));
}

#[tokio::test]
async fn vectors_that_are_asked_for_in_parts_are_several_calls_and_one_answer() {
    let (world, upstream) = vendor_world("Gemini").await;
    let assignment = with_pool("team/fast", &[]);
    let programs = Programs::within(world, upstream, PLENTY, assignment).await;
    let vectors = |count: u64| {
        let values: Vec<Value> = (0..count).map(|_| json!({"values": [1.0]})).collect();
        let tokens = json!({"promptTokenCount": count});
        Reply::json(200, json!({"embeddings": values, "usageMetadata": tokens}))
    };
    programs.upstream.reply(vectors(100));
    programs.upstream.reply(vectors(20));
    let input: Vec<String> = (0..120).map(|number| format!("text {number}")).collect();
    let body = json!({"model": "text-embedding-3-small", "input": input});
    let response = programs.post("/v1/embeddings", &body).await;
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"].as_array().unwrap().len(), 120);
    let usage = programs.world.gateway.store.usage(UID).await.unwrap();
    assert_eq!((usage.calls, usage.sum.input_tokens), (2, 120));
}

#[tokio::test]
async fn any_model_is_the_tasks_pool_and_another_pool_is_not() {
    let programs = Programs::start().await;
    let world = &programs.world;
    world
        .provider("team", "dear", http_provider(&programs.upstream.url, &[]))
        .await;
    let spec = json!({"members": members(&["dear"]), "aliases": ["gpt-5.2"]});
    world.pool_with("team", "strong", spec).await;
    let (path, mut body) = chat(false);
    for (model, status) in [
        ("gpt-5.2", 200), // the other one's alias: the program means a model
        ("fast", 200),
        ("team/fast", 200),
        ("default", 200),
        ("meta-llama/Llama-4", 200),
        ("other/strong", 200), // nobody is told which pools others have
        ("strong", 403),
        ("team/strong", 403),
    ] {
        body["model"] = json!(model);
        let response = programs.post(path, &body).await;
        assert_eq!(response.status(), status, "{model}");
        let answer: Value = response.json().await.unwrap();
        if status == 403 {
            assert_eq!(answer["error"]["code"], "forbidden");
            let text = answer["error"]["message"].as_str().unwrap();
            assert!(text.contains("may use team/fast only"), "{text}");
        }
    }
    let records = programs.records().await;
    let elsewhere = records.iter().filter(
        |record| matches!(&record.body, Body::Open { provider, .. } if provider != "team/up"),
    );
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_told_in_the_programs_words_and_not_to_be_tried_again() {
    let little = TaskBudget {
        pico_usd: Some(COST),
        tokens: None,
        ..TaskBudget::default()
    };
    let programs = Programs::with(little, "team/fast", &[]).await;
    for (path, body) in [chat(false), chat(true), responses(true), messages(true)] {
        let response = programs.post(path, &body).await;
        assert_eq!(response.status(), 429, "{path}");
        assert_eq!(response.headers()["x-should-retry"], "false");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["type"], "rate_limit_error", "{answer}");
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("budget"), "{text}");
    }
    assert!(programs.upstream.got().is_empty());
    // Others pay for themselves.
    let user = programs.world.user();
    assert_eq!(programs.world.chat(user, ask("hello")).await.status(), 200);
    let usage = programs.world.gateway.store.usage(UID).await.unwrap();
    assert_eq!((usage.calls, usage.sum.cost_pico), (0, 0));
}

#[tokio::test]
async fn every_budget_of_the_cluster_counts() {
    let programs = Programs::start().await;
    let world = &programs.world;
    let team = |usd: &str| json!({"window": "Total", "usd": usd, "per": "Namespace"});
    world.budget("teams", team("1")).await;
    programs.upstream.reply(streamed());
    let (path, body) = messages(true);
    let answer = programs.post(path, &body).await;
    assert!(answer.text().await.unwrap().contains("message_stop"));
    let reports = world.gateway.budget_reports();
    assert_eq!(reports[0].counters[0].spent_pico, COST);
    world.budget("teams", team("0.00002")).await;
    // The operator hears of it before it begins another attempt.
    let query = RoomQuery {
        task: TaskRef {
            namespace: "team".to_owned(),
            name: "fix".to_owned(),
            uid: UID.to_owned(),
        },
        pool: None,
        agent: None,
        requested_by: None,
    };
    let blocked = world.gateway.blocked(&query).await.unwrap();
    assert!(blocked.is_some_and(|blocked| blocked.message.contains("teams")));
    let response = programs.post(path, &body).await;
    assert_eq!(response.status(), 429);
    assert!(!response.headers().contains_key("x-should-retry"));
}

#[tokio::test]
async fn a_failed_call_goes_over_to_the_next_member_as_a_hop_of_it() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let good = http_provider(&upstream.url, &[]);
    world.provider("team", "good", good).await;
    world.pool("team", "two", members(&["up", "good"])).await;
    let assignment = with_pool("team/two", &[]);
    let programs = Programs::within(world, upstream, PLENTY, assignment).await;
    for (path, body) in [chat(false), chat(true)] {
        programs.upstream.reply(Reply::error(500, "x", "broken"));
        let stream = body["stream"] == true;
        programs.upstream.reply(if stream {
            streamed()
        } else {
            Reply::answer("ok")
        });
        let response = programs.post(path, &body).await;
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
    }
    let records = programs.records().await;
    let told = records.iter().filter_map(|record| match &record.body {
        Body::CallFailed { call, hop, .. } => Some((*call, *hop, "failed")),
        Body::Answer { call, hop, .. } => Some((*call, *hop, "answered")),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let expected = [
        (0, 0, "failed"),
        (0, 1, "answered"),
        (1, 0, "failed"),
        (1, 1, "answered"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_kept_answer_is_a_call_that_costs_nothing() {
    let programs = Programs::start().await;
    let spec = json!({"members": members(&["up"]), "cache": {"mode": "Exact"}});
    programs.world.pool_with("team", "fast", spec).await;
    let (path, mut body) = chat(false);
    body["temperature"] = json!(0);
    let mut told = Vec::new();
    for cache in ["miss", "hit"] {
        let response = programs.post(path, &body).await;
        assert_eq!(response.headers()["x-oarmaster-cache"], cache);
        told.push(response.text().await.unwrap());
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(programs.upstream.got().len(), 1);
    let usage = programs.world.gateway.store.usage(UID).await.unwrap();
    assert_eq!((usage.calls, usage.sum.cost_pico), (2, COST));
}

#[tokio::test]
async fn an_attempt_that_is_over_calls_nothing_on_connections_that_it_had() {
    let programs = Programs::start().await;
    let world = &programs.world;
    let (_, mut stream) = upgrade(&world.data, PILOT, &programs.session).await;
    let fence = format!("{}/admin/v1/attempts/{UID}/1/fence", world.admin);
    let fence = world.http.put(fence).bearer_auth(OPERATOR);
    let fenced = fence.json(&json!({"reason": "cancelled"})).send().await;
    assert!(fenced.unwrap().status().is_success());
    let (path, body) = chat(false);
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let heard = rest(&mut stream).await;
    // Refused, or the connection was ended before it was asked.
    assert!(
        heard.starts_with("HTTP/1.1 409") || heard.is_empty(),
        "{heard}"
    );
    assert!(programs.upstream.got().is_empty());
}

#[tokio::test]
async fn a_pool_gives_no_egress_and_egress_goes_on_beside_it() {
    for (domains, told) in [
        (&[][..], "which has no egress"),
        (&["pypi.org"], "which has egress to pypi.org"),
    ] {
        let programs = Programs::with(PLENTY, "team/fast", domains).await;
        let (_, mut stream) = upgrade(&programs.world.data, PILOT, &programs.session).await;
        let asked = b"CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        let heard = rest(&mut stream).await;
        assert!(heard.starts_with("HTTP/1.1 403"), "{heard}");
        assert!(heard.contains(told), "{heard}");
        let (path, body) = chat(false);
        assert_eq!(programs.post(path, &body).await.status(), 200);
    }
}

#[tokio::test]
async fn a_call_goes_on_to_its_end_when_its_program_has_left() {
    let programs = Programs::start().await;
    programs
        .upstream
        .reply(Reply::Held(completion("late", 10, 5)));
    let (_, mut stream) = upgrade(&programs.world.data, PILOT, &programs.session).await;
    let (path, body) = chat(false);
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let upstream = programs.upstream.clone();
    programs.world.until(|_| !upstream.got().is_empty()).await;
    drop(stream);
    programs.upstream.release();
    let store = programs.world.gateway.store.clone();
    let settled = async {
        while store.usage(UID).await.unwrap().sum.cost_pico != COST {
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(std::time::Duration::from_secs(60), settled);
    settled.await.expect("booked though nobody waits");
}

/// How many connections of programs have ended.
async fn ended(world: &World) -> u64 {
    let text = world.metrics().await;
    let counts = text
        .lines()
        .filter(|line| line.starts_with("oarmaster_egress_connections_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[tokio::test]
async fn a_call_whose_program_has_left_has_its_place_to_its_end() {
    const OPEN: usize = 64;
    let programs = Programs::start().await;
    let world = &programs.world;
    let held = Reply::Held(completion("late", 10, 5));
    programs.upstream.always(held);
    let (path, body) = chat(false);
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for count in 1..=OPEN {
        let (status, mut stream) = upgrade(&world.data, PILOT, &programs.session).await;
        assert_eq!(status, 101);
        stream.write_all(request.as_bytes()).await.unwrap();
        let upstream = programs.upstream.clone();
        world.until(|_| upstream.got().len() == count).await;
        drop(stream);
    }
    let in_time = std::time::Duration::from_secs(60);
    let left = async {
        while ended(world).await < OPEN as u64 {
            tokio::task::yield_now().await;
        }
    };
    let left = tokio::time::timeout(in_time, left).await;
    left.expect("the gateway sees that they have left");
    let again = async || upgrade(&world.data, PILOT, &programs.session).await.0;
    assert_eq!(again().await, 429, "its calls are under way");
    programs.upstream.release();
    let free = async {
        while again().await != 101 {
            tokio::task::yield_now().await;
        }
    };
    let free = tokio::time::timeout(in_time, free).await;
    free.expect("places come back with the ends of the calls");
}
