use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::images::archive::{self, Image};

/// A 64-bit program of this machine number with these segments, as far as it is read.
fn elf(machine: u16, segments: &[(u32, &[u8])]) -> Vec<u8> {
    const HEADER: usize = 64;
    const SEGMENT: usize = 56;
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    program.extend(3_u16.to_le_bytes()); // a program that moves itself
    program.extend(machine.to_le_bytes());
    program.extend(1_u32.to_le_bytes());
    program.extend(0_u64.to_le_bytes());
    program.extend((HEADER as u64).to_le_bytes());
    program.extend(0_u64.to_le_bytes());
    program.extend(0_u32.to_le_bytes());
    for field in [HEADER, SEGMENT, segments.len(), 0, 0, 0] {
        program.extend((field as u16).to_le_bytes());
    }
    assert_eq!(program.len(), HEADER);
    let mut at = HEADER + SEGMENT * segments.len();
    for (kind, content) in segments {
        program.extend(kind.to_le_bytes());
        program.extend(4_u32.to_le_bytes());
        for field in [at, at, at, content.len(), content.len(), 8] {
            program.extend((field as u64).to_le_bytes());
        }
        at += content.len();
    }
    for (_, content) in segments {
        program.extend(*content);
    }
    program
}

fn dynamic(tag: i64) -> Vec<u8> {
    [tag.to_le_bytes(), 1_i64.to_le_bytes(), [0; 8], [0; 8]].concat()
}

/// A static program: it moves itself, and needs nothing.
fn fine() -> Vec<u8> {
    elf(EM_X86_64, &[(1, b"code"), (PT_DYNAMIC, &dynamic(30))])
}

fn image() -> Image {
    Image {
        name: "docker.io/x/y:1".to_owned(),
        entrypoint: vec!["/usr/local/bin/one".to_owned()],
        user: "65532:65532".to_owned(),
        arch: Arch::Amd64,
        ..Image::default()
    }
}

/// What is found in an image of two programs, `one` and `two`, after a change of its files.
fn found(image: &Image, change: impl FnOnce(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join(PROGRAMS)).unwrap();
    fs::create_dir(root.join(TMP)).unwrap();
    for name in ["one", "two"] {
        put(&root, name, &fine());
    }
    change(&root);
    let tar = folder.path().join("image.tar");
    archive::write(&tar, image, &archive::tree(&root).unwrap()).unwrap();
    let programs = ["one".to_owned(), "two".to_owned()];
    let problems = problems(&tar, &programs, Arch::Amd64).unwrap();
    assert_eq!(
        check(&tar, &programs, Arch::Amd64).is_ok(),
        problems.is_empty()
    );
    problems
}

fn put(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(PROGRAMS).join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn static_programs_and_a_place_for_temporary_files_are_all_there_is() {
    assert_eq!(found(&image(), |_| {}), Vec::<String>::new());
}

#[test]
fn a_program_that_needs_more_than_the_kernel_is_found() {
    let of = |content: Vec<u8>| found(&image(), |root| put(root, "two", &content));
    let loader = elf(EM_X86_64, &[(PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0")]);
    assert_eq!(of(loader), ["two needs a loader"]);
    let libraries = elf(EM_X86_64, &[(PT_DYNAMIC, &dynamic(DT_NEEDED))]);
    assert_eq!(of(libraries), ["two needs libraries"]);
    let other = of(elf(EM_AARCH64, &[]));
    assert_eq!(
        other,
        ["two is no ELF program for amd64: its machine has the number 183"]
    );
    let script = of(b"#!/bin/sh\n".to_vec());
    assert!(script[0].starts_with("two is no ELF program"), "{script:?}");
}

#[test]
fn whatever_else_there_is_is_named() {
    let added = |change: fn(&Path)| found(&image(), change);
    let shell = added(|root| put(root, "sh", &fine()));
    assert_eq!(shell, ["there is a file usr/local/bin/sh"]);
    let link = added(|root| symlink("one", root.join("usr/local/bin/sh")).unwrap());
    assert_eq!(link, ["usr/local/bin/sh is a Symlink"]);
    let elsewhere = added(|root| fs::create_dir(root.join("etc")).unwrap());
    assert_eq!(elsewhere, ["there is a folder etc"]);
    let temporary = added(|root| fs::write(root.join("tmp/x"), "").unwrap());
    assert_eq!(temporary, ["there is a file tmp/x"]);
    let missing = added(|root| fs::remove_file(root.join("usr/local/bin/two")).unwrap());
    assert_eq!(missing, ["there is no two"]);
    let writable = added(|root| {
        let path = root.join("usr/local/bin/two");
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    });
    assert_eq!(writable, ["two has the mode 777"]);
}

#[test]
fn root_another_program_and_another_architecture_are_found() {
    let with = |change: fn(&mut Image)| {
        let mut image = image();
        change(&mut image);
        found(&image, |_| {})
    };
    for user in ["", "0", "0:0", "root"] {
        let mut image = image();
        image.user = user.to_owned();
        assert_eq!(found(&image, |_| {}), [format!("its user is `{user}`")]);
    }
    let start = with(|image| image.entrypoint = vec!["/bin/sh".to_owned()]);
    assert_eq!(start, ["it starts `/bin/sh`"]);
    let arch = with(|image| image.arch = Arch::Arm64);
    assert_eq!(arch, ["it says that it is for arm64, not amd64"]);
}
