//! Listeners: TLS and HTTP/1.1 with bounds on everything that a client may be slow with or send too much of.

use crate::pace::{Pace, Paced};
use crate::patient::{PATIENCE, Patient};
use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes of an address: the dearest that somebody without any right can ask for.
const HANDSHAKES: Pace = Pace {
    every: Duration::from_millis(20),
    burst: 256,
    longest: LONGEST,
};
/// Answers to strangers of an address. Each may be a question to the API server before it is given.
const REFUSALS: Pace = Pace {
    every: Duration::from_millis(100),
    burst: 64,
    longest: LONGEST,
};
/// Nobody waits longer for those who share its address.
const LONGEST: Duration = Duration::from_secs(30);
const HEADERS: Duration = Duration::from_secs(15);
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What differs between listeners.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; who comes later waits to be accepted.
    pub connections: usize,
    /// Of them, those from one address, which a pod has for itself; what is beyond is closed at once, and keeps nobody else waiting.
    pub each: usize,
    /// How long running requests have to end after the stop.
    pub drain: Duration,
}

/// Serves until `stop`, then lets running requests end. A connection that was upgraded is no longer one of these.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    stop: CancellationToken,
    limits: Limits,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let open = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let peers = Arc::new(Peers::default());
    let paces = Arc::new(Paces::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((socket, from, slot)) = accepted else {
            continue;
        };
        let Some(peer) = peers.enter(from, limits.each) else {
            tracing::debug!(%from, "an address has all the connections that it may have");
            continue;
        };
        let (acceptor, stop) = (acceptor.clone(), stop.clone());
        let (serves, paces) = ((router.clone(), paces.clone()), paces.clone());
        open.spawn(async move {
            let _held = (slot, peer);
            match acceptor {
                None => talk(socket, from, serves, stop).await,
                Some(acceptor) => {
                    paces.handshakes.take(&from, 1).await;
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
                        Ok(Ok(stream)) => talk(stream, from, serves, stop).await,
                        Ok(Err(error)) => tracing::debug!(error = %error, "TLS handshake failed"),
                        Err(_) => tracing::debug!("TLS handshake timed out"),
                    }
                }
            }
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(limits.drain, open.wait())
        .await
        .is_err()
    {
        tracing::warn!("requests were still running when the time to drain was over");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(
    Patient<TcpStream>,
    IpAddr,
    tokio::sync::OwnedSemaphorePermit,
)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, from)) => {
            // Without it each small chunk of a stream waits 40 ms for the acknowledgement of the one before.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(error = %error, "failed to set TCP_NODELAY");
            }
            Some((
                Patient::new(socket, PATIENCE),
                from.ip().to_canonical(),
                slot,
            ))
        }
        Err(error) => {
            tracing::warn!(error = %error, "failed to accept");
            tokio::time::sleep(ACCEPT_PAUSE).await; // out of file descriptors, usually: do not spin
            None
        }
    }
}

async fn talk<S>(
    stream: S,
    from: IpAddr,
    (router, paces): (Router, Arc<Paces>),
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let answer = service_fn(move |request| {
        let answer = router.call(request);
        let mut asking = Asking {
            paces: paces.clone(),
            from,
            answered: false,
        };
        async move {
            let answer = answer.await;
            asking.answered = true;
            if let Ok(answer) = &answer
                && answer.status() == StatusCode::UNAUTHORIZED
            {
                asking.paces.refusals.take(&from, 1).await;
            }
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended");
    }
}

/// How fast each address may go on with what costs and needs no right.
#[derive(Debug)]
struct Paces {
    handshakes: Paced<IpAddr>,
    /// Requests of whoever is not known: they are answered late.
    refusals: Paced<IpAddr>,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            handshakes: Paced::new(HANDSHAKES),
            refusals: Paced::new(REFUSALS),
        }
    }
}

/// A request. Whoever leaves before the answer may have been a stranger, and does not get away with it.
struct Asking {
    paces: Arc<Paces>,
    from: IpAddr,
    answered: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.paces.refusals.took(&self.from, 1);
        }
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection of an address, until this is dropped.
#[derive(Debug)]
struct Peer {
    peers: Arc<Peers>,
    from: IpAddr,
}

impl Peers {
    /// One more connection, where the address has fewer than `most`.
    fn enter(self: &Arc<Self>, from: IpAddr, most: usize) -> Option<Peer> {
        let mut counts = self.lock();
        let count = counts.entry(from).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Peer {
            peers: self.clone(),
            from,
        })
    }

    // A panic while the lock was held leaves numbers, which are whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let peers = Arc::new(Peers::default());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|from| from.parse().unwrap());
        let mut held = vec![peers.enter(one, 2).unwrap(), peers.enter(one, 2).unwrap()];
        assert!(peers.enter(one, 2).is_none());
        assert!(peers.enter(other, 2).is_some());
        held.pop();
        held.push(peers.enter(one, 2).unwrap());
        assert!(peers.enter(one, 2).is_none());
        held.clear();
        assert!(peers.lock().is_empty());
    }

    /// Somebody who leaves before the answer has asked, too.
    #[tokio::test]
    async fn who_leaves_unanswered_is_counted() {
        let paces = Arc::new(Paces::default());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|from| from.parse().unwrap());
        for (from, answered) in [(one, false), (other, true)] {
            for _ in 0..2 * REFUSALS.burst {
                drop(Asking {
                    paces: paces.clone(),
                    from,
                    answered,
                });
            }
        }
        let waits = async |from: IpAddr| {
            let next = paces.refusals.take(&from, 1);
            tokio::time::timeout(REFUSALS.every, next).await.is_err()
        };
        assert!(waits(one).await);
        assert!(!waits(other).await);
    }

    /// What a stranger is answered, it is answered at a pace; who is known at once, on the same connection.
    #[tokio::test]
    async fn strangers_are_answered_at_a_pace() {
        use axum::routing::get;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        const ASKED: u32 = REFUSALS.burst + 5;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let router = Router::new()
            .route("/known", get(|| async { StatusCode::NO_CONTENT }))
            .fallback(|| async { StatusCode::UNAUTHORIZED });
        let stop = CancellationToken::new();
        let limits = Limits {
            connections: 8,
            each: 8,
            drain: Duration::from_secs(1),
        };
        let serving = tokio::spawn(serve(listener, None, router, stop.clone(), limits));
        let mut took = Vec::new();
        for path in ["known", "unknown"] {
            let begun = std::time::Instant::now();
            for _ in 0..ASKED {
                let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n");
                socket.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\n") {
                    answer.push(socket.read_u8().await.unwrap());
                }
            }
            took.push(begun.elapsed());
        }
        let least = REFUSALS.every * (ASKED - REFUSALS.burst - 1);
        assert!(took[1] >= least, "{took:?}");
        stop.cancel();
        serving.await.unwrap();
    }
}
