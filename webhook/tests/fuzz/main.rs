//! Reviews of the API server, bent in every way: each is answered, and what is answered can be done. They are those of the samples, edited by their
//! structure and by their bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // a helper of tests is a test

#[path = "../../../gateway/tests/fuzz/edits.rs"]
#[allow(dead_code)] // the gateway's targets use the rest
mod edits;
#[path = "../../../gateway/tests/fuzz/run.rs"]
mod run;

use edits::{edited, edits, slipped, slips};
use oarmaster_webhook::objects::{Asked, Verdict, check};
use oarmaster_webhook::requester::stamp;
use oarmaster_webhook::review::Request;
use proptest::prelude::*;
use proptest::sample::select;
use run::{Case, fuzz};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

/// `full`: a million reviews.
const HOW_MANY: &str = "OARMASTER_REVIEWS";
/// Of a hundred reviews 99 are answered within it, in a build that is not optimised.
const SOON: Duration = Duration::from_millis(10);

/// The objects of a folder's files.
fn objects(folder: &Path, into: &mut Vec<Value>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            objects(&path, into);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            into.extend(all.into_iter().filter(Value::is_object));
        }
    }
}

/// A review of each sample, as it is created and as it is changed.
fn corpus() -> Vec<Vec<u8>> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let mut all = Vec::new();
    objects(&samples, &mut all);
    all.sort_by_cached_key(Value::to_string); // the folder's order differs between machines
    let review = |object: &Value, operation: &str, before: Value| {
        let (group, version) = object["apiVersion"]
            .as_str()
            .unwrap()
            .split_once('/')
            .unwrap_or(("", "v1"));
        let kind = json!({"group": group, "version": version, "kind": object["kind"]});
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "operation": operation, "namespace": "team",
                "userInfo": {"username": "alice@acme", "groups": ["system:authenticated"]}, "object": object, "oldObject": before,
            },
        });
        review.to_string().into_bytes()
    };
    let mut reviews = Vec::new();
    for object in &all {
        reviews.push(review(object, "CREATE", Value::Null));
        let mut before = object.clone();
        before["spec"] = json!({});
        reviews.push(review(object, "UPDATE", before));
    }
    assert!(reviews.len() > 100, "{}", reviews.len());
    reviews
}

/// Answers a review as the server does, which reads and writes besides.
fn answered(body: &[u8]) -> Case {
    let Ok(request) = Request::read(body) else {
        return Ok(()); // 400
    };
    // What is nested too deeply for us to look at is answered all the same.
    let looked_at = serde_json::from_slice::<Value>(body).ok();
    if let Some(patch) = stamp(&request)
        && let Some(mut review) = looked_at
    {
        let object = &mut review["request"]["object"];
        let named = object["spec"]["requestedBy"].clone();
        let done = json_patch::patch(object, &patch);
        prop_assert!(done.is_ok(), "{done:?}: {patch}");
        let name = &object["spec"]["requestedBy"];
        let user = request.user_info.username.as_deref();
        prop_assert!(*name == named || name.as_str() == user, "{name}");
    }
    if let Some(asked) = Asked::of(&request)
        && let Verdict::Wrong(words) = check(asked)
    {
        prop_assert!(!words.is_empty());
    }
    Ok(())
}

#[test]
fn reviews() {
    let cases = match std::env::var(HOW_MANY) {
        Ok(many) if many == "full" => 1_000_000,
        _ => 3_000,
    };
    let inputs = (select(corpus()), edits(), slips());
    let taken = RefCell::new(Vec::new());
    fuzz(cases, &inputs, |(review, edits, slips)| {
        let body = slipped(edited(&review, &edits), &slips);
        let begun = Instant::now();
        let case = answered(&body);
        taken.borrow_mut().push(begun.elapsed());
        case
    });
    let mut taken = taken.into_inner();
    taken.sort_unstable();
    let within = |percent: usize| taken[(taken.len() - 1) * percent / 100];
    let (half, most) = (within(50), within(99));
    println!(
        "{} reviews: half within {half:?}, 99 of 100 within {most:?}",
        taken.len()
    );
    // Fewer say little about the slowest.
    assert!(cases < 1_000_000 || most < SOON, "{most:?}");
}
