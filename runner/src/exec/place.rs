//! Puts what another Task kept into the workspace: one file, or the files of an archive. Links are not followed, and nothing is written
//! outside of the place that was named, whatever an archive says.

use super::workspace::{Workspace, failed, of_errno};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::{Mode, SFlag, mkdirat};
use oarmaster_protocol::exec::{Failed, FailedCode};
use oarmaster_protocol::text::decode;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most files of an archive, as [`super::collect`] makes them.
const MAX_FILES: usize = 20_000;

/// Puts one file at `path`, or the files of an archive below it.
pub(super) fn place(
    workspace: &Workspace,
    path: &str,
    archive: bool,
    source: &mut dyn Read,
) -> Result<(), Failed> {
    let path = workspace.relative(path)?.into_bytes();
    if archive {
        return unpack(workspace, &path, source);
    }
    if path.is_empty() {
        return Err(failed(
            FailedCode::WrongKind,
            "the artifact is one file, and the path names the workspace itself; name a file",
        ));
    }
    put(workspace, &path, source, Mode::from_bits_truncate(0o644))
}

fn unpack(workspace: &Workspace, below: &[u8], source: &mut dyn Read) -> Result<(), Failed> {
    let unreadable = |error: &std::io::Error| {
        failed(
            FailedCode::InvalidRequest,
            &format!("the archive cannot be read: {error}"),
        )
    };
    let mut archive = tar::Archive::new(source);
    let mut files = 0;
    for entry in archive.entries().map_err(|error| unreadable(&error))? {
        let mut entry = entry.map_err(|error| unreadable(&error))?;
        files += 1;
        if files > MAX_FILES {
            return Err(failed(
                FailedCode::TooLarge,
                &format!("the archive has more than {MAX_FILES} files"),
            ));
        }
        let name = entry.path_bytes().into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular || !stays(&name) {
            return Err(failed(
                FailedCode::InvalidRequest,
                &format!(
                    "`{}` in the archive is no plain file below it, as an artifact's are",
                    decode(&name).text
                ),
            ));
        }
        let mode = entry.header().mode().map_err(|error| unreadable(&error))?;
        let path = match below {
            [] => name,
            below => [below, b"/", &name].concat(),
        };
        let mode = Mode::from_bits_truncate(mode & 0o777);
        put(workspace, &path, &mut entry, mode)?;
    }
    Ok(())
}

/// Whether each part of a name is one of a file or a directory.
fn stays(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| *byte == b'/');
    parts.all(|part| !part.is_empty() && part != b"." && part != b"..")
}

/// Writes a file, with the directories above it. A file that is there is replaced, anything else is not.
fn put(
    workspace: &Workspace,
    path: &[u8],
    content: &mut dyn Read,
    mode: Mode,
) -> Result<(), Failed> {
    for (at, byte) in path.iter().enumerate() {
        if *byte == b'/' {
            make_dir(workspace, path.get(..at).unwrap_or_default())?;
        }
    }
    match workspace.stat(path) {
        Err(error) if error.code == FailedCode::NotFound => {}
        Err(error) => return Err(error),
        Ok(stat) => {
            if stat.st_mode & libc::S_IFMT != SFlag::S_IFREG.bits() {
                let shown = decode(path).text;
                return Err(failed(
                    FailedCode::WrongKind,
                    &format!("`{shown}` is there and is not a regular file"),
                ));
            }
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    workspace.put(path, content, mode, now)
}

fn make_dir(workspace: &Workspace, path: &[u8]) -> Result<(), Failed> {
    let shown = || decode(path).text.into_owned();
    let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at), path.get(at + 1..)),
        None => (Some(&b""[..]), Some(path)),
    };
    let above = workspace.open_at(
        above.unwrap_or_default(),
        OFlag::O_PATH | OFlag::O_DIRECTORY,
    );
    let above = above.map_err(|errno| of_errno(errno, &shown()))?;
    match mkdirat(
        &above,
        name.unwrap_or_default(),
        Mode::from_bits_truncate(0o755),
    ) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()), // what is no directory is found by whoever goes into it
        Err(errno) => Err(of_errno(errno, &shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn world() -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(dir.path()).unwrap();
        (dir, workspace)
    }

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(text.len() as u64);
            header.set_mode(0o750);
            // As it is: `append_data` refuses what leaves.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn read(dir: &tempfile::TempDir, name: &str) -> String {
        std::fs::read_to_string(dir.path().join(name)).unwrap()
    }

    #[test]
    fn a_file_is_put_at_its_path_and_an_archive_below_it() {
        let (dir, workspace) = world();
        place(&workspace, "a/b.txt", false, &mut &b"one"[..]).unwrap();
        place(&workspace, "a/b.txt", false, &mut &b"two"[..]).unwrap();
        assert_eq!(read(&dir, "a/b.txt"), "two");
        let file = tar::EntryType::Regular;
        let bytes = archive(&[("c", file, "1"), ("d/e/f", file, "2"), ("b.txt", file, "3")]);
        for (path, prefix) in [(".", ""), ("a", "a/"), ("x/y", "x/y/")] {
            place(&workspace, path, true, &mut &bytes[..]).unwrap();
            assert_eq!(read(&dir, &format!("{prefix}c")), "1");
            assert_eq!(read(&dir, &format!("{prefix}d/e/f")), "2");
            assert_eq!(read(&dir, &format!("{prefix}b.txt")), "3");
        }
        let mode = std::fs::metadata(dir.path().join("c")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o750);
    }

    #[test]
    fn nothing_is_written_elsewhere_or_in_place_of_what_is_no_file() {
        let (dir, workspace) = world();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        std::fs::create_dir_all(dir.path().join("dir")).unwrap();
        std::fs::write(dir.path().join("file"), "mine").unwrap();
        for path in ["", ".", "dir", "link", "link/x", "../x", "/etc/x", "file/x"] {
            let placed = place(&workspace, path, false, &mut &b"x"[..]);
            assert!(placed.is_err(), "{path}");
        }
        let (file, link) = (tar::EntryType::Regular, tar::EntryType::Symlink);
        for entry in [
            ("../x", file, "x"),
            ("/x", file, "x"),
            ("a/../../x", file, "x"),
            ("./x", file, "x"),
            ("link/x", file, "x"),
            ("dir", file, "x"),
            ("file/x", file, "x"),
            ("l", link, ""),
            ("d", tar::EntryType::Directory, ""),
        ] {
            let bytes = archive(&[entry]);
            let placed = place(&workspace, ".", true, &mut &bytes[..]);
            assert!(placed.is_err(), "{}", entry.0);
        }
        assert!(place(&workspace, ".", true, &mut &b"no archive"[..]).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(read(&dir, "file"), "mine");
    }
}
