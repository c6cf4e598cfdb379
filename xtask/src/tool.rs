//! Cargo's tools of others: built once, in a release that is named, and kept outside the checkout.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache;
use crate::cmd;

/// The program of a crate on crates.io.
///
/// # Errors
/// Where it cannot be fetched or built.
pub fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let folder = cache::once(&format!("tools/{name}-{version}"), |folder| {
        println!("building {name} {version}, once");
        let mut command = cmd::cargo();
        command.args(["install", "--quiet", "--locked", name]);
        command.args(["--version", version, "--root"]).arg(folder);
        // Of its own: what was built for the workspace has other features.
        command.env("CARGO_TARGET_DIR", folder.join("target"));
        cmd::pass(&mut command)?;
        std::fs::remove_dir_all(folder.join("target")).context("failed to remove what cargo left")
    })?;
    Ok(folder.join("bin").join(name))
}
