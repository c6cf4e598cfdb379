//! EditFile with a diff: the file is read, then written.

use super::*;

const DIFF: &str = r#"{"path":"a","diff":"@@ -1 +1 @@\n-one\n+1\n"}"#;

#[test]
fn a_diff_is_one_call_of_two_requests() {
    let start = || vec![probed(true), calls(&[("EditFile", DIFF)])];
    let (_, next) = play(agent(&["EditFile"]), start());
    let Next::Exec(Request::Read {
        path, first_line, ..
    }) = &next
    else {
        panic!("{next:?}")
    };
    assert_eq!((path.as_str(), *first_line), ("a", 1));
    let read = [start(), vec![content("one\ntwo\n")]].concat();
    let (_, next) = play(agent(&["EditFile"]), read.clone());
    let written = Request::Write {
        path: "a".into(),
        content: Bytes(b"1\ntwo\n".to_vec()),
    };
    assert_eq!(next, Next::Exec(written));
    let whole = [read, vec![Event::Exec(Response::Done)]].concat();
    let (records, next) = play(agent(&["EditFile"]), whole);
    assert_eq!(last_message(&next), "done");
    let calls = |kind: fn(&Body) -> bool| records.iter().filter(|body| kind(body)).count();
    assert_eq!(calls(|body| matches!(body, Body::ToolIntent { .. })), 1);
    assert_eq!(
        calls(|body| matches!(body, Body::ToolResult { ok: true, .. })),
        1
    );
}

#[test]
fn what_cannot_be_read_or_does_not_fit_is_not_written() {
    let beyond = Event::Exec(Response::Content {
        content: Bytes(b"one\n".to_vec()),
        next_line: Some(2),
        cut: false,
        size: 1 << 30,
    });
    for (event, wanted) in [
        (
            content("two\n"),
            r#"needs "one\n" at line 1, where "two\n" stands"#,
        ),
        (beyond, "more than 8388608 bytes"),
        (exec_failed(FailedCode::NotFound), "no"),
        (Event::Exec(Response::Done), "does not fit"),
    ] {
        let events = vec![probed(true), calls(&[("EditFile", DIFF)]), event];
        let (records, next) = play(agent(&["EditFile"]), events);
        assert!(
            last_message(&next).contains(wanted),
            "{}",
            last_message(&next)
        );
        assert!(matches!(
            records.last(),
            Some(Body::ToolResult { ok: false, .. })
        ));
    }
}

#[test]
fn a_sandbox_that_is_lost_while_it_reads_is_as_one_lost_in_a_call() {
    let start = || vec![probed(true), calls(&[("EditFile", DIFF)])];
    let lost = [start(), vec![Event::ExecRestarted, probed(true)]].concat();
    let (_, next) = play(agent(&["EditFile"]), lost);
    assert!(last_message(&next).contains("was restarted"));
    let gone = [start(), vec![Event::ExecGone]].concat();
    assert_eq!(class(agent(&["EditFile"]), gone), FailureClass::OutOfMemory);
    // Lost before it was asked: the file is read again, once the isolation is proven again.
    let (_, Next::Exec(read)) = play(agent(&["EditFile"]), start()) else {
        panic!()
    };
    let events = [
        start(),
        vec![Event::ExecReplaced(read.clone()), probed(true)],
    ]
    .concat();
    assert_eq!(play(agent(&["EditFile"]), events).1, Next::Exec(read));
    // A class that demands its NetworkPolicy demands it here, too.
    let (_, next) = play(demanding(agent(&["EditFile"])), start());
    assert_eq!(next, Next::Network);
}
