use std::fs;
use std::path::Path;

use super::*;

fn key(files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let wanted = |path: &Path| path.extension().is_some_and(|e| e == "go" || e == "sum");
    let key = Key::default().add("version", b"1");
    key.add_files(folder.path(), wanted).unwrap().finish()
}

#[test]
fn the_key_follows_content_and_path_and_nothing_else() {
    let first = key(&[("main.go", "a"), ("sub/x.go", "b"), ("README.md", "old")]);
    assert_eq!(first.len(), 16);
    assert_eq!(
        first,
        key(&[("sub/x.go", "b"), ("main.go", "a"), ("README.md", "new")])
    );
    assert_ne!(first, key(&[("main.go", "a"), ("sub/x.go", "c")]));
    assert_ne!(first, key(&[("main.go", "a"), ("sub/y.go", "b")]));
    assert_ne!(first, key(&[("main.go", "ab"), ("sub/x.go", "")]));
}

#[test]
fn parts_do_not_run_into_each_other() {
    let one = Key::default().add("a", b"bc").finish();
    let two = Key::default().add("ab", b"c").finish();
    assert_ne!(one, two);
}
