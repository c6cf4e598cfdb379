use super::*;
use std::fs;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn paths(found: &Found) -> Vec<&str> {
    found.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn what_is_hidden_ignored_or_made_is_left_out() {
    let folder = folder(&[
        ("calc/core.py", b"x = 1\n"),
        ("calc/__pycache__/core.pyc", b"\0\0"),
        (".git/config", b"secret"),
        (".env", b"KEY=secret"),
        (".gitignore", b"build/\n"),
        ("build/out.txt", b"made"),
        ("test_core.py", b"import calc\n"),
    ]);
    let found = read(folder.path(), false).unwrap();
    assert_eq!(paths(&found), ["calc/core.py", "test_core.py"]);
    assert_eq!(found.files[0].content.as_deref(), Some("x = 1\n"));
    assert_eq!(found.bytes, 18);
}

#[test]
fn a_binary_file_is_named_and_refused_unless_it_may_be_left_out() {
    for content in [&b"\xff\xfe"[..], b"a\0b"] {
        let folder = folder(&[("a.py", b""), ("logo.png", content)]);
        let error = read(folder.path(), false).unwrap_err();
        assert!(
            error.line().contains("logo.png is not UTF-8"),
            "{}",
            error.line()
        );
        let found = read(folder.path(), true).unwrap();
        assert_eq!(paths(&found), ["a.py"]);
        assert_eq!(found.skipped, ["logo.png: not UTF-8 text, left out"]);
    }
}

#[test]
fn links_are_not_followed() {
    let folder = folder(&[("a.py", b"")]);
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("b.py")).unwrap();
    let found = read(folder.path(), false).unwrap();
    assert_eq!(paths(&found), ["a.py"]);
    assert_eq!(found.skipped.len(), 1);
}

#[test]
fn every_bound_is_said() {
    let big = vec![b'x'; (128 << 10) + 1];
    let error = read(folder(&[("big.txt", &big)]).path(), false).unwrap_err();
    assert!(error.line().contains("at most 128 KiB"), "{}", error.line());

    let exact = vec![b'x'; 128 << 10];
    assert!(read(folder(&[("exact.txt", &exact)]).path(), false).is_ok());
    let names: Vec<String> = (0..8).map(|n| format!("f{n}")).collect();
    let eight: Vec<(&str, &[u8])> = names
        .iter()
        .map(|n| (n.as_str(), exact.as_slice()))
        .collect();
    let error = read(folder(&eight).path(), false).unwrap_err();
    assert!(error.line().contains("900 KiB"), "{}", error.line());

    let names: Vec<String> = (0..129).map(|n| format!("f{n}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b""[..])).collect();
    let error = read(folder(&many).path(), false).unwrap_err();
    assert!(error.line().contains("at most 128"), "{}", error.line());
    assert!(read(folder(&many[..128]).path(), false).is_ok());
}

#[test]
fn an_empty_or_absent_directory_is_refused() {
    assert!(read(folder(&[]).path(), false).is_err());
    assert!(read(Path::new("/nonexistent"), false).is_err());
}
