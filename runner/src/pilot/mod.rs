//! pilot: the trusted side of a Task's pod. It claims its attempt at the gateway, drives the sandbox, and hands in the result.
//!
//! Every decision is in [`machine`], which knows neither network nor clock; [`drive`] carries out what it says, in its order. The
//! pilot has no rights in Kubernetes and no key: one token that the gateway alone accepts, read anew for each request.

pub mod answer;
pub mod asks;
mod drive;
mod egress;
pub(crate) mod gateway;
pub(crate) mod link;
pub mod machine;
pub mod patch;
mod policy;
pub mod repository;
mod sandbox;
pub mod served;
pub mod show;
pub mod tools;

use crate::network;
use gateway::{Gateway, GatewayError};
use link::{Link, Token, authority};
use machine::{Before, Machine};
use oarmaster_protocol::assignment::Assignment;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The attempt belongs to another session, or was fenced.
const EXIT_FENCED: u8 = 3;
/// No result could be handed in.
const EXIT_FAILED: u8 = 1;

/// Arguments of `pilot`. The controller writes them into the Job.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Base URL of the gateway's data listener.
    #[arg(long)]
    pub gateway: String,
    /// UID of the Task.
    #[arg(long)]
    pub task_uid: String,
    /// Number of the attempt.
    #[arg(long)]
    pub attempt: u32,
    /// Digest of the assignment.
    #[arg(long)]
    pub assignment: String,
    /// Socket of exec; without it there is no sandbox.
    #[arg(long)]
    pub exec_socket: Option<PathBuf>,
    /// The projected token, read anew for each request.
    #[arg(long)]
    pub token_file: PathBuf,
    /// PEM file of the CA that signed the gateway's certificate.
    #[arg(long, conflicts_with = "ca")]
    pub ca_file: Option<PathBuf>,
    /// The same as PEM text.
    #[arg(long, env = "OARMASTER_CA", hide_env_values = true)]
    pub ca: Option<String>,
    #[command(flatten)]
    network: network::Args,
}

/// Why no result was handed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to set up the pilot: {0}")]
    Setup(String),
    #[error("{0}")]
    Gateway(#[from] GatewayError),
    #[error("the gateway served another assignment than was named")]
    WrongAssignment,
    #[error("failed to read the assignment: {0}")]
    Assignment(#[source] serde_json::Error),
}

/// Runs the attempt. Exit code 0: a result was handed in, whatever it says; 3: the attempt is not ours (any more); 1: no result.
pub fn main(args: &Args) -> ExitCode {
    // An error means that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&Error::Setup(error.to_string())),
    };
    runtime.block_on(async {
        // As PID 1 the pilot gets no default action for SIGTERM.
        let mut terminate =
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(terminate) => terminate,
                Err(error) => return complain(&Error::Setup(error.to_string())),
            };
        tokio::select! {
            ended = run(args) => match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => complain(&error),
            },
            _ = terminate.recv() => ExitCode::from(128 + 15),
        }
    })
}

pub(crate) fn complain(error: &Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{error}"); // nobody is left to tell when stderr is gone
    ExitCode::from(match error {
        Error::Gateway(GatewayError::Fenced(_)) => EXIT_FENCED,
        _ => EXIT_FAILED,
    })
}

async fn run(args: &Args) -> Result<(), Error> {
    let pem = authority(args.ca.as_deref(), args.ca_file.as_deref())?;
    let link = Link::new(&args.gateway, &pem)?;
    let mut gateway = Gateway::new(link, Token::File(args.token_file.clone()));
    gateway.claim(&args.assignment).await?;
    let of = (args.task_uid.as_str(), args.attempt);
    let socket = args.exec_socket.as_deref();
    let targets = &args.network.must_not_reach;
    attempt(gateway, of, &args.assignment, socket, targets).await
}

/// Runs an attempt that is claimed, of this Task and number and with this assignment.
pub(crate) async fn attempt(
    mut gateway: Gateway,
    (task_uid, attempt): (&str, u32),
    digest: &str,
    socket: Option<&Path>,
    targets: &[network::Target],
) -> Result<(), Error> {
    let bytes = gateway.assignment().await?;
    if oarmaster_protocol::digest(&bytes) != digest {
        return Err(Error::WrongAssignment);
    }
    let assignment: Assignment = serde_json::from_slice(&bytes).map_err(Error::Assignment)?;
    if assignment.task.uid != task_uid {
        return Err(Error::WrongAssignment);
    }
    let turn = gateway.turn(assignment.continues.is_some()).await;
    let so_far = gateway.journal_so_far().await?;
    let task = &assignment.task;
    let _ = writeln!(
        std::io::stdout(),
        "attempt {attempt} of task {}/{}: read its transcript with: oar logs -n {} {}",
        task.namespace,
        task.name,
        task.namespace,
        task.name
    );
    let files = assignment.handed.is_some() || assignment.workspace.from.is_some();
    let before = match &assignment.continues {
        Some(_) => gateway
            .continued()
            .await
            .map(|(theirs, journal)| Some(Before::Task(Box::new(theirs), journal))),
        None if files => gateway
            .handed()
            .await
            .map(|blobs| Some(Before::Workspace(blobs))),
        None => Ok(None),
    };
    let before = match before {
        Err(GatewayError::Refused { message, .. }) => Some(Before::Gone(message)),
        before => before?,
    };
    let mut machine = drive::unhurried(|| Machine::resume(assignment.clone(), before, &so_far));
    machine.set_context(gateway.context_tokens());
    drop(so_far);
    if let Some(outcome) = machine.beyond(gateway.most_to_go_on_with()) {
        drop((machine, turn));
        return Ok(gateway.hand_in(outcome).await?);
    }
    drop(turn);
    drive::drive(gateway, machine, &assignment, socket, targets).await
}
