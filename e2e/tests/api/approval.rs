//! Approval: what the operator may make, and who may decide what when.

use crate::guards::{account, editor};
use crate::support::{Case, check, denied, in_space, object, refused, taken, with, with_spec};
use crate::task;
use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use oarmaster_crds::{Approval, Task};
use oarmaster_e2e::Space;
use oarmaster_e2e::installed::RELEASE;
use serde_json::{Value, json};

pub const DECIDED: &str = "a decision stands: it neither changes nor disappears";
pub const ASKED: &str = "only decisions can be added: the rest says what is asked, and of whom";
const FILLED: &str = "whoever approves fills in spec.form: one of the options, or any text, for each of its names in the decision's values";
const NAMED: &str = "values are for the names of spec.form";

/// An Approval as the operator makes it.
pub fn approval() -> Value {
    object(
        "Approval",
        json!({
            "task": {"name": "fix", "uid": "6b1ef02c-0000-4000-8000-000000000000"},
            "requestedBy": "bob",
            "ask": "Run Shell for Task fix?",
            "show": {"tool": "Shell", "arguments": "{\"command\":\"rm -r .\"}"},
            "action": format!("sha256:{}", "0".repeat(64)),
            "approvers": {"groups": ["leads"], "users": ["carol"]},
            "expiresAt": "2036-01-01T00:00:00Z",
        }),
    )
}

pub fn cases() -> Vec<Case> {
    let a = |patch: Value| with_spec(&approval(), patch);
    vec![
        taken("an approval", approval()),
        denied(
            "nobody who may decide",
            a(json!({"approvers": {"groups": null, "users": []}})),
            &["name groups, users, or both: those who may decide"],
        ),
        denied(
            "a digest of something else",
            a(json!({"action": "md5:0"})),
            &["spec.action", "should match"],
        ),
        denied(
            "nobody's",
            a(json!({"requestedBy": null})),
            &["spec.requestedBy: Required value"],
        ),
        denied(
            "a decision that it begins with",
            a(json!({"decisions": {"alice": {"decision": "Approve"}}})),
            &["Approvals are made by the operator, for a Task that asks"],
        ),
    ]
}

/// What the rules of the schema say to changes.
pub fn told() -> Vec<&'static str> {
    vec![DECIDED, ASKED, FILLED, NAMED]
}

#[tokio::test]
async fn the_operator_makes_approvals_and_nobody_else() -> Result<()> {
    in_space("approvals", async |space| {
        let operator = account(space, RELEASE, "oarmaster-operator")?;
        check(&operator, &space.name, &cases()).await?;
        let forged = [denied(
            "an approval that nobody asked for",
            approval(),
            &["Approvals are made by the operator"],
        )];
        // Rights do not help: the policy asks who it is.
        check(&space.cluster.client, &space.name, &forged).await
    })
    .await
}

/// An Approval that waits, for a Task that says that it asked. Also an operator that runs finds it so.
pub async fn waiting(space: &Space, name: &str, patch: Value) -> Result<Approval> {
    let operator = account(space, RELEASE, "oarmaster-operator")?;
    let asks = with(
        &with_spec(&task::agent(), json!({"agent": {"name": "none"}})),
        json!({"metadata": {"name": name}}),
    );
    let tasks: Api<Task> = space.api();
    let asks = serde_json::from_value(asks)?;
    let asks = tasks.create(&PostParams::default(), &asks).await?;
    let uid = asks.metadata.uid.context("a Task without UID")?;
    let made = with(
        &with_spec(&approval(), json!({"task": {"name": name, "uid": uid}})),
        json!({"metadata": {"name": name, "ownerReferences": [{
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": name, "uid": uid, "controller": true,
        }]}}),
    );
    let made = serde_json::from_value(with_spec(&made, patch))?;
    let approvals: Api<Approval> = Api::namespaced(operator.clone(), &space.name);
    let made = approvals.create(&PostParams::default(), &made).await?;
    let entry = json!([{"id": "1-0", "kind": "Approval", "name": name, "uid": made.metadata.uid, "round": 1}]);
    let theirs: Api<Task> = Api::namespaced(operator, &space.name);
    let params = PatchParams::default();
    let status = Patch::Merge(json!({"status": {"requests": entry}}));
    theirs.patch_status(name, &params, &status).await?;
    let status = Patch::Merge(json!({"status": {"phase": "Waiting"}}));
    Ok(approvals.patch_status(name, &params, &status).await?)
}

/// A client of somebody who may decide on Approvals of the namespace.
pub async fn approver(space: &Space, name: &str, groups: &[&str]) -> Result<Client> {
    let user = format!("--user={name}");
    let role = "--clusterrole=oarmaster-approver";
    space
        .kubectl(&[
            "create",
            "rolebinding",
            &format!("{name}-approves"),
            role,
            &user,
        ])
        .await?;
    acting(space, name, groups)
}

fn acting(space: &Space, name: &str, groups: &[&str]) -> Result<Client> {
    let groups = [groups, &["system:authenticated"]].concat();
    space.cluster.acting_as(name, &groups)
}

pub fn decision(user: &str, decision: &str) -> Value {
    json!({"spec": {"decisions": {user: {"decision": decision}}}})
}

/// What is said to a change of an Approval; empty where it is taken. Nothing is kept.
pub async fn tried(space: &Space, client: &Client, name: &str, patch: &Value) -> Result<String> {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    changed(space, client, name, patch, &params).await
}

pub async fn changed(
    space: &Space,
    client: &Client,
    name: &str,
    patch: &Value,
    params: &PatchParams,
) -> Result<String> {
    let approvals: Api<Approval> = Api::namespaced(client.clone(), &space.name);
    Ok(
        match approvals.patch(name, params, &Patch::Merge(patch)).await {
            Ok(_) => String::new(),
            Err(error) => refused(&error.into()).to_owned(),
        },
    )
}

#[tokio::test]
async fn who_may_decides_under_the_own_name() -> Result<()> {
    in_space("decide", async |space| {
        waiting(space, "one", json!({})).await?;
        let alice = approver(space, "alice", &["leads"]).await?;
        let carol = approver(space, "carol", &[]).await?;
        let dave = approver(space, "dave", &["others"]).await?;
        let bob = approver(space, "bob", &["leads"]).await?;
        let erin = acting(space, "erin", &["leads"])?;
        let frank = {
            editor(space).await?;
            space.kubectl(&["create", "role", "patch", "--verb=patch", "--resource=approvals.oarmaster.dev"]).await?;
            space.kubectl(&["create", "rolebinding", "frank", "--role=patch", "--user=frank"]).await?;
            acting(space, "frank", &["leads"])?
        };
        let name = format!("system:serviceaccount:{}:robot", space.name);
        let binding = format!("--serviceaccount={}:robot", space.name);
        space.kubectl(&["create", "rolebinding", "robots", "--clusterrole=oarmaster-approver", &binding]).await?;
        let robot = account(space, &space.name, "robot")?;
        let two = json!({"spec": {"decisions": {"alice": {"decision": "Approve"}, "carol": {"decision": "Approve"}}}});
        for (what, client, patch, wanted) in [
            ("a member of a group", &alice, decision("alice", "Approve"), ""),
            ("a rejection", &alice, decision("alice", "Reject"), ""),
            ("somebody who is named", &carol, decision("carol", "Approve"), ""),
            ("another's name", &alice, decision("carol", "Approve"), "under the name of who makes it"),
            ("another's name beside the own", &alice, two, "under the name of who makes it"),
            ("neither named nor a member", &dave, decision("dave", "Approve"), "neither named in spec.approvers"),
            ("the requester", &bob, decision("bob", "Approve"), "somebody else has to decide"),
            ("without any right", &erin, decision("erin", "Approve"), "forbidden"),
            ("without the verb", &frank, decision("frank", "Approve"), "oarmaster-approver"),
            ("a ServiceAccount", &robot, decision(&name, "Approve"), "a ServiceAccount does not"),
            ("another question", &alice, json!({"spec": {"ask": "Is it nice?"}}), ASKED),
            ("another action", &alice, json!({"spec": {"action": format!("sha256:{}", "1".repeat(64))}}), ASKED),
            ("a longer time", &alice, json!({"spec": {"expiresAt": "2037-01-01T00:00:00Z"}}), ASKED),
            ("oneself among the approvers", &dave, json!({"spec": {"approvers": {"users": ["dave"]}}}), ASKED),
            ("another owner", &alice, json!({"metadata": {"ownerReferences": null}}), "stays it"),
            ("a label", &alice, json!({"metadata": {"labels": {"a": "b"}}}), ""),
            ("a verdict that there is not", &alice, decision("alice", "Maybe"), "Unsupported value"),
        ] {
            let told = tried(space, client, "one", &patch).await?;
            let right = if wanted.is_empty() { told.is_empty() } else { told.contains(wanted) };
            ensure!(right, "{what}: {told}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_requester_decides_only_where_that_is_allowed() -> Result<()> {
    in_space("own", async |space| {
        let own = json!({"approvers": {"allowRequester": true}});
        waiting(space, "own", own).await?;
        let bob = approver(space, "bob", &["leads"]).await?;
        let told = tried(space, &bob, "own", &decision("bob", "Approve")).await?;
        ensure!(told.is_empty(), "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_decision_stands() -> Result<()> {
    in_space("stands", async |space| {
        waiting(space, "one", json!({"approvers": {"count": 3}})).await?;
        let alice = approver(space, "alice", &["leads"]).await?;
        let carol = approver(space, "carol", &[]).await?;
        let params = PatchParams::default();
        let told = changed(space, &alice, "one", &decision("alice", "Approve"), &params).await?;
        ensure!(told.is_empty(), "{told}");
        let gone = json!({"spec": {"decisions": {"alice": null}}});
        let noted = json!({"spec": {"decisions": {"alice": {"note": "after all"}}}});
        for (client, patch) in [
            (&alice, &decision("alice", "Reject")),
            (&alice, &gone),
            (&alice, &noted),
            (&alice, &json!({"spec": {"decisions": null}})),
            (&carol, &gone),
            (&carol, &decision("alice", "Reject")),
            // Also an administrator changes none.
            (&space.cluster.client, &gone),
        ] {
            let told = tried(space, client, "one", patch).await?;
            ensure!(told.contains(DECIDED), "{patch}: {told}");
        }
        let told = tried(space, &carol, "one", &decision("carol", "Reject")).await?;
        ensure!(told.is_empty(), "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_approves_fills_in_the_form() -> Result<()> {
    in_space("form", async |space| {
        let form = json!({"environment": {"options": ["staging", "prod"]}, "why": {}});
        waiting(space, "form", json!({ "form": form })).await?;
        waiting(space, "plain", json!({})).await?;
        let alice = approver(space, "alice", &["leads"]).await?;
        let says = |verdict: &str, values: Value| {
            json!({"spec": {"decisions": {"alice": {"decision": verdict, "values": values}}}})
        };
        let whole = json!({"environment": "staging", "why": "it is late"});
        for (name, patch, wanted) in [
            ("form", says("Approve", whole.clone()), ""),
            ("form", decision("alice", "Reject"), ""),
            ("form", decision("alice", "Approve"), FILLED),
            ("form", says("Approve", json!({"environment": "staging"})), FILLED),
            ("form", says("Approve", json!({"environment": "moon", "why": "x"})), FILLED),
            ("form", says("Reject", json!({"colour": "red"})), NAMED),
            ("plain", says("Approve", whole), NAMED),
            ("form", json!({"spec": {"form": {"environment": {"options": ["moon"]}}}}), ASKED),
        ] {
            let told = tried(space, &alice, name, &patch).await?;
            let right = if wanted.is_empty() { told.is_empty() } else { told.contains(wanted) };
            ensure!(right, "{name}: {patch}: {told}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_does_not_wait_is_not_decided() -> Result<()> {
    in_space("over", async |space| {
        waiting(space, "over", json!({})).await?;
        let alice = approver(space, "alice", &["leads"]).await?;
        let operator = account(space, RELEASE, "oarmaster-operator")?;
        let theirs: Api<Approval> = Api::namespaced(operator, &space.name);
        for phase in ["Expired", "Approved", "Rejected"] {
            let status = Patch::Merge(json!({"status": {"phase": phase}}));
            theirs
                .patch_status("over", &PatchParams::default(), &status)
                .await?;
            let told = tried(space, &alice, "over", &decision("alice", "Approve")).await?;
            ensure!(told.contains("waits for no decision"), "{phase}: {told}");
        }
        // The status is the operator's.
        let status = Patch::Merge(json!({"status": {"phase": "Waiting"}}));
        let own: Api<Approval> = Api::namespaced(alice, &space.name);
        ensure!(
            own.patch_status("over", &PatchParams::default(), &status)
                .await
                .is_err()
        );
        ensure!(own.delete("over", &DeleteParams::default()).await.is_err());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_makes_a_task_that_another_one_did_not_ask_for() -> Result<()> {
    in_space("child", async |space| {
        let eve = editor(space).await?;
        // One that is there: the garbage collector lets no others' children be.
        let own: Api<Task> = Api::namespaced(eve.clone(), &space.name);
        let owner = serde_json::from_value(with(&task::run(), json!({"metadata": {"name": "t"}})))?;
        let owner: Task = own.create(&PostParams::default(), &owner).await?;
        let owner = json!([{"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": "t", "uid": owner.metadata.uid}]);
        let only = "is set by the operator only, and stays as it is";
        let forged = |name, patch: Value| denied(name, with(&task::run(), patch), &[only]);
        let owned = with(&task::run(), json!({"metadata": {"ownerReferences": owner}}));
        let cases = [
            taken("a Task", task::run()),
            taken("another label", with(&task::run(), json!({"metadata": {"labels": {"team": "red"}}}))),
            denied("another Task's", owned, &["are made by the operator only"]),
            forged("a parent", json!({"metadata": {"labels": {"oarmaster.dev/parent-uid": "u"}}})),
            forged("a root", json!({"metadata": {"labels": {"oarmaster.dev/root-uid": "u"}}})),
            forged("a depth", json!({"metadata": {"labels": {"oarmaster.dev/depth": "0"}}})),
            forged("the end of a run", json!({"metadata": {"labels": {"oarmaster.dev/ends-run": "true"}}})),
            forged("a step", json!({"metadata": {"labels": {"oarmaster.dev/step": "critic"}}})),
            forged("another one's files", json!({"metadata": {"labels": {"oarmaster.dev/files-of": "1-x"}}})),
            forged("a plan", json!({"metadata": {"labels": {"oarmaster.dev/plan": "1"}}})),
            forged("no root", json!({"metadata": {"labels": {"oarmaster.dev/root": "false"}}})),
            taken("a root, as the webhook writes it", with(&task::run(), json!({"metadata": {"labels": {"oarmaster.dev/root": "true"}}}))),
            taken("a workflow of one's own", with(&task::run(), json!({"metadata": {"labels": {"oarmaster.dev/workflow": "mine"}}}))),
        ];
        check(&eve, &space.name, &cases).await?;
        let operator = account(space, RELEASE, "oarmaster-operator")?;
        let child = with_spec(
            &with(&task::run(), json!({"metadata": {"labels": {"oarmaster.dev/parent-uid": "u"}, "ownerReferences": owner}})),
            json!({"requestedBy": "alice@acme"}),
        );
        let ownerless = with(&child, json!({"metadata": {"ownerReferences": null}}));
        let cases = [
            taken("a Task that another one asked for", child.clone()),
            denied("one in another's name that nobody asked for", ownerless, &["leave requestedBy out"]),
        ];
        check(&operator, &space.name, &cases).await?;

        let child = serde_json::from_value(with(&child, json!({"metadata": {"name": "made"}})))?;
        let theirs: Api<Task> = Api::namespaced(operator, &space.name);
        theirs.create(&PostParams::default(), &child).await?;
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        for (patch, allowed) in [
            (json!({"spec": {"state": "Cancelled"}}), true),
            (json!({"metadata": {"labels": {"team": "red"}}}), true),
            (json!({"metadata": {"labels": {"oarmaster.dev/depth": "0"}}}), false),
            (json!({"metadata": {"labels": {"oarmaster.dev/parent-uid": "v"}}}), false),
            (json!({"metadata": {"labels": {"oarmaster.dev/files-of": "2-x"}}}), false),
            (json!({"metadata": {"labels": {"oarmaster.dev/ends-run": "true"}}}), false),
            (json!({"metadata": {"labels": {"oarmaster.dev/step": "critic"}}}), false),
            // By it costs are summed up.
            (json!({"metadata": {"labels": {"oarmaster.dev/workflow": "mine"}}}), false),
            (json!({"metadata": {"ownerReferences": null}}), false),
        ] {
            let done = own.patch("made", &params, &Patch::Merge(&patch)).await;
            ensure!(done.is_ok() == allowed, "{patch}: {done:?}");
        }
        // One's own Task stays a root, and may have any workflow.
        for (labels, allowed) in [
            (json!({"oarmaster.dev/root": null}), false),
            (json!({"oarmaster.dev/root": "no"}), false),
            (json!({"oarmaster.dev/workflow": "mine"}), true),
        ] {
            let patch = json!({"metadata": {"labels": labels}});
            let done = own.patch("t", &params, &Patch::Merge(&patch)).await;
            ensure!(done.is_ok() == allowed, "{patch}: {done:?}");
        }
        Ok(())
    })
    .await
}
