//! What a collector of OpenTelemetry gets of model calls. It is decoded with the types of OTLP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use common::upstream::{Reply, Upstream};
use common::{UID, World, ask, http_provider, members};
use oarmaster_gateway::config::Tracing;
use oarmaster_protocol::admin::TaskBudget;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A collector: what it got.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> (Self, Tracing) {
        let collector = Self::default();
        let take = |State(collector): State<Collector>, headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
            collector.raw.lock().unwrap().extend_from_slice(&body);
            for resource in request.resource_spans {
                let about = resource.resource.unwrap().attributes;
                assert!(about.iter().any(|pair| pair.key == "service.name"));
                for scope in resource.scope_spans {
                    collector.spans.lock().unwrap().extend(scope.spans);
                }
            }
            StatusCode::OK
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(common::kube::axum_serve(listener, router));
        (collector, all(endpoint))
    }

    /// The first `count` spans, the calls before the hops, each by its beginning.
    async fn spans(&self, world: &World, count: usize) -> Vec<Span> {
        world
            .until(|_| self.spans.lock().unwrap().len() >= count)
            .await;
        let mut spans = self.spans.lock().unwrap().clone();
        spans.sort_by_key(|span| (span.kind == CLIENT, span.start_time_unix_nano));
        assert_eq!(spans.len(), count);
        spans
    }
}

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn all(endpoint: String) -> Tracing {
    Tracing {
        endpoint,
        sampling: 1.0,
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let plain = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        Any::DoubleValue(number) => number.to_string(),
        Any::BoolValue(is) => is.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs = span.attributes.iter().cloned();
    pairs
        .map(|pair| (pair.key, plain(pair.value.unwrap().value.unwrap())))
        .collect()
}

async fn two(tracing: Tracing) -> (World, Upstream, Upstream) {
    let (world, one, two) = (
        World::traced(tracing).await,
        Upstream::start().await,
        Upstream::start().await,
    );
    for (name, upstream) in [("one", &one), ("two", &two)] {
        let provider = http_provider(&upstream.url, &[]);
        world.provider("team", name, provider).await;
    }
    world.pool("team", "fast", members(&["one", "two"])).await;
    (world, one, two)
}

#[tokio::test]
async fn a_call_is_a_span_with_its_hops_below_it_and_nothing_of_what_was_said() {
    let (collector, tracing) = Collector::start().await;
    let (world, one, two) = two(tracing).await;
    let user = world.user();
    one.reply(Reply::error(503, "overloaded", "an upstream secret"));
    two.reply(Reply::answer("a spoken secret"));
    let mut body = ask("a written secret");
    body["model"] = json!("team/fast");
    assert_eq!(world.chat(user, body).await.status(), 200);
    let spans = collector.spans(&world, 3).await;
    let [call, first, second] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!((call.kind, call.name.as_str()), (SERVER, "chat team/fast"));
    assert!(call.parent_span_id.is_empty());
    assert!(call.status.as_ref().is_none_or(|status| status.code == 0));
    let told = attributes(call);
    assert_eq!(told["gen_ai.operation.name"], "chat");
    assert_eq!(told["oarmaster.hops"], "2");
    for (hop, provider) in [(first, "team/one"), (second, "team/two")] {
        assert_eq!((hop.kind, hop.name.as_str()), (CLIENT, "chat m"));
        assert_eq!(hop.trace_id, call.trace_id);
        assert_eq!(hop.parent_span_id, call.span_id);
        assert!(hop.start_time_unix_nano <= hop.end_time_unix_nano);
        assert!(hop.end_time_unix_nano <= call.end_time_unix_nano);
        let told = attributes(hop);
        assert_eq!(told["oarmaster.provider"], provider);
        assert_eq!(told["gen_ai.provider.name"], "openai_compatible");
        assert_eq!(told["gen_ai.request.model"], "m");
    }
    assert_eq!(attributes(first)["error.type"], "Transient");
    assert_eq!(first.status.as_ref().unwrap().code, 2);
    let told = attributes(second);
    assert_eq!(told["gen_ai.usage.input_tokens"], "10");
    assert_eq!(told["gen_ai.usage.output_tokens"], "5");
    assert!(!told.contains_key("error.type"));
    let raw = String::from_utf8_lossy(&collector.raw.lock().unwrap()).into_owned();
    assert!(!raw.contains("secret") && !raw.contains("user-token"));
}

#[tokio::test]
async fn a_stream_says_when_its_first_content_came() {
    let (collector, tracing) = Collector::start().await;
    let (world, one, _two) = two(tracing).await;
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "hi"}}]});
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    one.reply(Reply::events(&[chunk, end], true, false));
    let mut body = ask("hello");
    body["stream"] = json!(true);
    body["model"] = json!("team/fast");
    let answer = world.chat(world.user(), body).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    let spans = collector.spans(&world, 2).await;
    let told = attributes(&spans[1]);
    let seconds: f64 = told["gen_ai.response.time_to_first_chunk"].parse().unwrap();
    assert!(seconds > 0.0);
    assert_eq!(told["gen_ai.usage.output_tokens"], "5");
    assert_eq!(attributes(&spans[0])["gen_ai.request.stream"], "true");
}

#[tokio::test]
async fn a_tasks_calls_are_one_trace_and_a_callers_trace_goes_on() {
    let (collector, tracing) = Collector::start().await;
    let (world, one, _two) = two(tracing).await;
    one.always(Reply::answer("hi"));
    let claim = world.task(TaskBudget::default()).await;
    let (status, next, _) = world.call(&claim.session, 0, claim.next, "a").await;
    assert_eq!(status, 200);
    let (status, ..) = world.call(&claim.session, 1, next.unwrap(), "b").await;
    assert_eq!(status, 200);
    let spans = collector.spans(&world, 4).await;
    for span in &spans {
        let id: String = span
            .trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(id, UID.replace('-', ""));
    }
    let told = attributes(&spans[0]);
    assert_eq!(
        (&*told["oarmaster.task.uid"], &*told["oarmaster.attempt"]),
        (UID, "1")
    );

    let user = world.user();
    let ask = async |flags: &str| {
        let mut body = ask("hello");
        body["model"] = json!("team/fast");
        let url = format!("{}/v1/chat/completions", world.data);
        let request = world.http.post(url).bearer_auth(user).json(&body);
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let answer = request.header("traceparent", parent).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    ask("00").await;
    ask("01").await;
    world
        .until(|_| collector.spans.lock().unwrap().len() >= 6)
        .await;
    let spans = collector.spans.lock().unwrap().split_off(4);
    assert_eq!(spans.len(), 2, "the caller that is not sampled has none");
    let call = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!(call.trace_id[..2], [0x0a, 0xf7]);
    assert_eq!(call.parent_span_id[..2], [0xb7, 0xad]);
}

#[tokio::test]
async fn a_refused_call_is_a_span_that_failed() {
    let (collector, tracing) = Collector::start().await;
    let (world, _one, _two) = two(tracing).await;
    world.kube.token("m", "mallory", "oarmaster-gateway", None);
    assert_eq!(world.chat("m", ask("x")).await.status(), 403);
    let spans = collector.spans(&world, 1).await;
    assert_eq!(attributes(&spans[0])["error.type"], "forbidden");
}

#[tokio::test]
async fn a_collector_that_is_not_there_or_never_answers_stops_nobody() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    for address in [gone, silent.local_addr().unwrap()] {
        let (world, one, _two) = two(all(format!("http://{address}"))).await;
        one.always(Reply::answer("hi"));
        let user = world.user();
        let calls = async {
            for _ in 0..3 {
                let mut body = ask("hello");
                body["model"] = json!("team/fast");
                assert_eq!(world.chat(user, body).await.status(), 200);
            }
        };
        tokio::time::timeout(Duration::from_secs(4), calls)
            .await
            .expect("calls do not wait for the collector");
        let dropped = world.gateway.metrics.spans_dropped();
        world.until(|_| dropped.get() >= 6).await;
        assert!(
            world
                .metrics()
                .await
                .contains("oarmaster_spans_dropped_total 6")
        );
    }
}
