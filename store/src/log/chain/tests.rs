use super::super::tests::{edit, read_all, texts, write};
use super::super::{Cursor, Repair, frame, replay, segment_path};
use super::*;

/// A log of one segment with these texts, a batch each.
fn log(texts: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for text in texts {
        write(dir.path(), 4096, &[&[*text]]);
    }
    dir
}

fn check(dir: &Path, frames: u64) -> Chain {
    verify(dir, frames, None, |_| Vec::new()).unwrap()
}

/// Where each frame begins, and its hash of the one before.
fn frames(dir: &Path) -> Vec<(usize, Hash)> {
    let mut found = Vec::new();
    let mut offset = 0;
    scan(dir, 0, u64::MAX, &mut |frame| {
        found.push((offset, frame.before.unwrap()));
        offset += frame.size() as usize;
        Ok(())
    })
    .unwrap();
    found
}

/// Puts a frame with a right checksum over another one of the same length.
fn forge(dir: &Path, offset: usize, number: u64, before: &Hash, text: &str) {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, number, number, before, text.as_bytes());
    edit(dir, 0, |segment| {
        segment[offset..offset + bytes.len()].copy_from_slice(&bytes)
    });
}

#[test]
fn the_chain_goes_through_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(100);
    for _ in 0..3 {
        write(dir.path(), 512, &[&["a", &long], &[&long]]);
    }
    let chain = verify(dir.path(), 9, Some(4), |_| Vec::new()).unwrap();
    assert_eq!(chain.broken, None);
    assert_eq!((chain.frames, chain.first), (9, Some((0, [0; 32]))));
    // What is known of a frame now is known of it later.
    let then = chain.asked.unwrap();
    write(dir.path(), 512, &[&["b"]]);
    let later = verify(dir.path(), 10, Some(4), |_| Vec::new()).unwrap();
    assert_eq!(later.asked, Some(then));
    assert_ne!(later.last, chain.last);
}

#[test]
fn what_was_changed_moved_or_left_out_is_named() {
    type Change = fn(&Path, &[(usize, Hash)]);
    let changes: [(&str, Change, &str); 4] = [
        (
            "changed",
            |dir, at| forge(dir, at[1].0, 1, &at[1].1, "TWO"),
            "frame 1 is not what was written: frame 2 knows another hash of it",
        ),
        (
            "exchanged",
            |dir, at| {
                forge(dir, at[1].0, 1, &at[1].1, "thr");
                forge(dir, at[2].0, 2, &at[2].1, "two");
            },
            "frame 1 is not what was written",
        ),
        (
            "left out",
            |dir, at| {
                forge(dir, at[1].0, 1, &at[2].1, "thr");
                edit(dir, 0, |segment| segment[at[2].0..].fill(0));
            },
            "frame 0 is not what was written",
        ),
        (
            "the end cut off",
            |dir, at| edit(dir, 0, |segment| segment[at[2].0..].fill(0)),
            "frame 2 is missing",
        ),
    ];
    for (what, change, expected) in changes {
        let dir = log(&["one", "two", "thr", "fou"]);
        assert_eq!(check(dir.path(), 4).broken, None);
        change(dir.path(), &frames(dir.path()));
        let broken = check(dir.path(), 4).broken.unwrap();
        assert!(broken.contains(expected), "{what}: {broken}");
    }
}

#[test]
fn a_chain_that_was_made_anew_has_another_end() {
    let dir = log(&["one", "two"]);
    let known = verify(dir.path(), 2, Some(1), |_| Vec::new())
        .unwrap()
        .asked;
    let at = frames(dir.path());
    forge(dir.path(), at[1].0, 1, &at[1].1, "TWO");
    let forged = verify(dir.path(), 2, Some(1), |_| Vec::new()).unwrap();
    assert_eq!(forged.broken, None, "nothing follows that could tell");
    assert_ne!(forged.asked, known);
}

#[test]
fn a_log_without_hashes_is_read_and_the_chain_begins_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Vec::new();
    for (number, text) in (0..).zip(["one", "two"]) {
        frame::encode_1(&mut old, number, number, text.as_bytes());
    }
    // Nothing follows it in its file.
    std::fs::write(segment_path(dir.path(), 0), &old).unwrap();
    let (found, cursor) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(texts(&found), ["one", "two"]);
    assert_eq!(super::super::read(dir.path(), found[1].0).unwrap(), b"two");
    assert_eq!(cursor.number, 2);
    write(dir.path(), 4096, &[&["three"], &["four"]]);
    let (found, _) = read_all(dir.path(), Repair::Erase).unwrap();
    assert_eq!(texts(&found), ["one", "two", "three", "four"]);
    let chain = check(dir.path(), 4);
    assert_eq!((chain.broken, chain.frames), (None, 4));
    assert_eq!(chain.first, Some((2, cursor.hash)));
}

#[test]
fn what_a_newer_version_wrote_is_not_taken_for_a_torn_end() {
    let dir = log(&["one"]);
    let end = read_all(dir.path(), Repair::Erase).unwrap().1.offset as usize;
    edit(dir.path(), 0, |segment| {
        segment[end..end + 5].copy_from_slice(b"OAR4x")
    });
    let error = replay(dir.path(), Repair::Erase, &mut |_, _, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("a newer version"), "{error}");
    assert_eq!(Cursor::default().hash, [0; 32]);
}

#[test]
fn a_beginning_that_is_not_there_is_missed() {
    let dir = log(&["a", "b", "c"]);
    let second = frames(dir.path())[1].0;
    edit(dir.path(), 0, |segment| {
        segment.copy_within(second.., 0);
    });
    let broken = check(dir.path(), 3).broken.unwrap();
    assert!(broken.contains("frame 0 is missing"), "{broken}");
}
