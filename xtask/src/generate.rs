//! `cargo xtask gen`: everything in the repository that is written by a program, from the one place where it is stated.
//!
//! The CRDs come from the types of `oarmaster-crds`, the reference from those schemas and from the doc comments of the vocabularies.
//! `--check` writes nothing and fails with what differs.

mod crds;
mod processes;
mod reference;
mod schema;
mod values;
mod vocabulary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cache;

/// Arguments of `cargo xtask gen`.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail when a file is not as it would be written
    #[arg(long)]
    check: bool,
}

/// Generated files by their path in the checkout.
type Files = BTreeMap<PathBuf, String>;

/// Folders that hold generated files only: what is not generated any more is removed there. Others are listed in `KEEP`.
const FOLDERS: [&str; 3] = [
    "config/crd",
    "charts/oarmaster-crds/templates",
    "docs/reference",
];
/// Files in those folders that people write.
const KEEP: [&str; 2] = [
    "charts/oarmaster-crds/templates/NOTES.txt",
    "config/crd/kustomization.yaml",
];

/// Runs the command.
pub fn run(Args { check }: Args) -> Result<ExitCode> {
    let root = cache::checkout();
    let files = render(&root)?;
    let wrong = differences(&root, &files)?;
    if !check {
        write(&root, &files, &wrong)?;
        println!("{} generated files, {} changed", files.len(), wrong.len());
        return Ok(ExitCode::SUCCESS);
    }
    if wrong.is_empty() {
        println!("{} generated files are as they should be", files.len());
        return Ok(ExitCode::SUCCESS);
    }
    for (path, what) in &wrong {
        eprintln!("{}: {what}", path.display());
    }
    anyhow::bail!("generated files differ; run `cargo xtask gen` and commit what it writes")
}

/// Every generated file.
fn render(root: &Path) -> Result<Files> {
    let kinds = crds::kinds()?;
    let mut files = crds::render(&kinds)?;
    files.extend(reference::render(root, &kinds)?);
    Ok(files)
}

/// What is not as it would be written, and in what way.
fn differences(root: &Path, files: &Files) -> Result<BTreeMap<PathBuf, String>> {
    let mut wrong = BTreeMap::new();
    for (path, text) in files {
        match fs::read_to_string(root.join(path)) {
            Ok(held) if held == *text => {}
            Ok(held) => {
                wrong.insert(path.clone(), first_difference(&held, text));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                wrong.insert(path.clone(), "missing".to_owned());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read {}", path.display()));
            }
        }
    }
    for folder in FOLDERS {
        let folder = root.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for path in cache::files(&folder)? {
            let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
            if !files.contains_key(&path) && !KEEP.iter().any(|keep| Path::new(keep) == path) {
                wrong.insert(path, "is not generated any more".to_owned());
            }
        }
    }
    Ok(wrong)
}

fn first_difference(held: &str, wanted: &str) -> String {
    let mut held = held.lines();
    for (index, line) in wanted.lines().enumerate() {
        let number = index + 1;
        match held.next() {
            Some(old) if old == line => {}
            Some(old) => return format!("line {number} is `{old}`, would be `{line}`"),
            None => return format!("line {number} is missing: `{line}`"),
        }
    }
    match held.next() {
        Some(old) => format!("has a line too many: `{old}`"),
        None => "differs in its last line break".to_owned(),
    }
}

fn write(root: &Path, files: &Files, wrong: &BTreeMap<PathBuf, String>) -> Result<()> {
    for path in wrong.keys() {
        let place = root.join(path);
        let Some(text) = files.get(path) else {
            fs::remove_file(&place)
                .with_context(|| format!("failed to remove {}", path.display()))?;
            continue;
        };
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to create {}", folder.display()))?;
        }
        fs::write(&place, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
