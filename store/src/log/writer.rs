//! The queue in front of the log, and the one thread behind it.

use super::{Cursor, Disk, Hash, Place, frame};
use crate::STEP;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a frame that nobody waits for may stay in the queue.
const LAZY: Duration = Duration::from_millis(10);

/// Whether somebody waits for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Written at once.
    Now,
    /// Written with the next urgent frame, or after 10 ms.
    Lazy,
}

/// How far the log is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames below this number are durable.
    pub durable: u64,
    /// Why no more will be.
    pub failed: Option<String>,
}

/// Told by the writer thread what became of the frames.
pub trait Sink: Send {
    /// What goes with a frame.
    type Note: Send + 'static;
    /// These frames are durable; [`Progress`] says so already.
    fn durable(&self, notes: Vec<Self::Note>);
    /// Frames from `durable` on are lost and no more will be written; [`Progress`] says so afterwards.
    fn failed(&self, durable: u64, reason: &str);
}

/// The end of the log that is written to.
#[derive(Debug)]
pub struct Log<N> {
    shared: Arc<Shared<N>>,
    thread: Option<JoinHandle<()>>,
    segment_bytes: u32,
}

#[derive(Debug)]
struct Shared<N> {
    queue: Mutex<Queue<N>>,
    wake: Condvar,
    /// Bytes of all segments. Each call asks for it, so it is behind no lock.
    disk: AtomicI64,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Queue<N> {
    cursor: Cursor,
    items: VecDeque<Item<N>>,
    bytes: usize,
    urgent: bool,
    /// When the oldest lazy frame must be written.
    due: Option<Instant>,
    closed: bool,
    failed: Option<String>,
}

#[derive(Debug)]
struct Item<N> {
    number: u64,
    place: Place,
    capacity: u32,
    payload: Vec<u8>,
    note: N,
}

impl<N: Send + 'static> Log<N> {
    /// Starts the writer thread behind `cursor`.
    /// `bytes` are those of all segments.
    pub fn start<S: Sink<Note = N> + 'static>(
        cursor: Cursor,
        bytes: u64,
        segment_bytes: u32,
        disk: Box<dyn Disk>,
        sink: S,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                cursor,
                items: VecDeque::new(),
                bytes: 0,
                urgent: false,
                due: None,
                closed: false,
                failed: None,
            }),
            wake: Condvar::new(),
            disk: AtomicI64::new(i64::try_from(bytes).unwrap_or(i64::MAX)),
            progress: watch::Sender::new(Progress {
                durable: cursor.number,
                failed: None,
            }),
        });
        let behind = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-log".into())
            .spawn(move || behind.run(disk, cursor, &sink))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            segment_bytes,
        })
    }

    /// Queues a frame: its number and place. `Err` says why nothing is written any more.
    pub fn push(
        &self,
        payload: Vec<u8>,
        note: N,
        urgency: Urgency,
    ) -> Result<(u64, Place), String> {
        let mut queue = self.shared.lock();
        if let Some(reason) = &queue.failed {
            return Err(reason.clone());
        }
        let (Ok(size), Ok(len)) = (
            u32::try_from(frame::size(payload.len())),
            u32::try_from(payload.len()),
        ) else {
            return Err(format!("an entry of {} bytes is too large", payload.len()));
        };
        let cursor = &mut queue.cursor;
        if cursor
            .offset
            .checked_add(size)
            .is_none_or(|end| end > cursor.capacity)
        {
            cursor.segments += 1;
            cursor.offset = 0;
            cursor.capacity = size.max(self.segment_bytes);
            self.grown(i64::from(cursor.capacity));
        }
        let number = cursor.number;
        let place = Place {
            segment: cursor.segments - 1,
            offset: cursor.offset,
            len,
        };
        cursor.number += 1;
        cursor.offset += size;
        let capacity = cursor.capacity;
        queue.bytes = queue.bytes.saturating_add(payload.len());
        queue.items.push_back(Item {
            number,
            place,
            capacity,
            payload,
            note,
        });
        // Only what changes the writer's wait wakes it.
        let wake = match urgency {
            Urgency::Now => !std::mem::replace(&mut queue.urgent, true),
            Urgency::Lazy if queue.due.is_none() => {
                queue.due = Some(Instant::now() + LAZY);
                true
            }
            Urgency::Lazy => false,
        };
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        Ok((number, place))
    }

    /// Has what is queued written at once.
    pub fn hurry(&self) {
        let mut queue = self.shared.lock();
        let wake = !queue.items.is_empty() && !std::mem::replace(&mut queue.urgent, true);
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
    }

    /// The next frame begins a segment. Returns the number of that one.
    pub fn roll(&self) -> u32 {
        let cursor = &mut self.shared.lock().cursor;
        cursor.capacity = cursor.offset;
        cursor.segments
    }

    /// Bytes of all segments.
    pub fn disk(&self) -> u64 {
        u64::try_from(self.shared.disk.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Segments were written anew, with so many bytes more.
    pub fn grown(&self, bytes: i64) {
        self.shared.disk.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Number of the next frame.
    pub fn next(&self) -> u64 {
        self.shared.lock().cursor.number
    }

    /// Payload bytes that wait to be written.
    pub fn backlog(&self) -> usize {
        self.shared.lock().bytes
    }

    /// Why nothing is written any more.
    pub fn failed(&self) -> Option<String> {
        self.shared.lock().failed.clone()
    }

    /// How far the log is durable, now and from now on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Frames below this number are durable.
    pub fn durable(&self) -> u64 {
        self.shared.progress.borrow().durable
    }
}

impl<N> Drop for Log<N> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it writes what is queued; a panic in it was printed already
        }
    }
}

impl<N: Send + 'static> Shared<N> {
    fn run<S: Sink<Note = N>>(&self, mut disk: Box<dyn Disk>, cursor: Cursor, sink: &S) {
        let mut end = End {
            segment: cursor.segments.checked_sub(1),
            offset: cursor.offset,
            capacity: cursor.capacity,
            sealed: 0,
            hash: cursor.hash,
        };
        while let Some(batch) = self.take() {
            let synced = self.progress.borrow().durable;
            tracing::trace!(target: STEP, "writing");
            if let Err(error) = write(&mut *disk, &batch, synced, &mut end) {
                let reason = error.to_string();
                tracing::error!(error = %reason, "cannot write the log; nothing new is accepted");
                let mut queue = self.lock();
                queue.failed = Some(reason.clone());
                queue.items.clear();
                queue.bytes = 0;
                drop(queue);
                sink.failed(synced, &reason);
                self.progress.send_modify(|p| p.failed = Some(reason));
                return;
            }
            tracing::trace!(target: STEP, "synced");
            let sealed = i64::from(std::mem::take(&mut end.sealed));
            if sealed > 0 {
                self.disk.fetch_sub(sealed, Ordering::Relaxed);
            }
            let durable = batch.last().map_or(synced, |item| item.number + 1);
            self.progress.send_modify(|p| p.durable = durable);
            sink.durable(batch.into_iter().map(|item| item.note).collect());
        }
    }

    /// Waits for something to write and takes all of it; `None` when the log is closed and written.
    fn take(&self) -> Option<Vec<Item<N>>> {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let due = queue.due.is_some_and(|due| due <= now);
            if !queue.items.is_empty() && (queue.urgent || queue.closed || due) {
                queue.urgent = false;
                queue.due = None;
                queue.bytes = 0;
                return Some(queue.items.drain(..).collect());
            }
            if queue.closed {
                return None;
            }
            queue = match queue.due {
                Some(due) => {
                    let left = due.saturating_duration_since(now);
                    let waited = self.wake.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.wake.wait(queue);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl<N> Shared<N> {
    fn lock(&self) -> MutexGuard<'_, Queue<N>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the frames that are written end.
struct End {
    segment: Option<u32>,
    offset: u32,
    capacity: u32,
    /// Bytes that full segments have lost.
    sealed: u32,
    /// Of the last frame.
    hash: Hash,
}

/// Writes a batch, one write and one sync per segment it touches.
fn write<N>(disk: &mut dyn Disk, batch: &[Item<N>], synced: u64, end: &mut End) -> io::Result<()> {
    for part in batch.chunk_by(|a, b| a.place.segment == b.place.segment) {
        let Some(first) = part.first() else { continue };
        let Place {
            segment, offset, ..
        } = first.place;
        if offset == 0 {
            disk.create(segment, first.capacity)?;
            // After it, so that the last segment always has its zeros.
            if let Some(full) = end.segment.filter(|full| *full != segment) {
                disk.seal(full, end.offset)?;
                let lost = end.capacity.saturating_sub(end.offset);
                end.sealed = end.sealed.saturating_add(lost);
            }
            end.capacity = first.capacity;
        }
        let mut bytes = Vec::new();
        for item in part {
            frame::encode(&mut bytes, item.number, synced, &end.hash, &item.payload);
            end.hash = frame::hash(&end.hash, item.number, &item.payload);
        }
        disk.write(segment, offset, &bytes)?;
        tracing::trace!(target: STEP, "written");
        disk.sync(segment)?;
        end.segment = Some(segment);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        end.offset = offset.saturating_add(len);
    }
    Ok(())
}
