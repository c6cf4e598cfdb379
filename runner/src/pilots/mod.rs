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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Threads that attempts share. What takes long in one has a thread of its own meanwhile.
const WORKERS: usize = 2;
/// So many ask for work at once: an answer waits until the claim is durable, and the gateway makes many durable together.
const POLLS: usize = 8;
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
    let slots = Arc::new(Semaphore::new(usize::from(args.slots)));
    // A journal may be as large as all that the process is meant to hold: one is read at a time.
    let turns = Arc::new(Semaphore::new(1));
    let (found, mut taken) = mpsc::channel(1);
    let mut polls = JoinSet::new();
    for _ in 0..POLLS.min(usize::from(args.slots)) {
        let poll = Poll::new(args, slots.clone(), found.clone())?;
        polls.spawn(poll.run());
    }
    drop(found);
    while let Some((link, work, slot)) = taken.recv().await {
        while attempts.try_join_next().is_some() {}
        let claimed = Claimed::new(link, work, turns.clone());
        let stopped = stopped.clone();
        attempts.spawn(async move {
            claimed.run(stopped).await;
            drop(slot);
        });
    }
    Err(Error::Setup("nobody asks for work any more".to_owned()))
}

/// What one who asks for work has found, and the slot for it.
type Found = (Link, Work, OwnedSemaphorePermit);

/// One of those who ask for work.
struct Poll {
    args: Args,
    slots: Arc<Semaphore>,
    found: mpsc::Sender<Found>,
    trust: String,
    link: Link,
}

impl Poll {
    fn new(args: &Args, slots: Arc<Semaphore>, found: mpsc::Sender<Found>) -> Result<Self, Error> {
        let trust = authority(None, args.ca_file.as_deref())?;
        let link = Link::new(&args.gateway, &trust)?;
        Ok(Self {
            args: args.clone(),
            slots,
            found,
            trust,
            link,
        })
    }

    /// Asks until nobody listens any more.
    async fn run(mut self) {
        let token = Token::File(self.args.token_file.clone());
        let mut pause = FIRST_PAUSE;
        while let Ok(slot) = self.slots.clone().acquire_owned().await {
            // A new CA is there days before it signs; attempts that run go on with the one that they began with.
            if let Ok(read) = authority(None, self.args.ca_file.as_deref())
                && read != self.trust
                && let Ok(renewed) = Link::new(&self.args.gateway, &read)
            {
                (self.trust, self.link) = (read, renewed);
            }
            match work(&self.link, &token).await {
                Ok(Some(work)) => {
                    pause = FIRST_PAUSE;
                    let found = (self.link.clone(), work, slot);
                    if self.found.send(found).await.is_err() {
                        return;
                    }
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
