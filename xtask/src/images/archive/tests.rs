use super::*;

fn image() -> Image {
    Image {
        name: "docker.io/x/y:1".to_owned(),
        entrypoint: vec!["/bin/p".to_owned()],
        user: "65532:65532".to_owned(),
        ..Image::default()
    }
}

fn make(folder: &Path) -> Vec<u8> {
    let root = folder.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/p"), "program").unwrap();
    fs::set_permissions(root.join("bin/p"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::symlink("p", root.join("bin/q")).unwrap();
    let out = folder.join("image.tar");
    write(&out, &image(), &tree(&root).unwrap()).unwrap();
    fs::read(out).unwrap()
}

#[test]
fn the_same_content_makes_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(make(one.path()), make(two.path()));
}

#[test]
fn an_archive_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let content = read(&folder.path().join("image.tar")).unwrap();
    assert_eq!(content.names, ["docker.io/x/y:1"]);
    assert_eq!(content.config.len(), 64);
}

#[test]
fn the_layer_belongs_to_root_and_has_no_set_user_id_program() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let mut archive = tar::Archive::new(File::open(folder.path().join("image.tar")).unwrap());
    let mut layer = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("layer.tar") {
            entry.read_to_end(&mut layer).unwrap();
        }
    }
    let mut seen = Vec::new();
    for entry in tar::Archive::new(layer.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
        seen.push((
            entry.path().unwrap().display().to_string(),
            header.mode().unwrap(),
        ));
    }
    let want = [("bin", 0o755), ("bin/p", 0o755), ("bin/q", 0o777)];
    assert_eq!(seen, want.map(|(path, mode)| (path.to_owned(), mode)));
}

#[test]
fn another_file_is_not_an_archive() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = read(file.path()).unwrap_err().to_string();
    assert!(error.contains("docker-archive"), "{error}");
}
