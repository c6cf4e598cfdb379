//! File operations in the workspace by the supervisor itself. Every open goes through openat2 from the workspace's own descriptor:
//! no path leaves it, and no link is followed, however it came to be.

use super::text::{read_lines, single_match};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use oarmaster_protocol::exec::{
    Bytes, Entry, EntryKind, Failed, FailedCode, MAX_FILE_BYTES, Response,
};
use oarmaster_protocol::text::{Repaired, decode};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Directories below the workspace that are looked into.
pub(super) const MAX_DEPTH: usize = 32;
/// Most memory for the names of one directory, in bytes: code can make more files than the supervisor can remember.
const MAX_NAMES: usize = 4 << 20;
/// Most memory for the paths of one listing, in bytes; escaped they still fit into one frame.
pub(super) const MAX_SHOWN: usize = 1 << 20;

/// The workspace.
#[derive(Debug)]
pub(super) struct Workspace {
    root: OwnedFd,
    path: PathBuf,
}

/// One name in a directory.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// Path relative to the workspace, as bytes.
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
}

/// What stands in a directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Sorted.
    pub(super) names: Vec<Name>,
    /// Whether there are more than could be held.
    pub(super) more: bool,
}

impl Name {
    /// Memory that it takes, in bytes.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.path.len()
    }

    pub(super) fn shown(&self) -> Repaired<'_> {
        decode(&self.path)
    }
}

impl Workspace {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let root = nix::fcntl::open(
            path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            root,
            path: path.to_path_buf(),
        })
    }

    /// A path as people and models write it, as one below the workspace: `./a`, `a/../b` and `/workspace/a` are understood.
    pub(super) fn relative(&self, path: &str) -> Result<String, Failed> {
        if path.contains('\0') || path.len() > 4000 {
            return Err(failed(
                FailedCode::InvalidRequest,
                "a path contains a NUL byte or is too long",
            ));
        }
        let root = self.path.to_string_lossy();
        let below = match path.strip_prefix(&*root) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ if path.starts_with('/') => {
                return Err(failed(
                    FailedCode::Refused,
                    &format!("`{path}` is outside the workspace; use a path relative to it"),
                ));
            }
            _ => path,
        };
        let mut parts = Vec::new();
        for part in below.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(failed(
                            FailedCode::Refused,
                            &format!("`{path}` leaves the workspace"),
                        ));
                    }
                }
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }

    pub(super) fn open_at(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        openat2(&self.root, path, how)
    }

    /// Opens a regular file for reading. Never blocks, whatever stands there.
    pub(super) fn open_file(&self, path: &[u8]) -> Result<(File, FileStat), Failed> {
        let shown = decode(path).text;
        let fd = self
            .open_at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .map_err(|errno| of_errno(errno, &shown))?;
        let stat = fstat(&fd).map_err(|errno| of_errno(errno, &shown))?;
        match SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) {
            SFlag::S_IFREG => Ok((File::from(fd), stat)),
            SFlag::S_IFDIR => Err(failed(
                FailedCode::WrongKind,
                &format!("`{shown}` is a directory"),
            )),
            _ => Err(failed(
                FailedCode::WrongKind,
                &format!("`{shown}` is not a regular file"),
            )),
        }
    }

    /// The names in a directory.
    pub(super) fn names(&self, path: &[u8]) -> Result<Names, Failed> {
        let shown = decode(path).text;
        let fd = self
            .open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map_err(|errno| of_errno(errno, &shown))?;
        let mut dir = Dir::from_fd(fd).map_err(|errno| of_errno(errno, &shown))?;
        let mut found = Names::default();
        let mut held = 0;
        for entry in dir.iter() {
            let entry = entry.map_err(|errno| of_errno(errno, &shown))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let mut full = path.to_vec();
            if !full.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(name);
            let kind = match entry.file_type() {
                Some(nix::dir::Type::File) => EntryKind::File,
                Some(nix::dir::Type::Directory) => EntryKind::Directory,
                Some(nix::dir::Type::Symlink) => EntryKind::Link,
                _ => EntryKind::Other,
            };
            let name = Name { path: full, kind };
            held += name.cost();
            if held > MAX_NAMES {
                found.more = true;
                break;
            }
            found.names.push(name);
        }
        found.names.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Whether the path is a directory.
    pub(super) fn is_dir(&self, path: &[u8]) -> bool {
        self.open_at(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .is_ok()
    }

    pub(super) fn read(
        &self,
        path: &str,
        first_line: u64,
        lines: u64,
        max_bytes: u64,
    ) -> Result<Response, Failed> {
        let (file, stat) = self.open_file(self.relative(path)?.as_bytes())?;
        let max = usize::try_from(max_bytes)
            .unwrap_or(usize::MAX)
            .min(MAX_FILE_BYTES);
        let page = read_lines(&mut BufReader::new(file), first_line.max(1), lines, max)
            .map_err(|error| io_failed("read", path, &error))?;
        Ok(Response::Content {
            content: Bytes(page.content),
            next_line: page.next_line,
            cut: page.cut,
            size: u64::try_from(stat.st_size).unwrap_or(0),
        })
    }

    pub(super) fn write(&self, path: &str, content: &[u8]) -> Result<(), Failed> {
        let path = self.relative(path)?;
        if content.len() > MAX_FILE_BYTES {
            return Err(failed(
                FailedCode::TooLarge,
                &format!(
                    "`{path}` would have {} bytes; the largest file is {MAX_FILE_BYTES}",
                    content.len()
                ),
            ));
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name.is_empty() {
            return Err(failed(
                FailedCode::WrongKind,
                "the path names the workspace itself, not a file",
            ));
        }
        let mode = self.mode_of_existing(&path)?;
        let dir = self.make_dirs(parent)?;
        // A name that code cannot have taken: a pipe of that name would keep us waiting.
        let partial = format!(".oarmaster-{}.partial", uuid::Uuid::new_v4());
        let written = self
            .write_new(&dir, &partial, content, mode)
            .and_then(|()| {
                renameat(&dir, partial.as_str(), &dir, name).map_err(|errno| of_errno(errno, &path))
            });
        if written.is_err() {
            let _ = unlinkat(&dir, partial.as_str(), UnlinkatFlags::NoRemoveDir); // it may not even exist
        }
        written
    }

    /// Mode for a new content of `path`: that of the file it replaces. Anything but a regular file is not replaced.
    fn mode_of_existing(&self, path: &str) -> Result<Mode, Failed> {
        match self.open_at(path.as_bytes(), OFlag::O_PATH) {
            Err(Errno::ENOENT) => Ok(Mode::from_bits_truncate(0o644)),
            Err(errno) => Err(of_errno(errno, path)),
            Ok(fd) => {
                let stat = fstat(&fd).map_err(|errno| of_errno(errno, path))?;
                if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
                    return Err(failed(
                        FailedCode::WrongKind,
                        &format!("`{path}` is there and is not a regular file"),
                    ));
                }
                Ok(Mode::from_bits_truncate(stat.st_mode & 0o777))
            }
        }
    }

    fn write_new(
        &self,
        dir: &OwnedFd,
        name: &str,
        content: &[u8],
        mode: Mode,
    ) -> Result<(), Failed> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| of_errno(errno, name))?;
        fchmod(&fd, mode).map_err(|errno| of_errno(errno, name))?;
        File::from(fd)
            .write_all(content)
            .map_err(|error| io_failed("write", name, &error))
    }

    fn make_dirs(&self, path: &str) -> Result<OwnedFd, Failed> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut dir = self
            .open_at(b"", flags)
            .map_err(|errno| of_errno(errno, "."))?;
        let mut so_far = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            match mkdirat(&dir, part, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(of_errno(errno, path)),
            }
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(part);
            dir = self
                .open_at(so_far.as_bytes(), flags)
                .map_err(|errno| of_errno(errno, &so_far))?;
        }
        Ok(dir)
    }

    /// Removes a file that the supervisor wrote.
    pub(super) fn remove(&self, path: &str) -> Result<(), Failed> {
        match unlinkat(&self.root, path, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => Ok(()),
            Err(errno) => Err(of_errno(errno, path)),
        }
    }

    pub(super) fn edit(&self, path: &str, old: &str, new: &str) -> Result<(), Failed> {
        if old.is_empty() {
            return Err(failed(
                FailedCode::InvalidRequest,
                "`old` is empty; to write a whole file use WriteFile",
            ));
        }
        let (file, _) = self.open_file(self.relative(path)?.as_bytes())?;
        let mut content = Vec::new();
        file.take(MAX_FILE_BYTES as u64 + 1)
            .read_to_end(&mut content)
            .map_err(|error| io_failed("read", path, &error))?;
        if content.len() > MAX_FILE_BYTES {
            return Err(failed(
                FailedCode::TooLarge,
                &format!("`{path}` has more than {MAX_FILE_BYTES} bytes"),
            ));
        }
        let at = single_match(&content, old.as_bytes(), path)?;
        let (before, rest) = content.split_at(at);
        let after = rest.get(old.len()..).unwrap_or_default();
        self.write(path, &[before, new.as_bytes(), after].concat())
    }

    /// Entries below a directory, the nearest first.
    pub(super) fn list(&self, path: &str, max_entries: u32) -> Result<Response, Failed> {
        let start = self.relative(path)?.into_bytes();
        let max = usize::try_from(max_entries)
            .unwrap_or(usize::MAX)
            .min(10_000);
        let mut entries = Vec::new();
        let mut open = VecDeque::from([(start, 0)]);
        let mut first = true;
        let mut truncated = false;
        let mut held = 0;
        while let Some((dir, depth)) = open.pop_front() {
            let found = match self.names(&dir) {
                Ok(names) => names,
                Err(error) if first => return Err(error),
                Err(_) => continue, // a directory without read permission is listed, its content is not
            };
            first = false;
            truncated |= found.more;
            for name in found.names {
                held += name.cost();
                if entries.len() == max || held > MAX_SHOWN {
                    return Ok(Response::Listing {
                        entries,
                        truncated: true,
                    });
                }
                let size = match name.kind {
                    EntryKind::File => self
                        .open_at(&name.path, OFlag::O_PATH)
                        .and_then(|fd| fstat(&fd))
                        .map_or(0, |stat| stat.st_size),
                    _ => 0,
                };
                let shown = name.shown();
                entries.push(Entry {
                    path: shown.text.into_owned(),
                    replaced: shown.replaced,
                    kind: name.kind,
                    size: u64::try_from(size).unwrap_or(0),
                });
                if name.kind == EntryKind::Directory && depth < MAX_DEPTH {
                    open.push_back((name.path, depth + 1));
                }
            }
        }
        Ok(Response::Listing { entries, truncated })
    }
}

pub(super) fn failed(code: FailedCode, message: &str) -> Failed {
    Failed {
        code,
        message: message.to_owned(),
    }
}

pub(super) fn io_failed(act: &str, path: &str, error: &std::io::Error) -> Failed {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => of_errno(errno, path),
        None => failed(
            FailedCode::Io,
            &format!("failed to {act} `{path}`: {error}"),
        ),
    }
}

pub(super) fn of_errno(errno: Errno, path: &str) -> Failed {
    let path = if path.is_empty() { "." } else { path };
    let (code, message) = match errno {
        Errno::ENOENT => (FailedCode::NotFound, format!("there is no `{path}`")),
        Errno::ENOTDIR => (
            FailedCode::WrongKind,
            format!("`{path}`, or a part of it, is not a directory"),
        ),
        Errno::EISDIR => (FailedCode::WrongKind, format!("`{path}` is a directory")),
        Errno::ELOOP => (
            FailedCode::Refused,
            format!("a part of `{path}` is a symbolic link; links are not followed here"),
        ),
        Errno::EXDEV => (
            FailedCode::Refused,
            format!("`{path}` leaves the workspace"),
        ),
        Errno::ENXIO => (
            FailedCode::WrongKind,
            format!("`{path}` is not a regular file"),
        ),
        Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => (
            FailedCode::NoSpace,
            format!("the workspace is full; remove files, then write `{path}` again"),
        ),
        Errno::ENAMETOOLONG | Errno::EINVAL => (
            FailedCode::InvalidRequest,
            format!("`{path}` is not a usable path"),
        ),
        other => (FailedCode::Io, format!("`{path}`: {}", other.desc())),
    };
    Failed { code, message }
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
