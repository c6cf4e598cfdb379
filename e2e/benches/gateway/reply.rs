//! The answers of the provider that is played, and its faults.

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};
use std::error::Error;
use std::time::Duration;

/// Content of an answer that is not streamed.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, as it did yesterday and the day before, and nobody who saw it could say why it should not do so again tomorrow, or on any other day of the week that it finds fit.";
/// Where `"stream":true` is looked for: this many bytes from each end of a body.
const LOOK: usize = 2048;

/// A failure of a connection.
pub type Failure = Box<dyn Error + Send + Sync>;
/// An answer.
pub type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;

/// How an answer is streamed.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Chunks with content.
    pub chunks: u64,
    /// Time before each.
    pub each: Duration,
}

/// 5 s of 20 chunks a second.
pub const STEADY: Pace = Pace {
    chunks: 100,
    each: Duration::from_millis(50),
};
/// Half a second of 40 chunks a second.
pub const QUICK: Pace = Pace {
    chunks: 20,
    each: Duration::from_millis(25),
};
/// A stream that hardly moves.
pub const STALLING: Pace = Pace {
    chunks: 4,
    each: Duration::from_millis(900),
};

/// What goes wrong.
#[derive(Clone, Copy)]
pub enum Fault {
    /// This status with an error of this code.
    Refused(StatusCode, &'static str),
    /// An error with the status of a success.
    Pretended,
    /// The stream breaks off after its usage, before its end.
    Cut,
    /// The stream hardly moves.
    Stall,
}

/// Whether and how the request of this number fails: one in twelve. Each of these costs what the mock says and no more: a failure of which a
/// caller cannot know whether it was billed is booked at its reservation, and nothing could be held against the bill to the last digit.
pub fn fault(number: u64) -> Option<Fault> {
    match number % 60 {
        3 => Some(Fault::Refused(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_exceeded",
        )),
        17 => Some(Fault::Refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
        )),
        29 => Some(Fault::Cut),
        41 => Some(Fault::Stall),
        53 => Some(Fault::Pretended),
        _ => None,
    }
}

/// Whether a request asks for a stream.
pub fn wants_stream(body: &[u8]) -> bool {
    let wanted = b"\"stream\":true";
    let head = body.get(..LOOK.min(body.len())).unwrap_or_default();
    let tail = body
        .get(body.len().saturating_sub(LOOK)..)
        .unwrap_or_default();
    [head, tail].into_iter().any(|part| {
        part.windows(wanted.len())
            .any(|window| window == wanted.as_slice())
    })
}

/// A whole answer of type JSON.
pub fn whole(status: StatusCode, body: &Value) -> Result<Answer, Failure> {
    let body = Full::new(Bytes::from(body.to_string()));
    let mut answer = Response::new(body.map_err(Into::into).boxed_unsync());
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}

/// A completion with this usage.
pub fn completion(usage: &Value) -> Value {
    json!({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": usage,
    })
}

/// A refusal, which costs nothing.
pub fn refused(status: StatusCode, code: &str) -> Result<Answer, Failure> {
    let body = json!({"error": {"message": "not now", "type": code, "code": code}});
    let mut answer = whole(status, &body)?;
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = HeaderValue::from_static("1");
        answer.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    Ok(answer)
}

fn event(choices: &Value, usage: Option<&Value>) -> Bytes {
    let mut event = json!({
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
        "choices": choices,
    });
    if let (Some(usage), Some(event)) = (usage, event.as_object_mut()) {
        event.insert("usage".to_owned(), usage.clone());
    }
    Bytes::from(format!("data: {event}\n\n"))
}

/// A stream with its usage at the end; `billed` is called when that leaves. Where it is `cut` the connection breaks after that.
pub fn stream(usage: &Value, pace: Pace, cut: bool, billed: impl Fn() + Send + 'static) -> Answer {
    let content = event(
        &json!([{"index": 0, "delta": {"content": "and so on "}, "finish_reason": null}]),
        None,
    );
    let stop = event(
        &json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        None,
    );
    let usage = event(&json!([]), Some(usage));
    let mut timer = tokio::time::interval(pace.each);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let steps = stream::unfold((timer, 0, billed), move |(mut timer, step, billed)| {
        let pieces = (content.clone(), stop.clone(), usage.clone());
        async move {
            let (content, stop, usage) = pieces;
            let piece = match step {
                step if step < pace.chunks => {
                    timer.tick().await;
                    Ok(content)
                }
                step if step == pace.chunks => Ok(stop),
                step if step == pace.chunks + 1 => {
                    billed();
                    Ok(usage)
                }
                step if step == pace.chunks + 2 && cut => {
                    // A broken connection takes what was not read yet with it.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Err(Failure::from("cut"))
                }
                step if step == pace.chunks + 2 => Ok(Bytes::from_static(b"data: [DONE]\n\n")),
                _ => return None,
            };
            Some((piece.map(Frame::data), (timer, step + 1, billed)))
        }
    });
    let mut answer = Response::new(StreamBody::new(steps).boxed_unsync());
    let kind = HeaderValue::from_static("text/event-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
