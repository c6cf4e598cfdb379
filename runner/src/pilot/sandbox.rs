//! The pilot's end of the socket to exec.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oarmaster_protocol::assignment::Sandbox;
use oarmaster_protocol::exec::{Failed, MAX_FRAME_BYTES, Request, Response, VERSION};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// How long a container may take to (re)start; kubelet's back-off reaches 54 s at the fourth restart.
const PATIENCE: Duration = Duration::from_secs(180);
/// Bound of requests that run no program.
const SHORT: Duration = Duration::from_secs(120);
/// What exec may take beyond a program's own time, to stop and to clean up.
const SLACK: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The connection broke, or exec did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Before exec had the whole request: nothing of it was done.
    Idle,
    /// It may have been done, or not.
    Asked,
}

/// What a glob gave.
#[derive(Debug)]
pub(super) enum Collected {
    Files {
        bytes: Vec<u8>,
        count: u32,
        archive: bool,
        skipped: Vec<String>,
    },
    Failed(Failed),
}

/// exec, as the pilot sees it.
#[derive(Debug)]
pub(super) struct Exec {
    socket: PathBuf,
    sandbox: Sandbox,
    /// The port for programs, where the sandbox has egress or a pool.
    egress_port: Option<u16>,
    stream: Option<UnixStream>,
}

impl Exec {
    pub(super) fn new(socket: &Path, sandbox: Sandbox, egress_port: Option<u16>) -> Self {
        Self {
            socket: socket.to_path_buf(),
            sandbox,
            egress_port,
            stream: None,
        }
    }

    /// Connects anew, with patience.
    pub(super) async fn connect(&mut self) -> Result<(), Lost> {
        self.stream = None;
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(stream) = UnixStream::connect(&self.socket).await {
                self.stream = Some(stream);
                let hello = Request::Hello {
                    version: VERSION,
                    sandbox: self.sandbox.clone(),
                    egress_port: self.egress_port,
                };
                match self.ask(&hello).await {
                    Ok(Response::Hello { .. }) => return Ok(()),
                    Ok(_) => return Err(Lost::Asked), // another version, which waiting does not change
                    Err(_) => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(Lost::Idle);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<Response, Lost> {
        let bound = match request {
            Request::Run(_) => {
                Duration::from_millis(self.sandbox.call_timeout_ms).saturating_add(SLACK)
            }
            _ => SHORT,
        };
        let mut lost = Lost::Idle;
        let answered = timeout(bound, async {
            self.send(request).await?;
            lost = Lost::Asked;
            self.receive().await
        })
        .await;
        self.settle(answered, lost)
    }

    /// Sends a request, or a piece of one, whose answer is read apart.
    pub(super) async fn begin(&mut self, request: &Request) -> Result<(), Lost> {
        let sent = timeout(SHORT, self.send(request)).await;
        self.settle(sent, Lost::Asked)
    }

    /// A piece of an answer.
    pub(super) async fn receive_more(&mut self) -> Result<Response, Lost> {
        let received = timeout(SHORT, self.receive()).await;
        self.settle(received, Lost::Asked)
    }

    /// Gives the connection up, and with it the sandbox's container.
    pub(super) fn leave(&mut self) {
        self.stream = None;
    }

    pub(super) async fn collect(
        &mut self,
        pattern: &str,
        max_bytes: u64,
    ) -> Result<Collected, Lost> {
        let request = Request::Collect {
            pattern: pattern.to_owned(),
            max_bytes,
        };
        let mut bytes = Vec::new();
        let collected = timeout(SHORT, async {
            self.send(&request).await?;
            loop {
                match self.receive().await? {
                    Response::Chunk { content }
                        if bytes.len() as u64 + content.0.len() as u64 <= max_bytes =>
                    {
                        bytes.extend(content.0);
                    }
                    Response::Collected {
                        files,
                        archive,
                        skipped,
                    } => {
                        return Ok(Collected::Files {
                            bytes: std::mem::take(&mut bytes),
                            count: files,
                            archive,
                            skipped,
                        });
                    }
                    Response::Failed(failed) => return Ok(Collected::Failed(failed)),
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        })
        .await;
        self.settle(collected, Lost::Asked)
    }

    /// A connection on which something went wrong is not used again.
    fn settle<T>(
        &mut self,
        result: Result<io::Result<T>, tokio::time::error::Elapsed>,
        lost: Lost,
    ) -> Result<T, Lost> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) | Err(_) => {
                self.stream = None;
                Err(lost)
            }
        }
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // exec speaks only when it is asked: what can be read now is its end. A write into it may still seem to succeed.
        let mut ready = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO)? != 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let body = serde_json::to_vec(request)?;
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&body).await
    }

    async fn receive(&mut self) -> io::Result<Response> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body)?)
    }
}
