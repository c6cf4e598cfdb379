//! The sources in another folder: what is built or written there does not lie beside them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cache::checkout;
use crate::cmd;

/// Copies what Git knows of, or would take, as it lies in this checkout.
///
/// # Errors
/// Where this is no checkout of Git, or the disk is full.
pub fn sources(into: &Path) -> Result<()> {
    let mut list = cmd::command("git");
    list.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = cmd::output(list.current_dir(checkout()))?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (checkout().join(name), into.join(name));
        // One that was removed and is not yet committed so.
        if !from.is_file() {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to create {}", folder.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("failed to copy {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_all_there_and_nothing_that_was_built() {
        let folder = tempfile::tempdir().unwrap();
        sources(folder.path()).unwrap();
        for name in [
            "Cargo.toml",
            "Cargo.lock",
            "xtask/src/release/copy.rs",
            ".gitignore",
        ] {
            let (from, to) = (checkout().join(name), folder.path().join(name));
            assert_eq!(fs::read(from).unwrap(), fs::read(to).unwrap(), "{name}");
        }
        assert!(!folder.path().join("target").exists());
    }
}
