//! Remember and Recall, and who reads and deletes notes.

use super::{call, with_tools, worked_on};
use crate::common::{PILOT, World};
use oarmaster_protocol::admin::{OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::read::{AuditAct, AuditRecord, Deleted, NoteLine};
use serde_json::json;

/// Another Task of this agent and requester, run by a shared pilot; its session and capability.
async fn another(world: &World, uid: &str, agent: &str, requester: &str) -> (String, String) {
    let mut assignment = with_tools(&["Remember", "Recall"]);
    assignment["task"] = json!({"namespace": "team", "name": uid, "uid": uid});
    assignment["target"]["agent"]["pinned"] = json!(format!("{agent}@sha256:00"));
    let request = OpenAttempt {
        runs_in: RunsIn::Shared,
        assignment: Some(serde_json::from_value(assignment).unwrap()),
        budget: TaskBudget::default(),
        requested_by: Some(requester.to_owned()),
        parent: None,
        keeps: false,
        ends: false,
        labels: Default::default(),
    };
    worked_on(world, uid, 1, &request).await
}

/// What a shared pilot's Recall finds.
async fn recalled(world: &World, (token, session): &(String, String)) -> String {
    let body = json!({"number": 1, "arguments": {"query": "falcon"}});
    let (status, answer) = super::post(world, (token, session), "Recall", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["text"].as_str().unwrap().to_owned()
}

async fn told(world: &World) -> String {
    let claim = world
        .task_with(TaskBudget::default(), with_tools(&["Remember", "Recall"]))
        .await;
    let note = json!({"text": "The staging cluster is called Falcon."});
    let kept = call(world, &claim.session, 1, "Remember", note).await;
    assert_eq!(kept, (true, "Noted.".to_owned()));
    claim.session
}

#[tokio::test]
async fn a_note_is_found_by_the_same_agent_for_the_same_requester_and_by_nobody_else() {
    let world = World::start().await;
    let session = told(&world).await;
    let query = json!({"query": "what is staging called?"});
    let (ok, text) = call(&world, &session, 2, "Recall", query).await;
    assert!(
        ok && text.ends_with("] The staging cluster is called Falcon."),
        "{text}"
    );

    let same = another(&world, "t2", "agent", "alice@acme").await;
    assert!(recalled(&world, &same).await.contains("Falcon"));
    let others = [("t3", "agent", "bob@acme"), ("t4", "other", "alice@acme")];
    for (uid, agent, requester) in others {
        let other = another(&world, uid, agent, requester).await;
        assert_eq!(
            recalled(&world, &other).await,
            "There are no notes yet.",
            "{uid}"
        );
    }
}

#[tokio::test]
async fn a_call_that_is_made_again_keeps_nothing_twice() {
    let world = World::start().await;
    let session = told(&world).await;
    // As another attempt, or another gateway, would make it.
    let note = json!({"text": "The staging cluster is called Falcon."});
    let again = call(&world, &session, 7, "Remember", note).await;
    assert_eq!(again, (true, "Noted.".to_owned()));
    let (_, all) = call(&world, &session, 8, "Recall", json!({})).await;
    assert_eq!(all.matches("Falcon").count(), 1, "{all}");
    for wrong in [
        json!({}),
        json!({"text": 1}),
        json!({"text": "x", "to": "bob"}),
    ] {
        let (ok, text) = call(&world, &session, 9, "Remember", wrong).await;
        assert!(
            !ok && text.starts_with("The arguments are not usable"),
            "{text}"
        );
    }
    let (ok, text) = call(&world, &session, 10, "Remember", json!({"text": " "})).await;
    assert!(!ok && text.starts_with("It was not noted"), "{text}");
}

fn memory(
    world: &World,
    token: &str,
    method: reqwest::Method,
    query: &str,
) -> reqwest::RequestBuilder {
    let url = format!("{}/read/v1/namespaces/team/memory{query}", world.read);
    world.http.request(method, url).bearer_auth(token)
}

#[tokio::test]
async fn who_may_reads_and_deletes_and_the_audit_has_no_note() {
    use reqwest::Method;

    let world = World::start().await;
    told(&world).await;
    for user in ["nobody", "keeper"] {
        world.kube.token(user, user, "api-server", None);
    }
    world.kube.allow("keeper get agents/memory team/");
    world.kube.allow("keeper delete agents/memory team/agent");
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            status(memory(&world, "nobody", method.clone(), "")).await,
            403
        );
        assert_eq!(status(memory(&world, PILOT, method, "")).await, 401);
    }
    let listed = memory(&world, "keeper", Method::GET, "");
    let listed: Vec<NoteLine> = listed.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&*listed[0].agent, &*listed[0].requester),
        ("agent", "alice@acme")
    );
    assert!(listed[0].text.contains("Falcon"));
    // Of one agent is not of all.
    assert_eq!(
        status(memory(&world, "keeper", Method::DELETE, "")).await,
        403
    );
    let delete = async |query: String| -> Deleted {
        let request = memory(&world, "keeper", Method::DELETE, &query);
        request.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(
        delete("?agent=agent&requester=bob".to_owned()).await.notes,
        0
    );
    let one = format!("?agent=agent&id={}", listed[0].id);
    assert_eq!(delete(one).await.notes, 1);
    let left = memory(&world, "keeper", Method::GET, "");
    let left: Vec<NoteLine> = left.send().await.unwrap().json().await.unwrap();
    assert!(left.is_empty());

    world.gateway.audit.flush();
    world.gateway.store.flush().await.unwrap();
    let (sender, mut lines) = tokio::sync::mpsc::channel(1000);
    let store = &world.gateway.store;
    assert!(store.audited(0, i64::MAX, sender).await.unwrap());
    let mut seen: Vec<AuditRecord> = Vec::new();
    while let Some(line) = lines.recv().await {
        assert!(!line.object.contains("Falcon"), "{line:?}");
        seen.push(line);
    }
    let has = |act, allowed, who: &str| {
        let same = |line: &&AuditRecord| {
            line.act == act
                && line.allowed == allowed
                && line.who == who
                && line.namespace == "team"
        };
        seen.iter().any(|line| same(&line))
    };
    assert!(has(AuditAct::Remember, true, "alice@acme"));
    assert!(has(AuditAct::Read, false, "nobody"));
    assert!(has(AuditAct::Forget, false, "nobody"));
    assert!(has(AuditAct::Read, true, "keeper"));
    assert!(has(AuditAct::Forget, true, "keeper"));
}
