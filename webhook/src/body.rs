//! The body of a request, within bounds of time and memory: whoever reaches the port may send one, and the API server waits in the same line.

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Longest wait for a body; the API server waits no longer for the answer (`timeoutSeconds` of the MutatingWebhookConfiguration).
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Largest body: a request to the API server has at most 3 MiB (`MaxRequestBodyBytes` of k8s.io/apiserver), and what etcd stores at most
/// 1.5 MiB (`--max-request-bytes`), in the same encoding as here. A review has the object once at its creation, twice at a change, and little besides.
pub const MAX_BODY: usize = 4 << 20;
/// What is read of every body. Reviews of most Tasks are smaller, so that they wait for nobody.
pub const SMALL: usize = 64 << 10;
/// How many larger ones of a kind are held at once: 16 MiB, twice that while a buffer grows.
pub const LARGE_AT_ONCE: usize = 4;

/// A body, and its place among the large ones.
#[derive(Debug)]
pub struct Held<'a> {
    /// What it says.
    pub bytes: Vec<u8>,
    _place: Option<SemaphorePermit<'a>>,
}

/// Reads a body.
///
/// # Errors
/// The status for the client: too large, too slow, broken off, or no place among the large ones in time.
pub async fn read(mut body: Body, large: &Semaphore) -> Result<Held<'_>, StatusCode> {
    let deadline = Instant::now() + PATIENCE;
    let (mut bytes, mut place) = (Vec::new(), None);
    loop {
        let frame = timeout_at(deadline, body.frame())
            .await
            .map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        let Some(frame) = frame else {
            return Ok(Held {
                bytes,
                _place: place,
            });
        };
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(chunk) = frame.into_data() else {
            continue; // trailers
        };
        let size = bytes.len() + chunk.len();
        if size > MAX_BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if size > SMALL && place.is_none() {
            let free = timeout_at(deadline, large.acquire()).await;
            let free = free.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            // The semaphore is never closed.
            place = Some(free.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?);
        }
        bytes.extend_from_slice(&chunk);
    }
}
