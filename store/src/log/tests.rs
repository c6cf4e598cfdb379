use super::*;
use crate::StoreError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Counts what became durable.
#[derive(Default)]
struct Seen {
    notes: Mutex<Vec<u32>>,
    failed: Mutex<Option<u64>>,
}

impl Sink for Arc<Seen> {
    type Note = u32;
    fn durable(&self, notes: Vec<u32>) {
        self.notes.lock().unwrap().extend(notes);
    }
    fn failed(&self, durable: u64, _: &str) {
        *self.failed.lock().unwrap() = Some(durable);
    }
}

fn start(dir: &Path, cursor: Cursor, segment_bytes: u32) -> Log<u32> {
    let disk = Box::new(Files::new(dir));
    Log::start(cursor, 0, segment_bytes, disk, Arc::new(Seen::default())).unwrap()
}

fn wait(log: &Log<u32>, end: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut progress = log.progress();
    let seen = runtime
        .block_on(progress.wait_for(|p| p.durable >= end || p.failed.is_some()))
        .unwrap();
    seen.failed.clone().map_or(Ok(()), Err)
}

pub type Read = Vec<(Place, Vec<u8>)>;

pub fn read_all(dir: &Path, repair: Repair) -> Result<(Read, Cursor), StoreError> {
    let mut frames = Vec::new();
    let cursor = replay(dir, repair, &mut |number, place, payload| {
        assert_eq!(number, frames.len() as u64);
        frames.push((place, payload.to_vec()));
        Ok(())
    })?;
    Ok((frames, cursor))
}

/// Writes each group as one batch.
pub fn write(dir: &Path, segment_bytes: u32, groups: &[&[&str]]) {
    let mut cursor = read_all(dir, Repair::Erase).unwrap().1;
    for group in groups {
        let mut disk = Files::new(dir);
        for part in batch(&mut cursor, segment_bytes, group).chunk_by(|a, b| a.0 == b.0) {
            let (segment, offset, capacity, _) = part[0];
            if offset == 0 {
                disk.create(segment, capacity).unwrap();
            }
            let bytes: Vec<u8> = part.iter().flat_map(|p| p.3.clone()).collect();
            disk.write(segment, offset, &bytes).unwrap();
            disk.sync(segment).unwrap();
        }
    }
}

/// The frames of a batch: segment, offset, capacity, bytes.
fn batch(cursor: &mut Cursor, segment_bytes: u32, group: &[&str]) -> Vec<(u32, u32, u32, Vec<u8>)> {
    let synced = cursor.number;
    group
        .iter()
        .map(|text| {
            let mut bytes = Vec::new();
            let before = cursor.hash;
            frame::encode(&mut bytes, cursor.number, synced, &before, text.as_bytes());
            cursor.hash = frame::hash(&before, cursor.number, text.as_bytes());
            let size = bytes.len() as u32;
            if cursor.offset + size > cursor.capacity {
                cursor.segments += 1;
                cursor.offset = 0;
                cursor.capacity = size.max(segment_bytes);
            }
            let place = (cursor.segments - 1, cursor.offset, cursor.capacity, bytes);
            cursor.number += 1;
            cursor.offset += size;
            place
        })
        .collect()
}

pub fn texts(frames: &Read) -> Vec<String> {
    let text = |(_, payload): &(Place, Vec<u8>)| String::from_utf8(payload.clone()).unwrap();
    frames.iter().map(text).collect()
}

/// Changes one segment file.
pub fn edit(dir: &Path, segment: u32, change: impl FnOnce(&mut Vec<u8>)) {
    let path = segment_path(dir, segment);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn what_was_pushed_is_read_back_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        let cursor = read_all(dir.path(), Repair::Erase).unwrap().1;
        let log = start(dir.path(), cursor, 256);
        for i in 0..20 {
            let text = format!("round {round} entry {i} {}", "x".repeat(i * 7));
            let (number, place) = log
                .push(text.clone().into_bytes(), 0, Urgency::Now)
                .unwrap();
            assert_eq!(number as usize, expected.len());
            expected.push((place, text.into_bytes()));
        }
        wait(&log, expected.len() as u64).unwrap();
        for (place, text) in &expected {
            assert_eq!(&read(dir.path(), *place).unwrap(), text);
        }
    }
    let (frames, cursor) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(frames, expected);
    assert!(cursor.segments > 5, "the test is about several segments");
    assert_eq!(cursor.number, 60);
}

#[test]
fn a_frame_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let big = "b".repeat(10_000);
    write(dir.path(), 256, &[&["a"], &[&big], &["c"]]);
    let (frames, _) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(texts(&frames), ["a", &big, "c"]);
}

#[test]
fn a_frame_that_nobody_waits_for_is_written_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = start(dir.path(), Cursor::default(), 4096);
    log.push(b"lazy".to_vec(), 7, Urgency::Lazy).unwrap();
    wait(&log, 1).unwrap();
    assert_eq!(log.backlog(), 0);
}

#[test]
fn dropping_the_log_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let log = start(dir.path(), Cursor::default(), 4096);
    for _ in 0..50 {
        log.push(b"x".to_vec(), 0, Urgency::Lazy).unwrap();
    }
    drop(log);
    let (frames, _) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(frames.len(), 50);
}

#[test]
fn a_torn_tail_is_dropped_at_every_byte_and_the_log_goes_on() {
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), 4096, &[&["one"], &["two", "three"]]);
    let (frames, end) = read_all(whole.path(), Repair::Erase).unwrap();
    let from = frames[1].0.offset as usize;
    let second = frames[2].0.offset as usize;
    for cut in from..end.offset as usize {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 4096, &[&["one"], &["two", "three"]]);
        edit(dir.path(), 0, |bytes| bytes[cut..].fill(0));
        let kept = 1
            + usize::from(cut >= from + frame::HEADER + 3)
            + usize::from(cut >= second + frame::HEADER + 5);
        let (frames, cursor) = read_all(dir.path(), Repair::Erase).unwrap();
        assert_eq!(frames.len(), kept, "cut at {cut}");
        assert_eq!(cursor.number, kept as u64);
        write(dir.path(), 4096, &[&["after"]]);
        let (frames, _) = read_all(dir.path(), Repair::Erase).unwrap();
        assert_eq!(frames.len(), kept + 1, "cut at {cut}");
        assert_eq!(frames[kept].1, b"after");
    }
}

#[test]
fn a_later_frame_of_the_same_batch_does_not_make_a_torn_one_damage() {
    // The disk wrote the batch's second page and not its first.
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4096, &[&["one"], &["two", "three"]]);
    let (frames, _) = read_all(dir.path(), Repair::Erase).unwrap();
    let (from, to) = (frames[1].0.offset as usize, frames[2].0.offset as usize);
    edit(dir.path(), 0, |bytes| bytes[from..to].fill(0));
    let (frames, _) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(texts(&frames), ["one"]);
    // A shorter frame in the hole must not bring "three" back.
    write(dir.path(), 4096, &[&["2"]]);
    let (frames, _) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(texts(&frames), ["one", "2"]);
}

#[test]
fn a_batch_that_was_torn_across_segments_is_dropped_whole_segments_too() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(100);
    write(dir.path(), 256, &[&["one"], &[&long, &long, &long]]);
    let (frames, cursor) = read_all(dir.path(), Repair::Erase).unwrap();
    assert!(cursor.segments >= 2);
    let at = frames[1].0.offset as usize;
    edit(dir.path(), 0, |bytes| bytes[at + 40] ^= 1);
    let (frames, cursor) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(texts(&frames), ["one"]);
    assert_eq!(cursor.segments, 1);
    assert!(!segment_path(dir.path(), 1).exists());
}

#[test]
fn a_changed_bit_below_a_durable_frame_is_an_error_that_names_the_place() {
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), 4096, &[&["one"], &["two"], &["three"]]);
    let (frames, _) = read_all(whole.path(), Repair::Erase).unwrap();
    let place = frames[1].0;
    let from = place.offset as usize;
    for byte in from..from + frame::HEADER + place.len as usize {
        if (from + 28..from + 32).contains(&byte) {
            continue; // the header's padding says nothing
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(segment_path(whole.path(), 0), segment_path(dir.path(), 0)).unwrap();
        edit(dir.path(), 0, |bytes| bytes[byte] ^= 0x10);
        let error = read_all(dir.path(), Repair::Erase).unwrap_err();
        match error {
            StoreError::Corrupt {
                segment, offset, ..
            } => assert_eq!((segment, offset), (0, u64::from(place.offset))),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn damage_is_told_across_segments_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(100);
    write(dir.path(), 256, &[&["one"], &[&long], &[&long], &[&long]]);
    edit(dir.path(), 0, |bytes| bytes[frame::HEADER + 1] ^= 1);
    let before = std::fs::read(segment_path(dir.path(), 0)).unwrap();
    let error = read_all(dir.path(), Repair::Erase).unwrap_err();
    assert_eq!(
        error.to_string(),
        "log is corrupt in segment 0 at offset 0: frame 0 is unreadable, but frame 1 was written after it was durable"
    );
    assert_eq!(std::fs::read(segment_path(dir.path(), 0)).unwrap(), before);
}

#[test]
fn a_missing_or_shortened_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(150);
    let groups: &[&[&str]] = &[&[&long], &[&long], &[&long], &[&long]];
    write(dir.path(), 256, groups);
    edit(dir.path(), 1, |bytes| bytes.truncate(50));
    let error = read_all(dir.path(), Repair::Erase).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Corrupt {
                segment: 1,
                offset: 0,
                ..
            }
        ),
        "{error}"
    );
    std::fs::remove_file(segment_path(dir.path(), 1)).unwrap();
    let error = read_all(dir.path(), Repair::Erase).unwrap_err();
    assert!(error.to_string().contains("segment 1"), "{error}");
}

#[test]
fn reading_one_frame_checks_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4096, &[&["one"]]);
    let place = read_all(dir.path(), Repair::Erase).unwrap().0[0].0;
    edit(dir.path(), 0, |bytes| bytes[frame::HEADER] ^= 1);
    let error = read(dir.path(), place).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

/// Faults of a disk, when told to.
#[derive(Clone, Default)]
pub struct Fault {
    pub broken: Arc<AtomicBool>,
    /// While a test holds it, nothing becomes durable.
    pub gate: Arc<Mutex<()>>,
}

/// Segments as files, with faults.
pub struct Faulty {
    pub files: Files,
    pub fault: Fault,
}

impl Disk for Faulty {
    fn create(&mut self, segment: u32, bytes: u32) -> std::io::Result<()> {
        self.files.create(segment, bytes)
    }
    fn write(&mut self, segment: u32, offset: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.files.write(segment, offset, bytes)
    }
    fn sync(&mut self, segment: u32) -> std::io::Result<()> {
        let _open = self.fault.gate.lock();
        if self.fault.broken.load(Ordering::SeqCst) {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        self.files.sync(segment)
    }
    fn seal(&mut self, segment: u32, bytes: u32) -> std::io::Result<()> {
        self.files.seal(segment, bytes)
    }
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let fault = Fault::default();
    let disk = Box::new(Faulty {
        files: Files::new(dir.path()),
        fault: fault.clone(),
    });
    let seen = Arc::new(Seen::default());
    let log = Log::start(Cursor::default(), 0, 4096, disk, Arc::clone(&seen)).unwrap();
    log.push(b"one".to_vec(), 1, Urgency::Now).unwrap();
    wait(&log, 1).unwrap();
    fault.broken.store(true, Ordering::SeqCst);
    log.push(b"two".to_vec(), 2, Urgency::Now).unwrap();
    assert!(wait(&log, 2).unwrap_err().contains("Input/output error"));
    fault.broken.store(false, Ordering::SeqCst);
    log.push(b"three".to_vec(), 3, Urgency::Now).unwrap_err();
    assert_eq!(log.durable(), 1);
    drop(log);
    assert_eq!(*seen.notes.lock().unwrap(), [1]);
    assert_eq!(*seen.failed.lock().unwrap(), Some(1));
}
