//! What tests make of other projects' packages: once per set of requirements, kept outside the checkout.

use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::path::PathBuf;

/// A folder for what these requirements make, which `make` fills unless it was filled before. `kind` keeps the folders of one tool apart from others.
///
/// # Errors
/// When it cannot be made. What was made in part is made again the next time.
pub async fn once(
    kind: &str,
    requirements: &[&str],
    make: impl AsyncFnOnce(&PathBuf) -> Result<()>,
) -> Result<PathBuf> {
    let text = requirements.join("\n");
    let name = oarmaster_crds::names::base32(text.as_bytes(), 16);
    let all = cache()?.join(kind);
    let folder = all.join(&name);
    fs::create_dir_all(&all).with_context(|| format!("failed to create {}", all.display()))?;
    // Another test may be making the same one. Beside it: the folder may be emptied.
    let lock = File::create(all.join(format!("{name}.lock")))?;
    let _held = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await?
        .with_context(|| format!("failed to lock {}", folder.display()))?;
    let complete = folder.join("complete");
    if !complete.exists() {
        make(&folder).await?;
        fs::write(complete, text)?;
    }
    Ok(folder)
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
