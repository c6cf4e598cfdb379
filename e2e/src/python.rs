//! Python environments with packages of other projects, made once per set of requirements and kept outside the checkout.

use crate::command::Run;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

/// The folder of programs of an environment that has these requirements (in pip's form, each with its version).
///
/// # Errors
/// When it cannot be made: no `python3` with `venv`, or the packages cannot be had.
pub async fn environment(requirements: &[&str]) -> Result<PathBuf> {
    let text = requirements.join("\n");
    let name = oarmaster_crds::names::base32(text.as_bytes(), 16);
    let all = cache()?.join("python");
    let folder = all.join(&name);
    fs::create_dir_all(&all).with_context(|| format!("failed to create {}", all.display()))?;
    // Another test may be making the same one. Beside it: `--clear` empties the folder.
    let lock = File::create(all.join(format!("{name}.lock")))?;
    let _held = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await?
        .context("failed to lock the Python environment")?;
    let (programs, complete) = (folder.join("bin"), folder.join("complete"));
    if complete.exists() {
        return Ok(programs);
    }
    let made = Run::new("python3")
        .args(&["-m", "venv", "--clear"])
        .args(&[&folder])
        .output()
        .await?;
    if made.code != Some(0) {
        bail!(
            "python3 with venv is needed (Debian: apt-get install python3-venv)\n{}",
            made.text()
        );
    }
    Run::new(programs.join("pip"))
        .args(&["install", "--quiet", "--no-input"])
        .args(requirements)
        .within(Duration::from_secs(900))
        .output()
        .await?
        .success()?;
    fs::write(complete, text)?;
    Ok(programs)
}

/// `OARMASTER_CACHE`, else `oarmaster` in the user's cache directory, as `cargo xtask` has it.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("OARMASTER_CACHE")
        .map(PathBuf::from)
        .or_else(|| set("XDG_CACHE_HOME").map(|path| PathBuf::from(path).join("oarmaster")))
        .or_else(|| set("HOME").map(|path| PathBuf::from(path).join(".cache/oarmaster")));
    folder.context("neither OARMASTER_CACHE, XDG_CACHE_HOME nor HOME is set")
}
