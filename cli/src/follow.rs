//! A Task and its transcript as they change, over broken connections: the watch goes on by itself, the transcript goes on with the
//! record after the last one that was seen.

use crate::cluster::Cluster;
use crate::error::Error;
use crate::gateway::Gateway;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use oarmaster_crds::Task;
use oarmaster_crds::conditions::{self, FINISHED};
use oarmaster_protocol::journal::{Body, Record};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Between two tries to read the transcript.
const RETRY: Duration = Duration::from_millis(700);
/// How long an open stream may go on after the Task's end is known, before it is read from the last record once more.
const GRACE: Duration = Duration::from_secs(5);
/// Tries after the Task's end is known.
const TRIES: u32 = 10;
/// Largest line of the transcript.
const MAX_LINE: usize = oarmaster_protocol::journal::MAX_RECORD_BYTES + 1024;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The Task is now like this.
    Task(Box<Task>),
    /// The Task was deleted.
    Gone,
    /// The next record of the transcript.
    Record(Box<Record>),
    /// A connection broke; it will be tried again. Said once until something arrives.
    Lost(String),
    /// The transcript has ended, or cannot be read.
    End(Option<Error>),
    /// The Task cannot be watched.
    Blind(Error),
}

/// What the reader of the transcript must know of its Task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    attempt: u32,
    finished: bool,
}

impl Seen {
    fn of(task: &Task) -> Self {
        let status = task.status.as_ref();
        Self {
            attempt: status
                .and_then(|status| u32::try_from(status.attempt?).ok())
                .unwrap_or_default(),
            finished: is_finished(task),
        }
    }
}

/// Whether the Task has ended.
pub fn is_finished(task: &Task) -> bool {
    task.status
        .as_ref()
        .is_some_and(|status| conditions::is_true(&status.conditions, FINISHED))
}

/// Follows a Task until it has ended and its transcript was read. A run has none: everything of it stands in its status. Within a `LocalSet`.
pub fn follow(cluster: &Cluster, task: &Task) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(64);
    let (seen, look) = watch::channel(Seen::of(task));
    let name = task.metadata.name.clone().unwrap_or_default();
    let uid = task.metadata.uid.clone().unwrap_or_default();
    tokio::task::spawn_local(watch_task(
        cluster.clone(),
        name.clone(),
        uid.clone(),
        seen,
        events.clone(),
    ));
    if task.spec.is_run() {
        return receiver;
    }
    let mut reader = Reader {
        cluster: cluster.clone(),
        path: path(&cluster.namespace, &name, &uid),
        gateway: None,
        from: 0,
        ended: 0,
        told: false,
        events,
        look,
    };
    tokio::task::spawn_local(async move { reader.run().await });
    receiver
}

/// The transcript as it is now.
pub async fn read(
    cluster: &Cluster,
    task: &Task,
    mut each: impl FnMut(Record) -> Result<(), Error>,
) -> Result<(), Error> {
    let name = task.metadata.name.clone().unwrap_or_default();
    let uid = task.metadata.uid.clone().unwrap_or_default();
    let path = path(&cluster.namespace, &name, &uid);
    read_lines(cluster, &format!("{path}&from=0"), |line| {
        each(parse(line)?)
    })
    .await
}

/// The lines of an answer.
pub async fn read_lines(
    cluster: &Cluster,
    path: &str,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut body = Gateway::new(cluster).await?.get(path).await?;
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        for line in lines.push(frame.data_ref().map_or(&[][..], |data| data))? {
            each(&line)?;
        }
    }
    lines.end()
}

fn path(namespace: &str, name: &str, uid: &str) -> String {
    format!("/read/v1/namespaces/{namespace}/tasks/{name}/transcript?uid={uid}")
}

fn broken(error: hyper::Error) -> Error {
    Error::cluster("the connection to the gateway broke")
        .source(error)
        .transient()
}

async fn watch_task(
    cluster: Cluster,
    name: String,
    uid: String,
    seen: watch::Sender<Seen>,
    events: mpsc::Sender<Event>,
) {
    let mut states = pin!(watcher::watch_object(cluster.tasks(), &name).default_backoff());
    let mut told = false;
    while let Some(state) = states.next().await {
        let event = match state {
            Ok(Some(task)) if task.metadata.uid.as_ref() == Some(&uid) => {
                told = false;
                seen.send_replace(Seen::of(&task));
                Event::Task(Box::new(task))
            }
            Ok(_) => {
                seen.send_modify(|seen| seen.finished = true);
                Event::Gone
            }
            Err(error) => match refusal(&error) {
                Some(error) => Event::Blind(error),
                None if told => continue,
                None => {
                    told = true;
                    Event::Lost("the watch of the Task broke; trying again".to_owned())
                }
            },
        };
        let last = match &event {
            Event::Task(task) => is_finished(task),
            Event::Gone | Event::Blind(_) => true,
            Event::Record(_) | Event::Lost(_) | Event::End(_) => false,
        };
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}

/// An answer of the API server that no repetition will change.
fn refusal(error: &watcher::Error) -> Option<Error> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};

    let act = "failed to watch the Task";
    let status = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status,
        _ => return None,
    };
    matches!(status.code, 401 | 403).then(|| Error::kube(act, kube::Error::Api(status.clone())))
}

struct Reader {
    cluster: Cluster,
    path: String,
    gateway: Option<Gateway>,
    /// The next record.
    from: u64,
    /// The newest attempt whose end was seen.
    ended: u32,
    /// Whether the user knows that the connection is broken.
    told: bool,
    events: mpsc::Sender<Event>,
    look: watch::Receiver<Seen>,
}

impl Reader {
    async fn run(&mut self) {
        let mut tries = 0;
        loop {
            let seen = *self.look.borrow_and_update();
            if seen.attempt == 0 {
                if seen.finished || self.look.changed().await.is_err() {
                    return self.send(Event::End(None)).await;
                }
                continue;
            }
            let before = self.from;
            match self.stream(seen.finished).await {
                Ok(()) if seen.finished => return self.send(Event::End(None)).await,
                Ok(()) => tries = 0,
                // The attempt stands in the status before it is opened at the gateway.
                Err(error) if error.absent && !seen.finished => {}
                Err(error) if !error.transient => return self.send(Event::End(Some(error))).await,
                Err(error) if seen.finished && tries >= TRIES => {
                    return self.send(Event::End(Some(error))).await;
                }
                Err(error) => {
                    self.gateway = None;
                    tries = if self.from > before { 0 } else { tries + 1 };
                    if !std::mem::replace(&mut self.told, true) {
                        self.send(Event::Lost(format!("{}; trying again", error.brief())))
                            .await;
                    }
                }
            }
            if self.events.is_closed() {
                return;
            }
            self.pause().await;
        }
    }

    /// Waits for news of the Task, or for the time of the next try. After the end of the newest attempt only news help.
    async fn pause(&mut self) {
        let seen = *self.look.borrow();
        let news = self.look.changed();
        if self.ended >= seen.attempt && !seen.finished {
            let _ = news.await; // an error means that the watch has ended, which the next pass sees
            return;
        }
        tokio::select! {
            _ = tokio::time::sleep(RETRY) => {}
            done = news => if done.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// One connection: from the next record to the end of the stream.
    async fn stream(&mut self, finished: bool) -> Result<(), Error> {
        let gateway = match self.gateway.take() {
            Some(gateway) => gateway,
            None => Gateway::new(&self.cluster).await?,
        };
        let follow = if finished { "" } else { "&follow=true" };
        let body = gateway
            .get(&format!("{}&from={}{follow}", self.path, self.from))
            .await;
        self.gateway = Some(gateway);
        let mut body = body?;
        let mut lines = Lines::default();
        let mut look = self.look.clone();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = overdue(&mut look), if !finished => {
                    return Err(Error::cluster("the gateway's stream did not end with the Task").transient());
                }
            };
            let Some(frame) = frame else {
                return lines.end();
            };
            let frame = frame.map_err(broken)?;
            for line in lines.push(frame.data_ref().map_or(&[][..], |data| data))? {
                let record = parse(&line)?;
                if record.seq < self.from {
                    continue;
                }
                self.from = record.seq + 1;
                self.told = false;
                if matches!(record.body, Body::Result { .. } | Body::Fenced { .. }) {
                    self.ended = self.ended.max(record.attempt);
                }
                self.send(Event::Record(Box::new(record))).await;
            }
        }
    }

    async fn send(&self, event: Event) {
        // The receiver is gone when the user is: `run` looks for that.
        let _ = self.events.send(event).await;
    }
}

/// Ends some time after the Task has.
async fn overdue(look: &mut watch::Receiver<Seen>) {
    if look.wait_for(|seen| seen.finished).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(GRACE).await;
}

fn parse(line: &[u8]) -> Result<Record, Error> {
    serde_json::from_slice(line).map_err(|error| {
        Error::cluster("the gateway sent a record that this oar does not know")
            .source(error)
            .next("Use the oar of the installed version; `oar --version` shows yours.")
    })
}

/// Cuts a stream of bytes into lines.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        if bytes.contains(&b'\n') {
            let mut pieces = self.rest.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
            let mut last = pieces.next().unwrap_or_default();
            for piece in pieces {
                let line = std::mem::replace(&mut last, piece);
                if !line.iter().all(u8::is_ascii_whitespace) {
                    lines.push(line);
                }
            }
            self.rest = last;
        }
        if self.rest.len() > MAX_LINE {
            return Err(Error::cluster("the gateway sent a line without an end"));
        }
        Ok(lines)
    }

    /// A stream that breaks within a line has lost something.
    fn end(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::cluster("the gateway's stream ended within a record").transient())
        }
    }
}

#[cfg(test)]
mod tests;
