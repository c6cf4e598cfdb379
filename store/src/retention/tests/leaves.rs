//! What leaves, and when.

use super::*;
use oarmaster_protocol::admin::KeptItem;

#[tokio::test]
async fn notes_that_are_deleted_leave_the_log_and_the_others_stay() {
    // As it stands there: nothing is sealed.
    let world = World::sealed(Limits::default(), Keys::default()).await;
    for which in 0..4 {
        world.remember(0, which).await;
        world.remember(1, which).await;
    }
    world.forget(0, 1).await;
    world.forget(0, 2).await;
    world.remember(0, 2).await; // once more
    let told = audit(&world.store).await;
    world.pass(1);
    assert!(world.sweep().await.segments > 0);
    world.store.flush().await.unwrap();
    let bytes = |dir: &Path| -> String {
        let files = segments(dir).into_iter();
        let texts = files.map(|name| std::fs::read(dir.join(name)).unwrap());
        texts
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    };
    let count = |dir: &Path, owner, which| bytes(dir).matches(&text_of(owner, which)).count();
    let dir = world.dir.path();
    assert_eq!([0, 1, 2, 3].map(|which| count(dir, 0, which)), [1, 0, 1, 1]);
    assert_eq!([0, 1, 2, 3].map(|which| count(dir, 1, which)), [1; 4]);
    assert_eq!(audit(&world.store).await, told);
    assert!(told.iter().all(|line| !line.object.contains("remembered")));
    let remembered = told.iter().filter(|line| line.act == AuditAct::Remember);
    assert_eq!(remembered.count(), 9);
    let ticks = Arc::clone(&world.ticks);
    let again = copy(dir);
    let store = Store::open(options(again.path(), &ticks)).await.unwrap();
    let kept = store.notes(&notes_of(Some(0)), 10).await.unwrap();
    let texts: Vec<_> = kept.into_iter().map(|note| note.text).collect();
    assert_eq!(texts, [2, 3, 0].map(|which| text_of(0, which)));
    assert_eq!(world.sweep().await.segments, 0, "nothing is left to do");
}

#[tokio::test]
async fn a_journal_stays_until_its_task_is_over_and_then_for_its_time() {
    let mut world = World::new().await;
    for task in [0, 1, 2] {
        world.begin(task).await;
        world.call(task, 10).await;
        world.note(task, 400).await;
    }
    world.end(0).await;
    world.end(1).await;
    world.pass(2);
    assert_eq!(world.store.over_due(), []);
    assert_eq!(world.sweep().await.journals, 0);
    world.pass(1);
    let mut due: Vec<_> = world
        .store
        .over_due()
        .into_iter()
        .map(|task| task.uid)
        .collect();
    due.sort();
    assert_eq!(due, [uid(0), uid(1)], "the third one has not ended");
    // Nothing goes that nobody says is over.
    world.over = [uid(1), uid(2)].into();
    let swept = world.sweep().await;
    assert_eq!((swept.journals, swept.artifacts), (1, 0));
    assert!(swept.segments > 0 && swept.grown < 0, "{swept:?}");
    let gone = world.store.records(&uid(1), 0, 1).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    for task in [0, 2] {
        let records = world.store.records(&uid(task), 0, 100).await.unwrap();
        let text = serde_json::to_string(&records).unwrap();
        assert!(text.contains("secretsecret"), "{text}");
    }
    let log = frames(world.dir.path());
    let text: Vec<u8> = log.into_iter().flat_map(|(_, payload)| payload).collect();
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains(&format!("{}\",\"record", uid(1))), "{text}");
    assert!(text.contains(r#""totals":{"days":[{"dayMs""#), "{text}");
}

#[tokio::test]
async fn artifacts_go_before_journals_and_one_of_two_tasks_stays() {
    let mut world = World::new().await;
    for (task, bytes) in [(0, "same"), (1, "same"), (2, "other")] {
        world.begin(task).await;
        let (session, _) = world.tasks[&task].clone();
        let (uid, bytes) = (uid(task), bytes.as_bytes());
        let put = world.store.put_artifact(&uid, 1, &session, "out", bytes);
        put.await.unwrap();
    }
    world.end(0).await;
    world.end(2).await;
    world.pass(1);
    // Blobs that are young stay: somebody may be about to name them.
    assert_eq!(world.sweep().await.blobs, 0);
    let blobs = world.dir.path().join("blobs");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(4000);
    for file in std::fs::read_dir(&blobs).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(file.unwrap().path());
        file.unwrap().set_modified(old).unwrap();
    }
    // Each Task has bytes of its own, though they are the same.
    assert_eq!(world.sweep().await.blobs, 2);
    let gone = world.store.artifact(&uid(2), "out").await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    assert_eq!(
        gone.to_string(),
        "artifact out of Task team/fix-2 is no longer kept; artifacts are for 1 days after the Task's end"
    );
    world.store.artifact(&uid(0), "out").await.unwrap_err();
    let (_, bytes) = world.store.artifact(&uid(1), "out").await.unwrap();
    assert_eq!(bytes, "same");
    assert!(!world.store.records(&uid(2), 0, 1).await.unwrap().is_empty());
    world.restart().await;
    world.store.artifact(&uid(1), "out").await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_wrong_makes_nothing_old() {
    let mut world = World::new().await;
    world.begin(0).await;
    world.end(0).await;
    world.store.flush().await.unwrap();
    let dir = copy(world.dir.path());
    let jumped = Arc::new(AtomicI64::new(world.now() + 365 * DAY));
    let steady = Arc::clone(&world.ticks);
    let store = Store::open(Options {
        steady: Arc::new(move || steady.load(Ordering::SeqCst)),
        ..options(dir.path(), &jumped)
    });
    let store = store.await.unwrap();
    assert_eq!(store.over_due(), []);
    world.pass(2);
    assert_eq!(store.over_due(), [], "two days have passed");
    world.pass(2);
    assert_eq!(store.over_due().len(), 1);
}

#[tokio::test]
async fn sums_go_after_their_time_and_counters_without_end_stay() {
    let world = World::new().await;
    world.sdk(6).await;
    world.sdk(7).await;
    world.store.audit(denied()).unwrap();
    world.store.flush().await.unwrap();
    world.pass(5);
    assert_eq!(world.sweep().await.segments, 1);
    let total = Scope {
        window: Window::Total,
        ..scope("team", "all", u64::MAX)
    };
    let days = money(&world.store).await;
    assert!(!days[0].1.is_empty());
    world.pass(394);
    assert_eq!(world.sweep().await.segments, 0, "a day too early");
    assert_eq!(audit(&world.store).await.len(), 2);
    world.pass(2);
    assert_eq!(world.sweep().await.segments, 1);
    assert_eq!(money(&world.store).await[0].1, []);
    assert_eq!(
        audit(&world.store).await.len(),
        1,
        "the start of the process"
    );
    for store in [
        world.store.clone(),
        Store::open(options(copy(world.dir.path()).path(), &world.ticks))
            .await
            .unwrap(),
    ] {
        assert_eq!(store.counter(&total).counter.spent, 13);
        assert_eq!(store.sdk_total().sum.cost_pico, 13);
    }
}

#[tokio::test]
async fn results_of_items_that_left_are_not_taken_for_none() {
    let mut world = World::new().await;
    world.begin(0).await;
    let (uid, store) = (uid(0), world.store.clone());
    let items = [KeptItem {
        item: 3,
        results: vec![serde_json::json!("left")],
    }];
    store.keep_items(&uid, "work", &items).await.unwrap();
    world.end(0).await;
    assert_eq!(store.kept_items(&uid, "work", None).await.unwrap(), items);
    for (days, why) in [
        (1, "are no longer kept (gateway.retention.artifacts)"),
        (
            3,
            "its journal is no longer kept (gateway.retention.journals)",
        ),
    ] {
        world.pass(days);
        world.sweep().await;
        for item in [None, Some(3)] {
            let gone = store.kept_items(&uid, "work", item).await.unwrap_err();
            assert_eq!(gone.code(), ErrorCode::NotFound);
            assert!(gone.to_string().ends_with(why), "{gone}");
        }
    }
}
