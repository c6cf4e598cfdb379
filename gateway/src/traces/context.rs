//! Which trace a call is part of, and whether it is sampled.

use http::HeaderMap;
use opentelemetry::trace::{SpanId, TraceId};

const TRACEPARENT: &str = "traceparent";

/// What a call's span is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: Option<SpanId>,
    /// Whether its spans are kept.
    pub sampled: bool,
}

impl Parent {
    /// A trace of its own.
    pub fn new(share: f64) -> Self {
        let trace = TraceId::from_bytes(fastrand::u128(1..).to_be_bytes());
        Self {
            trace,
            span: None,
            sampled: sampled(trace, share),
        }
    }

    /// The trace of a Task.
    pub fn of_task(uid: &str, share: f64) -> Self {
        let trace = TraceId::from_hex(&uid.replace('-', ""));
        match trace.ok().filter(|trace| *trace != TraceId::INVALID) {
            Some(trace) => Self {
                trace,
                span: None,
                sampled: sampled(trace, share),
            },
            // No API server gives such a UID.
            None => Self::new(share),
        }
    }

    /// The trace of a caller who says which one it is, as the W3C's Trace Context has it. Who decided that is decided by the caller, too.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let text = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let part = parts.next()?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (part.len() == length && part.bytes().all(is_hex)).then_some(part)
        };
        let (version, trace) = (part(2)?, part(32)?);
        let (span, flags) = (part(16)?, part(2)?);
        // A later version may have more behind it.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = TraceId::from_hex(trace).ok()?;
        let span = SpanId::from_hex(span).ok()?;
        let valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        valid.then_some(Self {
            trace,
            span: Some(span),
            sampled: flags & 1 == 1,
        })
    }
}

/// Whether a trace that begins here is kept. By the first bytes of its id: in a UID of Kubernetes they are random, the last ones not all.
fn sampled(trace: TraceId, share: f64) -> bool {
    let bytes = trace.to_bytes();
    let first = bytes
        .iter()
        .take(6)
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    #[allow(clippy::cast_precision_loss)] // 48 bits fit
    let place = first as f64 / (1_u64 << 48) as f64;
    place < share
}

/// A fresh id of a span.
pub fn span_id() -> SpanId {
    SpanId::from_bytes(fastrand::u64(1..).to_be_bytes())
}
