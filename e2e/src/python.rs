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

/// A folder with `packages.zip`: these requirements and what they need, for the Python of the image `python`, which is that of this machine's Debian release.
///
/// # Errors
/// As [`environment`]; where a package has no wheel for that Python.
pub async fn archive(requirements: &[&str]) -> Result<PathBuf> {
    let pip = environment(requirements).await?.join("pip");
    let says = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version = Run::new("/usr/bin/python3").args(&["-c", says]);
    let version = version.stdout().await?;
    let version = version.trim();
    once(
        "packages",
        &[requirements, &[version]].concat(),
        async |folder| {
            std::fs::create_dir_all(folder)?;
            let packages = tempfile::tempdir()?;
            Run::new(&pip)
                .args(&["install", "--quiet", "--no-input", "--no-compile"])
                .args(&["--only-binary=:all:", "--python-version", version])
                .args(&["--target".as_ref(), packages.path()])
                .args(requirements)
                .within(Duration::from_secs(900))
                .output()
                .await?
                .success()?;
            Run::new("python3")
                .args(&["-m", "zipfile", "-c"])
                .args(&[folder.join("packages.zip")])
                .args(&["."])
                .dir(packages.path())
                .within(Duration::from_secs(300))
                .output()
                .await?
                .success()?;
            Ok(())
        },
    )
    .await
}
