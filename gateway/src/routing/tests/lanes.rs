use crate::catalog::{Provider, Snapshot};
use crate::provider::failure::{Class, Failure};
use crate::routing::breaker::{Circuit, Limits};
use crate::routing::course::Admission;
use crate::routing::lanes::{End, Held, Lanes, Place, Ticket};
use crate::tests::outbound;
use oarmaster_crds::ModelProvider;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn provider(generation: i64) -> Arc<Provider> {
    let spec = json!({
        "type": "OpenAICompatible", "endpoint": "https://up.example/v1",
        "keys": [{"name": "a", "secretKeyRef": {"name": "s", "key": "a"}}, {"name": "b", "secretKeyRef": {"name": "s", "key": "b"}}],
        "limits": {"concurrency": 3, "tokensPerMinute": 1000},
        "models": [{"name": "m", "freeQuota": {"requestsPerMinute": 2}}, {"name": "n"}],
    });
    let mut object = ModelProvider::new("up", serde_json::from_value(spec).unwrap());
    object.metadata.generation = Some(generation);
    let id = ("team".to_owned(), "up".to_owned());
    let all = Snapshot::build([], [(&id, &object)], &Snapshot::default(), &outbound());
    all.providers[&id].clone()
}

fn place<'a>(provider: &'a Provider, model: &'a str, key: &'a str) -> Place<'a> {
    Place {
        provider,
        model,
        key,
    }
}

fn failure(class: Class, retry_after: Option<Duration>) -> Failure {
    Failure {
        class,
        retry_after,
        ..Failure::unknown("x", true)
    }
}

fn end(ticket: Ticket<'_>, result: Result<(), &Failure>, now: Instant) -> bool {
    let end = End {
        result,
        first_token: None,
        whole: Some(SECOND),
        output: Some(512 + 80),
        tokens: None,
    };
    ticket.ended(end, now, &Limits::default())
}

#[test]
fn a_class_acts_on_what_failed() {
    let (now, provider) = (Instant::now(), provider(1));
    // Which lanes are out afterwards: (m, a), (m, b), (n, a).
    for (class, out) in [
        (Class::RateLimit, [true, false, false]),
        (Class::ModelGone, [true, true, false]),
        (Class::Credential, [false, false, false]),
        (Class::Quota, [false, false, false]),
        (Class::ContextLength, [false, false, false]),
        (Class::CallerFault, [false, false, false]),
        (Class::Transient, [false, false, false]),
    ] {
        let lanes = Lanes::default();
        let ticket = lanes
            .admit(place(&provider, "m", "a"), 0, now, SECOND)
            .unwrap();
        let changed = end(ticket, Err(&failure(class, None)), now);
        assert_eq!(changed, out[0], "{class:?}");
        for (out, (model, key)) in out.into_iter().zip([("m", "a"), ("m", "b"), ("n", "a")]) {
            let admitted = lanes.admit(place(&provider, model, key), 0, now, SECOND);
            assert_eq!(admitted.is_err(), out, "{class:?} {model} {key}");
        }
    }
}

#[test]
fn what_is_asked_without_a_key_and_refused_counts_for_the_breaker() {
    let (now, provider) = (Instant::now(), provider(1));
    for class in [Class::Credential, Class::Quota] {
        for (key, out) in [("", true), ("a", false)] {
            let lanes = Lanes::default();
            for _ in 0..Limits::default().min_requests {
                let ticket = lanes
                    .admit(place(&provider, "m", key), 0, now, SECOND)
                    .unwrap();
                end(ticket, Err(&failure(class, None)), now);
            }
            let admitted = lanes.admit(place(&provider, "m", key), 0, now, SECOND);
            assert_eq!(admitted.is_err(), out, "{class:?} {key}");
        }
    }
}

#[test]
fn an_edit_of_the_provider_starts_anew() {
    let (now, old, new) = (Instant::now(), provider(1), provider(2));
    let lanes = Lanes::default();
    let ticket = lanes.admit(place(&old, "m", "a"), 0, now, SECOND).unwrap();
    end(
        ticket,
        Err(&failure(Class::RateLimit, Some(60 * SECOND))),
        now,
    );
    let until = now + 60 * SECOND;
    let refused = lanes
        .admit(place(&old, "m", "a"), 0, now, SECOND)
        .unwrap_err();
    assert_eq!(refused, Held::Circuit(Admission::From(until)));
    assert_eq!(
        lanes.circuit(&old, "m", ["a"], now),
        Circuit::Open { until }
    );
    assert_eq!(
        lanes.circuit(&old, "m", ["a", "b"], now),
        Circuit::Closed,
        "b serves"
    );
    assert_eq!(lanes.reopens(now), Some((until, old.id.clone())));
    assert_eq!(lanes.circuit(&new, "m", ["a"], now), Circuit::Closed);
    assert!(lanes.admit(place(&new, "m", "a"), 0, now, SECOND).is_ok());
    lanes.retain(|_| false);
    assert_eq!(lanes.reopens(now), None);
}

#[test]
fn a_request_that_was_not_sent_says_nothing_and_gives_its_place_back() {
    let (now, provider) = (Instant::now(), provider(1));
    let lanes = Lanes::default();
    let busy = || lanes.seen(&provider, "m", now, SECOND).0.busy;
    let ticket = lanes
        .admit(place(&provider, "m", "a"), 0, now, SECOND)
        .unwrap();
    assert_eq!(busy(), 1);
    drop(ticket);
    assert_eq!(busy(), 0);
    // Of a probe, too: else nobody would ever ask again.
    let ticket = lanes
        .admit(place(&provider, "m", "a"), 0, now, SECOND)
        .unwrap();
    end(ticket, Err(&failure(Class::RateLimit, None)), now);
    let after = now + 15 * SECOND;
    let probe = lanes
        .admit(place(&provider, "m", "a"), 0, after, SECOND)
        .unwrap();
    assert_eq!(
        lanes
            .admit(place(&provider, "m", "a"), 0, after, SECOND)
            .unwrap_err(),
        Held::Circuit(Admission::Busy)
    );
    drop(probe);
    assert!(
        lanes
            .admit(place(&provider, "m", "a"), 0, after, SECOND)
            .is_ok()
    );
}

#[test]
fn what_was_seen_is_learnt() {
    let (now, provider) = (Instant::now(), provider(1));
    let lanes = Lanes::default();
    let clock = Duration::from_secs(3600);
    assert_eq!(
        lanes.seen(&provider, "m", now, clock).0.whole.expected(now),
        None
    );
    for _ in 0..2 {
        let ticket = lanes
            .admit(place(&provider, "m", "a"), 0, now, clock)
            .unwrap();
        end(ticket, Ok(()), now);
    }
    let (seen, used_up) = lanes.seen(&provider, "m", now, clock);
    assert_eq!(seen.whole.expected(now), Some(SECOND));
    assert_eq!(
        seen.whole.expected(now + 60 * SECOND),
        Some(SECOND / 2),
        "it fades"
    );
    assert_eq!(seen.output, 530, "an eighth of the way, twice");
    assert!(used_up, "two requests of a minute");
    assert!(
        !lanes.seen(&provider, "m", now, clock + 60 * SECOND).1,
        "a new minute"
    );
}

#[test]
fn the_owners_limits_hold_over_all_models_and_keys() {
    let (now, provider) = (Instant::now(), provider(1));
    let lanes = Lanes::default();
    let admit = |model, key, tokens| lanes.admit(place(&provider, model, key), tokens, now, SECOND);
    let _first = admit("m", "a", 0).unwrap();
    let _second = admit("m", "b", 0).unwrap();
    let third = admit("n", "a", 500).unwrap();
    assert_eq!(
        admit("n", "b", 0).unwrap_err(),
        Held::Limit(Admission::Busy)
    );
    drop(third);
    let third = admit("n", "a", 1000).expect("what was not sent takes nothing");
    let later = Held::Limit(Admission::From(now + 6 * SECOND));
    assert_eq!(admit("n", "b", 100).unwrap_err(), later);
    let end = End {
        result: Ok(()),
        first_token: None,
        whole: None,
        output: None,
        tokens: Some(400),
    };
    third.ended(end, now, &Limits::default());
    assert!(admit("n", "b", 600).is_ok(), "it had fewer");
}

#[test]
fn what_a_provider_says_is_used_up_is_not_asked_and_not_a_failure() {
    let (now, provider) = (Instant::now(), provider(1));
    let lanes = Lanes::default();
    let admit = |key, now| lanes.admit(place(&provider, "m", key), 0, now, SECOND);
    let up = |now| lanes.seen(&provider, "m", now, 60 * SECOND).1;
    let until = |after: u32| Circuit::Open {
        until: now + after * SECOND,
    };
    let circuit = |now| lanes.circuit(&provider, "m", ["a", "b"], now);
    // With an answer: until then.
    let ticket = admit("a", now).unwrap();
    ticket.used_up(30 * SECOND, now);
    ticket.used_up(20 * SECOND, now); // said before, and came later
    assert!(!end(ticket, Ok(()), now), "no breaker changed");
    let held = admit("a", now).unwrap_err();
    assert_eq!(held, Held::UsedUp(Admission::From(now + 30 * SECOND)));
    assert!(admit("b", now).is_ok(), "the other key has its own quota");
    assert!(!up(now), "as long as a key is left");
    assert_eq!(circuit(now), Circuit::Closed);
    // With a failure.
    let mut failed = failure(Class::RateLimit, Some(10 * SECOND));
    failed.used_up = Some(60 * SECOND);
    let ticket = admit("b", now).unwrap();
    assert!(end(ticket, Err(&failed), now));
    assert!(up(now));
    assert_eq!(circuit(now), until(30));
    assert_eq!(lanes.reopens(now).unwrap().0, now + 30 * SECOND);
    // The breaker of 15 s is over, the quota is not.
    let held = admit("b", now + 20 * SECOND).unwrap_err();
    assert_eq!(held, Held::UsedUp(Admission::From(now + 60 * SECOND)));
    assert!(!up(now + 30 * SECOND));
    assert_eq!(circuit(now + 30 * SECOND), Circuit::Closed);
    // All may pass then, and not a single one to try it.
    let later = now + 30 * SECOND;
    let tickets = (admit("a", later), admit("a", later));
    assert!(tickets.0.is_ok() && tickets.1.is_ok());
}
