use super::*;
use std::os::unix::fs::symlink;

fn workspace() -> (tempfile::TempDir, Workspace) {
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(dir.path()).unwrap();
    (dir, workspace)
}

fn content(response: Response) -> (String, Option<u64>, bool) {
    match response {
        Response::Content {
            content,
            next_line,
            cut,
            ..
        } => (String::from_utf8(content.0).unwrap(), next_line, cut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_as_models_write_them() {
    let (dir, workspace) = workspace();
    let root = dir.path().to_str().unwrap();
    for (given, wanted) in [
        ("a", "a"),
        ("./a//b/", "a/b"),
        ("a/../b", "b"),
        ("", ""),
        (&format!("{root}/x/y"), "x/y"),
        (root, ""),
    ] {
        assert_eq!(workspace.relative(given).unwrap(), wanted);
    }
    for refused in [
        "/etc/passwd",
        "..",
        "a/../../b",
        &format!("{root}x/y"),
        &format!("{root}/../x"),
    ] {
        assert_eq!(
            workspace.relative(refused).unwrap_err().code,
            FailedCode::Refused,
            "{refused}"
        );
    }
    assert_eq!(
        workspace.relative("a\0b").unwrap_err().code,
        FailedCode::InvalidRequest
    );
}

#[test]
fn write_keeps_the_mode_and_makes_directories() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, workspace) = workspace();
    workspace.write("a/b/run.sh", b"one").unwrap();
    let file = dir.path().join("a/b/run.sh");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    workspace.write("a/b/run.sh", b"two").unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"two");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("a/b")).unwrap().count(),
        1
    );
    assert_eq!(
        workspace.write("a/b", b"x").unwrap_err().code,
        FailedCode::WrongKind
    );
    assert_eq!(
        workspace.write("", b"x").unwrap_err().code,
        FailedCode::WrongKind
    );
    assert_eq!(
        workspace.write("a/b/run.sh/c", b"x").unwrap_err().code,
        FailedCode::WrongKind
    );
    assert_eq!(
        workspace
            .write("big", &vec![0; MAX_FILE_BYTES + 1])
            .unwrap_err()
            .code,
        FailedCode::TooLarge
    );
}

#[test]
fn no_operation_follows_a_link_or_opens_a_pipe() {
    let (dir, workspace) = workspace();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), dir.path().join("dir")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("file")).unwrap();
    symlink("/proc/self/environ", dir.path().join("magic")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();

    for path in ["dir/secret", "file", "magic"] {
        assert_eq!(
            workspace.read(path, 1, 10, 100).unwrap_err().code,
            FailedCode::Refused,
            "{path}"
        );
        assert_eq!(
            workspace.write(path, b"x").unwrap_err().code,
            FailedCode::Refused,
            "{path}"
        );
        assert_eq!(
            workspace.edit(path, "secret", "x").unwrap_err().code,
            FailedCode::Refused,
            "{path}"
        );
    }
    assert_eq!(
        workspace.write("dir/new/file", b"x").unwrap_err().code,
        FailedCode::Refused
    );
    assert_eq!(
        workspace.list("dir", 10).unwrap_err().code,
        FailedCode::Refused
    );
    assert_eq!(
        workspace.read("fifo", 1, 10, 100).unwrap_err().code,
        FailedCode::WrongKind
    );
    assert_eq!(
        workspace.write("fifo", b"x").unwrap_err().code,
        FailedCode::WrongKind
    );
    assert_eq!(
        std::fs::read(outside.path().join("secret")).unwrap(),
        b"secret"
    );
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);

    let Response::Listing { entries, truncated } = workspace.list("", 10).unwrap() else {
        panic!()
    };
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.kind))
        .collect();
    assert!(!truncated);
    assert_eq!(
        kinds,
        [
            ("dir", EntryKind::Link),
            ("fifo", EntryKind::Other),
            ("file", EntryKind::Link),
            ("magic", EntryKind::Link)
        ]
    );
}

#[test]
fn edit_wants_exactly_one_place() {
    let (dir, workspace) = workspace();
    std::fs::write(dir.path().join("a"), "one\ntwo\none\n").unwrap();
    workspace.edit("a", "two\n", "2\n").unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.path().join("a")).unwrap(),
        "one\n2\none\n"
    );
    let error = workspace.edit("a", "one", "1").unwrap_err();
    assert_eq!(error.code, FailedCode::NoSingleMatch);
    assert!(error.message.contains("lines 1, 3"), "{}", error.message);
    let error = workspace.edit("a", "three", "3").unwrap_err();
    assert!(error.message.contains("is not in `a`"), "{}", error.message);
    assert_eq!(
        workspace.edit("a", "", "3").unwrap_err().code,
        FailedCode::InvalidRequest
    );
    assert_eq!(
        workspace.edit("b", "x", "3").unwrap_err().code,
        FailedCode::NotFound
    );
    std::fs::write(dir.path().join("crlf"), "x = 1\r\ny = 2\r\n").unwrap();
    let error = workspace.edit("crlf", "x = 1\ny", "z").unwrap_err();
    assert!(error.message.contains("\\r\\n"), "{}", error.message);
    std::fs::write(dir.path().join("overlap"), "aaa").unwrap();
    assert_eq!(
        workspace.edit("overlap", "aa", "b").unwrap_err().code,
        FailedCode::NoSingleMatch
    );
}

#[test]
fn reads_by_lines_within_bounds() {
    let (dir, workspace) = workspace();
    std::fs::write(dir.path().join("a"), "one\ntwo\nthree").unwrap();
    let read = |first, lines, max| content(workspace.read("a", first, lines, max).unwrap());
    assert_eq!(
        read(1, 10, 100),
        ("one\ntwo\nthree".to_owned(), None, false)
    );
    assert_eq!(read(2, 1, 100), ("two\n".to_owned(), Some(3), false));
    assert_eq!(read(3, 1, 100), ("three".to_owned(), None, false));
    assert_eq!(read(9, 1, 100), (String::new(), None, false));
    assert_eq!(read(0, 1, 100), ("one\n".to_owned(), Some(2), false));
    // A bound in the middle of a line ends at the line before, unless it is the only one.
    assert_eq!(read(1, 10, 6), ("one\n".to_owned(), Some(2), false));
    assert_eq!(read(3, 10, 2), ("th".to_owned(), Some(4), true));
    // A line that is cut, is cut between two characters, also where the reader's own pieces end.
    for (letter, before) in [("é", 0), ("ไ", 8191), ("😀", 8190)] {
        let line = format!("{}{}", "x".repeat(before), letter.repeat(9));
        std::fs::write(dir.path().join("long"), &line).unwrap();
        for max in 0..line.len() as u64 {
            let (text, next, cut) = content(workspace.read("long", 1, 10, max).unwrap());
            assert!(cut && next == Some(2) && line.starts_with(&text));
            assert!(max - (text.len() as u64) < letter.len() as u64);
        }
    }
    std::fs::write(dir.path().join("empty"), "").unwrap();
    assert_eq!(
        content(workspace.read("empty", 1, 1, 1).unwrap()),
        (String::new(), None, false)
    );
}

#[test]
fn names_that_are_not_utf_8_are_counted() {
    use std::os::unix::ffi::OsStrExt as _;

    let (dir, workspace) = workspace();
    for name in [&b"a\xff\xfe"[..], "ไทย".as_bytes()] {
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let Response::Listing { entries, .. } = workspace.list("", 3).unwrap() else {
        panic!()
    };
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.replaced))
        .collect();
    assert_eq!(found, [("a\u{fffd}\u{fffd}", 2), ("ไทย", 0)]);
}

#[test]
fn lists_the_nearest_first_and_says_when_there_is_more() {
    let (_dir, workspace) = workspace();
    workspace.write("z", b"12").unwrap();
    workspace.write("a/b/c", b"123").unwrap();
    let Response::Listing { entries, truncated } = workspace.list("", 3).unwrap() else {
        panic!()
    };
    let paths: Vec<_> = entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.size))
        .collect();
    assert_eq!(paths, [("a", 0), ("z", 2), ("a/b", 0)]);
    assert!(truncated);
    assert_eq!(
        workspace.list("nothing", 3).unwrap_err().code,
        FailedCode::NotFound
    );
}

#[test]
fn full_disks_are_told_as_such() {
    assert_eq!(of_errno(Errno::ENOSPC, "a").code, FailedCode::NoSpace);
    let error = io_failed(
        "write",
        "a",
        &std::io::Error::from_raw_os_error(Errno::EDQUOT as i32),
    );
    assert_eq!(error.code, FailedCode::NoSpace);
}

/// Code of an earlier call is dead when the supervisor works, but a guarantee that stands alone is better: whatever is swapped meanwhile, no
/// operation leaves the workspace.
#[test]
fn nothing_is_followed_while_names_are_swapped() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    let (dir, workspace) = workspace();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "outside").unwrap();
    let name = |name: &str| dir.path().join(name);
    std::fs::create_dir(name("place")).unwrap();
    std::fs::write(name("place/file"), "inside").unwrap();
    std::os::unix::fs::symlink(outside.path(), name("link")).unwrap();

    let done = AtomicBool::new(false);
    let swaps = AtomicU32::new(0);
    let (mut inside, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let swap = || {
            while !done.load(Ordering::Relaxed) {
                let (place, link) = (name("place"), name("link"));
                renameat2(
                    AT_FDCWD,
                    &place,
                    AT_FDCWD,
                    &link,
                    RenameFlags::RENAME_EXCHANGE,
                )
                .unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        };
        scope.spawn(swap);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        // Until each of both was met often.
        while (inside < 200 || refused < 200) && std::time::Instant::now() < deadline {
            match workspace.read("place/file", 1, 10, 100) {
                Ok(response) => {
                    assert_eq!(content(response).0, "inside");
                    inside += 1;
                }
                Err(error) => {
                    assert_eq!(error.code, FailedCode::Refused, "{error:?}");
                    refused += 1;
                }
            }
            let _ = workspace.write("place/new", b"new"); // either is right, but not a file outside
            let _ = workspace.list("place", 10);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(inside >= 200 && refused >= 200, "{inside} {refused}");
    assert!(swaps.into_inner() > 100);
    let mut left: Vec<_> = std::fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(left.pop().unwrap().unwrap().file_name(), "file");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_directory_of_many_names_is_held_in_part() {
    let (dir, workspace) = workspace();
    // 255 bytes each, the longest that there are.
    let count = 20_000;
    for number in 0..count {
        std::fs::File::create(dir.path().join(format!("{number:0>255}"))).unwrap();
    }
    let found = workspace.names(b"").unwrap();
    assert!(found.more);
    let held: usize = found.names.iter().map(Name::cost).sum();
    assert!(held <= MAX_NAMES && held > MAX_NAMES / 2, "{held}");
    let Response::Listing { entries, truncated } = workspace.list("", 10_000).unwrap() else {
        panic!()
    };
    assert!(truncated && entries.len() < 10_000, "{}", entries.len());
}
