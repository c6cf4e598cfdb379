//! Streams, for whoever calls but a pilot. Until the first content a failure is invisible and the next member is asked; after it, the
//! stream ends with an error event. A caller who leaves changes nothing: the answer is read to its end and booked.

use super::account::Account;
use super::attempt::{Paced, Told, Try, to_caller};
use super::route::Routed;
use super::tell;
use super::tries::Tries;
use crate::error::ApiFailure;
use crate::provider::failure::Failure;
use crate::provider::stream::AnswerStream;
use crate::state::Gateway;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use oarmaster_dialect::Usage;
use oarmaster_store::{Billing, STEP};
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
                Err((failure, usage)) => {
                    let told = tried.ended(gateway, Err(&failure), Paced::Not, usage.as_ref());
                    hop.failed(&failure, usage.as_ref()).await?;
                    tries.failed(&told.by, &failure)?;
                }
            }
        }
    };
    let (tried, hop, mut live) = match end.await {
        Ok(committed) => committed,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let _ = started.send(Ok((receiver, tried.told.clone())));
    let mut caller = Some(sender);
    let end = pass_on(&mut live, &mut caller).await;
    // Whatever its class, the provider worked before it failed: there was content.
    let end = end.map_err(|failure| Failure {
        billing: Billing::Unknown,
        ..failure
    });
    let usage = live.stream.usage();
    let told = tried.ended(gateway, end.as_ref().copied(), live.paced, usage);
    let booked = match &end {
        Ok(()) => hop.streamed(usage).await,
        Err(failure) => hop.failed(failure, usage).await.map(drop),
    };
    if let Err(error) = &booked {
        tracing::error!(error = %error, "failed to book a stream");
    }
    tracing::trace!(target: STEP, "ending");
    // The end is told after it was booked: who sees it may ask for the sum.
    let last = match end {
        Ok(()) => live.stream.end(),
        Err(failure) => {
            let error = to_caller(&told.by, &failure);
            live.stream.fail(&error, &routed.request.id)
        }
    };
    send(&mut caller, last).await;
}

/// A stream with content.
struct Live {
    stream: AnswerStream,
    /// What came up to the first content.
    preamble: Vec<Vec<u8>>,
    /// How long that took.
    paced: Paced,
    done: bool,
}

/// Reads up to the first content. With the failure goes what the provider counted in spite of it.
async fn begin(
    gateway: &Gateway,
    routed: &Routed,
    tried: &Try<'_>,
) -> Result<Live, (Failure, Option<Usage>)> {
    let Some(body) = tried.sent.bodies.first() else {
        return Err((Failure::not_sent("there is nothing to ask"), None));
    };
    let backend = &tried.provider.backend;
    let mut stream = backend
        .stream(&tried.asked(routed), body.clone())
        .await
        .map_err(|failure| (failure, None))?;
    tried.learn(gateway, stream.used_up());
    let mut preamble = Vec::new();
    let mut bytes = 0;
    let mut done = false;
    let mut content = false;
    while !(content || done) {
        match stream.next().await {
            Ok(Some(piece)) => {
                content = piece.content;
                bytes += piece.bytes.len();
                preamble.push(piece.bytes);
            }
            Ok(None) => done = true,
            Err(failure) => {
                let usage = stream.usage().cloned();
                return Err((failure, usage));
            }
        }
        if preamble.len() > MAX_PREAMBLE || bytes > MAX_PREAMBLE_BYTES {
            break; // as long as this it is an answer, whatever it says
        }
    }
    let first_token = tried.elapsed();
    gateway.metrics.first_token(&tried.told.by, first_token);
    Ok(Live {
        paced: Paced::FirstToken(first_token),
        stream,
        preamble,
        done,
    })
}

/// Passes the rest on, to the caller's end or without a caller to the answer's.
async fn pass_on(live: &mut Live, caller: &mut Option<mpsc::Sender<Bytes>>) -> Result<(), Failure> {
    for bytes in std::mem::take(&mut live.preamble) {
        send(caller, bytes).await;
    }
    while !live.done {
        match live.stream.next().await? {
            Some(piece) => send(caller, piece.bytes).await,
            None => live.done = true,
        }
    }
    Ok(())
}

async fn send(caller: &mut Option<mpsc::Sender<Bytes>>, bytes: Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    if let Some(sender) = caller {
        let sent = tokio::time::timeout(PATIENCE, sender.send(bytes.into())).await;
        if !matches!(sent, Ok(Ok(()))) {
            *caller = None;
        }
    }
}
