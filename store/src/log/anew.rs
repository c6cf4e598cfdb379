//! Segments that are written anew take the place of the old ones together: all of them or none, whenever the process ends.
//!
//! The new bytes are beside the old ones (`prepare`). A list of their names is what decides (`commit`): where there is one, the next start finishes what
//! it says (`finish`); where there is none, they are thrown away.

use super::segment_path;
use crate::StoreError;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Puts a segment's new bytes beside the old ones, durably. What fails leaves nothing that takes up a full disk.
pub fn prepare(dir: &Path, segment: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let path = new_path(dir, segment);
    write(&path, bytes)
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&path); // the first error is the one that counts
        })
        .map_err(failed("write", &path))
}

/// Decides that these segments are replaced, and replaces them. Returns how many bytes more their files have.
pub fn commit(dir: &Path, segments: &[u32]) -> Result<i64, StoreError> {
    let grown = grown(dir, segments)?;
    let (list, draft) = (list_path(dir), dir.join("anew.draft"));
    let text: String = segments
        .iter()
        .map(|segment| format!("{segment}\n"))
        .collect();
    write(&draft, text.as_bytes()).map_err(failed("write", &draft))?;
    std::fs::rename(&draft, &list).map_err(failed("rename", &draft))?;
    sync(dir)?;
    finish(dir)?;
    Ok(grown)
}

/// Finishes what a process before has decided, and throws away what it has not.
pub fn finish(dir: &Path) -> Result<(), StoreError> {
    let list = list_path(dir);
    match std::fs::read_to_string(&list) {
        Ok(text) => {
            for line in text.lines() {
                let segment = line.parse().map_err(|_| StoreError::Io {
                    act: "understand",
                    path: list.clone(),
                    source: io::ErrorKind::InvalidData.into(),
                })?;
                let path = new_path(dir, segment);
                match std::fs::rename(&path, segment_path(dir, segment)) {
                    // The process before came to this one.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    renamed => renamed.map_err(failed("rename", &path))?,
                }
            }
            sync(dir)?;
            std::fs::remove_file(&list).map_err(failed("remove", &list))?;
            sync(dir)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => discard(dir),
        Err(error) => Err(failed("read", &list)(error)),
    }
}

fn discard(dir: &Path) -> Result<(), StoreError> {
    for file in std::fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = file.map_err(failed("list", dir))?.path();
        if path.extension().is_some_and(|end| end == "new") {
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

fn grown(dir: &Path, segments: &[u32]) -> Result<i64, StoreError> {
    let len = |path: &Path| {
        let found = std::fs::metadata(path).map_err(failed("find", path))?;
        Ok::<_, StoreError>(i64::try_from(found.len()).unwrap_or(i64::MAX))
    };
    segments.iter().try_fold(0_i64, |sum, segment| {
        let more = len(&new_path(dir, *segment))?;
        let less = len(&segment_path(dir, *segment))?;
        Ok(sum.saturating_add(more).saturating_sub(less))
    })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(dir: &Path) -> Result<(), StoreError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(failed("sync", dir))
}

fn new_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.new"))
}

fn list_path(dir: &Path) -> PathBuf {
    dir.join("anew")
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path, segment: u32) -> String {
        std::fs::read_to_string(segment_path(dir, segment)).unwrap()
    }

    #[test]
    fn all_are_replaced_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for segment in 0..3 {
            std::fs::write(segment_path(dir, segment), "old").unwrap();
        }
        // Ended before it was decided.
        prepare(dir, 1, b"newer").unwrap();
        finish(dir).unwrap();
        assert_eq!([0, 1, 2].map(|n| read(dir, n)), ["old"; 3]);
        assert!(!new_path(dir, 1).exists());
        // Ended in the middle of the renames.
        for segment in [0, 1] {
            prepare(dir, segment, b"newer").unwrap();
        }
        std::fs::write(list_path(dir), "0\n1\n").unwrap();
        std::fs::rename(new_path(dir, 0), segment_path(dir, 0)).unwrap();
        finish(dir).unwrap();
        finish(dir).unwrap();
        assert_eq!([0, 1, 2].map(|n| read(dir, n)), ["newer", "newer", "old"]);
        prepare(dir, 2, b"x").unwrap();
        assert_eq!(commit(dir, &[2]).unwrap(), -2);
        assert_eq!(read(dir, 2), "x");
        assert!(!list_path(dir).exists());
        std::fs::write(list_path(dir), "two\n").unwrap();
        assert!(finish(dir).unwrap_err().to_string().contains("anew"));
    }
}
