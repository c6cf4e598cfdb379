//! The files under the log, behind a trait so that a test can let them fail.

use super::segment_path;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// What the writer thread needs of a disk.
pub trait Disk: Send {
    /// Makes a segment of `bytes` zeros, durably, in place of an empty one of that number.
    fn create(&mut self, segment: u32, bytes: u32) -> io::Result<()>;
    /// Writes into a segment.
    fn write(&mut self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written to a segment durable.
    fn sync(&mut self, segment: u32) -> io::Result<()>;
    /// Takes away the zeros at the end of a segment that is full.
    fn seal(&mut self, segment: u32, bytes: u32) -> io::Result<()>;
}

/// Segments as files of a directory.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    current: Option<(u32, File)>,
    spare: Option<Spare>,
}

/// The next segment, filled with zeros by a thread of its own while the current one is written.
#[derive(Debug)]
struct Spare {
    bytes: u32,
    thread: JoinHandle<io::Result<()>>,
}

impl Files {
    /// Segments in `dir`, which exists.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            current: None,
            spare: None,
        }
    }

    fn file(&mut self, segment: u32) -> io::Result<&File> {
        if self
            .current
            .as_ref()
            .is_none_or(|(open, _)| *open != segment)
        {
            let path = segment_path(&self.dir, segment);
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            self.current = Some((segment, file));
        }
        match &self.current {
            Some((_, file)) => Ok(file),
            None => Err(io::Error::other("no segment is open")),
        }
    }

    fn spare_path(&self) -> PathBuf {
        self.dir.join("spare")
    }

    /// Whether a spare of this size is ready. A failed spare is no failure of the log: the segment is then made in place, and that
    /// error counts.
    fn take_spare(&mut self, bytes: u32) -> bool {
        self.spare
            .take()
            .is_some_and(|spare| matches!(spare.thread.join(), Ok(Ok(()))) && spare.bytes == bytes)
    }
}

impl Disk for Files {
    fn create(&mut self, segment: u32, bytes: u32) -> io::Result<()> {
        self.current = None;
        let spare = self.spare_path();
        if !self.take_spare(bytes) {
            zeros(&spare, bytes)?;
        }
        std::fs::rename(&spare, segment_path(&self.dir, segment))?;
        File::open(&self.dir)?.sync_all()?;
        self.spare = std::thread::Builder::new()
            .name("store-spare".into())
            .spawn(move || zeros(&spare, bytes))
            .ok()
            .map(|thread| Spare { bytes, thread });
        Ok(())
    }

    fn write(&mut self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all_at(bytes, u64::from(offset))
    }

    fn sync(&mut self, segment: u32) -> io::Result<()> {
        self.file(segment)?.sync_data()
    }

    fn seal(&mut self, segment: u32, bytes: u32) -> io::Result<()> {
        let path = segment_path(&self.dir, segment);
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(u64::from(bytes))?;
        file.sync_all()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take() {
            let _ = spare.thread.join(); // it only made a file that nobody needs now
        }
    }
}

/// Fills a file with zeros, durably; leaves none behind that takes up a full disk.
fn zeros(path: &Path, bytes: u32) -> io::Result<()> {
    static BLOCK: [u8; 64 << 10] = [0; 64 << 10];
    let fill = || {
        let mut file = File::create(path)?;
        let mut left = bytes as usize;
        while let Some(block) = BLOCK.get(..left.min(BLOCK.len())).filter(|b| !b.is_empty()) {
            file.write_all(block)?;
            left -= block.len();
        }
        file.sync_all()
    };
    fill().inspect_err(|_| {
        let _ = std::fs::remove_file(path); // the first error is the one that counts
    })
}
