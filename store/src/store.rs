//! The store itself: the lock, the log and the state in one order.
//!
//! A change holds the lock while it decides, queues its frame and applies it; it waits for the disk without the lock. So the state may
//! be ahead of the disk, and everybody who answers from it waits for the frames that the answer depends on.

use crate::blobs::Blobs;
use crate::entry::{Entry, lines};
use crate::hub::{Hub, Note};
use crate::log::{self, Disk, Files, Log, Place, Repair, Urgency};
use crate::sdk::Exposed;
use crate::seal::{Reading, Sealer};
use crate::state::{At, State};
use crate::{Limits, Options, Refusal, StoreError};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// Most bytes in the queue before a caller that does not wait for the disk has to.
const BACKLOG: usize = 8 << 20;

/// The gateway's durable state. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// Without its content: outputs and findings are nobody's log line.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.inner.options).finish()
    }
}

struct Inner {
    options: Options,
    /// Before the hub's other users: its drop writes what is queued.
    log: Log<Note>,
    core: Arc<Mutex<Core>>,
    hub: Arc<Hub>,
    running: Mutex<Running>,
    exposed: Mutex<Exposed>,
    /// Log, tasks and blobs, in this order. Each call asks for them.
    limits: [AtomicU64; 3],
    /// Read by whoever reads several segments, written while some are replaced.
    files: Arc<RwLock<()>>,
    /// Read while a blob gets a name and an entry, written while blobs are removed.
    naming: tokio::sync::RwLock<()>,
    /// Bytes of artifacts that are on their way.
    staged: AtomicU64,
    /// The newest time in the log when it was opened, and what the steady clock said.
    opened: (i64, i64),
    blobs: Blobs,
    sealer: Arc<Sealer>,
    /// Held, so that no other process opens the directory.
    _lock: File,
}

/// What the lock guards.
#[derive(Debug, Default)]
pub struct Core {
    pub state: State,
    /// Why the state cannot be read: the log failed, and could not be read back either.
    pub unreadable: Option<String>,
}

/// The calls that somebody runs now, by Task and number. Not part of the state: a restart forgets them.
pub type Running = BTreeMap<(String, u64), RunningCall>;

/// A call that somebody runs now.
#[derive(Debug)]
pub struct RunningCall {
    pub digest: String,
    /// Dropped when nobody runs it any more.
    pub alive: watch::Sender<()>,
}

impl Store {
    /// Opens the directory, reads the log, and books every hop that was open when the process before ended.
    ///
    /// Call it before anything listens.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        Self::open_with(options, |dir| Box::new(Files::new(dir))).await
    }

    pub(crate) async fn open_with(
        options: Options,
        disk: impl FnOnce(&Path) -> Box<dyn Disk> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let blocking = tokio::task::spawn_blocking(move || Self::load(options, disk));
        let store = blocking
            .await
            .unwrap_or_else(|error| Err(StoreError::Thread(std::io::Error::other(error))))?;
        store.recover().await;
        Ok(store)
    }

    fn load(
        options: Options,
        disk: impl FnOnce(&Path) -> Box<dyn Disk>,
    ) -> Result<Self, StoreError> {
        let dir = options.dir.clone();
        let io = |act, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { act, path, source }
        };
        std::fs::create_dir_all(&dir).map_err(io("create", &dir))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(io("create", &path))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => StoreError::Locked { path: path.clone() },
            std::fs::TryLockError::Error(source) => io("lock", &path)(source),
        })?;
        let blobs = Blobs::open(&dir)?;
        log::finish(&dir)?;
        let sealer = Arc::new(Sealer::open(&dir, options.keys.clone())?);
        let mut state = State::default();
        let mut reading = Reading::new(&sealer);
        let cursor = log::replay(&dir, Repair::Erase, &mut |frame, place, payload| {
            apply_frame(&mut state, frame, place, payload, &mut reading)
        })?;
        reading.end()?;
        // A key that a crash left behind is nobody's any more. What was begun without one is sealed from here on, and so are notes.
        sealer.retain(|of| of.is_empty() || state.tasks.contains_key(of))?;
        let tasks = state.tasks.keys().map(String::as_str);
        sealer.give(tasks.chain([""]))?;
        let times = state.segments.values().filter_map(|known| known.times);
        let newest = times.map(|(_, last)| last).max();
        // A new log begins now.
        let newest = newest.unwrap_or_else(|| (options.clock)());
        let opened = (newest, (options.steady)());
        let core = Arc::new(Mutex::new(Core {
            state,
            unreadable: None,
        }));
        // Whoever keeps the process's output has what the log must still lead to later.
        if let Some(frame) = cursor.number.checked_sub(1) {
            let hash = hex::encode(cursor.hash);
            tracing::info!(frame, hash, "the log goes on after this frame");
        }
        let files = Arc::new(RwLock::new(()));
        let hub = Hub::new(
            dir.clone(),
            Arc::clone(&sealer),
            Arc::clone(&core),
            Arc::clone(&files),
        );
        let hub = Arc::new(hub);
        let bytes = log::bytes(&dir)?;
        let segment = options.segment_bytes;
        let log = Log::start(cursor, bytes, segment, disk(&dir), Arc::clone(&hub))
            .map_err(StoreError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                limits: [
                    options.limits.log,
                    options.limits.tasks,
                    options.limits.blobs,
                ]
                .map(AtomicU64::new),
                files,
                naming: tokio::sync::RwLock::default(),
                staged: AtomicU64::new(0),
                opened,
                options,
                log,
                core,
                hub,
                running: Mutex::default(),
                exposed: Mutex::default(),
                blobs,
                sealer,
                _lock: lock,
            }),
        })
    }

    /// Books what the process before left open. When the log cannot be written, the store is open for readers, and says so.
    async fn recover(&self) {
        let now = self.now();
        let open: Vec<_> = {
            let core = self.lock();
            let tasks = core.state.tasks.values();
            tasks
                .map(|task| core.state.decide_recover(task, now))
                .filter(|entries| !entries.is_empty())
                .collect()
        };
        for entries in open {
            let hops = entries.len();
            let task = entries.first().map(Entry::task_uid).unwrap_or_default();
            tracing::info!(
                task,
                hops,
                "booked calls that were open when the gateway stopped"
            );
            if let Err(error) = self.commit(Urgency::Now, |_| Ok((entries, ())), |_, ()| ()) {
                tracing::error!(%error, "cannot book calls that were open when the gateway stopped");
            }
        }
        let rest = self.options().sdk_rest_pico;
        let started = self.commit(
            Urgency::Now,
            |state| Ok((state.decide_start(rest, now), state.sdk.running)),
            |_, unclean| unclean,
        );
        match started {
            Ok((true, _)) => tracing::info!(
                "the gateway was not stopped cleanly; what callers may have had out is booked as estimated"
            ),
            Ok((false, _)) => {}
            Err(error) => tracing::error!(%error, "cannot write that the gateway has begun"),
        }
        if let Err(error) = self.flush().await {
            tracing::error!(%error, "the store is open for readers only");
        }
    }

    /// Says that the process ends, and waits until everything is durable. No call of somebody who is no Task begins any more.
    pub async fn stop(&self) -> Result<(), Refusal> {
        let at_ms = self.now();
        self.change(|_| Ok((vec![Entry::Stop { at_ms }], ())), |_, ()| ())
            .await
    }

    /// Waits until everything accepted so far is durable.
    pub async fn flush(&self) -> Result<(), Refusal> {
        let end = self.inner.log.next();
        self.durable(end).await
    }

    /// Why nothing new is accepted, or `None` while the log can be written. A change means: report not ready, and restart.
    #[must_use]
    pub fn unwritable(&self) -> watch::Receiver<Option<String>> {
        self.inner.hub.unwritable()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn sealer(&self) -> &Arc<Sealer> {
        &self.inner.sealer
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// The clock that windows are fixed by, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn clock(&self) -> i64 {
        self.now()
    }

    pub(crate) fn now(&self) -> i64 {
        (self.inner.options.clock)()
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, Running> {
        let running = self.inner.running.lock();
        running.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exposed(&self) -> MutexGuard<'_, Exposed> {
        let exposed = self.inner.exposed.lock();
        exposed.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn limits(&self) -> Limits {
        let [log, tasks, blobs] = &self.inner.limits;
        let [log, tasks, blobs] = [log, tasks, blobs].map(|limit| limit.load(Ordering::Relaxed));
        Limits { log, tasks, blobs }
    }

    /// Other bounds of the log and the artifacts from now on: the volume may have been expanded.
    pub fn limit(&self, limits: Limits) {
        let Limits { log, tasks, blobs } = limits;
        for (known, limit) in self.inner.limits.iter().zip([log, tasks, blobs]) {
            known.store(limit, Ordering::Relaxed);
        }
    }

    /// Has what is queued written at once.
    pub(crate) fn hurry(&self) {
        self.inner.log.hurry();
    }

    /// Ends the segment that is written to; returns the number of the next one. The caller holds the lock.
    pub(crate) fn roll(&self) -> u32 {
        self.inner.log.roll()
    }

    /// The log's files have so many bytes more.
    pub(crate) fn grown(&self, bytes: i64) {
        self.inner.log.grown(bytes);
    }

    /// While it is held, no segment is replaced.
    pub(crate) fn files_read(&self) -> RwLockReadGuard<'_, ()> {
        let files = self.inner.files.read();
        files.unwrap_or_else(PoisonError::into_inner)
    }

    /// While it is held, nobody reads segments.
    pub(crate) fn files_write(&self) -> RwLockWriteGuard<'_, ()> {
        let files = self.inner.files.write();
        files.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn naming(&self) -> &tokio::sync::RwLock<()> {
        &self.inner.naming
    }

    pub(crate) fn staged(&self) -> &AtomicU64 {
        &self.inner.staged
    }

    /// Now, for what may leave: never more than has passed while the log was open, so that a clock that is wrong makes nothing old.
    pub(crate) fn ripe(&self) -> i64 {
        let (newest, steady) = self.inner.opened;
        let passed = (self.inner.options.steady)().saturating_sub(steady);
        self.now().min(newest.saturating_add(passed))
    }

    /// Bytes of the log's files.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.inner.log.disk()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        lock(&self.inner.core)
    }

    /// Frames below this number are queued at least.
    #[cfg(test)]
    pub(crate) fn queued_frames(&self) -> u64 {
        self.inner.log.next()
    }

    /// Frames below this number are durable.
    pub(crate) fn durable_frames(&self) -> u64 {
        self.inner.log.durable()
    }

    /// Decides, queues and applies; the answer is formed from the state after it. Returns what to wait for with it.
    pub(crate) fn commit<D, T>(
        &self,
        urgency: Urgency,
        decide: impl FnOnce(&State) -> Result<(Vec<Entry>, D), Refusal>,
        answer: impl FnOnce(&State, D) -> T,
    ) -> Result<(T, u64), Refusal> {
        let mut core = self.lock();
        core.readable()?;
        if let Some(reason) = self.inner.log.failed() {
            return Err(Refusal::Unwritable(reason));
        }
        let (entries, decided) = decide(&core.state)?;
        let Some(first) = entries.first() else {
            // Nothing changes; what was decided upon is in the queue at most.
            return Ok((answer(&core.state, decided), self.inner.log.next()));
        };
        let note = Note::of(&core.state, first.task_uid(), &entries);
        let (payload, lines) = encode(&entries, &self.inner.sealer)?;
        let (frame, place) = self
            .inner
            .log
            .push(payload, note, urgency)
            .map_err(Refusal::Unwritable)?;
        for ((line, bytes), entry) in (0_u16..).zip(lines).zip(&entries) {
            let at = At {
                frame,
                place,
                line,
                bytes,
            };
            core.state.apply(entry, at).map_err(|what| {
                tracing::error!(%what, "an entry does not fit the state that decided it");
                Refusal::Internal(what)
            })?;
        }
        Ok((answer(&core.state, decided), frame + 1))
    }

    /// As [`Store::commit`], and waits until it is durable.
    pub(crate) async fn change<D, T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(Vec<Entry>, D), Refusal>,
        answer: impl FnOnce(&State, D) -> T,
    ) -> Result<T, Refusal> {
        let (answer, end) = self.commit(Urgency::Now, decide, answer)?;
        self.durable(end).await?;
        Ok(answer)
    }

    /// Reads, and waits until what was read is durable: the second value of `view`.
    pub(crate) async fn read<T>(
        &self,
        view: impl Fn(&State) -> Result<(T, u64), Refusal>,
    ) -> Result<T, Refusal> {
        let look = || {
            let core = self.lock();
            core.readable()?;
            view(&core.state)
        };
        let (seen, depends) = look()?;
        if self.durable(depends).await.is_ok() {
            return Ok(seen);
        }
        // The log failed in between. The state was put back to what is durable, and that can be read.
        Ok(look()?.0)
    }

    /// Waits until the frames below `end` are durable.
    pub(crate) async fn durable(&self, end: u64) -> Result<(), Refusal> {
        let mut progress = self.inner.log.progress();
        let reached = progress.wait_for(|p| p.durable >= end || p.failed.is_some());
        match reached.await {
            Ok(progress) if progress.durable >= end => Ok(()),
            Ok(progress) => Err(Refusal::Unwritable(
                progress.failed.clone().unwrap_or_default(),
            )),
            Err(_) => Err(Refusal::Unwritable("the log is closed".into())),
        }
    }

    /// Waits only when the queue is too long.
    pub(crate) async fn ease(&self, end: u64) -> Result<(), Refusal> {
        if self.inner.log.backlog() > BACKLOG {
            return self.durable(end).await;
        }
        Ok(())
    }
}

impl Core {
    fn readable(&self) -> Result<(), Refusal> {
        match &self.unreadable {
            Some(reason) => Err(Refusal::Internal(reason.clone())),
            None => Ok(()),
        }
    }
}

pub fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One frame of entries: a line each. Neither JSON nor what is sealed has a raw line feed in it.
pub fn encode(entries: &[Entry], sealer: &Sealer) -> Result<(Vec<u8>, Vec<u32>), Refusal> {
    let mut payload = Vec::new();
    let mut lines = Vec::with_capacity(entries.len());
    for entry in entries {
        if !payload.is_empty() {
            payload.push(b'\n');
        }
        let from = payload.len();
        sealer.line(&mut payload, entry)?;
        lines.push(u32::try_from(payload.len() - from).unwrap_or(u32::MAX));
    }
    Ok((payload, lines))
}

/// Applies the entries of one frame.
pub fn apply_frame(
    state: &mut State,
    frame: u64,
    place: Place,
    payload: &[u8],
    reading: &mut Reading<'_>,
) -> Result<(), String> {
    for (line, text) in lines(payload) {
        let entry = reading
            .next(text)
            .map_err(|what| format!("entry {line} {what}"))?;
        let at = At {
            frame,
            place,
            line,
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
        };
        state.apply(&entry, at)?;
    }
    Ok(())
}
