//! Snapshots of the workspace: what has changed since the last one, as a tar archive.
//!
//! A change is found by the content, not by times: what is written through a mapping of a file in memory leaves no time on tmpfs. So a
//! snapshot reads every file, and sends only those that are not what they were.

use super::collect::{exactly, path_of, size_of};
use super::walk::{Step, walk};
use super::workspace::{Name, Workspace, failed, io_failed, of_errno};
use nix::libc;
use nix::sys::stat::{FileStat, Mode};
use oarmaster_protocol::exec::{EntryKind, Failed, FailedCode, Response};
use oarmaster_protocol::journal::REMOVED;
use oarmaster_protocol::text::decode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use xxhash_rust::xxh3::Xxh3Default;

/// Most files, directories and links of a snapshot.
const MAX_ENTRIES: usize = 50_000;
/// Most memory for their paths, in bytes. Two snapshots are held at once, in the room that the supervisor has for itself.
const MAX_PATHS: usize = 4 << 20;
/// Most names of what was left out.
const MAX_SKIPPED: usize = 20;
const BUFFER: usize = 256 << 10;

/// What the last snapshot saw.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Absent before the first one, and while one is being sent.
    seen: Option<BTreeMap<Vec<u8>, Seen>>,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    kind: Kind,
    mode: u32,
    /// Of a file: seconds and nanoseconds.
    modified: (i64, i64),
    size: u64,
    /// Of a file's bytes or a link's target. Not cryptographic: code that makes two contents alike fools nobody but itself.
    content: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

impl Snapshots {
    /// Sends what has changed to `sink`. `disk` bounds all files together, in bytes.
    pub(super) fn take(
        &mut self,
        workspace: &Workspace,
        base: bool,
        disk: u64,
        sink: &mut dyn Write,
    ) -> Result<Response, Failed> {
        let before = self.seen.take().filter(|_| !base);
        let base = before.is_none();
        let before = before.unwrap_or_default();
        let Scan {
            seen: now, skipped, ..
        } = scan(workspace, disk)?;
        let gone: BTreeSet<&[u8]> = before
            .iter()
            .filter(|(path, was)| now.get(*path).is_none_or(|is| is.kind != was.kind))
            .map(|(path, _)| path.as_slice())
            .collect();
        // With a directory all below it goes.
        let removed: Vec<&[u8]> = gone
            .iter()
            .filter(|path| parent(path).is_none_or(|parent| !gone.contains(parent)))
            .copied()
            .collect();
        let changed: Vec<(&[u8], &Seen)> = now
            .iter()
            .filter(|(path, is)| before.get(*path) != Some(*is))
            .map(|(path, is)| (path.as_slice(), is))
            .collect();
        let entries = u32::try_from(removed.len() + changed.len()).unwrap_or(u32::MAX);
        // Nothing at all is something, too.
        if entries > 0 || base {
            archive(workspace, &removed, &changed, sink)?;
        }
        self.seen = Some(now);
        Ok(Response::Snapshot {
            base,
            entries,
            skipped,
        })
    }

    /// Takes the workspace as it is for what was sent.
    pub(super) fn restored(&mut self, workspace: &Workspace, disk: u64) -> Result<(), Failed> {
        self.seen = None;
        self.seen = Some(scan(workspace, disk)?.seen);
        Ok(())
    }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.get(..slash)
}

struct Scan {
    seen: BTreeMap<Vec<u8>, Seen>,
    skipped: Vec<String>,
    /// Memory of the paths, in bytes.
    held: usize,
    /// Bytes that files may still have.
    left: u64,
    buffer: Vec<u8>,
}

fn scan(workspace: &Workspace, disk: u64) -> Result<Scan, Failed> {
    let mut scan = Scan {
        seen: BTreeMap::new(),
        skipped: Vec::new(),
        held: 0,
        left: disk,
        buffer: vec![0; BUFFER],
    };
    walk(workspace, b"", |step| scan.take(workspace, step))?;
    scan.buffer = Vec::new();
    Ok(scan)
}

impl Scan {
    fn take(&mut self, workspace: &Workspace, step: Step) -> Result<(), Failed> {
        let name = match step {
            Step::Passed(what) => {
                self.skip(what);
                return Ok(());
            }
            Step::Entry(name) | Step::Directory(name) => name,
        };
        self.held += name.cost();
        if self.seen.len() == MAX_ENTRIES || self.held > MAX_PATHS {
            return Err(failed(
                FailedCode::TooLarge,
                &format!(
                    "the workspace has more files than a checkpoint holds (at most {MAX_ENTRIES}, fewer where their paths are long)"
                ),
            ));
        }
        match self.look(workspace, &name) {
            Ok(Some(seen)) => {
                self.seen.insert(name.path, seen);
            }
            Ok(None) => self.skip(format!("{} (not a regular file)", name.shown().text)),
            Err(error) if error.code == FailedCode::TooLarge => return Err(error),
            Err(error) => self.skip(error.message),
        }
        Ok(())
    }

    fn look(&mut self, workspace: &Workspace, name: &Name) -> Result<Option<Seen>, Failed> {
        let seen = |kind, stat: &FileStat, content| Seen {
            kind,
            mode: stat.st_mode & 0o777,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            size: size_of(stat),
            content,
        };
        Ok(match name.kind {
            EntryKind::File => {
                let (file, stat) = workspace.open_file(&name.path)?;
                // A sparse file can be of any size.
                self.left = self.left.checked_sub(size_of(&stat)).ok_or_else(|| {
                    let message = "the files of the workspace say that they are larger than its disk; a checkpoint has no room for holes in files";
                    failed(FailedCode::TooLarge, message)
                })?;
                let content = self.digest(file, &stat, &name.path)?;
                Some(seen(Kind::File, &stat, content))
            }
            EntryKind::Directory => {
                let stat = workspace.stat(&name.path)?;
                let seen = seen(Kind::Directory, &stat, 0);
                Some(Seen {
                    modified: (0, 0),
                    size: 0,
                    ..seen
                })
            }
            EntryKind::Link => {
                let target = workspace.link(&name.path)?;
                let content = xxhash_rust::xxh3::xxh3_128(&target);
                Some(Seen {
                    kind: Kind::Link,
                    mode: 0o777,
                    modified: (0, 0),
                    size: 0,
                    content,
                })
            }
            EntryKind::Other => None,
        })
    }

    fn digest(&mut self, file: File, stat: &FileStat, path: &[u8]) -> Result<u128, Failed> {
        let mut hash = Xxh3Default::new();
        let mut rest = file.take(size_of(stat));
        loop {
            let read = rest.read(&mut self.buffer);
            let read = read.map_err(|error| io_failed("read", &decode(path).text, &error))?;
            match self.buffer.get(..read) {
                None | Some([]) => return Ok(hash.digest128()),
                Some(bytes) => hash.update(bytes),
            }
        }
    }

    fn skip(&mut self, what: String) {
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(what);
        }
    }
}

fn archive(
    workspace: &Workspace,
    removed: &[&[u8]],
    changed: &[(&[u8], &Seen)],
    sink: &mut dyn Write,
) -> Result<(), Failed> {
    let mut tar = tar::Builder::new(sink);
    for path in removed {
        let mut header = header(tar::EntryType::new(REMOVED), 0, 0);
        tar.append_data(&mut header, path_of(path), std::io::empty())
            .map_err(|error| io_failed("send", &decode(path).text, &error))?;
    }
    // Parents stand before what is in them: a path sorts before those that it begins.
    for (path, seen) in changed {
        let shown = decode(path).text;
        let sent = match seen.kind {
            Kind::Directory => {
                let mut header = header(tar::EntryType::Directory, seen.mode, 0);
                tar.append_data(&mut header, path_of(path), std::io::empty())
            }
            Kind::Link => {
                let target = workspace.link(path)?;
                let mut header = header(tar::EntryType::Symlink, seen.mode, 0);
                tar.append_link(&mut header, path_of(path), path_of(&target))
            }
            Kind::File => {
                let (file, _) = workspace.open_file(path)?;
                let mut header = header(tar::EntryType::Regular, seen.mode, seen.size);
                header.set_mtime(u64::try_from(seen.modified.0).unwrap_or(0));
                tar.append_data(&mut header, path_of(path), exactly(file, seen.size))
            }
        };
        sent.map_err(|error| io_failed("send", &shown, &error))?;
    }
    tar.finish()
        .map_err(|error| io_failed("send", "the checkpoint", &error))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Puts layers, one after the other in `source`, over an empty workspace.
pub(super) fn restore(workspace: &Workspace, source: &mut dyn Read) -> Result<(), Failed> {
    workspace.clear()?;
    let unreadable = |error: &std::io::Error| {
        failed(
            FailedCode::InvalidRequest,
            &format!("the checkpoint cannot be read: {error}"),
        )
    };
    let mut archive = tar::Archive::new(source);
    archive.set_ignore_zeros(true);
    let mut modes: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for entry in archive.entries().map_err(|error| unreadable(&error))? {
        let mut entry = entry.map_err(|error| unreadable(&error))?;
        let path = entry.path_bytes().into_owned();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        let mode = entry.header().mode().map_err(|error| unreadable(&error))?;
        match entry.header().entry_type() {
            kind if kind == tar::EntryType::new(REMOVED) => {
                workspace.remove_all(path)?;
                modes.retain(|dir, _| !is_within(dir, path));
            }
            tar::EntryType::Directory => {
                workspace.make_dir(path)?;
                modes.insert(path.to_vec(), mode);
            }
            tar::EntryType::Regular => {
                let modified = entry.header().mtime().map_err(|error| unreadable(&error))?;
                let mode = Mode::from_bits_truncate(mode & 0o777);
                workspace.put(path, &mut entry, mode, modified)?;
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes();
                let target = target.ok_or_else(|| {
                    failed(
                        FailedCode::InvalidRequest,
                        "a link of the checkpoint has no target",
                    )
                })?;
                workspace.put_link(path, &target)?;
            }
            other => {
                return Err(failed(
                    FailedCode::InvalidRequest,
                    &format!("the checkpoint has an entry of the kind {other:?}, which none has"),
                ));
            }
        }
    }
    // What is in a directory comes first: one that may not be written takes nothing in.
    for (path, mode) in modes.iter().rev() {
        workspace.set_mode(path, Mode::from_bits_truncate(mode & 0o777))?;
    }
    Ok(())
}

fn is_within(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

impl Workspace {
    /// What stands at a path, a link itself.
    pub(super) fn stat(&self, path: &[u8]) -> Result<FileStat, Failed> {
        let fd = self.open_at(
            path,
            nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_NOFOLLOW,
        );
        fd.and_then(|fd| nix::sys::stat::fstat(&fd))
            .map_err(|errno| of_errno(errno, &decode(path).text))
    }

    /// Where a link leads, as it says.
    fn link(&self, path: &[u8]) -> Result<Vec<u8>, Failed> {
        use std::os::unix::ffi::OsStringExt as _;
        let (dir, name) = self.parent(path)?;
        let target = nix::fcntl::readlinkat(&dir, name);
        let target = target.map_err(|errno| of_errno(errno, &decode(path).text))?;
        Ok(target.into_vec())
    }

    /// The directory of a path, and the name in it.
    fn parent<'p>(&self, path: &'p [u8]) -> Result<(std::os::fd::OwnedFd, &'p [u8]), Failed> {
        use nix::fcntl::OFlag;
        let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash), path.get(slash + 1..)),
            None => (Some(&b""[..]), Some(path)),
        };
        let (dir, name) = (dir.unwrap_or_default(), name.unwrap_or_default());
        let fd = self.open_at(dir, OFlag::O_PATH | OFlag::O_DIRECTORY);
        let fd = fd.map_err(|errno| of_errno(errno, &decode(path).text))?;
        if name.is_empty() || name == b"." || name == b".." {
            let message = format!("`{}` is not a usable path", decode(path).text);
            return Err(failed(FailedCode::InvalidRequest, &message));
        }
        Ok((fd, name))
    }

    /// Removes everything.
    fn clear(&self) -> Result<(), Failed> {
        for name in self.names(b"")?.names {
            self.remove_all(&name.path)?;
        }
        Ok(())
    }

    /// Removes a path and all below it, if it is there.
    fn remove_all(&self, path: &[u8]) -> Result<(), Failed> {
        use nix::errno::Errno;
        use nix::unistd::{UnlinkatFlags, unlinkat};
        let shown = || decode(path).text.into_owned();
        let (dir, name) = match self.parent(path) {
            Err(error) if error.code == FailedCode::NotFound => return Ok(()),
            found => found?,
        };
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(of_errno(errno, &shown())),
        }
        // Directories, the deepest last; each is empty when its turn comes from the back.
        let mut all = vec![path.to_vec()];
        let mut next = 0;
        while let Some(dir) = all.get(next).cloned() {
            next += 1;
            self.set_mode(&dir, Mode::S_IRWXU)?;
            loop {
                let found = self.names(&dir)?;
                for name in found.names {
                    if name.kind == EntryKind::Directory {
                        all.push(name.path);
                        continue;
                    }
                    let (at, last) = self.parent(&name.path)?;
                    unlinkat(&at, last, UnlinkatFlags::NoRemoveDir)
                        .map_err(|errno| of_errno(errno, &name.shown().text))?;
                }
                if !found.more {
                    break;
                }
                if all.len() > MAX_ENTRIES {
                    let message = format!("`{}` has too many directories", shown());
                    return Err(failed(FailedCode::TooLarge, &message));
                }
            }
        }
        all.dedup();
        for dir in all.iter().rev() {
            let (at, name) = self.parent(dir)?;
            match unlinkat(&at, name, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(of_errno(errno, &decode(dir).text)),
            }
        }
        Ok(())
    }

    fn make_dir(&self, path: &[u8]) -> Result<(), Failed> {
        use nix::errno::Errno;
        let (dir, name) = self.parent(path)?;
        match nix::sys::stat::mkdirat(&dir, name, Mode::S_IRWXU) {
            Ok(()) => Ok(()),
            // Only its mode is another one.
            Err(Errno::EEXIST) if self.is_dir(path) => Ok(()),
            Err(errno) => Err(of_errno(errno, &decode(path).text)),
        }
    }

    /// Writes a file anew.
    pub(super) fn put(
        &self,
        path: &[u8],
        content: &mut dyn Read,
        mode: Mode,
        modified: u64,
    ) -> Result<(), Failed> {
        use nix::fcntl::OFlag;
        self.remove_all(path)?;
        let (dir, name) = self.parent(path)?;
        let shown = decode(path).text;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| of_errno(errno, &shown))?;
        let mut file = File::from(fd);
        std::io::copy(content, &mut file).map_err(|error| io_failed("write", &shown, &error))?;
        let time = nix::sys::time::TimeSpec::new(libc::time_t::try_from(modified).unwrap_or(0), 0);
        nix::sys::stat::fchmod(&file, mode)
            .and_then(|()| nix::sys::stat::futimens(&file, &time, &time))
            .map_err(|errno| of_errno(errno, &shown))
    }

    fn put_link(&self, path: &[u8], target: &[u8]) -> Result<(), Failed> {
        self.remove_all(path)?;
        let (dir, name) = self.parent(path)?;
        nix::unistd::symlinkat(target, &dir, name)
            .map_err(|errno| of_errno(errno, &decode(path).text))
    }

    fn set_mode(&self, path: &[u8], mode: Mode) -> Result<(), Failed> {
        use nix::sys::stat::{FchmodatFlags, fchmodat};
        let (dir, name) = self.parent(path)?;
        // No process is alive that could put a link there.
        fchmodat(&dir, name, mode, FchmodatFlags::FollowSymlink)
            .map_err(|errno| of_errno(errno, &decode(path).text))
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
