//! pilots: one process that runs many attempts which need no sandbox. It takes them at the gateway, one after the other, up to a bound; each is
//! a task with a claim of its own, and knows nothing of the others.
//!
//! Nothing is kept here that is not at the gateway: what this process leaves behind, another one goes on with.

mod claim;

use crate::pilot::link::{Link, Token, authority};
use crate::pilot::{Error, complain};
use claim::Claimed;
use oarmaster_protocol::task::{WORK_WAIT, Work};
use reqwest::StatusCode;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Threads that attempts share. What takes long in one has a thread of its own meanwhile.
const WORKERS: usize = 2;
/// The gateway answers after [`WORK_WAIT`] at the latest.
const WORK_TIMEOUT: Duration = WORK_WAIT.saturating_add(Duration::from_secs(15));
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long giving attempts back may take, within the pod's grace period.
const DRAIN: Duration = Duration::from_secs(10);

/// Arguments of `pilots`. The chart writes them into the Deployment.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Base URL of the gateway's data listener
    #[arg(long)]
    gateway: String,
    /// The projected token of the ServiceAccount oarmaster-pilots, read anew for each request
    #[arg(long)]
    token_file: PathBuf,
    /// PEM file of the CA that signed the gateway's certificate. Another one is used without a restart
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Most attempts at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    slots: u16,
}

/// Takes attempts until SIGTERM, and then gives back what it has. Exit code 1: it could not begin.
pub fn main(args: &Args) -> ExitCode {
    // An error means that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let served = runtime
        .map_err(|error| Error::Setup(error.to_string()))
        .and_then(|runtime| runtime.block_on(serve(args)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

async fn serve(args: &Args) -> Result<(), Error> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| Error::Setup(error.to_string()))?;
    let (stop, stopped) = watch::channel(false);
    let mut attempts = JoinSet::new();
    tokio::select! {
        failed = take(args, &mut attempts, &stopped) => return failed,
        _ = terminate.recv() => {}
    }
    stop.send_replace(true);
    // What is not given back in time is offered to others when its claim is over.
    let _ = timeout(DRAIN, async {
        while attempts.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

/// Takes attempts; ends only where it cannot begin.
async fn take(
    args: &Args,
    attempts: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> Result<(), Error> {
    let token = Token::File(args.token_file.clone());
    let slots = Arc::new(Semaphore::new(usize::from(args.slots)));
    // A journal may be as large as all that the process is meant to hold: one is read at a time.
    let turns = Arc::new(Semaphore::new(1));
    let mut trust = authority(None, args.ca_file.as_deref())?;
    let mut link = Link::new(&args.gateway, &trust)?;
    let mut pause = FIRST_PAUSE;
    loop {
        while attempts.try_join_next().is_some() {}
        let slot = slots.clone().acquire_owned().await;
        let slot = slot.map_err(|error| Error::Setup(error.to_string()))?;
        // A new CA is there days before it signs; attempts that run go on with the one that they began with.
        if let Ok(read) = authority(None, args.ca_file.as_deref())
            && read != trust
            && let Ok(renewed) = Link::new(&args.gateway, &read)
        {
            (trust, link) = (read, renewed);
        }
        match work(&link, &token).await {
            Ok(Some(work)) => {
                pause = FIRST_PAUSE;
                let claimed = Claimed::new(link.clone(), work, turns.clone());
                let stopped = stopped.clone();
                attempts.spawn(async move {
                    claimed.run(stopped).await;
                    drop(slot);
                });
            }
            Ok(None) => pause = FIRST_PAUSE,
            Err(why) => {
                claim::say(&format!("no work from the gateway: {why}"));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// An attempt, as soon as there is one; `None` where there was none for a while.
async fn work(link: &Link, token: &Token) -> Result<Option<Work>, String> {
    let answered = link.post(token, "/task/v1/work", Vec::new(), WORK_TIMEOUT);
    match answered.await? {
        (StatusCode::NO_CONTENT, _) => Ok(None),
        (StatusCode::OK, body) => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| format!("its answer cannot be read: {error}")),
        (status, body) => Err(claim::reason(status, &body)),
    }
}
