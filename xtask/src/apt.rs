//! Debian packages through apt. A machine that never asked for the package
//! lists gets them when an act fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::cmd;

/// Installs packages on this machine.
pub fn install(packages: &[&str]) -> Result<()> {
    let act = || {
        let mut command = apt_get();
        command.args(["install", "--yes", "--no-install-recommends"]);
        command
    };
    retry(act, packages)
        .with_context(|| format!("failed to install {}; are you root?", packages.join(", ")))
}

/// Packages in a temporary folder.
pub struct Packages {
    folder: tempfile::TempDir,
}

impl Packages {
    /// The package files.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = cache::files(self.folder.path())?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        Ok(files)
    }
}

/// Downloads these packages and no other.
pub fn download(packages: &[&str]) -> Result<Packages> {
    let folder = folder()?;
    let act = || {
        let mut command = apt_get();
        command.current_dir(folder.path()).arg("download");
        command
    };
    retry(act, packages).with_context(|| format!("failed to download {}", packages.join(", ")))?;
    Ok(Packages { folder })
}

/// Downloads these packages and all that they need on an empty machine.
pub fn download_all(packages: &[&str]) -> Result<Packages> {
    let folder = folder()?;
    fs::create_dir(folder.path().join("partial"))?;
    let status = folder.path().join("status");
    fs::write(&status, "")?;
    let set = |name: &str, path: &Path| format!("{name}={}", path.display());
    let act = || {
        let mut command = apt_get();
        command
            .arg("--option")
            .arg(set("Dir::State::status", &status));
        command
            .arg("--option")
            .arg(set("Dir::Cache::archives", folder.path()));
        command.args([
            "install",
            "--yes",
            "--no-install-recommends",
            "--download-only",
        ]);
        command
    };
    retry(act, packages).with_context(|| format!("failed to download {}", packages.join(", ")))?;
    Ok(Packages { folder })
}

fn folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir().context("failed to create a temporary folder")
}

fn apt_get() -> Command {
    let mut command = cmd::command("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-q"]);
    command
}

fn retry(act: impl Fn() -> Command, packages: &[&str]) -> Result<()> {
    if cmd::find("apt-get").is_none() {
        bail!("this machine has no apt-get");
    }
    if cmd::output(act().args(packages)).is_err() {
        cmd::output(apt_get().arg("update"))?;
        cmd::output(act().args(packages))?;
    }
    Ok(())
}
