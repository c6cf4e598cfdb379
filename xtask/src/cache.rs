//! What is built once and kept outside the checkout: found by content, never
//! by time, so that a second checkout starts at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// `OARMASTER_CACHE`, else `oarmaster` in the user's cache directory.
pub fn root() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    if let Some(path) = set("OARMASTER_CACHE") {
        return Ok(PathBuf::from(path));
    }
    if let Some(path) = set("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(path).join("oarmaster"));
    }
    let home = set("HOME").context("neither OARMASTER_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/oarmaster"))
}

/// The root of this checkout.
pub fn checkout() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A digest over named parts; the name and length of each part belong to it.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds one part.
    pub fn add(mut self, name: &str, content: &[u8]) -> Self {
        self.0.update(name.as_bytes());
        self.0.update([0]);
        self.0.update(content.len().to_le_bytes());
        self.0.update(content);
        self
    }

    /// Adds every file below `folder` whose relative path `wanted` accepts.
    pub fn add_files(mut self, folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Self> {
        for path in files(folder)? {
            let name = path.strip_prefix(folder).unwrap_or(&path);
            if wanted(name) {
                let content = fs::read(&path)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                self = self.add(&name.to_string_lossy(), &content);
            }
        }
        Ok(self)
    }

    /// Sixteen hexadecimal digits: enough to tell builds apart.
    pub fn finish(self) -> String {
        let mut digits = hex::encode(self.0.finalize());
        digits.truncate(16);
        digits
    }
}

/// Every file below `folder`, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries =
            fs::read_dir(&next).with_context(|| format!("failed to list {}", next.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Holds an exclusive lock named `name` until dropped, so that two callers do
/// not do the same work side by side.
pub fn lock(name: &str) -> Result<File> {
    let folder = root()?.join("locks");
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let path = folder.join(name);
    let file =
        File::create(&path).with_context(|| format!("failed to open lock {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another run that holds {}", path.display());
        file.lock()
            .with_context(|| format!("failed to lock {}", path.display()))?;
    }
    Ok(file)
}

/// The folder `place` below the cache, made by `build` if it is not there yet.
///
/// `build` fills an empty folder, which gets its name only when it is
/// complete: a folder under its final name is always whole.
pub fn once(place: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let target = root()?.join(place);
    if target.is_dir() {
        return Ok(target);
    }
    let _lock = lock(&place.replace('/', "-"))?;
    if target.is_dir() {
        return Ok(target);
    }
    let parent = target.parent().context("a cache place has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("failed to create {}", parent.display()))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".partial-{name}-");
    // Under the lock nobody else builds this: what is there was interrupted.
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("failed to remove {}", entry.path().display()))?;
        }
    }
    let fresh = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(parent)
        .with_context(|| format!("failed to create a folder in {}", parent.display()))?;
    build(fresh.path())?;
    let fresh = fresh.keep();
    fs::rename(&fresh, &target).with_context(|| format!("failed to name {}", target.display()))?;
    Ok(target)
}

#[cfg(test)]
mod tests;
