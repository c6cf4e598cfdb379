use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

const DISK: u64 = 64 << 20;

struct Place {
    dir: tempfile::TempDir,
    workspace: Workspace,
    snapshots: Snapshots,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(dir.path()).unwrap();
        Self {
            dir,
            workspace,
            snapshots: Snapshots::default(),
        }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Entries, whether it is everything, and the archive.
    fn take(&mut self, base: bool) -> (u32, bool, Vec<u8>) {
        let mut sent = Vec::new();
        let taken = self.snapshots.take(&self.workspace, base, DISK, &mut sent);
        match taken.unwrap() {
            Response::Snapshot { base, entries, .. } => (entries, base, sent),
            other => panic!("{other:?}"),
        }
    }

    fn restore(&mut self, layers: &[Vec<u8>]) {
        let all = layers.concat();
        restore(&self.workspace, &mut all.as_slice()).unwrap();
        self.snapshots.restored(&self.workspace, DISK).unwrap();
    }
}

/// Everything below a directory: path to kind, mode and content.
fn tree(root: &Path) -> BTreeMap<String, (char, u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let mode = stat.permissions().mode() & 0o777;
            let seen = if stat.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                ('l', 0, 0, target.into_os_string().into_encoded_bytes())
            } else if stat.is_dir() {
                open.push(path.clone());
                ('d', mode, 0, Vec::new())
            } else {
                ('f', mode, stat.mtime(), fs::read(&path).unwrap())
            };
            let name = path.strip_prefix(root).unwrap();
            found.insert(name.to_string_lossy().into_owned(), seen);
        }
    }
    found
}

#[test]
fn only_what_changed_is_sent_and_all_of_it_comes_back() {
    let mut place = Place::new();
    let long = format!("deep/{}/{}.txt", "d".repeat(120), "f".repeat(120));
    place.write("a.txt", "one");
    place.write(&long, "long path");
    place.write("gone/x/y", "y");
    fs::create_dir(place.path("empty")).unwrap();
    symlink("/nowhere/at/all", place.path("link")).unwrap();
    fs::set_permissions(place.path("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    let (entries, base, first) = place.take(false);
    assert!(base, "the first one is everything");
    assert_eq!(entries, 9);
    assert_eq!(place.take(false).0, 0, "nothing has changed");

    place.write("a.txt", "two"); // the same length
    fs::remove_dir_all(place.path("gone")).unwrap();
    fs::remove_file(place.path("link")).unwrap();
    place.write("link/now", "a directory");
    fs::set_permissions(place.path("empty"), fs::Permissions::from_mode(0o555)).unwrap();
    let (entries, base, second) = place.take(false);
    assert!(!base);
    assert_eq!(entries, 6, "a.txt, gone, empty, and link three times");
    assert!(second.len() < first.len());

    let mut other = Place::new();
    other.write("rubbish/of/before", "x");
    other.restore(&[first, second]);
    assert_eq!(tree(other.dir.path()), tree(place.dir.path()));
    assert_eq!(other.take(false).0, 0, "what was restored was sent");
    fs::set_permissions(place.path("empty"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Times say nothing about what is written through a mapping on tmpfs.
#[test]
fn a_change_that_left_no_time_is_seen() {
    let mut place = Place::new();
    place.write("data", "0000");
    place.take(false);
    let file = fs::File::options()
        .write(true)
        .open(place.path("data"))
        .unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    fs::write(place.path("data"), "0001").unwrap();
    file.set_modified(before).unwrap();
    assert_eq!(place.take(false).0, 1);
}

#[test]
fn what_is_no_file_is_left_out_and_named() {
    let mut place = Place::new();
    nix::unistd::mkfifo(&place.path("pipe"), Mode::S_IRWXU).unwrap();
    let taken = place
        .snapshots
        .take(&place.workspace, false, DISK, &mut std::io::sink());
    match taken.unwrap() {
        Response::Snapshot {
            entries, skipped, ..
        } => {
            assert_eq!(entries, 0);
            assert_eq!(skipped, ["pipe (not a regular file)"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_of_holes_ends_the_snapshot_at_once() {
    let mut place = Place::new();
    place.write("a", "a");
    place.take(false);
    let file = fs::File::create(place.path("hole")).unwrap();
    file.set_len(1 << 40).unwrap();
    let taken = place
        .snapshots
        .take(&place.workspace, false, DISK, &mut std::io::sink());
    assert_eq!(taken.unwrap_err().code, FailedCode::TooLarge);
    fs::remove_file(place.path("hole")).unwrap();
    assert!(place.take(false).1, "the next one is everything");
}

#[test]
fn an_archive_that_is_none_of_ours_is_refused() {
    // A directory of its own around the workspace: what is next to temporary directories is anybody's.
    let around = tempfile::tempdir().unwrap();
    let inside = around.path().join("workspace");
    fs::create_dir(&inside).unwrap();
    let workspace = Workspace::open(&inside).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut bad = header(tar::EntryType::Link, 0o644, 0);
    tar.append_link(&mut bad, "a", "/etc/passwd").unwrap();
    let hard = tar.into_inner().unwrap();
    let mut outside = header(tar::EntryType::Regular, 0o644, 1);
    outside.as_gnu_mut().unwrap().name[..4].copy_from_slice(b"../x");
    outside.set_cksum();
    let mut up = outside.as_bytes().to_vec();
    up.extend([0; 512]);
    for bytes in [hard, up, b"no archive at all".repeat(100)] {
        assert!(restore(&workspace, &mut bytes.as_slice()).is_err());
    }
    assert!(!around.path().join("x").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// However the files change, the layers of all snapshots are the files of the last one.
    #[test]
    fn layers_are_what_is_there(rounds in prop::collection::vec(
        prop::collection::vec((0..4_u8, "[ab](/[ab]){0,2}", 0..3_u8), 0..6), 1..5)) {
        let mut place = Place::new();
        let mut layers = Vec::new();
        for round in rounds {
            for (act, path, content) in round {
                let path = place.path(&path);
                match act {
                    0 => { let _ = fs::remove_file(&path); }
                    1 => { let _ = fs::remove_dir_all(&path); }
                    2 => { let _ = fs::create_dir_all(&path); }
                    _ => {
                        let _ = fs::create_dir_all(path.parent().unwrap());
                        let _ = fs::write(&path, vec![content; 3]);
                    }
                }
            }
            let (_, base, bytes) = place.take(false);
            if base { layers.clear(); }
            layers.push(bytes);
        }
        let mut other = Place::new();
        other.restore(&layers);
        prop_assert_eq!(tree(other.dir.path()), tree(place.dir.path()));
    }
}
