//! Artifacts: what a glob names in the workspace, as one file or as a tar archive, without following anything.

use super::walk::{Step, walk};
use super::workspace::{Name, Workspace, failed, io_failed};
use globset::{GlobBuilder, GlobMatcher};
use nix::sys::stat::FileStat;
use oarmaster_protocol::exec::{EntryKind, Failed, FailedCode, Response};
use oarmaster_protocol::text::decode;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Most files in one artifact.
const MAX_FILES: usize = 20_000;
/// Most memory for the paths of those files, in bytes.
const MAX_PATHS: usize = 4 << 20;
/// Most names of what was left out.
const MAX_SKIPPED: usize = 20;

/// Sends the content to `sink` and tells what it was.
pub(super) fn collect(
    workspace: &Workspace,
    pattern: &str,
    max_bytes: u64,
    sink: &mut dyn Write,
) -> Result<Response, Failed> {
    let path = workspace.relative(pattern)?;
    let is_glob = path.contains(['*', '?', '[', '{', '\\']);
    let mut sink = Capped {
        sink,
        left: max_bytes,
    };
    if !is_glob && !workspace.is_dir(path.as_bytes()) {
        return single(workspace, &path, &mut sink);
    }
    let glob = if is_glob {
        path.clone()
    } else {
        format!("{}**", prefix(&path))
    };
    let glob = GlobBuilder::new(&glob)
        .literal_separator(true)
        .build()
        .map_err(|error| {
            failed(
                FailedCode::InvalidRequest,
                &format!("the artifact's path is not a usable glob: {error}"),
            )
        })?
        .compile_matcher();
    let mut found = Found::default();
    let start = fixed(&path);
    if workspace.is_dir(start.as_bytes()) {
        walk(workspace, start.as_bytes(), |step| found.take(step, &glob))?;
    }
    let files = u32::try_from(found.files.len()).unwrap_or(u32::MAX);
    if files > 0 {
        archive(workspace, &found.files, &mut sink)?;
    }
    Ok(Response::Collected {
        files,
        archive: true,
        skipped: found.skipped,
    })
}

/// The directory that a glob's every match is below: its parts before the first one with a special character.
fn fixed(glob: &str) -> String {
    let is_special = |part: &&str| part.contains(['*', '?', '[', '{', '\\']);
    // A directory's own path has none, and all of it is fixed.
    let parts = glob.split('/').take_while(|part| !is_special(part));
    parts.collect::<Vec<_>>().join("/")
}

fn prefix(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    format!("{}/", globset::escape(path))
}

fn single(workspace: &Workspace, path: &str, sink: &mut Capped) -> Result<Response, Failed> {
    match workspace.open_file(path.as_bytes()) {
        Ok((file, stat)) => {
            sink.check(size_of(&stat), path)?;
            io::copy(&mut file.take(size_of(&stat)), sink)
                .map_err(|error| sink.error(path, &error))?;
            Ok(Response::Collected {
                files: 1,
                archive: false,
                skipped: Vec::new(),
            })
        }
        Err(error) if error.code == FailedCode::NotFound => Ok(Response::Collected {
            files: 0,
            archive: false,
            skipped: Vec::new(),
        }),
        Err(error) if matches!(error.code, FailedCode::Refused | FailedCode::WrongKind) => {
            Ok(Response::Collected {
                files: 0,
                archive: false,
                skipped: vec![error.message],
            })
        }
        Err(error) => Err(error),
    }
}

#[derive(Default)]
struct Found {
    files: Vec<Vec<u8>>,
    /// Memory of their paths, in bytes.
    held: usize,
    skipped: Vec<String>,
}

impl Found {
    fn take(&mut self, step: Step, glob: &GlobMatcher) -> Result<(), Failed> {
        match step {
            Step::Passed(what) => self.skip(what),
            Step::Directory(_) => {}
            Step::Entry(name) if !glob.is_match(path_of(&name.path)) => {}
            Step::Entry(name) if name.kind == EntryKind::File => self.add(name)?,
            Step::Entry(name) => self.skip(format!("{} (not a regular file)", name.shown().text)),
        }
        Ok(())
    }

    fn add(&mut self, name: Name) -> Result<(), Failed> {
        self.held += name.cost();
        if self.files.len() == MAX_FILES || self.held > MAX_PATHS {
            return Err(failed(
                FailedCode::TooLarge,
                &format!(
                    "the artifact has too many files (at most {MAX_FILES}, fewer where their paths are long); archive them in the sandbox"
                ),
            ));
        }
        self.files.push(name.path);
        Ok(())
    }

    fn skip(&mut self, what: String) {
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(what);
        }
    }
}

pub(super) fn path_of(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Owner, group and other bits of the file are kept, everything that names a user or a time on this machine is not.
fn archive(workspace: &Workspace, files: &[Vec<u8>], sink: &mut Capped) -> Result<(), Failed> {
    let mut opened_name = String::new();
    let mut tar = tar::Builder::new(&mut *sink);
    let mut append = |path: &[u8]| -> Result<(), Failed> {
        opened_name = decode(path).text.into_owned();
        let (file, stat) = workspace.open_file(path)?;
        let size = size_of(&stat);
        tar.get_ref().check(size, &opened_name)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        header.set_mode(stat.st_mode & 0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path_of(path), exactly(file, size))
            .map_err(|error| tar.get_ref().error(&opened_name, &error))
    };
    for path in files {
        append(path)?;
    }
    tar.finish()
        .map_err(|error| io_failed("archive", "the artifact", &error))
}

/// A header promises a size; no process is alive that could change the file, but a promise is a promise.
pub(super) fn exactly(file: File, size: u64) -> impl Read {
    file.chain(io::repeat(0)).take(size)
}

pub(super) fn size_of(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Passes on at most `left` bytes.
struct Capped<'a> {
    sink: &'a mut dyn Write,
    left: u64,
}

impl Capped<'_> {
    /// Refuses a file before its first byte is read; it may be a sparse one of any size.
    fn check(&self, size: u64, path: &str) -> Result<(), Failed> {
        if size > self.left {
            return Err(failed(
                FailedCode::TooLarge,
                &format!("with `{path}` ({size} bytes) the artifact is larger than its bound"),
            ));
        }
        Ok(())
    }

    fn error(&self, path: &str, error: &io::Error) -> Failed {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return failed(
                FailedCode::TooLarge,
                &format!("with `{path}` the artifact is larger than its bound"),
            );
        }
        io_failed("collect", path, error)
    }
}

impl Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        self.sink.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::fixed;

    #[test]
    fn a_walk_begins_where_a_match_can_be() {
        let cases = [
            ("src", "src"),
            ("", ""),
            ("*.txt", ""),
            ("src/deep/*.txt", "src/deep"),
            ("src/de?p/x", "src"),
            ("{a,b}/c", ""),
        ];
        for (glob, start) in cases {
            assert_eq!(fixed(glob), start, "{glob}");
        }
    }
}
