use super::*;
use serde_json::json;

#[test]
fn lines_are_put_together_from_any_pieces() {
    let text = b"{\"a\":1}\n\n{\"b\":2}\n";
    for size in 1..=text.len() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in text.chunks(size) {
            found.extend(lines.push(piece).unwrap());
        }
        assert_eq!(
            found,
            [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()],
            "{size}"
        );
        assert!(lines.end().is_ok());
    }
}

#[test]
fn a_stream_that_breaks_within_a_record_is_read_again() {
    let mut lines = Lines::default();
    assert!(lines.push(b"{\"a\"").unwrap().is_empty());
    assert!(lines.end().unwrap_err().transient);
}

#[test]
fn a_line_without_an_end_is_bounded() {
    let mut lines = Lines::default();
    let piece = vec![b'x'; 1 << 20];
    let refused = (0..6).any(|_| lines.push(&piece).is_err());
    assert!(refused);
}

#[test]
fn the_end_and_the_attempt_are_read_from_the_status() {
    let task: Task = serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "t"},
        "spec": {"agent": {"name": "a"}, "params": {"prompt": "x"}},
        "status": {"attempt": 2, "conditions": [{
            "type": "Finished", "status": "True", "reason": "Failed", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    }))
    .unwrap();
    assert_eq!(
        Seen::of(&task),
        Seen {
            attempt: 2,
            finished: true
        }
    );
}
