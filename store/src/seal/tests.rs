//! What is sealed is found nowhere on the volume, opens with its own key only, and is gone once that is.

use super::blob::PIECE;
use super::*;
use crate::entry::Entry;
use crate::tests::{
    KEY, UID, agent_assignment, answer, append, begin, hop, new_call, note, open_request, options,
    sealer, usd, used,
};
use crate::{NoteOwner, NoteQuery, Options, Store};
use oarmaster_protocol::admin::KeptItem;
use oarmaster_protocol::assignment::Target;
use oarmaster_protocol::journal::{Body, Outcome, Record};
use proptest::prelude::*;
use std::fs;

const OTHER: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Stands in every text that is to be sealed.
const SECRET: &str = "canary-7d1c";

fn keys(lines: &[&str]) -> Keys {
    Keys::parse(&lines.join("\n")).unwrap()
}

fn with(dir: &Path, lines: &[&str]) -> Options {
    Options {
        keys: match lines {
            [] => Keys::default(),
            lines => keys(lines),
        },
        ..options(dir)
    }
}

/// The files of a directory with these bytes in them.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path)
            .unwrap()
            .windows(text.len())
            .any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

fn owner() -> NoteOwner {
    NoteOwner {
        namespace: "team".into(),
        agent: "fixer".into(),
        requester: "alice@acme".into(),
    }
}

fn notes() -> NoteQuery {
    NoteQuery {
        namespace: "team".into(),
        ..NoteQuery::default()
    }
}

/// A Task with a text of each kind.
async fn talk(store: &Store) {
    let mut request = open_request(UID, usd(1000));
    let mut assignment = agent_assignment(UID);
    let Target::Agent(agent) = &mut assignment.target else {
        panic!("an agent's");
    };
    agent.prompt = format!("prompt {SECRET}");
    request.assignment = Some(assignment);
    let digest = store
        .open_attempt(UID, 1, request)
        .await
        .unwrap()
        .assignment;
    let claimed = crate::tests::claim(store, 1, &digest, "n1").await.unwrap();
    let session = &claimed.session;
    let call = new_call(store, &claimed, claimed.next, 0).await;
    let ticket = call.reserve(hop(10)).await.unwrap();
    let mut end = answer(Some(used(7)));
    if let crate::HopEnd::Answer { message, .. } = &mut end {
        *message = serde_json::json!({"role": "assistant", "content": SECRET});
    }
    ticket.settle(end).await.unwrap();
    drop(call);
    let artifact = store.put_artifact(UID, 1, session, "out", SECRET.as_bytes());
    artifact.await.unwrap();
    store
        .put_blob(UID, 1, session, format!("layer {SECRET}").as_bytes())
        .await
        .unwrap();
    let item = KeptItem {
        item: 0,
        results: vec![serde_json::json!({"output": SECRET})],
    };
    store.keep_items(UID, "work", &[item]).await.unwrap();
    store.remember(&owner(), UID, SECRET).await.unwrap();
    let outcome = Outcome {
        output: Some(serde_json::json!({"text": SECRET})),
        ..Outcome::default()
    };
    let bodies = vec![
        Body::ToolIntent {
            id: "1".into(),
            tool: "Bash".into(),
            arguments: serde_json::json!({"command": SECRET}),
        },
        note(SECRET),
        Body::Result { outcome },
    ];
    let next = store.next(UID).await.unwrap();
    store
        .append(UID, 1, session, append(next, bodies))
        .await
        .unwrap();
}

/// Everything is there.
async fn hear(store: &Store) {
    let text = serde_json::to_string(&store.records(UID, 0, 100).await.unwrap()).unwrap();
    assert_eq!(text.matches(SECRET).count(), 4, "{text}");
    let (assignment, _) = store.assignment(UID, 1).await.unwrap();
    assert!(String::from_utf8_lossy(&assignment).contains(SECRET));
    let (artifact, bytes) = store.artifact(UID, "out").await.unwrap();
    assert_eq!(bytes, SECRET.as_bytes());
    assert_eq!(artifact.digest, oarmaster_protocol::digest(&bytes));
    let kept = store.kept_items(UID, "work", None).await.unwrap();
    assert!(serde_json::to_string(&kept).unwrap().contains(SECRET));
    assert_eq!(store.notes(&notes(), 10).await.unwrap()[0].text, SECRET);
}

#[tokio::test]
async fn no_text_is_in_any_byte_of_the_volume_and_all_of_it_can_be_read() {
    for sealed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let lines: &[&str] = if sealed { &[KEY] } else { &[] };
        let store = Store::open(with(dir.path(), lines)).await.unwrap();
        talk(&store).await;
        hear(&store).await;
        assert_eq!(store.usage(UID).await.unwrap().sum.cost_pico, 7);
        drop(store);
        let found = files_with(dir.path(), SECRET);
        // Without a key all of it is there: the search finds what there is.
        assert_eq!(found.is_empty(), sealed, "{found:?}");
        let store = Store::open(with(dir.path(), lines)).await.unwrap();
        hear(&store).await;
        assert!(store.verify(None).await.unwrap().broken.is_none());
    }
}

#[tokio::test]
async fn what_is_sealed_opens_with_its_key_only_and_the_key_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(with(dir.path(), &[KEY])).await.unwrap();
    talk(&store).await;
    drop(store);
    for (lines, says) in [
        (&[][..], "no key of the installation"),
        (&[OTHER], "none of those"),
    ] {
        let refused = Store::open(with(dir.path(), lines)).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    // The new one in front, then alone.
    for lines in [&[OTHER, KEY][..], &[OTHER]] {
        let store = Store::open(with(dir.path(), lines)).await.unwrap();
        hear(&store).await;
    }
    let refused = Store::open(with(dir.path(), &[KEY])).await.unwrap_err();
    assert!(refused.to_string().contains("none of those"), "{refused}");

    fs::write(dir.path().join(file::NAME), "").unwrap();
    let refused = Store::open(with(dir.path(), &[OTHER])).await.unwrap_err();
    assert!(refused.to_string().contains("are missing"), "{refused}");
}

#[tokio::test]
async fn a_task_that_began_before_there_was_a_key_is_sealed_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(with(dir.path(), &[])).await.unwrap();
    let claimed = begin(&store, usd(10)).await;
    drop(store);
    let store = Store::open(with(dir.path(), &[KEY])).await.unwrap();
    let next = store.next(UID).await.unwrap();
    let said = append(next, vec![note(SECRET)]);
    let session = &claimed.session;
    store.append(UID, 1, session, said.clone()).await.unwrap();
    // Again, as after an answer that was lost: it is the same.
    let again = store.append(UID, 1, session, said).await.unwrap();
    assert_eq!(again.next, next + 1);
    let other = append(next, vec![note("another")]);
    store.append(UID, 1, session, other).await.unwrap_err();
    assert_eq!(files_with(dir.path(), SECRET), Vec::<String>::new());
    let text = serde_json::to_string(&store.records(UID, 0, 100).await.unwrap()).unwrap();
    assert!(text.contains(SECRET), "{text}");
}

fn record(text: &str) -> Entry {
    Entry::Record {
        task: UID.into(),
        record: Record {
            seq: 3,
            at_ms: 4,
            attempt: 1,
            body: note(text),
        },
    }
}

#[test]
fn a_line_is_read_in_its_place_only_and_without_its_key_lacks_its_texts() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = sealer(dir.path());
    sealer.give([UID]).unwrap();
    let mut line = Vec::new();
    sealer.line(&mut line, &record(SECRET)).unwrap();
    assert_eq!(sealer.read(&line), Ok(Read::Whole(record(SECRET))));
    assert!(sealer.is(&line, &record(SECRET)).unwrap());
    assert!(!sealer.is(&line, &record("another")).unwrap());
    let moved = String::from_utf8(line.clone()).unwrap();
    let moved = moved.replace("\"seq\":3", "\"seq\":5");
    assert!(sealer.read(moved.as_bytes()).is_err());
    for cut in bare(&line).len() + 1..line.len() {
        let read = sealer.read(&line[..cut]);
        assert!(read.is_err(), "{cut}");
    }
    assert_eq!(sealer.retain(|_| false).unwrap(), 1);
    assert_eq!(sealer.read(&line), Ok(Read::Shut(record(""))));
    // A new key of the same Task opens nothing of the old one's.
    sealer.give([UID]).unwrap();
    assert_eq!(sealer.read(&line), Ok(Read::Shut(record(""))));
}

#[test]
fn what_a_crash_left_of_an_append_is_nobodys_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file::NAME);
    let first = sealer(dir.path());
    first.give(["a"]).unwrap();
    let whole = fs::read(&path).unwrap();
    first.give(["b"]).unwrap();
    let both = fs::read(&path).unwrap();
    for cut in whole.len()..both.len() {
        fs::write(&path, &both[..cut]).unwrap();
        let found = sealer(dir.path());
        assert!(found.key("a").unwrap().is_some(), "{cut}");
        assert!(found.key("b").unwrap().is_none(), "{cut}");
        found.give(["c"]).unwrap();
        assert!(sealer(dir.path()).key("c").unwrap().is_some(), "{cut}");
    }
    fs::write(&path, b"no key\n").unwrap();
    let refused = Sealer::open(dir.path(), keys(&[KEY])).unwrap_err();
    assert!(
        refused.to_string().contains("failed to understand"),
        "{refused}"
    );
}

#[test]
fn keys_are_told_apart_from_what_is_none() {
    for (text, error) in [
        ("", KeyError::None),
        ("# none\n\n", KeyError::None),
        ("\nabcd", KeyError::Line(2)),
        (&format!("{KEY}0"), KeyError::Line(1)),
        (&format!("{KEY}\n{KEY}"), KeyError::Many),
    ] {
        assert_eq!(Keys::parse(text).unwrap_err(), error, "{text}");
    }
    let two = keys(&["# new", OTHER, "", KEY]);
    assert_eq!(two.current(), keys(&[OTHER]).current());
    let shown = format!("{two:?}");
    assert!(!shown.contains("0102030405"), "{shown}");
}

proptest! {
    /// In whatever parts the bytes come, they are the same; and no piece can be left out, added, turned round or changed.
    #[test]
    fn blobs_are_read_whole(
        size in prop_oneof![0..300_usize, PIECE - 1..PIECE + 2, 2 * PIECE - 1..2 * PIECE + 2],
        part in 1..2 * PIECE,
        flip in any::<prop::sample::Index>(),
    ) {
        let bytes: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
        let key = BlobKey::new().unwrap();
        let mut stream = Stream::new(&key).unwrap();
        let mut sealed = Vec::new();
        for part in bytes.chunks(part) {
            sealed.extend(stream.more(part).unwrap());
        }
        sealed.extend(stream.end().unwrap());
        prop_assert_eq!(open_blob(&key, &sealed).unwrap(), bytes);
        let mut damaged = sealed.clone();
        damaged[flip.index(sealed.len())] ^= 1;
        prop_assert!(open_blob(&key, &damaged).is_err());
        for cut in [0, sealed.len() - 1, sealed.len() / 2, (PIECE + 16).min(sealed.len() - 1)] {
            prop_assert!(open_blob(&key, &sealed[..cut]).is_err());
        }
        prop_assert!(open_blob(&BlobKey::new().unwrap(), &sealed).is_err());
    }
}
