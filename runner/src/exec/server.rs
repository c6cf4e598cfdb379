//! The supervisor: one connection of the pilot, one request at a time.

use super::call::{Caller, supervisor};
use super::place;
use super::probe::Report;
use super::snapshot::{self, Snapshots};
use super::users;
use super::workspace::{Workspace, failed};
use super::{collect, procs, search, sys};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::getpid;
use oarmaster_protocol::exec::{
    Bytes, Failed, FailedCode, MAX_FRAME_BYTES, Request, Response, VERSION,
};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// The Landlock ABI from which on it hides abstract sockets.
const SCOPES: u32 = 6;

/// Bytes of one [`Response::Chunk`].
const CHUNK_BYTES: usize = 256 << 10;

/// Arguments of `exec`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The socket to listen on, on a volume that is shared with the pilot.
    #[arg(long, default_value = "/run/oarmaster/exec.sock")]
    pub socket: PathBuf,
    /// UID of the pilot; anybody else is refused.
    #[arg(long)]
    pub pilot_uid: u32,
    /// Directory that the code works in.
    #[arg(long, default_value = "/workspace")]
    pub workspace: PathBuf,
    /// Directory for temporary files.
    #[arg(long, default_value = "/tmp")]
    pub tmp: PathBuf,
}

/// Why the supervisor ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made.
    #[error("failed to listen on {}", .path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The workspace cannot be opened.
    #[error("failed to open the workspace {}", .path.display())]
    Workspace {
        /// The workspace.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process cannot be set up.
    #[error("failed to set up the supervisor")]
    Setup(#[source] io::Error),
}

/// Serves one pilot until its connection ends or SIGTERM comes. Then the process exits with everything it started.
///
/// # Errors
/// When the socket or the workspace cannot be opened.
pub fn serve(args: &Args) -> Result<(), Error> {
    set_up().map_err(Error::Setup)?;
    let workspace = Workspace::open(&args.workspace).map_err(|source| Error::Workspace {
        path: args.workspace.clone(),
        source,
    })?;
    let pilot = accept(&args.socket, args.pilot_uid).map_err(|source| Error::Listen {
        path: args.socket.clone(),
        source,
    })?;
    let (sender, requests) = sync_channel(0);
    let reading = pilot.try_clone().map_err(Error::Setup)?;
    std::thread::Builder::new()
        .spawn(move || read_requests(reading, &sender))
        .map_err(Error::Setup)?;
    Server {
        args: args.clone(),
        workspace,
        caller: None,
        snapshots: Snapshots::default(),
        pilot,
    }
    .serve(&requests);
    Ok(())
}

/// Children that lose their parent become ours; SIGTERM ends us at once, SIGCHLD is only looked at.
fn set_up() -> io::Result<()> {
    if getpid().as_raw() != 1 {
        nix::sys::prctl::set_child_subreaper(true)?;
    }
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    blocked.add(Signal::SIGCHLD);
    blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    let term = SignalFd::with_flags(&term, SfdFlags::SFD_CLOEXEC)?;
    std::thread::Builder::new().spawn(move || {
        while let Ok(Some(signal)) = term.read_signal() {
            if getpid().as_raw() != 1 || is_of_the_runtime(signal.ssi_code, signal.ssi_pid) {
                leave();
            }
        }
    })?;
    Ok(())
}

/// Whether a signal came from outside the PID namespace. The kernel shields PID 1 from signals of its own container only while it does not
/// look at them. A sender there may write any siginfo, but for this code.
fn is_of_the_runtime(code: i32, sender: u32) -> bool {
    code == nix::libc::SI_USER && sender == 0
}

/// Ends this process and everything it started.
fn leave() -> ! {
    procs::kill_before_exit();
    std::process::exit(0)
}

/// Waits for the pilot, then takes the socket away before anything untrusted runs.
fn accept(path: &Path, pilot_uid: u32) -> io::Result<UnixStream> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Everybody may connect; the kernel says who it is.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    loop {
        let (stream, _) = listener.accept()?;
        if getsockopt(&stream, PeerCredentials)?.uid() == pilot_uid {
            drop(listener);
            fs::remove_file(path)?;
            return Ok(stream);
        }
    }
}

fn read_requests(mut pilot: UnixStream, requests: &SyncSender<Result<Request, Failed>>) {
    loop {
        let request = match read_frame(&mut pilot) {
            Ok(frame) => serde_json::from_slice(&frame).map_err(|error| {
                failed(
                    FailedCode::InvalidRequest,
                    &format!("the request cannot be read: {error}"),
                )
            }),
            // Without the pilot there is nothing to do and nobody to do it for. The container starts anew for the next one.
            Err(_) => leave(),
        };
        if requests.send(request).is_err() {
            leave();
        }
    }
}

fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(stream: &mut impl Write, response: &Response) -> io::Result<()> {
    let body = serde_json::to_vec(response)?;
    let length = u32::try_from(body.len()).map_err(|_| ErrorKind::InvalidData)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&body)
}

struct Server {
    args: Args,
    workspace: Workspace,
    /// Set by `Hello`.
    caller: Option<Caller>,
    snapshots: Snapshots,
    pilot: UnixStream,
}

/// Requests of the pilot, in their order.
type Requests = Receiver<Result<Request, Failed>>;

/// What the pilot sends to be restored or placed.
struct Pieces<'a> {
    requests: &'a Requests,
    piece: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Pieces<'_> {
    /// Reads what is left, so that the next request is one.
    fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || self.ended || buffer.is_empty() {
                return Ok(read);
            }
            match self.requests.recv() {
                Ok(Ok(Request::Chunk { content })) => {
                    self.ended = content.0.is_empty();
                    self.piece = io::Cursor::new(content.0);
                }
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// Does something with the pieces that follow. All of them are read, whatever comes of it.
fn received(
    requests: &Requests,
    what: &str,
    act: impl FnOnce(&mut Pieces<'_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut pieces = Pieces {
        requests,
        piece: io::Cursor::default(),
        ended: false,
    };
    let done = act(&mut pieces);
    pieces.finish().map_err(|error| {
        let message = format!("{what} broke off: {error}");
        failed(FailedCode::InvalidRequest, &message)
    })?;
    done
}

impl Server {
    fn serve(mut self, requests: &Requests) {
        for request in requests {
            let response = request
                .and_then(|request| self.answer(request, requests))
                .unwrap_or_else(Response::Failed);
            if write_frame(&mut self.pilot, &response).is_err() {
                leave(); // the pilot is gone, as in `read_requests`
            }
        }
    }

    fn answer(&mut self, request: Request, requests: &Requests) -> Result<Response, Failed> {
        if let Request::Hello {
            version,
            sandbox,
            egress_port,
        } = request
        {
            if version != VERSION {
                return Err(failed(
                    FailedCode::InvalidRequest,
                    &format!(
                        "pilot speaks version {version}, exec {VERSION}; both containers need the same image"
                    ),
                ));
            }
            if sandbox.has_port() != egress_port.is_some() {
                return Err(failed(
                    FailedCode::InvalidRequest,
                    "a sandbox has egress or a pool, and the pilot's port, or none of them",
                ));
            }
            let (workspace, tmp) = (&self.args.workspace, &self.args.tmp);
            let caller = Caller::new(sandbox, egress_port, workspace, tmp);
            let caller = caller.map_err(|error| {
                failed(FailedCode::Io, &format!("failed to set up calls: {error}"))
            })?;
            self.caller = Some(caller);
            return Ok(Response::Hello {
                landlock: sys::landlock_abi(),
            });
        }
        let caller = self.caller.as_ref().ok_or_else(|| {
            failed(
                FailedCode::InvalidRequest,
                "the first request must be Hello",
            )
        })?;
        match request {
            Request::Hello { .. } => Err(failed(FailedCode::InvalidRequest, "Hello was answered")),
            Request::Probe => self.probe(caller),
            Request::Run(run) => caller.run(&self.workspace, &run).map(Response::Ran),
            Request::Read {
                path,
                first_line,
                lines,
                max_bytes,
            } => self.workspace.read(&path, first_line, lines, max_bytes),
            Request::Write { path, content } => self
                .workspace
                .write(&path, &content.0)
                .map(|()| Response::Done),
            Request::Edit { path, old, new } => self
                .workspace
                .edit(&path, &old, &new)
                .map(|()| Response::Done),
            Request::List { path, max_entries } => self.workspace.list(&path, max_entries),
            Request::Search {
                pattern,
                path,
                max_hits,
            } => search::search(&self.workspace, &pattern, &path, max_hits),
            Request::Collect { pattern, max_bytes } => {
                let mut chunks = Chunks {
                    pilot: &self.pilot,
                    buffer: Vec::with_capacity(CHUNK_BYTES),
                };
                let collected =
                    collect::collect(&self.workspace, &pattern, max_bytes, &mut chunks)?;
                chunks.flush().map_err(|error| {
                    failed(
                        FailedCode::Io,
                        &format!("failed to send the artifact: {error}"),
                    )
                })?;
                Ok(collected)
            }
            Request::Snapshot { base } => {
                let mut chunks = Chunks {
                    pilot: &self.pilot,
                    buffer: Vec::with_capacity(CHUNK_BYTES),
                };
                let disk = caller.disk_bytes();
                let taken = self
                    .snapshots
                    .take(&self.workspace, base, disk, &mut chunks)?;
                chunks.flush().map_err(|error| {
                    failed(
                        FailedCode::Io,
                        &format!("failed to send the checkpoint: {error}"),
                    )
                })?;
                Ok(taken)
            }
            Request::Restore => {
                let workspace = &self.workspace;
                received(requests, "the checkpoint", |pieces| {
                    snapshot::restore(workspace, pieces)
                })?;
                self.snapshots.restored(workspace, caller.disk_bytes())?;
                Ok(Response::Done)
            }
            Request::Place { path, archive } => {
                received(requests, "the artifact", |pieces| {
                    place::place(&self.workspace, &path, archive, pieces)
                })?;
                Ok(Response::Done)
            }
            Request::Chunk { .. } => Err(failed(
                FailedCode::InvalidRequest,
                "a piece came without Restore or Place",
            )),
        }
    }

    fn probe(&self, caller: &Caller) -> Result<Response, Failed> {
        // The pod asked for one; a cluster that does not know the field leaves it out without a word.
        if caller.requires_user_namespace() && !users::have_a_namespace() {
            return Ok(unproven(
                "the users of the pod are the node's: the cluster left hostUsers: false out, which the sandbox class demands"
                    .to_owned(),
            ));
        }
        let landlock = sys::landlock_abi();
        let mut arguments: Vec<OsString> = vec![
            "probe".into(),
            "--socket".into(),
            self.args.socket.clone().into(),
        ];
        arguments.extend(supervisor().map_err(|error| {
            failed(
                FailedCode::Io,
                &format!("failed to list the supervisor's threads: {error}"),
            )
        })?);
        if landlock > 0 {
            arguments.push("--landlock".into());
        }
        if let Some(port) = caller.egress_port() {
            arguments.push("--egress-port".into());
            arguments.push(port.to_string().into());
        }
        // The only abstract socket of the pod, for as long as the probe runs.
        let hidden = (landlock >= SCOPES).then(hidden_socket).transpose();
        let hidden = hidden.map_err(|error| {
            let message = format!("failed to listen on an abstract socket: {error}");
            failed(FailedCode::Io, &message)
        })?;
        if let Some((name, _listener)) = &hidden {
            arguments.extend(["--abstract-socket".into(), name.into()]);
        }
        let ran = match caller.run_self(&arguments) {
            Ok(ran) => ran,
            Err(error) => {
                return Ok(unproven(error.message));
            }
        };
        let Ok(report) =
            serde_json::from_slice::<Report>(&[ran.stdout.head.0, ran.stdout.tail.0].concat())
        else {
            return Ok(unproven(format!(
                "the probe did not report (exit code {:?}, signal {:?}, stopped {:?})",
                ran.exit_code, ran.signal, ran.stopped
            )));
        };
        let proven =
            report.open.is_empty() && !report.refused.is_empty() && ran.exit_code == Some(0);
        let mut findings = report.open;
        findings.extend(report.refused);
        findings.push(format!("landlock abi {landlock}"));
        Ok(Response::Probed {
            proven,
            findings,
            languages: caller.languages(),
        })
    }
}

/// A socket that no child may see, and its name.
fn hidden_socket() -> io::Result<(String, UnixListener)> {
    let name = format!("oarmaster-probe-{}", uuid::Uuid::new_v4());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    Ok((name, listener))
}

fn unproven(finding: String) -> Response {
    Response::Probed {
        proven: false,
        findings: vec![finding],
        languages: Vec::new(),
    }
}

/// Sends what is written to it in pieces.
struct Chunks<'a> {
    pilot: &'a UnixStream,
    buffer: Vec<u8>,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.buffer.len();
        let part = bytes.get(..room).unwrap_or(bytes);
        self.buffer.extend_from_slice(part);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let content = Bytes(std::mem::take(&mut self.buffer));
        write_frame(&mut self.pilot, &Response::Chunk { content })
    }
}
