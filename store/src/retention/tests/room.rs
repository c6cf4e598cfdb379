//! Where the volume is full.

use super::*;

#[tokio::test]
async fn where_the_log_is_full_calls_are_summed_up_earlier() {
    let world = World::new().await;
    let limits = |log| Limits {
        log,
        ..Limits::default()
    };
    world.store.limit(limits(20 * 4096));
    while !world.store.is_pressed() {
        world.sdk(7).await;
    }
    let spent = money(&world.store).await;
    assert_eq!(world.sweep().await.segments, 0, "they are of this hour");
    world.ticks.fetch_add(2 * 3_600_000, Ordering::SeqCst);
    let swept = world.sweep().await;
    assert!(swept.grown < -10 * 4096, "{swept:?}");
    assert!(!world.store.is_pressed());
    assert_eq!(money(&world.store).await, spent);
}

#[tokio::test]
async fn uploads_that_are_not_taken_leave_nothing() {
    let mut world = World::new().await;
    world.begin(0).await;
    let (session, _) = world.tasks[&0].clone();
    let uid = uid(0);
    let store = world.store.clone();
    store.limit(Limits {
        blobs: 10,
        ..Limits::default()
    });
    let writer = |name| store.artifact_writer(&uid, 1, &session, name);
    let (mut one, mut two) = (writer("one").await.unwrap(), writer("two").await.unwrap());
    one.write(b"123456").await.unwrap();
    // Both at once would not fit.
    assert_eq!(
        two.write(b"1234567").await.unwrap_err().code(),
        ErrorCode::TooLarge
    );
    drop(two);
    one.finish().await.unwrap();
    let mut late = writer("late").await.unwrap();
    late.write(b"1234").await.unwrap();
    store.fence(&uid, 1, "cancelled").await.unwrap();
    assert_eq!(late.finish().await.unwrap_err().code(), ErrorCode::Fenced);
    let there = || {
        std::fs::read_dir(world.dir.path().join("blobs"))
            .unwrap()
            .count()
    };
    assert_eq!(there(), 1);
    assert_eq!(store.volume().blobs, 6);
}

#[tokio::test]
async fn tasks_end_before_others_and_nothing_that_runs_goes_unbooked() {
    let mut world = World::with(Limits {
        log: 6 * 4096,
        tasks: 3000,
        blobs: 8,
    })
    .await;
    world.begin(0).await;
    let (session, _) = world.tasks[&0].clone();
    let (uid, store) = (uid(0), world.store.clone());
    let put = |name| store.put_artifact(&uid, 1, &session, name, b"12345");
    put("one").await.unwrap();
    let refused = put("two").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    assert!(
        refused
            .to_string()
            .starts_with("the artifacts of all Tasks would have 10 of 8 bytes")
    );

    let sdk = || async {
        let hop = store
            .sdk_call(sdk_caller())
            .reserve(hop_in(7, &caps()))
            .await?;
        hop.settle(&answer(Some(used(7)))).await
    };
    let late = store
        .sdk_call(sdk_caller())
        .reserve(hop_in(5, &[]))
        .await
        .unwrap();
    let refused = loop {
        sdk().await.unwrap();
        let next = store.next(&uid).await.unwrap();
        let record = append(next, vec![note(&"x".repeat(300))]);
        match store.append(&uid, 1, &session, record).await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(
        refused.code(),
        ErrorCode::TooLarge,
        "the Task ends: {refused}"
    );
    let begun = store.begin_call(&uid, 1, &session, 2, 0, "sha256:d").await;
    assert_eq!(
        begun.unwrap_err().code(),
        ErrorCode::Conflict,
        "that comes first"
    );
    let next = store.next(&uid).await.unwrap();
    let begun = store
        .begin_call(&uid, 1, &session, next, 0, "sha256:d")
        .await;
    assert_eq!(begun.unwrap_err().code(), ErrorCode::TooLarge);
    let opened = store.open_attempt(&uid, 2, request(0)).await;
    assert!(matches!(opened.unwrap_err(), Refusal::Full(_)));
    assert_eq!(store.full(), None);
    world.end(0).await;
    let refused = loop {
        if let Err(refused) = sdk().await {
            break refused;
        }
    };
    assert!(matches!(refused, Refusal::Full(_)), "{refused}");
    assert!(
        store
            .full()
            .unwrap()
            .contains("expand the gateway's volume")
    );
    let before = store.sdk_total().sum.cost_pico;
    late.settle(&answer(Some(used(5)))).await.unwrap();
    assert_eq!(store.sdk_total().sum.cost_pico, before + 5);

    // What is no longer kept makes room.
    world.pass(5);
    let swept = world.sweep().await;
    assert!(swept.grown < -2 * 4096, "{swept:?}");
    sdk().await.unwrap();
    assert_eq!(store.volume().log, log::bytes(world.dir.path()).unwrap());
}
