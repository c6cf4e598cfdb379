//! Damage and forgery of what stands for frames.

use super::*;

#[tokio::test]
async fn what_stands_for_frames_is_vouched_for_by_the_log() {
    let mut world = World::new().await;
    world.begin(0).await;
    for _ in 0..20 {
        world.call(0, 10).await;
    }
    world.end(0).await;
    world.pass(4);
    let asked = world.store.verify(Some(3)).await.unwrap();
    world.sweep().await;
    world.store.flush().await.unwrap();
    let check = world.store.verify(None).await.unwrap();
    assert_eq!(check.broken, None);
    assert!(check.taken > 20 && check.frames > check.taken, "{check:?}");
    assert_eq!(check.first, asked.first, "the chain begins where it began");
    let files = segments(world.dir.path()).into_iter();
    let mut files = files.map(|name| world.dir.path().join(name));
    let with_sums = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        String::from_utf8_lossy(&bytes).contains("\"totals\":{\"days\"")
    };
    let file = files.find(with_sums).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // Whoever forges the sum makes the checksum right, too.
    let parts: Vec<_> = {
        let (mut found, mut offset) = (Vec::new(), 0);
        while let Some((at, frame)) = log::find(&bytes, offset) {
            offset = at + frame.size();
            found.push((
                at as usize,
                frame.number,
                frame.before,
                frame.stands,
                frame.payload.to_vec(),
            ));
        }
        found
    };
    let (at, number, before, stands, payload) = parts.last().unwrap().clone();
    let forged = String::from_utf8(payload)
        .unwrap()
        .replace("\"costPico\":", "\"costPico\":9");
    let mut frame = Vec::new();
    log::encode_stands(
        &mut frame,
        number,
        &before.unwrap(),
        stands.unwrap(),
        forged.as_bytes(),
    );
    bytes.truncate(at);
    bytes.extend(frame);
    std::fs::write(&file, bytes).unwrap();
    let broken = world.store.verify(None).await.unwrap().broken.unwrap();
    assert!(
        broken.contains("is not what retention left of it"),
        "{broken}"
    );
}

#[tokio::test]
async fn sums_that_are_damaged_are_not_missed_by_their_number() {
    let world = World::new().await;
    world.sdk(6).await;
    world.pass(5);
    world.sweep().await;
    world.store.flush().await.unwrap();
    let broken = copy(world.dir.path());
    let file = broken.path().join("00000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == b'}').unwrap();
    bytes[last] = b']';
    std::fs::write(&file, bytes).unwrap();
    let opened = Store::open(options(broken.path(), &world.ticks)).await;
    assert!(
        opened
            .unwrap_err()
            .to_string()
            .starts_with("log is corrupt in segment 0")
    );
}
