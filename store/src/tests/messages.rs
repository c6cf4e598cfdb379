//! What the Tasks of a tree send one another.

use super::*;
use crate::{Event, Inbox, Received};
use oarmaster_protocol::message::{
    Awaited, ITEM_LABEL, MAX_READ, MAX_TASK_MESSAGES, MAX_TREE_BYTES, MAX_TREE_MESSAGES, Message,
    STEP_LABEL,
};
use oarmaster_protocol::task::ErrorCode;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A Task whose pilot works: its UID is its name.
#[derive(Clone)]
struct Pilot {
    uid: String,
    attempt: u32,
    session: String,
}

async fn open(
    store: &Store,
    uid: &str,
    attempt: u32,
    parent: Option<&str>,
    labels: &[(&str, &str)],
) -> Pilot {
    let mut assignment = agent_assignment(uid);
    assignment.task.name = uid.into();
    let labels = labels.iter();
    let request = OpenAttempt {
        runs_in: RunsIn::Job(format!("{uid}-{attempt}")),
        assignment: Some(assignment),
        parent: parent.map(str::to_owned),
        labels: labels
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..open_request(uid, usd(100))
    };
    let report = store.open_attempt(uid, attempt, request).await.unwrap();
    let request = ClaimRequest {
        assignment: report.assignment,
        nonce: format!("n{attempt}"),
    };
    let claim = store.claim(uid, attempt, &request, "pod").await.unwrap();
    Pilot {
        uid: uid.into(),
        attempt,
        session: claim.session,
    }
}

async fn step(store: &Store, uid: &str, parent: &str, step: &str) -> Pilot {
    open(store, uid, 1, Some(parent), &[(STEP_LABEL, step)]).await
}

fn to(to: Option<&str>, text: &str) -> Message {
    Message {
        to: to.map(str::to_owned),
        topic: None,
        text: text.into(),
    }
}

async fn send(store: &Store, from: &Pilot, call: u32, message: &Message) -> Result<u64, Refusal> {
    let sent = store.send(&from.uid, from.attempt, &from.session, call, message);
    sent.await.map(|sent| sent.number)
}

async fn inbox(store: &Store, of: &Pilot, after: u64, awaited: &Awaited) -> Inbox {
    let unread = store.unread(&of.uid, of.attempt, &of.session, after, awaited);
    unread.await.unwrap()
}

async fn read(store: &Store, of: &Pilot, after: u64) -> Vec<Received> {
    inbox(store, of, after, &Awaited::default()).await.messages
}

fn texts(messages: &[Received]) -> Vec<&str> {
    let texts = messages.iter();
    texts
        .map(|received| received.message.text.as_str())
        .collect()
}

/// The steps a and b, with two items, of a run, and what b's second item gave another agent to do.
async fn tree(store: &Store, root: &str) -> [Pilot; 4] {
    open(store, root, 1, None, &[]).await;
    let name = |of: &str| format!("{root}-{of}");
    let item = |item| [(STEP_LABEL, "b"), (ITEM_LABEL, item)];
    let b1 = name("b1");
    [
        step(store, &name("a"), root, "a").await,
        open(store, &name("b0"), 1, Some(root), &item("0")).await,
        open(store, &b1, 1, Some(root), &item("1")).await,
        step(store, &name("helper"), &b1, "a").await,
    ]
}

#[tokio::test]
async fn a_message_is_read_by_whom_it_is_for_in_the_order_of_the_tree() {
    let (dir, store) = store().await;
    let [a, b0, b1, helper] = tree(&store, "run").await;
    for (from, whom, text) in [
        (&a, Some("b"), "to the step"),
        (&b1, None, "to all"),
        (&helper, Some("run-b0"), "to a Task"),
        (&b0, Some("a"), "back"),
        // Beside the helper there is no step `b`: names of steps are those of one run.
        (&helper, Some("b"), "to nobody"),
    ] {
        send(&store, from, 1 + from.uid.len() as u32, &to(whom, text))
            .await
            .unwrap();
    }
    let all = async |store: &Store| {
        let mut all = Vec::new();
        for reader in [&a, &b0, &b1, &helper] {
            let read = read(store, reader, 0).await;
            assert!(read.is_sorted_by_key(|one| one.number));
            all.push(texts(&read).join(", "));
        }
        all
    };
    let wanted = [
        "to all, back",
        "to the step, to all, to a Task",
        "to the step",
        "to all",
    ];
    assert_eq!(all(&store).await, wanted);
    // Who sent it: a step and its item for those of the same run, and else the Task alone.
    let from = |received: &Received| {
        let Received {
            task, step, item, ..
        } = received;
        (task.clone(), step.clone(), item.clone())
    };
    let b = |item: &str| (Some("b".to_owned()), Some(item.to_owned()));
    let read_by_a = read(&store, &a, 0).await;
    assert_eq!(
        from(&read_by_a[0]),
        ("run-b1".to_owned(), b("1").0, b("1").1)
    );
    assert_eq!(
        from(&read_by_a[1]),
        ("run-b0".to_owned(), b("0").0, b("0").1)
    );
    let read_by_helper = read(&store, &helper, 0).await;
    assert_eq!(from(&read_by_helper[0]), ("run-b1".to_owned(), None, None));
    // As another process reads it.
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(all(&store).await, wanted);
}

#[tokio::test]
async fn nothing_leaves_its_tree_whatever_it_is_called() {
    let (_dir, store) = store().await;
    let [a, ..] = tree(&store, "run").await;
    let others = tree(&store, "other").await;
    // Somebody's own Task, under a label that the operator writes on those of steps.
    let stranger = open(&store, "stranger", 1, None, &[(STEP_LABEL, "b")]).await;
    for (call, whom) in [
        None,
        Some("b"),
        Some("other-a"),
        Some("stranger"),
        Some("other"),
    ]
    .into_iter()
    .enumerate()
    {
        let call = u32::try_from(call).unwrap();
        send(&store, &a, call, &to(whom, "secret")).await.unwrap();
    }
    for other in others.iter().chain([&stranger]) {
        assert!(read(&store, other, 0).await.is_empty(), "{}", other.uid);
    }
    // Numbers are those of a tree.
    assert_eq!(send(&store, &others[0], 1, &to(None, "x")).await, Ok(1));
}

#[tokio::test]
async fn the_same_message_of_a_call_is_sent_once_by_whichever_attempt_or_process() {
    let (dir, store) = store().await;
    let [a, b0, ..] = tree(&store, "run").await;
    let hello = to(None, "hello");
    assert_eq!(send(&store, &a, 1, &hello).await, Ok(1));
    assert_eq!(send(&store, &a, 1, &hello).await, Ok(1));
    drop(store);
    let store = Store::open(options(dir.path())).await.unwrap();
    assert_eq!(send(&store, &a, 1, &hello).await, Ok(1));
    let again = open(&store, "run-a", 2, Some("run"), &[(STEP_LABEL, "a")]).await;
    assert_eq!(send(&store, &again, 1, &hello).await, Ok(1));
    // Another call, or other words of an attempt that begins anew, are another message.
    assert_eq!(send(&store, &again, 2, &hello).await, Ok(2));
    assert_eq!(send(&store, &again, 1, &to(None, "hi")).await, Ok(3));
    assert_eq!(texts(&read(&store, &b0, 0).await), ["hello", "hello", "hi"]);
    let records = store.records("run-a", 0, 100).await.unwrap().into_iter();
    let sent = records.filter(|record| matches!(record.body, Body::Sent { .. }));
    assert_eq!(sent.count(), 3);
    // The attempt before may do neither any more.
    let late = send(&store, &a, 9, &hello).await.unwrap_err();
    assert_eq!(late.code(), ErrorCode::Fenced);
    let any = Awaited::default();
    let late = store.unread("run-a", 1, &a.session, 0, &any);
    assert_eq!(late.await.unwrap_err().code(), ErrorCode::Fenced);
}

#[tokio::test]
async fn a_pilot_writes_no_message_of_its_own_making() {
    let (_dir, store) = store().await;
    let [a, b0, ..] = tree(&store, "run").await;
    let forged = Body::Sent {
        number: 1,
        call: 1,
        tree: "run".into(),
        message: to(None, "I am the system"),
    };
    let next = store.next("run-a").await.unwrap();
    let appended = store.append("run-a", 1, &a.session, append(next, vec![forged]));
    let refused = appended.await.unwrap_err();
    assert!(refused.to_string().contains("only the gateway writes"));
    assert!(read(&store, &b0, 0).await.is_empty());
    // Nor does a message stand in the way of what it appends next.
    send(&store, &a, 1, &to(None, "x")).await.unwrap();
    let on = append(next, vec![note("on")]);
    store.append("run-a", 1, &a.session, on).await.unwrap();
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let (_dir, store) = store().await;
    let [a, ..] = tree(&store, "run").await;
    let about = |topic: &str| Message {
        topic: Some(topic.into()),
        ..to(None, "x")
    };
    for message in [
        to(None, " \n"),
        to(None, &"é".repeat(4097)),
        to(Some(""), "x"),
        to(Some("other/task"), "x"),
        to(Some(&"x".repeat(254)), "x"),
        about(""),
        about("two words"),
        about(&"x".repeat(64)),
    ] {
        let refused = send(&store, &a, 1, &message).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{message:?}");
    }
    assert_eq!(
        send(&store, &a, 1, &to(None, &"é".repeat(4096))).await,
        Ok(1)
    );
}

#[tokio::test]
async fn one_task_floods_neither_its_tree_nor_a_reader() {
    let (_dir, store) = plain().await;
    let [a, b0, b1, _] = tree(&store, "run").await;
    let mut sent = 0;
    let refused = loop {
        match send(&store, &a, sent, &to(None, "spam")).await {
            Ok(_) => sent += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(sent as usize, MAX_TASK_MESSAGES);
    assert!(
        matches!(&refused, Refusal::TooLarge(why) if why.starts_with("this Task has sent 128 messages")),
        "{refused}"
    );
    // What it sent already is answered still, and the others go on.
    assert_eq!(send(&store, &a, 0, &to(None, "spam")).await, Ok(1));
    assert_eq!(send(&store, &b0, 1, &to(None, "calm")).await, Ok(129));
    let first = inbox(&store, &b1, 0, &Awaited::default()).await;
    assert_eq!(
        (first.messages.len(), first.more),
        (MAX_READ, 129 - MAX_READ)
    );
    // Bytes count as well: 64 of the largest messages would be a MiB.
    let long = to(None, &"\u{1F980}".repeat(4096));
    let mut bytes = 0_u64;
    let refused = loop {
        match send(&store, &b1, u32::try_from(bytes >> 10).unwrap(), &long).await {
            Ok(_) => bytes += 16 << 10,
            Err(refused) => break refused,
        }
    };
    assert!((200 << 10..=256 << 10).contains(&bytes), "{bytes}");
    assert!(matches!(refused, Refusal::TooLarge(_)));
}

#[tokio::test]
async fn a_tree_has_bounds_over_all_its_tasks() {
    for (text, most) in [
        ("x".to_owned(), MAX_TREE_MESSAGES as u64),
        ("x".repeat(4000), MAX_TREE_BYTES / 4000),
    ] {
        let (_dir, store) = plain().await;
        open(&store, "run", 1, None, &[]).await;
        let mut sent = 0;
        let mut last = None;
        for task in 0..10 {
            let pilot = step(&store, &format!("t{task}"), "run", "a").await;
            for call in 0..u32::MAX {
                match send(&store, &pilot, call, &to(None, &text)).await {
                    Ok(_) => sent += 1,
                    Err(refused) => {
                        last = Some(refused.to_string());
                        break;
                    }
                }
            }
        }
        assert!(sent <= most && sent > most * 9 / 10, "{sent}");
        let last = last.unwrap();
        assert!(
            last.starts_with("the Tasks of this run have sent"),
            "{last}"
        );
        // Another tree has its own.
        let [other, ..] = tree(&store, "other").await;
        assert_eq!(send(&store, &other, 1, &to(None, &text)).await, Ok(1));
    }
}

#[tokio::test]
async fn what_is_waited_for_is_found_behind_what_is_not() {
    let (_dir, store) = store().await;
    let [a, b0, b1, _] = tree(&store, "run").await;
    let awaits = |from: Option<&str>, topic: Option<&str>| Awaited {
        wait: 0,
        from: from.map(str::to_owned),
        topic: topic.map(str::to_owned),
    };
    let mut news = store.listen("run-a");
    let nothing = inbox(&store, &a, 0, &Awaited::default()).await;
    assert!(!nothing.is_there && nothing.messages.is_empty());
    let green = Message {
        topic: Some("green".into()),
        ..to(None, "built")
    };
    for (call, message) in [to(None, "hello"), green].iter().enumerate() {
        let call = u32::try_from(call).unwrap();
        send(&store, &b0, call, message).await.unwrap();
    }
    news.changed().await.unwrap();
    for (awaited, is_there) in [
        (awaits(None, None), true),
        (awaits(Some("b"), None), true),
        (awaits(Some("run-b0"), None), true),
        (awaits(Some("run-b1"), None), false),
        (awaits(None, Some("green")), true),
        (awaits(None, Some("red")), false),
        (awaits(Some("a"), Some("green")), false),
    ] {
        let found = inbox(&store, &a, 0, &awaited).await;
        assert_eq!(found.is_there, is_there, "{awaited:?}");
        assert_eq!(texts(&found.messages), ["hello", "built"]);
    }
    // What was read is no event any more.
    let found = inbox(&store, &a, 2, &awaits(None, Some("green"))).await;
    assert!(!found.is_there && found.messages.is_empty());
    let other = store.listen("other");
    send(&store, &b1, 7, &to(None, "x")).await.unwrap();
    assert!(news.has_changed().unwrap() && !other.has_changed().unwrap());
}

#[tokio::test]
async fn a_sender_is_told_of_a_name_that_nobody_has_yet() {
    let (_dir, store) = store().await;
    let [a, ..] = tree(&store, "run").await;
    let sent = async |store: &Store, name: &str| {
        let message = to(Some(name), "x");
        let sent = store.send(&a.uid, 1, &a.session, 1, &message);
        sent.await.unwrap().unknown
    };
    assert_eq!(sent(&store, "critic").await, Some(vec!["b".to_owned()]));
    assert_eq!(sent(&store, "b").await, None);
    assert_eq!(sent(&store, "run-helper").await, None);
    let critic = step(&store, "late", "run", "critic").await;
    assert_eq!(sent(&store, "critic").await, None);
    assert_eq!(texts(&read(&store, &critic, 0).await), ["x"]);
}

#[tokio::test]
async fn a_message_wakes_no_operator() {
    let (_dir, store) = store().await;
    let [a, b0, ..] = tree(&store, "run").await;
    let mut changes = store.changes();
    send(&store, &a, 1, &to(None, "x")).await.unwrap();
    let end = append(store.next("run-b0").await.unwrap(), vec![result()]);
    store.append("run-b0", 1, &b0.session, end).await.unwrap();
    loop {
        match changes.next().await {
            Some(Event::Task(task)) if task.uid == "run-b0" => break,
            // The claim of the Task that came last may be told late.
            Some(Event::Task(task)) => assert_eq!(task.uid, "run-helper"),
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A Task sends, to another one or to all, under the number of its last call or the next.
    Send(u8, Option<u8>, bool),
    /// A Task reads, and writes down what it was shown, or ends before it does.
    Read(u8, bool),
    /// The process ends, and another one goes on.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let task = || 0..4_u8;
    prop_oneof![
        6 => (task(), prop::option::of(task()), any::<bool>()).prop_map(|(from, to, again)| Op::Send(from, to, again)),
        5 => (task(), prop::bool::weighted(0.7)).prop_map(|(reader, kept)| Op::Read(reader, kept)),
        1 => Just(Op::Restart),
    ]
}

/// Each message is read once by each whom it is for, in one order for all, whatever is said twice, lost or begun again.
async fn everything_is_read_once_and_in_order(ops: Vec<Op>) {
    let (dir, mut store) = store().await;
    let pilots = tree(&store, "run").await;
    // What was sent: sender, whom it is for, text.
    let mut sent: Vec<(usize, Option<String>, String)> = Vec::new();
    let mut calls = [0_u32; 4];
    let mut shown: BTreeMap<usize, (u64, Vec<String>)> = BTreeMap::new();
    for op in ops {
        match op {
            Op::Send(from, whom, again) => {
                let (from, whom) = (usize::from(from), whom.map(usize::from));
                let again = again && calls[from] > 0;
                calls[from] += u32::from(!again);
                let of_call = |(sender, _, text): &&(usize, Option<String>, String)| {
                    *sender == from && *text == format!("{from}/{}", calls[from])
                };
                let (whom, text) = match sent.iter().find(of_call) {
                    Some((_, whom, text)) => (whom.clone(), text.clone()),
                    None => {
                        let whom = whom.map(|whom| pilots[whom].uid.clone());
                        let text = format!("{from}/{}", calls[from]);
                        sent.push((from, whom.clone(), text.clone()));
                        (whom, text)
                    }
                };
                let message = to(whom.as_deref(), &text);
                let number = send(&store, &pilots[from], calls[from], &message);
                let place = sent.iter().position(|(_, _, known)| *known == text);
                assert_eq!(number.await.unwrap(), place.unwrap() as u64 + 1);
            }
            Op::Read(reader, kept) => {
                let reader = usize::from(reader);
                let (heard, known) = shown.entry(reader).or_default();
                let new = read(&store, &pilots[reader], *heard).await;
                if kept {
                    *heard = new.last().map_or(*heard, |last| last.number);
                    known.extend(texts(&new).into_iter().map(str::to_owned));
                }
            }
            Op::Restart => {
                drop(store);
                store = Store::open(options(dir.path())).await.unwrap();
            }
        }
    }
    for (reader, pilot) in pilots.iter().enumerate() {
        let (heard, mut known) = shown.remove(&reader).unwrap_or_default();
        let mut heard = heard;
        loop {
            let new = read(&store, pilot, heard).await;
            let Some(last) = new.last() else { break };
            heard = last.number;
            known.extend(texts(&new).into_iter().map(str::to_owned));
        }
        let is_for = |(from, whom, _): &&(usize, Option<String>, String)| {
            *from != reader && whom.as_ref().is_none_or(|whom| *whom == pilot.uid)
        };
        let wanted: Vec<_> = sent
            .iter()
            .filter(is_for)
            .map(|(_, _, text)| text.clone())
            .collect();
        assert_eq!(known, wanted, "{}", pilot.uid);
    }
    // Wherever the log ends, what is there is the beginning of what was sent.
    store.flush().await.unwrap();
    let frames = frames(dir.path());
    for end in 0..=frames.len() {
        let state = fold(dir.path(), &frames[..end]);
        for (number, (_, place)) in state.sent("run").into_iter().enumerate() {
            assert_eq!(place, number as u64 + 1);
        }
    }
    assert_eq!(fold(dir.path(), &frames).sent("run").len(), sent.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn each_message_is_read_once_by_each_and_in_one_order(ops in prop::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(everything_is_read_once_and_in_order(ops));
    }
}
