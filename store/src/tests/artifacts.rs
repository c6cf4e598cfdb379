use super::*;
use oarmaster_protocol::journal::Artifact;
use oarmaster_protocol::task::{ErrorCode, MAX_ARTIFACT_BYTES};

#[tokio::test]
async fn an_artifact_is_kept_by_content() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let put = |name: &'static str, bytes: &'static [u8]| {
        let (store, session) = (store.clone(), claimed.session.clone());
        async move { store.put_artifact(UID, 1, &session, name, bytes).await }
    };
    let first = put("src.tar", b"hello").await.unwrap();
    assert_eq!(
        first,
        Artifact {
            name: "src.tar".into(),
            size: 5,
            digest: oarmaster_protocol::digest(b"hello"),
            archive: false,
        }
    );
    assert_eq!(put("src.tar", b"hello").await.unwrap(), first);
    put("copy", b"hello").await.unwrap();
    put("empty", b"").await.unwrap();
    let replaced = put("src.tar", b"bye").await.unwrap();
    let blobs = std::fs::read_dir(dir.path().join("blobs")).unwrap();
    assert_eq!(blobs.count(), 3);
    let names = |list: Vec<Artifact>| list.into_iter().map(|a| a.name).collect::<Vec<_>>();
    assert_eq!(
        names(store.artifacts(UID).await.unwrap()),
        ["copy", "empty", "src.tar"]
    );
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    let (artifact, bytes) = store.artifact(UID, "src.tar").await.unwrap();
    assert_eq!((artifact, &bytes[..]), (replaced.clone(), &b"bye"[..]));
    let refused = store.artifact(UID, "none").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);

    // A result may name what is stored, and nothing else.
    let mut outcome = Outcome {
        artifacts: vec![replaced],
        ..Outcome::default()
    };
    let end = |outcome: &Outcome| {
        append(
            2,
            vec![Body::Result {
                outcome: outcome.clone(),
            }],
        )
    };
    let fine = end(&outcome);
    outcome.artifacts[0].size += 1;
    let refused = store
        .append(UID, 1, &claimed.session, end(&outcome))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    store.append(UID, 1, &claimed.session, fine).await.unwrap();
    let refused = store
        .put_artifact(UID, 1, &claimed.session, "late", b"x")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
}

#[tokio::test]
async fn a_name_cannot_leave_the_task() {
    let (_dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let long = "x".repeat(64);
    for name in [
        "", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "é", "a b", &long,
    ] {
        let refused = store
            .put_artifact(UID, 1, &claimed.session, name, b"x")
            .await
            .unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{name:?}");
    }
    let longest = "x".repeat(63);
    store
        .put_artifact(UID, 1, &claimed.session, &longest, b"x")
        .await
        .unwrap();
    let refused = store
        .put_artifact(UID, 1, "someone", "a", b"x")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
}

#[tokio::test]
async fn bounds_hold_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options {
        artifact_bytes: 100,
        ..options(dir.path())
    };
    let store = Store::open(small).await.unwrap();
    let claimed = begin(&store, usd(1)).await;
    let put = |name: &'static str, size: usize| {
        let (store, session) = (store.clone(), claimed.session.clone());
        async move {
            let bytes = vec![name.as_bytes()[0]; size];
            store.put_artifact(UID, 1, &session, name, &bytes).await
        }
    };
    put("a", 60).await.unwrap();
    let refused = put("b", 60).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    // Replacing frees nothing: the old bytes are on the disk.
    let refused = put("a", 61).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    put("c", 40).await.unwrap();

    let mut writer = store
        .artifact_writer(UID, 1, &claimed.session, "big")
        .await
        .unwrap();
    let block = vec![0; 1 << 20];
    for _ in 0..MAX_ARTIFACT_BYTES >> 20 {
        writer.write(&block).await.unwrap();
    }
    let refused = writer.write(b"x").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    drop(writer);
    let count = |name| std::fs::read_dir(dir.path().join(name)).unwrap().count();
    assert_eq!((count("blobs"), count("incoming")), (2, 0));
}

#[tokio::test]
async fn changed_bytes_are_not_served() {
    let (dir, store) = store().await;
    let claimed = begin(&store, usd(1)).await;
    let artifact = store
        .put_artifact(UID, 1, &claimed.session, "a", b"hello")
        .await
        .unwrap();
    let blobs = std::fs::read_dir(dir.path().join("blobs")).unwrap();
    let blob = blobs.last().unwrap().unwrap().path();
    let name = blob.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(&artifact.digest[7..]), "{name}");
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[4] ^= 0x20;
    std::fs::write(blob, bytes).unwrap();
    let refused = store.artifact(UID, "a").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Internal);
}
