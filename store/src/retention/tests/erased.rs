//! What a person asked for goes before its time, and nothing of others.

use super::*;
use crate::Erased;

/// A Task of a person, with a text of each kind that is kept.
async fn work(world: &World, task: u8, requester: &str, parent: Option<u8>, ends: bool) {
    let uid = uid(task);
    let mut asked = request(task);
    asked.requested_by = Some(requester.into());
    asked.parent = parent.map(super::uid);
    let report = world.store.open_attempt(&uid, 1, asked).await.unwrap();
    let request = ClaimRequest {
        assignment: report.assignment,
        nonce: "n".into(),
    };
    let claimed = world.store.claim(&uid, 1, &request, "pod").await.unwrap();
    let session = &claimed.session;
    let put = world
        .store
        .put_artifact(&uid, 1, session, "out", requester.as_bytes());
    put.await.unwrap();
    let owner = NoteOwner {
        namespace: "team".into(),
        agent: "fixer".into(),
        requester: requester.into(),
    };
    world.store.remember(&owner, &uid, requester).await.unwrap();
    let call = world.store.begin_call(
        &uid,
        1,
        session,
        world.store.next(&uid).await.unwrap(),
        0,
        "sha256:d",
    );
    let CallState::New(call) = call.await.unwrap() else {
        panic!("a new one");
    };
    let ticket = call.reserve(hop_in(10, &caps())).await.unwrap();
    ticket.settle(answer(Some(used(7)))).await.unwrap();
    let mut said = vec![note(&format!("said to {requester}"))];
    if ends {
        said.push(result());
    }
    let next = world.store.next(&uid).await.unwrap();
    let appended = world.store.append(&uid, 1, session, append(next, said));
    appended.await.unwrap();
}

async fn spent(store: &Store) -> Vec<CostLine> {
    let query = CostQuery {
        namespace: None,
        by: CostBy::Requester,
        label: None,
        from_ms: 0,
        to_ms: i64::MAX,
    };
    store.costs(query).await.unwrap()
}

#[tokio::test]
async fn a_person_is_erased_and_money_and_others_stay() {
    let world = World::new().await;
    let store = &world.store;
    work(&world, 0, "alice", None, true).await;
    work(&world, 1, "alice", Some(0), true).await;
    work(&world, 2, "bob", None, true).await;
    // Not over, so what is below it stays, too.
    work(&world, 3, "alice", None, false).await;
    work(&world, 4, "alice", Some(3), true).await;
    let before = spent(store).await;
    let over: HashSet<String> = [0, 1, 2, 4].map(uid).into();
    let stay = [3, 4].map(|task| request(task).assignment.unwrap().task);
    let expected = Erased {
        tasks: 2,
        notes: 1,
        stay: stay.to_vec(),
    };
    let found = store.asked_for_by("alice").len();
    assert_eq!(found, 4);
    // Only asked.
    assert_eq!(store.erase("alice", &over, true).await.unwrap(), expected);
    assert_eq!(store.records(&uid(0), 0, 100).await.unwrap().len(), 6);
    let keys = || std::fs::read_to_string(world.dir.path().join("keys")).unwrap();
    assert!(keys().contains(&uid(0)));

    assert_eq!(store.erase("alice", &over, false).await.unwrap(), expected);
    for task in [0, 1] {
        let gone = store.records(&uid(task), 0, 1).await.unwrap_err();
        assert_eq!(gone.code(), ErrorCode::NotFound);
        assert!(!keys().contains(&uid(task)));
    }
    for task in [2, 3, 4] {
        assert!(!store.records(&uid(task), 0, 1).await.unwrap().is_empty());
        let (_, bytes) = store.artifact(&uid(task), "out").await.unwrap();
        assert_eq!(bytes, if task == 2 { "bob" } else { "alice" });
    }
    let notes = NoteQuery {
        namespace: "team".into(),
        ..NoteQuery::default()
    };
    let texts = store.notes(&notes, 10).await.unwrap();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(texts[0].text, "bob");
    assert_eq!(spent(store).await, before);

    // A crash before the pass: what stands there still is nobody's.
    store.flush().await.unwrap();
    let left = copy(world.dir.path());
    let opened = Store::open(options(left.path(), &world.ticks))
        .await
        .unwrap();
    assert_eq!(spent(&opened).await, before);
    assert_eq!(opened.asked_for_by("alice").len(), 2);
    drop(opened);

    assert!(store.sweep(&HashSet::new()).await.unwrap().segments > 0);
    assert_eq!(spent(store).await, before);
    let log = frames(world.dir.path());
    let lines = log
        .iter()
        .flat_map(|(_, payload)| payload.split(|byte| *byte == b'\n'));
    let of_them = lines.filter(|line| {
        let line = String::from_utf8_lossy(line);
        line.contains("\"record\":") && [0, 1].map(uid).iter().any(|uid| line.contains(uid))
    });
    assert_eq!(of_them.count(), 0);
    assert!(store.verify(None).await.unwrap().broken.is_none());
    let again = store.erase("alice", &over, false).await.unwrap();
    assert_eq!((again.tasks, again.notes), (0, 0));
    assert_eq!(
        store.erase("carol", &over, false).await.unwrap(),
        Erased::default()
    );
}
