use super::context::Parent;
use super::*;
use http::HeaderValue;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("traceparent", HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn a_callers_trace_is_continued_and_its_decision_holds() {
    let of = |text: &str| Parent::of_headers(&headers(&[text]));
    for (flags, sampled) in [("00", false), ("01", true), ("03", true)] {
        let parent = of(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
        assert_eq!(parent.trace.to_string(), TRACE);
        assert_eq!(parent.span.unwrap().to_string(), SPAN);
        assert_eq!(parent.sampled, sampled);
    }
    assert!(of(&format!("cc-{TRACE}-{SPAN}-01-more")).is_some());
    for bad in [
        String::new(),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}x-{SPAN}-01"),
        format!("0x-{TRACE}-{SPAN}-01"),
    ] {
        assert_eq!(of(&bad), None, "{bad}");
    }
    let one = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(Parent::of_headers(&headers(&[&one, &one])), None);
    assert_eq!(Parent::of_headers(&HeaderMap::new()), None);
}

#[test]
fn a_tasks_calls_are_one_trace_that_is_sampled_as_a_whole() {
    let uid = "1f7c2c5e-0000-4000-8000-000000000001";
    let parent = Parent::of_task(uid, 1.0);
    assert_eq!(parent.trace.to_string(), uid.replace('-', ""));
    assert!(parent.span.is_none() && parent.sampled);
    // 0x1f7c2c5e is about an eighth of the way.
    assert!(!Parent::of_task(uid, 0.1).sampled);
    assert!(Parent::of_task(uid, 0.2).sampled);
    assert!(Parent::of_task("no uid", 1.0).sampled);
}

#[test]
fn the_share_of_new_traces_is_the_one_that_is_asked_for() {
    for (share, least, most) in [(0.0, 0, 0), (0.25, 2000, 3000), (1.0, 10_000, 10_000)] {
        let sampled = (0..10_000).filter(|_| Parent::new(share).sampled).count();
        assert!((least..=most).contains(&sampled), "{share}: {sampled}");
    }
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted_and_nobody_waits() {
    let (sender, mut receiver) = mpsc::channel(2);
    let queue = Queue {
        sender,
        dropped: Counter::default(),
    };
    let one = || span("x".into(), Vec::new(), SystemTime::UNIX_EPOCH, None);
    for _ in 0..5 {
        queue.push(one());
    }
    assert_eq!(queue.dropped.get(), 3);
    assert_eq!(receiver.try_recv().unwrap(), one());
}
