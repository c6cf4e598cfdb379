//! A Task's requests to the operator, through both listeners.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::{OPERATOR, PILOT, UID, World};
use oarmaster_protocol::admin::{AttemptReport, TaskBudget};
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::request::{Ask, Reply, RequestState};
use oarmaster_protocol::task::{Append, Claim};
use serde_json::json;
use std::time::Duration;

fn what() -> Ask {
    Ask::Delegate {
        agent: "coder".into(),
        prompt: "fix it".into(),
        workspace: None,
    }
}

async fn ask(world: &World, claim: &Claim) -> String {
    let id = what().id(1);
    let append = Append {
        next: claim.next,
        records: vec![Body::Asked {
            id: id.clone(),
            what: what(),
            checkpoint: None,
        }],
    };
    let url = format!("{}/task/v1/journal", world.data);
    let request = world.http.post(url).bearer_auth(PILOT).json(&append);
    let answer = request.header("oarmaster-session", &claim.session).send();
    assert_eq!(answer.await.unwrap().status(), 200);
    id
}

fn look(world: &World, session: &str, id: &str) -> reqwest::RequestBuilder {
    let url = format!("{}/task/v1/requests/{id}", world.data);
    let request = world.http.get(url).bearer_auth(PILOT);
    request.header("oarmaster-session", session)
}

fn answer(world: &World, token: &str, id: &str) -> reqwest::RequestBuilder {
    let url = format!("{}/admin/v1/tasks/{UID}/requests/{id}", world.admin);
    let answer = Reply {
        ok: true,
        value: json!({"text": "fixed"}),
        task: None,
    };
    world.http.put(url).bearer_auth(token).json(&answer)
}

#[tokio::test]
async fn whoever_waits_for_an_answer_is_told_at_once() {
    let world = World::start().await;
    let claim = world.task(TaskBudget::default()).await;
    let id = ask(&world, &claim).await;
    let waiting = tokio::spawn(look(&world, &claim.session, &id).send());
    let open = world.gateway.store.report(UID, 1).await.unwrap();
    assert_eq!(open.requests[0].what, what());

    let said = answer(&world, OPERATOR, &id).send().await.unwrap();
    assert_eq!(said.status(), 200);
    let report: AttemptReport = said.json().await.unwrap();
    assert!(report.requests.is_empty());
    // Far less than a poll is held open for.
    let told = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    let told: RequestState = told.unwrap().unwrap().unwrap().json().await.unwrap();
    assert_eq!(told.answer.unwrap().value, json!({"text": "fixed"}));
    let again = look(&world, &claim.session, &id).send().await.unwrap();
    let again: RequestState = again.json().await.unwrap();
    assert!(again.answer.unwrap().ok);
}

#[tokio::test]
async fn nobody_else_answers_or_looks() {
    let world = World::start().await;
    let claim = world.task(TaskBudget::default()).await;
    let id = ask(&world, &claim).await;
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    assert_eq!(status(answer(&world, PILOT, &id)).await, 401);
    assert_eq!(status(answer(&world, OPERATOR, "2-none")).await, 404);
    assert_eq!(status(look(&world, "other", &id)).await, 409);
    assert_eq!(status(look(&world, &claim.session, "2-none")).await, 404);
    let user = world.user();
    let url = format!("{}/task/v1/requests/{id}", world.data);
    let theirs = world.http.get(url).bearer_auth(user);
    assert_eq!(
        status(theirs.header("oarmaster-session", &claim.session)).await,
        403
    );
}

/// What items of a run left is for the operator alone: outputs of models are among it.
#[tokio::test]
async fn what_items_left_is_kept_for_the_operator_alone() {
    let world = World::start().await;
    world.task(TaskBudget::default()).await;
    let url = format!("{}/admin/v1/tasks/{UID}/kept/work", world.admin);
    let items = json!([{"item": 1, "results": [{"succeeded": "b"}]}, {"item": 0, "results": [{"succeeded": "a"}]}]);
    let put = |token: &str| world.http.put(&url).bearer_auth(token).json(&items).send();
    let get = |token: &str, which: &str| {
        world
            .http
            .get(format!("{url}{which}"))
            .bearer_auth(token)
            .send()
    };
    for token in [PILOT, "nonsense"] {
        assert!([401, 403].contains(&put(token).await.unwrap().status().as_u16()));
        assert!([401, 403].contains(&get(token, "").await.unwrap().status().as_u16()));
    }
    assert_eq!(put(OPERATOR).await.unwrap().status(), 200);
    let all: serde_json::Value = get(OPERATOR, "").await.unwrap().json().await.unwrap();
    assert_eq!(
        all,
        json!([{"item": 0, "results": [{"succeeded": "a"}]}, {"item": 1, "results": [{"succeeded": "b"}]}])
    );
    let one: serde_json::Value = get(OPERATOR, "?item=1")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(one, json!([{"item": 1, "results": [{"succeeded": "b"}]}]));
    assert_eq!(get(OPERATOR, "?item=x").await.unwrap().status(), 400);
    let get_at = async |path: &str| {
        let url = format!("{}/admin/v1/tasks/{path}", world.admin);
        let answer = world.http.get(url).bearer_auth(OPERATOR).send();
        let answer = answer.await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<serde_json::Value>().await.unwrap())
    };
    let nothing = get_at(&format!("{UID}/kept/work-2")).await;
    assert_eq!(nothing, (200, json!([])));
    // What nobody can say any more, and what this gateway cannot do, are no empty lists, nor each other.
    for (path, code) in [
        ("nobody/kept/work".to_owned(), "not_found"),
        (format!("{UID}/kept/work/more"), "invalid_request"),
    ] {
        let (status, body) = get_at(&path).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!(code)));
    }
    let unknown = format!("{}/admin/v1/tasks/nobody/kept/work", world.admin);
    let put = world
        .http
        .put(unknown)
        .bearer_auth(OPERATOR)
        .json(&items)
        .send();
    assert_eq!(put.await.unwrap().status(), 404);
}
