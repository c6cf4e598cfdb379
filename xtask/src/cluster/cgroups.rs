//! The cgroup that holds every pod, in each hierarchy the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::cluster::process::{self, Mark};

const ROOT: &str = "/sys/fs/cgroup";

/// The mounted hierarchies: one (version 2), or one for each controller.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").is_file() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("failed to list {ROOT}"))? {
        let path = entry?.path();
        // Links name joined controllers a second time.
        if path.is_dir() && !path.is_symlink() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Makes `name` in each hierarchy: the kubelet wants it to exist.
pub fn make(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let controllers = hierarchy.join("cgroup.controllers");
        if let Ok(listed) = fs::read_to_string(&controllers) {
            let enable: Vec<String> = listed
                .split_whitespace()
                .map(|name| format!("+{name}"))
                .collect();
            let control = hierarchy.join("cgroup.subtree_control");
            fs::write(&control, enable.join(" "))
                .with_context(|| format!("failed to write {}", control.display()))?;
        }
        let path = hierarchy.join(name.trim_start_matches('/'));
        fs::create_dir_all(&path)
            .with_context(|| format!("failed to create {}", path.display()))?;
        inherit(&hierarchy, &path)?;
    }
    Ok(())
}

/// A new cpuset has no processor and no memory, and takes no process, until it
/// is given some.
fn inherit(hierarchy: &Path, path: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let target = path.join(file);
        if hierarchy.ends_with("cpuset") && target.is_file() {
            let value = fs::read_to_string(hierarchy.join(file))?;
            fs::write(&target, value.trim())
                .with_context(|| format!("failed to write {}", target.display()))?;
        }
    }
    Ok(())
}

/// Whether `name` exists in some hierarchy.
pub fn exists(name: &str) -> Result<bool> {
    let name = name.trim_start_matches('/');
    Ok(hierarchies()?
        .iter()
        .any(|hierarchy| hierarchy.join(name).is_dir()))
}

/// Ends every process below `name`, and removes it.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(name.trim_start_matches('/'));
        if !path.is_dir() {
            continue;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        // A process may fork between listing and ending: until none is left.
        loop {
            let members = members(&path)?;
            if members.is_empty() && remove_tree(&path).is_ok() {
                break;
            }
            if Instant::now() >= deadline {
                bail!("failed to remove {}: it is still in use", path.display());
            }
            process::kill(&members)?;
        }
    }
    Ok(())
}

fn members(path: &Path) -> Result<Vec<Mark>> {
    let mut found = Vec::new();
    let pids = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    found.extend(pids.lines().filter_map(|pid| Mark::of(pid.parse().ok()?)));
    for child in children(path)? {
        found.extend(members(&child)?);
    }
    Ok(found)
}

fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to list {}", path.display()));
        }
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_tree(path: &Path) -> Result<()> {
    for child in children(path)? {
        remove_tree(&child)?;
    }
    fs::remove_dir(path).with_context(|| format!("failed to remove {}", path.display()))
}
