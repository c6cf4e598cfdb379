//! What a hostile program leaves for the supervisor to collect.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod sandbox;

use oarmaster_protocol::exec::{FailedCode, Request, Response};
use sandbox::{Options, Sandbox};
use std::path::Component;

const MANY: u64 = 1 << 30;

fn python(sandbox: &mut Sandbox, code: &str) {
    let ran = sandbox.run(&["python3", "-c", code], None);
    assert_eq!(ran.exit_code, Some(0), "{ran:?}");
}

/// The names in an archive, each a plain file below the place where it is unpacked.
fn names(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
            assert_eq!(entry.header().uid().unwrap(), 0);
            assert!(entry.header().mode().unwrap() <= 0o777);
            let path = entry.path().unwrap();
            let is_plain = path
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            assert!(is_plain, "{}", path.display());
            entry.path_bytes().into_owned()
        })
        .collect()
}

#[test]
fn only_plain_files_are_taken() {
    let mut sandbox = Sandbox::start(Options::default());
    python(
        &mut sandbox,
        r"
import os, socket, stat
os.mkdir('out')
os.symlink('/etc/passwd', 'out/link')
os.symlink('/proc/self/environ', 'out/proc')
os.symlink('..', 'out/up')
os.symlink('out', 'loop')
os.symlink('../loop', 'out/loop')
os.mkfifo('out/pipe')
os.mknod('out/device', stat.S_IFCHR | 0o600, os.makedev(0, 0))
socket.socket(socket.AF_UNIX).bind('out/socket')
open('out/set-user', 'w').write('x')
os.chmod('out/set-user', 0o6755)
open('out/plain', 'w').write('plain')
os.link('out/plain', 'out/hard')
",
    );
    let (bytes, last) = sandbox.collect("out", MANY);
    let mut taken = names(&bytes);
    taken.sort();
    assert_eq!(
        taken,
        [b"out/hard".as_slice(), b"out/plain", b"out/set-user"]
    );
    let Response::Collected {
        files, mut skipped, ..
    } = last
    else {
        panic!("{last:?}")
    };
    skipped.sort();
    let passed = ["device", "link", "loop", "pipe", "proc", "socket", "up"];
    assert_eq!(files, 3);
    assert_eq!(
        skipped,
        passed.map(|name| format!("out/{name} (not a regular file)"))
    );
    for alone in passed {
        let (bytes, last) = sandbox.collect(&format!("out/{alone}"), MANY);
        assert!(bytes.is_empty(), "{alone}");
        assert!(
            matches!(&last, Response::Collected { files: 0, skipped, .. } if skipped.len() == 1),
            "{alone}: {last:?}"
        );
    }
    let (bytes, _) = sandbox.collect("out/up/out/plain", MANY);
    assert!(bytes.is_empty(), "below a link");
}

#[test]
fn names_that_an_unpacker_could_misread() {
    let mut sandbox = Sandbox::start(Options::default());
    python(
        &mut sandbox,
        r"
import os
os.mkdir('out')
for name in [b'..\\..\\x', b'-rf', b'a\nb', b'\xff\xfe', b'C:\\x', b'...', b'.. ', b'~', b'x' * 255, '\u202egpj.exe'.encode()]:
    open(b'out/' + name, 'w').write('x')
deep = 'out' + '/' + '/'.join('d' * 60 for _ in range(20))
os.makedirs(deep)
open(deep + '/file', 'w').write('x')
",
    );
    let (bytes, last) = sandbox.collect("out/**", MANY);
    assert!(
        matches!(&last, Response::Collected { files: 11, skipped, .. } if skipped.is_empty()),
        "{last:?}"
    );
    let taken = names(&bytes);
    assert_eq!(taken.len(), 11);
    assert!(taken.iter().all(|name| name.starts_with(b"out/")));
    for outside in [
        "../run",
        "/etc/passwd",
        "out/../../run/*",
        "a\0b",
        "{..,out}/../*",
    ] {
        let (bytes, last) = sandbox.collect(outside, MANY);
        assert!(bytes.is_empty(), "{outside:?}");
        let is_nothing = matches!(
            &last,
            Response::Failed(_) | Response::Collected { files: 0, .. }
        );
        assert!(is_nothing, "{outside:?}: {last:?}");
    }
}

#[test]
fn counts_depth_and_bytes_have_bounds() {
    // With a share of the CPU of its own, and files in memory: they are many.
    let Some(mut sandbox) = Sandbox::start_in_container(Options::default()) else {
        return;
    };
    python(
        &mut sandbox,
        r"
import os
path = '.'
for depth in range(40):
    path += '/d'
    os.mkdir(path)
    open(path + '/file', 'w').write('x')
os.mkdir('many')
for number in range(20_001):
    open(f'many/{number}', 'w')
os.truncate(os.open('sparse', os.O_CREAT | os.O_WRONLY), 200 << 20)
",
    );
    let (bytes, last) = sandbox.collect("d", MANY);
    let Response::Collected { files, skipped, .. } = last else {
        panic!("{last:?}")
    };
    assert_eq!(names(&bytes).len(), usize::try_from(files).unwrap());
    assert!(
        files >= 31 && skipped.len() == 1 && skipped[0].ends_with("(too deep)"),
        "{files} {skipped:?}"
    );
    for (pattern, max) in [
        ("many/*", MANY),
        ("sparse", 100 << 20),
        ("spars?", 100 << 20),
        ("d/**", 100),
    ] {
        let (_, last) = sandbox.collect(pattern, max);
        let Response::Failed(error) = last else {
            panic!("{pattern}: {last:?}")
        };
        assert_eq!(error.code, FailedCode::TooLarge, "{pattern}");
    }
    // What a glob does not reach does not count against it.
    let (_, last) = sandbox.collect("many/1?", MANY);
    assert_eq!(
        last,
        Response::Collected {
            files: 10,
            archive: true,
            skipped: vec![]
        }
    );
    let response = sandbox.ask(&Request::List {
        path: String::new(),
        max_entries: 100_000,
    });
    assert!(
        matches!(&response, Response::Listing { entries, truncated: true } if entries.len() <= 10_000),
    );
    let peak = sandbox.peak_memory_kib();
    assert!(peak < 48 << 10, "{peak} KiB");
}
