//! What agents remember.

use super::*;
use crate::{MAX_NOTES, NoteOwner, NoteQuery, Refusal};
use oarmaster_protocol::read::AuditAct;

pub fn owner(requester: &str) -> NoteOwner {
    NoteOwner {
        namespace: "team".into(),
        agent: "writer".into(),
        requester: requester.into(),
    }
}

fn of(owner: &NoteOwner) -> NoteQuery {
    NoteQuery {
        namespace: owner.namespace.clone(),
        agent: Some(owner.agent.clone()),
        requester: Some(owner.requester.clone()),
        id: None,
    }
}

async fn texts(store: &Store, query: &NoteQuery) -> Vec<String> {
    let notes = store.notes(query, usize::MAX).await.unwrap();
    notes.into_iter().map(|note| note.text).collect()
}

#[tokio::test]
async fn notes_are_their_owners_and_there_again_after_a_restart() {
    let (dir, store) = store().await;
    let (alice, bob) = (owner("alice"), owner("bob"));
    let coder = NoteOwner {
        agent: "coder".into(),
        ..owner("alice")
    };
    let elsewhere = NoteOwner {
        namespace: "crew".into(),
        ..owner("alice")
    };
    for (owner, text) in [
        (&alice, "a"),
        (&bob, "b"),
        (&coder, "c"),
        (&elsewhere, "e"),
        (&alice, "z"),
    ] {
        assert_eq!(store.remember(owner, UID, text).await.unwrap(), 0);
    }
    let whole = NoteQuery {
        namespace: "team".into(),
        ..NoteQuery::default()
    };
    let seen = async |store: &Store| {
        let mut seen = Vec::new();
        for query in [
            of(&alice),
            of(&bob),
            of(&coder),
            of(&elsewhere),
            whole.clone(),
        ] {
            seen.push(texts(store, &query).await.concat());
        }
        seen
    };
    let wanted = ["za", "b", "c", "e", "zcba"];
    assert_eq!(seen(&store).await, wanted);
    store.stop().await.unwrap();
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(seen(&store).await, wanted);
}

#[tokio::test]
async fn the_same_text_is_one_note() {
    let (dir, store) = store().await;
    for _ in 0..3 {
        store.remember(&owner("alice"), UID, "ships").await.unwrap();
    }
    let notes = store.notes(&of(&owner("alice")), 10).await.unwrap();
    assert_eq!(notes.len(), 1);
    store.remember(&owner("bob"), UID, "ships").await.unwrap();
    let theirs = store.notes(&of(&owner("bob")), 10).await.unwrap();
    assert_ne!(theirs[0].id, notes[0].id);
    store.flush().await.unwrap();
    let written = frames(dir.path()).into_iter();
    let written = written.filter(|(_, payload)| payload.starts_with(b"{\"note\""));
    assert_eq!(written.count(), 2);
}

#[tokio::test]
async fn the_oldest_notes_of_an_owner_give_way_and_nobody_elses() {
    let (_dir, store) = plain().await;
    store.remember(&owner("bob"), UID, "b").await.unwrap();
    for number in 0..MAX_NOTES {
        let text = format!("note {number}");
        assert_eq!(
            store.remember(&owner("alice"), UID, &text).await.unwrap(),
            0
        );
    }
    assert_eq!(
        store.remember(&owner("alice"), UID, "last").await.unwrap(),
        1
    );
    let kept = texts(&store, &of(&owner("alice"))).await;
    assert_eq!((kept.len(), kept[0].as_str()), (MAX_NOTES, "last"));
    assert_eq!(kept.last().unwrap(), "note 1");
    // By bytes, too.
    let long = |letter: &str| letter.repeat(16 << 10);
    let mut gone = 0;
    for letter in ["a", "b", "c", "d"].iter().cycle().take(40).enumerate() {
        let text = format!("{}{}", letter.0, &long(letter.1)[8..]);
        gone += store.remember(&owner("alice"), UID, &text).await.unwrap();
    }
    let kept = texts(&store, &of(&owner("alice"))).await;
    let bytes: usize = kept.iter().map(String::len).sum();
    assert!(bytes <= 512 << 10 && bytes > 450 << 10, "{bytes}");
    assert_eq!(kept.len(), MAX_NOTES + 40 - gone);
    assert_eq!(texts(&store, &of(&owner("bob"))).await, ["b"]);
}

#[tokio::test]
async fn a_namespace_has_a_bound_and_takes_nothing_of_anothers() {
    let (_dir, store) = plain().await;
    let text = |number: usize| format!("{number}{}", "x".repeat((16 << 10) - 8));
    let mut refused = None;
    for number in 0..1000 {
        let owner = owner(&format!("user-{}", number / 30));
        if let Err(refusal) = store.remember(&owner, UID, &text(number)).await {
            refused = Some((number, refusal));
            break;
        }
    }
    let (number, refusal) = refused.unwrap();
    assert!((480..512).contains(&number), "{number}");
    assert!(
        matches!(&refusal, Refusal::TooLarge(why) if why.contains("oar memory delete -n team"))
    );
    let elsewhere = NoteOwner {
        namespace: "crew".into(),
        ..owner("user-0")
    };
    store.remember(&elsewhere, UID, "x").await.unwrap();
    assert_eq!(texts(&store, &of(&owner("user-0"))).await.len(), 30);
    // Who deletes makes room.
    assert_eq!(store.forget(&of(&owner("user-0"))).await.unwrap(), 30);
    store.remember(&owner("new"), UID, "x").await.unwrap();
}

#[tokio::test]
async fn what_is_no_note_is_refused() {
    let (_dir, store) = store().await;
    for text in [String::new(), " \n".to_owned(), "x".repeat((16 << 10) + 1)] {
        let refused = store.remember(&owner("alice"), UID, &text).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))));
    }
}

#[tokio::test]
async fn some_or_all_notes_are_deleted_for_good_and_the_audit_says_so_without_them() {
    let (dir, store) = store().await;
    for (who, text) in [("alice", "one"), ("alice", "two"), ("bob", "three")] {
        store.remember(&owner(who), UID, text).await.unwrap();
    }
    let two = store
        .notes(&of(&owner("alice")), 1)
        .await
        .unwrap()
        .remove(0);
    let query = NoteQuery {
        id: Some(two.id),
        ..of(&owner("bob"))
    };
    assert_eq!(store.forget(&query).await.unwrap(), 0, "it is not bob's");
    let query = NoteQuery {
        requester: Some("alice".into()),
        ..query
    };
    assert_eq!(store.forget(&query).await.unwrap(), 1);
    assert_eq!(store.forget(&query).await.unwrap(), 0);
    let whole = NoteQuery {
        namespace: "team".into(),
        ..NoteQuery::default()
    };
    assert_eq!(texts(&store, &whole).await, ["three", "one"]);
    assert_eq!(store.forget(&whole).await.unwrap(), 2);
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert!(texts(&store, &whole).await.is_empty());

    let (sender, mut lines) = tokio::sync::mpsc::channel(100);
    assert!(store.audited(i64::MIN, i64::MAX, sender).await.unwrap());
    let mut told = Vec::new();
    while let Some(line) = lines.recv().await {
        if matches!(line.act, AuditAct::Remember | AuditAct::Forget) {
            assert!(
                !["one", "two", "three"]
                    .iter()
                    .any(|text| line.object.contains(text))
            );
            assert_eq!(line.namespace, "team");
            told.push((line.act, line.who, line.count));
        }
    }
    let kept = |who: &str| (AuditAct::Remember, who.to_owned(), 1);
    let gone = |count| (AuditAct::Forget, String::new(), count);
    let wanted = [
        kept("alice"),
        kept("alice"),
        kept("bob"),
        gone(1),
        gone(1),
        gone(1),
    ];
    assert_eq!(told, wanted);
}
