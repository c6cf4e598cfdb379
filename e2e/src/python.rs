//! Python environments with packages of other projects.

use crate::command::Run;
use crate::kept::once;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// The folder of programs of an environment that has these requirements (in pip's form, each with its version).
///
/// # Errors
/// When it cannot be made: no `python3` with `venv`, or the packages cannot be had.
pub async fn environment(requirements: &[&str]) -> Result<PathBuf> {
    let folder = once("python", requirements, async |folder| {
        let made = Run::new("python3")
            .args(&["-m", "venv", "--clear"])
            .args(&[folder])
            .output()
            .await?;
        if made.code != Some(0) {
            bail!(
                "python3 with venv is needed (Debian: apt-get install python3-venv)\n{}",
                made.text()
            );
        }
        Run::new(folder.join("bin/pip"))
            .args(&["install", "--quiet", "--no-input"])
            .args(requirements)
            .within(Duration::from_secs(900))
            .output()
            .await?
            .success()?;
        Ok(())
    });
    Ok(folder.await?.join("bin"))
}
