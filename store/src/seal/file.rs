//! The wrapped keys of Tasks: a line of JSON each, in one file.
//!
//! A key is on the disk before anything is sealed with it. New ones are appended; for everything else the file is written anew beside the old one and
//! takes its place. What a crash left of an append was used by nobody.

use super::Keys;
use super::keys::{KeyError, Wrapped};
use crate::StoreError;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Its name, in the directory of the log.
pub const NAME: &str = "keys";

/// The file, and what is in it.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// By the UID of the Task.
    known: BTreeMap<String, Wrapped>,
    /// An append failed, and may have left a part.
    torn: bool,
}

impl File {
    /// What is in the directory's file, all of it under the key that seals now.
    pub fn open(dir: &Path, keys: &Keys) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed("read", &path))?,
        };
        let mut file = Self {
            path,
            known: BTreeMap::new(),
            torn: false,
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                file.torn = true;
                break;
            };
            let wrapped: Wrapped = serde_json::from_slice(line)
                .map_err(|error| failed("understand", &file.path)(error.into()))?;
            file.known.insert(wrapped.of.clone(), wrapped);
        }
        let Some(current) = keys.current() else {
            return match file.known.len() {
                0 => Ok(file),
                sealed => Err(StoreError::Sealed(format!(
                    "there are the keys of {sealed} Tasks, and no key of the installation was given to open them with (--seal-keys, gateway.seal.secretName of the chart)"
                ))),
            };
        };
        let old: Vec<Wrapped> = file
            .known
            .values()
            .filter(|wrapped| wrapped.by != current)
            .cloned()
            .collect();
        for wrapped in &old {
            let again = keys.wrap_again(wrapped).map_err(sealed)?;
            file.known.insert(again.of.clone(), again);
        }
        // One that was given and is not the right one is told now, not at the first reading.
        if let Some(wrapped) = file.known.values().next() {
            keys.unwrap(&wrapped.of, wrapped).map_err(sealed)?;
        }
        if !old.is_empty() || file.torn {
            file.write()?;
        }
        if !old.is_empty() {
            let count = old.len();
            tracing::info!(
                key = current,
                count,
                "the keys of all Tasks are under this key now; others are needed no longer"
            );
        }
        Ok(file)
    }

    /// What is in it.
    pub const fn known(&self) -> &BTreeMap<String, Wrapped> {
        &self.known
    }

    /// Those without a key have one then. Returns the new ones.
    pub fn give<'a>(
        &mut self,
        keys: &Keys,
        to: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Wrapped>, StoreError> {
        let new: Result<Vec<Wrapped>, String> = to
            .into_iter()
            .filter(|of| !self.known.contains_key(*of))
            .map(|of| keys.wrap_new(of))
            .collect();
        let new = new.map_err(StoreError::Sealed)?;
        if new.is_empty() {
            return Ok(new);
        }
        if self.torn {
            self.write()?;
        }
        let appended = self.append(&new);
        if let Err(error) = appended {
            self.torn = true;
            return Err(error);
        }
        let named = new.iter().map(|key| (key.of.clone(), key.clone()));
        self.known.extend(named);
        Ok(new)
    }

    /// Drops the keys of all others. Returns whose they were.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, StoreError> {
        let gone: Vec<String> = self.known.keys().filter(|of| !keep(of)).cloned().collect();
        if gone.is_empty() {
            return Ok(gone);
        }
        // What cannot be written is not dropped: the next pass tries it again.
        let before = self.known.clone();
        for of in &gone {
            self.known.remove(of);
        }
        if let Err(error) = self.write() {
            self.known = before;
            return Err(error);
        }
        Ok(gone)
    }

    fn append(&self, new: &[Wrapped]) -> Result<(), StoreError> {
        let text = lines(new.iter()).map_err(|e| failed("write", &self.path)(e.into()))?;
        let is_new = !self.path.exists();
        let append = || {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&self.path);
            let mut file = file?;
            file.write_all(&text)?;
            file.sync_all()
        };
        append().map_err(failed("write", &self.path))?;
        match is_new {
            true => self.sync(),
            false => Ok(()),
        }
    }

    /// Writes the file anew, in place of what there is.
    fn write(&mut self) -> Result<(), StoreError> {
        let text = lines(self.known.values()).map_err(|e| failed("write", &self.path)(e.into()))?;
        let draft = self.path.with_extension("draft");
        let write = || {
            let mut file = fs::File::create(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        };
        write().map_err(failed("write", &draft))?;
        self.sync()?;
        self.torn = false;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(failed("sync", dir))
    }
}

fn lines<'a>(keys: impl Iterator<Item = &'a Wrapped>) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    for key in keys {
        serde_json::to_writer(&mut text, key)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn sealed(error: KeyError) -> StoreError {
    StoreError::Sealed(error.to_string())
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { act, path, source }
}
