//! Approvals that steps of a run ask for: what for those of tool calls (`approval.rs`) cannot be tried. Their names are known before they are made.

use crate::approval::{ASKED, DECIDED, approval, approver, changed, decision, tried};
use crate::guards::{account, editor};
use crate::support::{in_space, refused, with, with_spec};
use crate::task;
use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use oarmaster_crds::{Approval, Task, names};
use oarmaster_e2e::Space;
use oarmaster_e2e::installed::RELEASE;
use serde_json::{Value, json};

/// A run whose step `ask` asks, without its Approval.
struct Run {
    task: Task,
    operator: Client,
}

impl Run {
    async fn new(space: &Space) -> Result<Self> {
        let task = with(&task::workflow(), json!({"metadata": {"name": "run"}}));
        let tasks: Api<Task> = space.api();
        let task = tasks
            .create(&PostParams::default(), &serde_json::from_value(task)?)
            .await?;
        let operator = account(space, RELEASE, "oarmaster-operator")?;
        Ok(Self { task, operator })
    }

    fn uid(&self) -> &str {
        self.task.metadata.uid.as_deref().unwrap_or_default()
    }

    /// As the operator names it.
    fn name(&self, round: i64) -> String {
        names::approval_name("run", self.uid(), "ask", "step/ask", round)
    }

    /// As the operator makes it.
    fn approval(&self, round: i64, patch: Value) -> Result<Approval> {
        let made = with_spec(
            &approval(),
            json!({"task": {"name": "run", "uid": self.uid()}, "form": {"where": {"options": ["prod"]}}}),
        );
        let made = with(
            &made,
            json!({"metadata": {
                "name": self.name(round), "labels": {names::PARENT_UID_LABEL: self.uid(), names::STEP_LABEL: "ask"},
                "ownerReferences": [{
                    "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": "run", "uid": self.uid(), "controller": true,
                }],
            }}),
        );
        Ok(serde_json::from_value(with_spec(&made, patch))?)
    }

    /// The run asks, and says so.
    async fn asks(&self, space: &Space, round: i64, patch: Value) -> Result<Approval> {
        let approvals: Api<Approval> = Api::namespaced(self.operator.clone(), &space.name);
        let made = self.approval(round, patch)?;
        let made = approvals.create(&PostParams::default(), &made).await?;
        let active = json!([{
            "name": "ask", "kind": "Approval", "object": self.name(round), "uid": made.metadata.uid, "phase": "Waiting", "round": round,
        }]);
        let tasks: Api<Task> = Api::namespaced(self.operator.clone(), &space.name);
        let params = PatchParams::default();
        let status = Patch::Merge(
            json!({"status": {"steps": {"revision": "fix@sha256:0", "total": 1, "progress": "0/1", "active": active}}}),
        );
        tasks.patch_status("run", &params, &status).await?;
        self.is(space, round, "Waiting").await
    }

    async fn is(&self, space: &Space, round: i64, phase: &str) -> Result<Approval> {
        let approvals: Api<Approval> = Api::namespaced(self.operator.clone(), &space.name);
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        let params = PatchParams::default();
        Ok(approvals
            .patch_status(&self.name(round), &params, &status)
            .await?)
    }
}

#[tokio::test]
async fn nobody_makes_the_approval_of_a_step_before_its_run_does() -> Result<()> {
    in_space("step-forged", async |space| {
        let run = Run::new(space).await?;
        let eve = editor(space).await?;
        space.kubectl(&["create", "role", "makes", "--verb=create", "--resource=approvals.oarmaster.dev"]).await?;
        space.kubectl(&["create", "rolebinding", "eve-makes", "--role=makes", "--user=eve"]).await?;
        for (who, client) in [("an editor", &eve), ("an administrator", &space.cluster.client)] {
            let own: Api<Approval> = Api::namespaced(client.clone(), &space.name);
            for round in [1, 2] {
                // Her own question, which she may answer.
                let forged = run.approval(round, json!({"approvers": {"users": ["eve"]}}))?;
                let error = own.create(&PostParams::default(), &forged).await;
                let error = error.err().context("was made")?.into();
                let told = refused(&error);
                ensure!(told.contains("Approvals are made by the operator"), "{who}: {told}");
            }
        }
        // Nor does the run say that it asked for another one.
        let tasks: Api<Task> = Api::namespaced(eve, &space.name);
        let steps = json!({"active": [{"name": "ask", "kind": "Approval", "object": "mine", "uid": "u", "phase": "Waiting"}]});
        let status = Patch::Merge(json!({"status": {"steps": steps}}));
        let told = tasks.patch_status("run", &PatchParams::default(), &status).await;
        ensure!(matches!(&told, Err(kube::Error::Api(status)) if status.code == 403), "{told:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_is_decided_by_whom_it_asks_and_about_what_it_shows() -> Result<()> {
    in_space("step-decide", async |space| {
        let run = Run::new(space).await?;
        // The account of the sandboxes, in which an agent's code runs: named, and with the right.
        let sandbox = format!("system:serviceaccount:{}:oarmaster-sandbox", space.name);
        let users = json!(["carol", sandbox]);
        let name = run.asks(space, 1, json!({"approvers": {"users": users, "count": 2}})).await?;
        let name = name.metadata.name.context("no name")?;
        let binding = format!("--serviceaccount={}:oarmaster-sandbox", space.name);
        space.kubectl(&["create", "rolebinding", "sandboxes", "--clusterrole=oarmaster-approver", &binding]).await?;
        let robot = account(space, &space.name, "oarmaster-sandbox")?;
        let alice = approver(space, "alice", &["leads"]).await?;
        // Whoever created the run at the top, also where a run below it asks.
        let bob = approver(space, "bob", &["leads"]).await?;
        let says = |user: &str| json!({"spec": {"decisions": {user: {"decision": "Approve", "values": {"where": "prod"}}}}});
        let spec = |patch: Value| json!({ "spec": patch });
        for (what, client, patch, wanted) in [
            ("a member", &alice, says("alice"), ""),
            ("the agent's ServiceAccount", &robot, says(&sandbox), "a ServiceAccount does not"),
            ("the requester", &bob, says("bob"), "somebody else has to decide"),
            ("what is shown", &alice, spec(json!({"show": {"tool": "nothing"}})), ASKED),
            ("what silence means", &alice, spec(json!({"onTimeout": "Approve"})), ASKED),
            ("another run", &alice, spec(json!({"task": {"uid": "other"}})), ASKED),
            ("another requester", &bob, spec(json!({"requestedBy": "alice"})), ASKED),
            ("another action with a decision", &alice, with(&says("alice"), spec(json!({"action": format!("sha256:{}", "1".repeat(64))}))), ASKED),
        ] {
            let told = tried(space, client, &name, &patch).await?;
            let right = if wanted.is_empty() { told.is_empty() } else { told.contains(wanted) };
            ensure!(right, "{what}: {told}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_is_decided_once_and_each_round_by_itself() -> Result<()> {
    in_space("step-round", async |space| {
        let run = Run::new(space).await?;
        let first = run.asks(space, 1, json!({"form": null})).await?;
        let first = first.metadata.name.context("no name")?;
        let alice = approver(space, "alice", &["leads"]).await?;
        let carol = approver(space, "carol", &[]).await?;
        let approvals: Api<Approval> = Api::namespaced(alice.clone(), &space.name);
        let params = PatchParams::default();
        let yes = decision("alice", "Approve");
        for _ in 0..2 {
            let told = changed(space, &alice, &first, &yes, &params).await?;
            ensure!(told.is_empty(), "{told}");
        }
        let once = approvals.get(&first).await?;
        ensure!(once.spec.decisions.len() == 1);
        let told = changed(space, &alice, &first, &yes, &params).await?;
        let again = approvals.get(&first).await?;
        ensure!(
            told.is_empty() && again.metadata.resource_version == once.metadata.resource_version,
            "the same again is a change: {told}"
        );
        let told = tried(space, &alice, &first, &decision("alice", "Reject")).await?;
        ensure!(told.contains(DECIDED), "{told}");
        run.is(space, 1, "Approved").await?;
        let told = tried(space, &carol, &first, &decision("carol", "Reject")).await?;
        ensure!(told.contains("waits for no decision"), "{told}");

        // Whoever may delete it has it asked anew, under another name, and takes no decision along.
        let own: Api<Approval> = space.api();
        let old = own.get(&first).await?;
        own.delete(&first, &DeleteParams::default()).await?;
        let mut back = old;
        back.metadata.resource_version = None;
        back.metadata.uid = None;
        let error = own.create(&PostParams::default(), &back).await;
        let error = error.err().context("was put back")?.into();
        ensure!(
            refused(&error).contains("Approvals are made by the operator"),
            "{error:#}"
        );
        let second = run.asks(space, 2, json!({"form": null})).await?;
        ensure!(second.metadata.name.as_ref() != Some(&first) && second.spec.decisions.is_empty());
        Ok(())
    })
    .await
}
