//! `--files DIR`: the text files of a directory, as files of a Task.

use crate::error::Error;
use crate::text;
use ignore::WalkBuilder;
use oarmaster_crds::kinds::task::FileSpec;
use std::path::Path;

/// Most files of a Task (the API's bound).
const MAX_FILES: usize = 128;
/// Largest file (the API's bound).
const MAX_FILE: u64 = 128 << 10;
/// Most bytes together: a Task has to fit an object of etcd with room for its status.
const MAX_TOTAL: u64 = 900 << 10;
/// Longest path (the API's bound).
const MAX_PATH: usize = 512;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    pub files: Vec<FileSpec>,
    pub bytes: u64,
    /// What was left out and why, one line each.
    pub skipped: Vec<String>,
}

/// Reads the files below `folder`, in order of their paths. Hidden files, `__pycache__` and what .gitignore or .ignore name are left
/// out; links are not followed.
pub fn read(folder: &Path, skip_binary: bool) -> Result<Found, Error> {
    if !folder.is_dir() {
        return Err(
            Error::input(format!("{} is not a directory", folder.display()))
                .next("--files takes a directory; put a single file into one of its own."),
        );
    }
    let mut found = Found::default();
    let walk = WalkBuilder::new(folder)
        .require_git(false)
        .git_global(false)
        .follow_links(false)
        .filter_entry(|entry| entry.file_name() != "__pycache__")
        .sort_by_file_path(Path::cmp)
        .build();
    for entry in walk {
        let entry = entry.map_err(|error| {
            Error::input(format!("failed to read {}", folder.display())).source(error)
        })?;
        let Ok(path) = entry.path().strip_prefix(folder) else {
            continue;
        };
        let kind = entry.file_type();
        if path.as_os_str().is_empty() || kind.is_some_and(|kind| kind.is_dir()) {
            continue;
        }
        if !kind.is_some_and(|kind| kind.is_file()) {
            found
                .skipped
                .push(format!("{}: a link or a device, left out", path.display()));
            continue;
        }
        add(&mut found, entry.path(), path, skip_binary)?;
    }
    if found.files.is_empty() {
        return Err(
            Error::input(format!("there is no file to take in {}", folder.display())).next(
                "Hidden files, __pycache__ and what .gitignore or .ignore name are left out.",
            ),
        );
    }
    Ok(found)
}

fn add(found: &mut Found, file: &Path, path: &Path, skip_binary: bool) -> Result<(), Error> {
    let shown = path.display();
    let leave_out =
        "List what the agent does not need in a file named .ignore (one pattern per line).";
    let size = std::fs::metadata(file)
        .map_err(|error| Error::input(format!("failed to read {}", file.display())).source(error))?
        .len();
    let name = path
        .to_str()
        .filter(|name| name.len() <= MAX_PATH)
        .ok_or_else(|| {
            Error::input(format!(
                "{shown}: a path must be UTF-8 and at most {MAX_PATH} bytes long"
            ))
            .next(leave_out)
        })?;
    if size > MAX_FILE {
        return Err(Error::input(format!(
            "{shown} has {}; a file of a Task has at most {}",
            text::bytes(size),
            text::bytes(MAX_FILE)
        ))
        .next(leave_out));
    }
    let bytes = std::fs::read(file).map_err(|error| {
        Error::input(format!("failed to read {}", file.display())).source(error)
    })?;
    let size = bytes.len() as u64;
    let content = match String::from_utf8(bytes) {
        Ok(content) if !content.contains('\0') => content,
        _ if skip_binary => {
            found
                .skipped
                .push(format!("{shown}: not UTF-8 text, left out"));
            return Ok(());
        }
        _ => {
            return Err(Error::input(format!(
                "{shown} is not UTF-8 text; a Task takes text files only"
            ))
            .next(
                "Leave binary files out with --skip-binary, or list them in a file named .ignore.",
            ));
        }
    };
    found.bytes += size;
    if found.files.len() == MAX_FILES {
        return Err(Error::input(format!(
            "more than {MAX_FILES} files; a Task takes at most {MAX_FILES}"
        ))
        .next(leave_out));
    }
    if found.bytes > MAX_TOTAL {
        return Err(Error::input(format!(
            "the files have more than {} together, the most that a Task takes (reached at {shown})",
            text::bytes(MAX_TOTAL)
        ))
        .next(leave_out));
    }
    found.files.push(FileSpec {
        path: name.to_owned(),
        content: Some(content),
        config_map: None,
        git: None,
        artifact: None,
    });
    Ok(())
}

#[cfg(test)]
mod tests;
