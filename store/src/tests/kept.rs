//! Results of items of a run's steps.

use super::*;
use crate::Limits;
use oarmaster_protocol::admin::{KeptItem, MAX_KEPT_READ, MAX_KEPT_WRITE};
use oarmaster_protocol::task::ErrorCode;
use serde_json::json;

fn item(item: u32, text: &str) -> KeptItem {
    KeptItem {
        item,
        results: vec![json!(text)],
    }
}

async fn kept(store: &Store, item: Option<u32>) -> Vec<(u32, String)> {
    let kept = store.kept_items(UID, "work", item).await.unwrap();
    let text = |kept: KeptItem| (kept.item, kept.results[0].as_str().unwrap().to_owned());
    kept.into_iter().map(text).collect()
}

#[tokio::test]
async fn results_of_items_are_read_in_their_order_and_the_newest_counts() {
    let (dir, store) = store().await;
    begin(&store, usd(100)).await;
    assert_eq!(kept(&store, None).await, []);
    let keep = |items: Vec<KeptItem>| {
        let store = store.clone();
        async move { store.keep_items(UID, "work", &items).await.unwrap() }
    };
    keep(vec![item(7, "g"), item(0, "a"), item(1, "b")]).await;
    keep(vec![item(2, "c"), item(1, "anew")]).await;
    let all = [(0, "a"), (1, "anew"), (2, "c"), (7, "g")].map(|(n, text)| (n, text.to_owned()));
    assert_eq!(kept(&store, None).await, all);
    assert_eq!(kept(&store, Some(1)).await, [(1, "anew".to_owned())]);
    assert_eq!(kept(&store, Some(3)).await, []);
    // A pass that is made again says the same again; what was said before that counts anew where it is said anew.
    keep(vec![item(2, "c"), item(1, "anew")]).await;
    keep(vec![item(7, "g"), item(0, "a"), item(1, "b")]).await;
    assert_eq!(kept(&store, Some(1)).await, [(1, "b".to_owned())]);
    assert_eq!(store.kept_items(UID, "other", None).await.unwrap(), []);
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(kept(&store, None).await.len(), 4);
    assert_eq!(kept(&store, Some(1)).await, [(1, "b".to_owned())]);
}

#[tokio::test]
async fn results_of_items_have_bounds() {
    let (_dir, store) = store().await;
    let refused = store.keep_items(UID, "work", &[item(0, "a")]).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::NotFound);
    begin(&store, usd(100)).await;
    let large = "x".repeat(MAX_KEPT_WRITE);
    for (step, items, code) in [
        ("", vec![item(0, "a")], ErrorCode::InvalidRequest),
        ("Work", vec![item(0, "a")], ErrorCode::InvalidRequest),
        ("../work", vec![item(0, "a")], ErrorCode::InvalidRequest),
        (
            &"w".repeat(65),
            vec![item(0, "a")],
            ErrorCode::InvalidRequest,
        ),
        ("work", vec![], ErrorCode::InvalidRequest),
        ("work", vec![item(0, &large)], ErrorCode::TooLarge),
    ] {
        let refused = store.keep_items(UID, step, &items).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
    for step in ["work-2", &"w".repeat(64)] {
        let items = [item(0, "a")];
        store.keep_items(UID, step, &items).await.unwrap();
        assert_eq!(store.kept_items(UID, step, None).await.unwrap(), items);
    }
    // More than is read at once is still kept, and read one by one.
    let half = "x".repeat(MAX_KEPT_WRITE / 2 + 1);
    let count = u32::try_from(MAX_KEPT_READ).unwrap() / u32::try_from(half.len()).unwrap() + 1;
    for number in 0..count {
        let text = format!("{number}{half}");
        store
            .keep_items(UID, "work", &[item(number, &text)])
            .await
            .unwrap();
    }
    let refused = store.kept_items(UID, "work", None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    assert_eq!(kept(&store, Some(1)).await.len(), 1);
}

#[tokio::test]
async fn what_newer_results_replaced_is_not_read() {
    let (_dir, store) = store().await;
    begin(&store, usd(100)).await;
    let half = "x".repeat(MAX_KEPT_WRITE / 8 * 5);
    let keep = |number: u32, word: &str| {
        let (store, items) = (store.clone(), [item(number, &format!("{word}{half}"))]);
        async move { store.keep_items(UID, "work", &items).await.unwrap() }
    };
    for word in ["first", "anew"] {
        keep(0, word).await;
        keep(1, word).await;
    }
    assert!(store.volume().blobs > MAX_KEPT_READ);
    let all = kept(&store, None).await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|(_, text)| text.starts_with("anew")));
}

#[tokio::test]
async fn results_that_the_volume_has_no_room_for_are_refused_and_leave_nothing() {
    let (dir, store) = store().await;
    begin(&store, usd(100)).await;
    let size = serde_json::to_vec(&[item(0, "a")]).unwrap().len() as u64;
    let blobs = |blobs| Limits {
        blobs,
        ..Limits::default()
    };
    store.limit(blobs(size * 2 - 1));
    let (one, two) = ([item(0, "a")], [item(1, "b")]);
    // Either fits, both at once do not.
    let (one, two) = tokio::join!(
        store.keep_items(UID, "work", &one),
        store.keep_items(UID, "work", &two)
    );
    let refused: Vec<Refusal> = [one, two].into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].code(), ErrorCode::TooLarge);
    assert!(
        refused[0]
            .to_string()
            .contains("expand the gateway's volume")
    );
    assert_eq!(store.volume().blobs, size);
    let there = std::fs::read_dir(dir.path().join("blobs")).unwrap().count();
    assert_eq!(there, 1);
    // What was refused takes up nothing.
    store.limit(blobs(size * 2));
    for number in 0..2 {
        let items = [item(number, ["a", "b"][number as usize])];
        store.keep_items(UID, "work", &items).await.unwrap();
    }
    assert_eq!(kept(&store, None).await.len(), 2);

    // The operator takes it as no room, as every pilot does, and not as a gateway that does not work.
    store.limit(Limits {
        tasks: 1,
        ..Limits::default()
    });
    let refused = store.keep_items(UID, "work", &[item(2, "c")]).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::TooLarge);
}
