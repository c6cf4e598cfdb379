//! Parts of checkpoints: kept while an attempt may go on from them, and no longer.

use super::*;
use oarmaster_protocol::journal::{Blob, Checkpoint};
use oarmaster_protocol::task::{ErrorCode, MAX_BLOB_BYTES};

fn result_with(base: bool, blobs: &[Blob]) -> Body {
    Body::ToolResult {
        id: "a".into(),
        tool: "Shell".into(),
        ok: true,
        text: "done".into(),
        heard: None,
        checkpoint: Some(Checkpoint::Layer {
            base,
            blobs: blobs.to_vec(),
        }),
    }
}

#[tokio::test]
async fn a_layer_stays_until_a_base_takes_its_place() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let session = claimed.session.clone();
    let put = |bytes: &'static [u8]| store.put_blob(UID, 1, &session, bytes);
    let (first, second) = (put(b"first").await.unwrap(), put(b"second").await.unwrap());
    assert_eq!(put(b"first").await.unwrap(), first, "twice is once");
    // A layer that is an artifact, too, stays as one.
    store
        .put_artifact(UID, 1, &session, "copy", b"second")
        .await
        .unwrap();
    let say = |at, body| store.append(UID, 1, &session, append(at, vec![body]));
    let next = say(
        claimed.next,
        result_with(true, std::slice::from_ref(&first)),
    );
    let next = next.await.unwrap().next;
    let next = say(next, result_with(false, std::slice::from_ref(&second)));
    let next = next.await.unwrap().next;
    for blob in [&first, &second] {
        assert!(store.blob(UID, &blob.digest).await.is_ok());
    }
    assert_eq!(store.volume().blobs, 11);

    let third = put(b"third").await.unwrap();
    let next = say(next, result_with(true, std::slice::from_ref(&third)));
    next.await.unwrap();
    assert_eq!(
        store.volume().blobs,
        11,
        "first is gone, second is an artifact"
    );
    let gone = store.blob(UID, &first.digest).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);

    // What is known of it is known after a start, too.
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(store.volume().blobs, 11);
    assert!(store.blob(UID, &first.digest).await.is_err());
    assert_eq!(store.blob(UID, &third.digest).await.unwrap(), &b"third"[..]);
}

#[tokio::test]
async fn a_checkpoint_names_only_what_is_there() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let session = &claimed.session;
    let kept = store.put_blob(UID, 1, session, b"kept").await.unwrap();
    let made_up = Blob {
        digest: oarmaster_protocol::digest(b"made up"),
        size: 7,
    };
    let larger = Blob {
        size: 5,
        ..kept.clone()
    };
    for wrong in [made_up.clone(), larger] {
        let refused = store
            .append(
                UID,
                1,
                session,
                append(claimed.next, vec![result_with(true, &[wrong])]),
            )
            .await
            .unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    }
    let other = store.blob(UID, &made_up.digest).await.unwrap_err();
    assert_eq!(other.code(), ErrorCode::NotFound);
    let stranger = store.put_blob(UID, 1, "someone", b"x").await.unwrap_err();
    assert_eq!(stranger.code(), ErrorCode::Fenced);
    let large = vec![0; usize::try_from(MAX_BLOB_BYTES).unwrap() + 1];
    for wrong in [&[][..], &large] {
        let refused = store.put_blob(UID, 1, session, wrong).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooLarge);
    }
}

#[tokio::test]
async fn checkpoints_and_artifacts_share_a_quota() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options {
        artifact_bytes: 10,
        ..options(dir.path())
    })
    .await
    .unwrap();
    let claimed = begin(&store, usd(1)).await;
    let session = &claimed.session;
    store.put_blob(UID, 1, session, b"12345678").await.unwrap();
    let refused = store.put_blob(UID, 1, session, b"123").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    assert!(refused.to_string().contains("8 of 10"), "{refused}");
    assert_eq!(store.volume().blobs, 8);
}
