//! A workspace that another Task took over, when the one that kept it leaves.

use super::*;
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Blob, Body, Checkpoint, Outcome};

/// Makes every blob old enough to be removed. Returns how many there are.
fn age(world: &World) -> usize {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(4000);
    let blobs = std::fs::read_dir(world.dir.path().join("blobs")).unwrap();
    let files = blobs.map(|file| {
        let file = std::fs::File::options()
            .write(true)
            .open(file.unwrap().path());
        file.unwrap().set_modified(old).unwrap();
    });
    files.count()
}

#[tokio::test]
async fn what_was_taken_over_stays_until_the_last_task_lets_go_of_it() {
    let mut world = World::new().await;
    world.begin(0).await;
    let (session, _) = world.tasks.remove(&0).unwrap();
    let (one, two) = (uid(0), uid(1));
    let put = world.store.put_blob(&one, 1, &session, b"part");
    let part: Blob = put.await.unwrap();
    let outcome = Outcome {
        workspace: Some(Checkpoint::Layer {
            base: true,
            blobs: vec![part.clone()],
        }),
        ..Outcome::default()
    };
    let next = world.store.next(&uid(0)).await.unwrap();
    let ended = append(next, vec![Body::Result { outcome }]);
    let ended = world.store.append(&one, 1, &session, ended);
    ended.await.unwrap();
    world.over.insert(uid(0));

    world.begin(1).await;
    let (session, _) = world.tasks[&1].clone();
    let from = TaskRef {
        namespace: "team".into(),
        name: "fix-0".into(),
        uid: uid(0),
    };
    let taken = world.store.take_over(&two, 1, &session, &from);
    assert_eq!(taken.await.unwrap(), std::slice::from_ref(&part));

    // First the files of the one that kept it go, then all of it; the log is written anew without it.
    world.pass(4);
    assert_eq!(age(&world), 1);
    assert_eq!(world.sweep().await.blobs, 0);
    for _ in 0..3 {
        world.sweep().await;
    }
    let gone = world.store.records(&uid(0), 0, 1).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    let bytes = world.store.blob(&uid(1), &part.digest).await;
    assert_eq!(bytes.unwrap(), "part");
    world.restart().await;
    let bytes = world.store.blob(&uid(1), &part.digest).await;
    assert_eq!(bytes.unwrap(), "part");
    assert_eq!(world.store.volume().blobs, 4);

    world.end(1).await;
    world.pass(4);
    age(&world);
    assert_eq!(world.sweep().await.blobs, 1);
    assert_eq!((age(&world), world.store.volume().blobs), (0, 0));
}
