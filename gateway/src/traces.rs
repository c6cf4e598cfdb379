//! Traces of model calls, in the words of OpenTelemetry's GenAI conventions: a span for a call, one below it for each hop. Never anything of
//! what was said, no key, no user.
//!
//! A caller's `traceparent` is continued. The calls of a Task are one trace: its id is the Task's UID without hyphens. Where tracing is
//! off, nothing of this is made; where it is on, a call never waits for it: spans go through a queue with a bound, and what does not
//! fit, or what the collector does not take, is dropped and counted.

mod context;
mod export;
#[cfg(test)]
mod tests;

pub use export::{Exporter, start};

use crate::provider::failure::Failure;
use crate::request::Request;
use crate::state::Caller;
use crate::surface::Surface;
use context::Parent;
use http::HeaderMap;
use oarmaster_crds::kinds::provider::ProviderType;
use oarmaster_dialect::Usage;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prometheus_client::metrics::counter::Counter;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Begins the traces of calls.
#[derive(Clone, Debug)]
pub struct Traces {
    queue: Queue,
    /// Of new traces, those are sampled whose id begins with less than this share.
    share: f64,
}

/// Where ended spans go.
#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    dropped: Counter,
}

/// The trace of one call. Its span ends when nobody holds it any more.
#[derive(Debug)]
pub struct Trace {
    queue: Queue,
    operation: &'static str,
    context: SpanContext,
    parent: Option<SpanId>,
    name: String,
    begun: SystemTime,
    attributes: Vec<KeyValue>,
    ended: Mutex<Ended>,
}

/// What is known of a call's end.
#[derive(Debug, Default)]
struct Ended {
    hops: u32,
    /// Why it failed, in a word.
    error: Option<&'static str>,
}

/// A hop that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// What the provider speaks.
    pub kind: ProviderType,
    /// `<namespace>/<provider>`.
    pub provider: &'a str,
    /// Model id at the provider.
    pub model: &'a str,
    /// Why it was asked.
    pub reason: &'static str,
    /// Its number in the call, from 1.
    pub number: u32,
    /// How long it took.
    pub took: Duration,
    /// When the first content of a stream came.
    pub first_token: Option<Duration>,
    /// How it ended.
    pub result: Result<(), &'a Failure>,
    /// What the provider counted.
    pub usage: Option<&'a Usage>,
}

impl Traces {
    /// The trace of a call, if it is sampled; `pool` is then asked for what it calls.
    #[must_use]
    pub fn begin(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
        request: &Request,
        pool: impl FnOnce() -> String,
    ) -> Option<Arc<Trace>> {
        let pod = caller.pod();
        let parent = match pod {
            // A sandbox does not say which trace it is part of.
            Some(pod) => Parent::of_task(&pod.task_uid, self.share),
            None => Parent::of_headers(headers).unwrap_or_else(|| Parent::new(self.share)),
        };
        if !parent.sampled {
            return None;
        }
        let operation = operation(request.surface);
        let pool = pool();
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.request.model", pool.clone()),
            KeyValue::new("gen_ai.request.stream", request.stream),
        ];
        if let Some(pod) = pod {
            attributes.extend([
                KeyValue::new("k8s.namespace.name", pod.namespace.clone()),
                KeyValue::new("oarmaster.task.uid", pod.task_uid.clone()),
                KeyValue::new("oarmaster.attempt", i64::from(pod.attempt)),
            ]);
        }
        Some(Arc::new(Trace {
            queue: self.queue.clone(),
            operation,
            context: context(parent.trace),
            parent: parent.span,
            name: format!("{operation} {pool}"),
            begun: SystemTime::now(),
            attributes,
            ended: Mutex::default(),
        }))
    }
}

impl Trace {
    /// The call has failed, in a word.
    pub fn failed(&self, error: &'static str) {
        self.lock().error = Some(error);
    }

    /// A hop has ended now.
    pub fn hop_ended(&self, hop: &Hop<'_>) {
        let mut ended = self.lock();
        ended.hops = hop.number;
        ended.error = hop.result.err().map(|failure| failure.class.as_str());
        let error = ended.error;
        drop(ended);
        let end = SystemTime::now();
        self.queue.push(SpanData {
            span_context: context(self.context.trace_id()),
            parent_span_id: self.context.span_id(),
            span_kind: SpanKind::Client,
            start_time: end.checked_sub(hop.took).unwrap_or(end),
            ..span(
                format!("{} {}", self.operation, hop.model),
                hop.attributes(self.operation),
                end,
                error,
            )
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let Ended { hops, error } = *self.lock();
        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.push(KeyValue::new("oarmaster.hops", i64::from(hops)));
        let name = std::mem::take(&mut self.name);
        self.queue.push(SpanData {
            span_context: self.context.clone(),
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.parent.is_some(),
            span_kind: SpanKind::Server,
            start_time: self.begun,
            ..span(name, attributes, SystemTime::now(), error)
        });
    }
}

impl Hop<'_> {
    fn attributes(&self, operation: &'static str) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", provider_name(self.kind)),
            KeyValue::new("gen_ai.request.model", self.model.to_owned()),
            KeyValue::new("oarmaster.provider", self.provider.to_owned()),
            KeyValue::new("oarmaster.reason", self.reason),
            KeyValue::new("oarmaster.hop", i64::from(self.number)),
        ];
        if let Some(after) = self.first_token {
            let seconds = after.as_secs_f64();
            attributes.push(KeyValue::new(
                "gen_ai.response.time_to_first_chunk",
                seconds,
            ));
        }
        if let Some(usage) = self.usage {
            let counts = [
                ("gen_ai.usage.input_tokens", usage.all_input()),
                ("gen_ai.usage.output_tokens", usage.output),
                ("gen_ai.usage.cache_read.input_tokens", usage.cache_read),
            ];
            attributes.extend(counts.map(|(name, count)| {
                KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX))
            }));
        }
        attributes
    }
}

impl Queue {
    fn push(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

/// A new span of a trace.
fn context(trace: TraceId) -> SpanContext {
    SpanContext::new(
        trace,
        context::span_id(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// A span without its place in the trace.
fn span(
    name: String,
    mut attributes: Vec<KeyValue>,
    end: SystemTime,
    error: Option<&'static str>,
) -> SpanData {
    let status = match error {
        Some(class) => {
            attributes.push(KeyValue::new("error.type", class));
            Status::Error {
                description: Cow::Borrowed(""),
            }
        }
        None => Status::Unset,
    };
    SpanData {
        span_context: SpanContext::NONE,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: end,
        end_time: end,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("oarmaster-gateway").build(),
    }
}

const fn operation(surface: Surface) -> &'static str {
    match surface {
        Surface::Embeddings => "embeddings",
        Surface::CountTokens => "count_tokens",
        Surface::Chat | Surface::Responses | Surface::Messages => "chat",
    }
}

/// The conventions' names, where they have one.
const fn provider_name(kind: ProviderType) -> &'static str {
    match kind {
        ProviderType::OpenAI => "openai",
        ProviderType::Anthropic => "anthropic",
        ProviderType::Gemini => "gcp.gemini",
        ProviderType::Cohere => "cohere",
        ProviderType::Mistral => "mistral_ai",
        ProviderType::Groq => "groq",
        ProviderType::AzureOpenAI => "azure.ai.openai",
        ProviderType::Bedrock => "aws.bedrock",
        ProviderType::OpenRouter => "openrouter",
        ProviderType::OpenAICompatible => "openai_compatible",
        ProviderType::Scripted => "scripted",
    }
}
