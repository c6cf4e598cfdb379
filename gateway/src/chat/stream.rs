//! Streams for callers that are no Task. Until the first content a failure is invisible and the next member is asked; after it, the
//! stream ends with an error event. A caller who leaves changes nothing: the answer is read to its end and booked.

use super::account::Account;
use super::chunk::Meter;
use super::route::Routed;
use super::tries::{Told, Tries, Try, to_caller};
use super::{new_id, now_seconds, tell};
use crate::error::ApiFailure;
use crate::provider::AnswerStream;
use crate::provider::failure::Failure;
use crate::state::Gateway;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

/// Events that wait for a slow caller.
const AHEAD: usize = 64;
/// A caller who takes nothing for this long has left.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most events, and most of their bytes, before the first content.
const MAX_PREAMBLE: usize = 64;
const MAX_PREAMBLE_BYTES: usize = 256 << 10;

/// The events to come, and who sends them.
type Started = oneshot::Sender<Result<(mpsc::Receiver<Bytes>, Told), ApiFailure>>;

/// Streams an answer.
///
/// # Errors
/// [`ApiFailure`] until the first content.
pub async fn run(
    gateway: Arc<Gateway>,
    routed: Routed,
    account: Account,
) -> Result<Response, ApiFailure> {
    let (started, starts) = oneshot::channel();
    let calls = gateway.calls.clone();
    calls.spawn(async move { attempt_all(&gateway, &routed, &account, started).await });
    let (events, told) = starts
        .await
        .map_err(|_| ApiFailure::internal("the call was ended by a defect"))??;
    let events = futures::StreamExt::map(ReceiverStream::new(events), Ok::<_, Infallible>);
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    tell(headers, &told);
    Ok(response)
}

async fn attempt_all(gateway: &Gateway, routed: &Routed, account: &Account, started: Started) {
    // A caller who left while nothing was committed is told nothing; the send fails and that is all.
    let end = async {
        let mut tries = Tries::new(gateway, routed)?;
        loop {
            let tried = tries.advance().await?;
            let hop = match tried.open(gateway, routed, account).await {
                Ok(hop) => hop,
                Err(refused) => {
                    drop(tried); // the lane is free again
                    tries.refused(refused)?;
                    continue;
                }
            };
            match begin(gateway, routed, &tried).await {
                Ok(live) => return Ok((tried, hop, live)),
                Err((failure, meter)) => {
                    let told = tried.ended(gateway, Err(&failure), None, None);
                    hop.failed(&failure, meter.usage.as_ref()).await?;
                    tries.failed(&told.by, &failure)?;
                }
            }
        }
    };
    let (tried, hop, live) = match end.await {
        Ok(committed) => committed,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let _ = started.send(Ok((receiver, tried.told.clone())));
    let mut caller = Some(sender);
    let first_token = live.first_token;
    let (meter, end) = pass_on(live, &mut caller, routed.request.include_usage).await;
    let told = tried.ended(
        gateway,
        end.as_ref().copied(),
        Some(first_token),
        meter.usage.as_ref(),
    );
    let booked = match &end {
        Ok(()) => hop.streamed(meter.usage.as_ref()).await,
        Err(failure) => hop.failed(failure, meter.usage.as_ref()).await.map(drop),
    };
    if let Err(error) = &booked {
        tracing::error!(error = %error, "failed to book a stream");
    }
    // The end is told after it was booked: who sees it may ask for the sum.
    match end {
        Ok(()) => send(&mut caller, Bytes::from_static(b"data: [DONE]\n\n")).await,
        Err(failure) => {
            let body = to_caller(&told.by, &failure).body();
            let text = serde_json::to_string(&body).unwrap_or_default();
            send(
                &mut caller,
                Bytes::from(format!("event: error\ndata: {text}\n\n")),
            )
            .await;
        }
    }
}

/// A stream with content.
struct Live {
    stream: AnswerStream,
    meter: Meter,
    /// What came up to the first content.
    preamble: Vec<Vec<u8>>,
    /// How long that took.
    first_token: Duration,
    done: bool,
}

/// Reads up to the first content.
async fn begin(
    gateway: &Gateway,
    routed: &Routed,
    tried: &Try<'_>,
) -> Result<Live, (Failure, Meter)> {
    let key = tried.key.as_ref().map(|(_, key)| key);
    let (id, created) = (new_id(), now_seconds());
    let backend = &tried.provider.backend;
    let mut stream = backend
        .stream(
            key,
            &tried.told.by.model,
            &routed.request,
            tried.body.clone(),
            &id,
            created,
        )
        .await
        .map_err(|failure| (failure, Meter::default()))?;
    let mut meter = Meter::default();
    let mut preamble = Vec::new();
    let mut bytes = 0;
    let mut done = false;
    while !(meter.content || meter.finished || done) {
        match step(&mut stream, &mut meter, routed.request.include_usage).await {
            Ok(Step::Pass(data)) => {
                bytes += data.len();
                preamble.push(data);
            }
            Ok(Step::Drop) => {}
            Ok(Step::Done) => done = true,
            Err(failure) => return Err((failure, meter)),
        }
        if preamble.len() > MAX_PREAMBLE || bytes > MAX_PREAMBLE_BYTES {
            break; // as long as this it is an answer, whatever it says
        }
    }
    let first_token = tried.elapsed();
    gateway.metrics.first_token(&tried.told.by, first_token);
    Ok(Live {
        first_token,
        stream,
        meter,
        preamble,
        done,
    })
}

enum Step {
    Pass(Vec<u8>),
    Drop,
    Done,
}

async fn step(
    stream: &mut AnswerStream,
    meter: &mut Meter,
    keep_usage: bool,
) -> Result<Step, Failure> {
    let cut = || Failure::unknown("the stream ended before the answer did", true);
    let step = match stream.next().await? {
        None if meter.may_end() => Ok(Step::Done),
        None => Err(cut()),
        Some(data) if data.trim_ascii() == b"[DONE]" => {
            if meter.may_be_done() {
                Ok(Step::Done)
            } else {
                Err(cut())
            }
        }
        Some(data) => match meter.take(data, keep_usage) {
            Ok(Some(data)) => Ok(Step::Pass(data)),
            Ok(None) => Ok(Step::Drop),
            Err(error) => Err(Failure::unknown(error.to_string(), true)),
        },
    };
    // Last: the chunk of a translation says less.
    if let Some(usage) = stream.usage() {
        meter.usage = Some(usage.clone());
    }
    step
}

/// Passes the rest on, to the caller's end or without a caller to the answer's.
async fn pass_on(
    mut live: Live,
    caller: &mut Option<mpsc::Sender<Bytes>>,
    keep_usage: bool,
) -> (Meter, Result<(), Failure>) {
    for data in std::mem::take(&mut live.preamble) {
        send(caller, frame(&data)).await;
    }
    while !live.done {
        match step(&mut live.stream, &mut live.meter, keep_usage).await {
            Ok(Step::Pass(data)) => send(caller, frame(&data)).await,
            Ok(Step::Drop) => {}
            Ok(Step::Done) => live.done = true,
            Err(failure) => return (live.meter, Err(failure)),
        }
    }
    (live.meter, Ok(()))
}

/// Data as an event; data of several lines stays several lines.
fn frame(data: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(data.len() + 8);
    for line in data.split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    Bytes::from(event)
}

async fn send(caller: &mut Option<mpsc::Sender<Bytes>>, bytes: Bytes) {
    if let Some(sender) = caller {
        let sent = tokio::time::timeout(PATIENCE, sender.send(bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            *caller = None;
        }
    }
}
