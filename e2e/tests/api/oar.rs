//! `oar` on Workflows, their runs and Approvals: what it creates, shows, decides and refuses. What comes of it needs an operator: `node/workflow.rs`.

use crate::approval::{approver, waiting};
use crate::guards::account;
use crate::support::{in_space, object, with};
use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use oarmaster_crds::{Approval, Task};
use oarmaster_e2e::Space;
use oarmaster_e2e::command::{Output, Run, built};
use oarmaster_e2e::installed::RELEASE;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs `oar` as a user does.
async fn oar(space: &Space, kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    Run::new(built("oar").await?)
        .args(args)
        .args(&["--namespace", &space.name, "--kubeconfig"])
        .args(&[kubeconfig])
        .output()
        .await
}

/// Somebody with a kubeconfig of exactly their rights.
struct Person {
    kubeconfig: PathBuf,
    _folder: TempDir,
}

impl Person {
    fn new(space: &Space, name: &str, groups: &[&str]) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut config = Kubeconfig::read_from(&space.cluster.kubeconfig)?;
        let groups = [groups, &["system:authenticated"]].concat();
        for user in &mut config.auth_infos {
            let mut held = user.auth_info.take().unwrap_or_default();
            held.impersonate = Some(name.to_owned());
            held.impersonate_groups = Some(groups.iter().map(|&group| group.to_owned()).collect());
            user.auth_info = Some(held);
        }
        let kubeconfig = folder.path().join("config");
        std::fs::write(&kubeconfig, serde_json::to_string(&config)?)?;
        Ok(Self {
            kubeconfig,
            _folder: folder,
        })
    }

    async fn oar(&self, space: &Space, args: &[&str]) -> Result<Output> {
        oar(space, &self.kubeconfig, args).await
    }

    /// Holds a refusal to its exit code and what it says.
    async fn refused(&self, space: &Space, args: &[&str], code: i32, said: &[&str]) -> Result<()> {
        let out = self.oar(space, args).await?;
        ensure!(out.code == Some(code), "{args:?}: {}", out.text());
        for said in said {
            ensure!(
                out.stderr.contains(said),
                "{args:?}: no `{said}` in {}",
                out.text()
            );
        }
        Ok(())
    }
}

fn holds(out: &Output, all: &[&str]) -> Result<()> {
    for said in all {
        ensure!(out.stdout.contains(said), "no `{said}` in {}", out.text());
    }
    Ok(())
}

const WHOLE: [&str; 6] = [
    "approve",
    "ask",
    "--set",
    "environment=staging",
    "--set",
    "why=a=b",
];

#[tokio::test]
async fn people_decide_under_their_own_name() -> Result<()> {
    in_space("oar-decide", async |space| {
        let form = json!({"environment": {"options": ["staging", "prod"]}, "why": {}});
        waiting(space, "ask", json!({"form": form, "approvers": {"count": 2}})).await?;
        approver(space, "alice", &["leads"]).await?;
        approver(space, "carol", &[]).await?;
        let alice = Person::new(space, "alice", &["leads"])?;
        let carol = Person::new(space, "carol", &[])?;

        let out = alice.oar(space, &["approvals"]).await?.success()?;
        holds(&out, &["ask", "Waiting", "2 of carol, group leads", "Run Shell for Task fix?"])?;
        let out = alice.oar(space, &["approvals", "ask"]).await?.success()?;
        holds(
            &out,
            &[
                "Requester    bob",
                "Shown        arguments: {\"command\":\"rm -r .\"}",
                "Fill in      environment: one of staging, prod",
                "not the requester",
                "Next         oar approve ask --set environment=staging --set why=...",
            ],
        )?;

        let moon = ["approve", "ask", "--set", "environment=moon", "--set", "why=x", "--yes"];
        for (args, said) in [
            (&["approve", "ask", "--yes"][..], "environment is missing: --set environment=..., one of staging, prod"),
            (&moon, "environment takes one of staging, prod"),
            // Nobody is there to be asked.
            (&WHOLE, "say --yes"),
            (&["approve", "absent", "--yes"], "there is no Approval absent"),
        ] {
            alice.refused(space, args, 2, &[said]).await?;
        }

        let yes = [&WHOLE[..], &["--notes", "after six", "--yes"]].concat();
        let out = alice.oar(space, &yes).await?.success()?;
        holds(&out, &["alice approves ask: 1 of 2 so far", "oar get ask"])?;
        let held = space.api::<Approval>().get("ask").await?;
        let expected = json!({"alice": {"decision": "Approve", "note": "after six", "values": {"environment": "staging", "why": "a=b"}}});
        ensure!(json!(held.spec.decisions) == expected, "{:?}", held.spec.decisions);
        alice.refused(space, &yes, 2, &["alice has approved Approval ask already"]).await?;

        let no = ["reject", "ask", "--notes", "not today"];
        let out = carol.oar(space, &no).await?.success()?;
        holds(&out, &["Approval ask is rejected by carol"])?;
        let out = alice.oar(space, &["approvals", "ask"]).await?.success()?;
        holds(&out, &["alice approves, environment=staging, why=a=b: after six", "carol rejects: not today"])
    })
    .await
}

#[tokio::test]
async fn who_may_not_decide_is_told_what_helps() -> Result<()> {
    in_space("oar-refused", async |space| {
        waiting(space, "ask", json!({})).await?;
        for (name, verbs) in [("erin", "get"), ("frank", "get,patch")] {
            let verbs = format!("--verb={verbs}");
            let user = format!("--user={name}");
            let role = format!("--role={name}");
            space
                .kubectl(&[
                    "create",
                    "role",
                    name,
                    &verbs,
                    "--resource=approvals.oarmaster.dev",
                ])
                .await?;
            space
                .kubectl(&["create", "rolebinding", name, &role, &user])
                .await?;
        }
        approver(space, "dave", &["others"]).await?;
        approver(space, "bob", &["leads"]).await?;
        approver(space, "alice", &["leads"]).await?;
        let yes = ["approve", "ask", "--yes"];
        let binding = "--clusterrole=oarmaster-approver --user=";
        for (name, group, said) in [
            (
                "erin",
                "leads",
                &["erin may not change Approvals", binding][..],
            ),
            (
                "frank",
                "leads",
                &["frank may not approve Approvals", binding],
            ),
            (
                "dave",
                "others",
                &[
                    "dave is neither named",
                    "Who may decide: carol, group leads.",
                ],
            ),
            (
                "bob",
                "leads",
                &[
                    "bob created the Task",
                    "Who may decide: carol, group leads.",
                ],
            ),
            ("mallory", "leads", &["failed to get Approval"]),
        ] {
            let person = Person::new(space, name, &[group])?;
            person.refused(space, &yes, 3, said).await?;
        }
        let held = space.api::<Approval>().get("ask").await?;
        ensure!(held.spec.decisions.is_empty(), "{:?}", held.spec.decisions);

        let operator = account(space, RELEASE, "oarmaster-operator")?;
        let theirs: Api<Approval> = Api::namespaced(operator, &space.name);
        let over = Patch::Merge(json!({"status": {"phase": "Expired"}}));
        theirs
            .patch_status("ask", &PatchParams::default(), &over)
            .await?;
        let alice = Person::new(space, "alice", &["leads"])?;
        alice
            .refused(space, &yes, 2, &["Approval ask is Expired"])
            .await?;
        let out = alice.oar(space, &["approvals"]).await?.success()?;
        holds(&out, &["Nothing waits for people"])?;
        let out = alice.oar(space, &["approvals", "--all"]).await?.success()?;
        holds(&out, &["ask", "Expired"])
    })
    .await
}

#[tokio::test]
async fn a_workflow_is_listed_shown_and_run() -> Result<()> {
    in_space("oar-workflow", async |space| {
        let ship = object(
            "Workflow",
            json!({
                "description": "Asks, and no more.",
                "params": {"type": "object", "required": ["version"], "properties": {
                    "version": {"type": "string"}, "count": {"type": "integer", "default": 1}}},
                "steps": [
                    {"name": "ask", "approval": {"ask": "Ship ${params.version}?", "approvers": {"users": ["carol"]}}},
                    {"name": "again", "approval": {"ask": "Sure?", "approvers": {"users": ["carol"]}}, "if": "steps.ask.succeeded"},
                ],
            }),
        );
        let ship = with(&ship, json!({"metadata": {"name": "ship"}}));
        space.create(&ship.to_string()).await?;
        let admin = &space.cluster.kubeconfig;
        let out = oar(space, admin, &["workflows"]).await?.success()?;
        holds(&out, &["ship", "count=1 version", "Asks, and no more."])?;
        let out = oar(space, admin, &["workflows", "ship"]).await?.success()?;
        let said = [
            "Parameter    version: string, required",
            "Step         ask: approval\n",
            "Step         again: approval; needs ask; if steps.ask.succeeded",
            "Run          oar run --workflow ship -p version=...",
        ];
        holds(&out, &said)?;

        for (args, said) in [
            (&["run", "--workflow", "ship"][..], "params.version: is missing"),
            (&["run", "--workflow", "ship", "-p", "version=1", "-p", "count=x"], "-p count is no integer"),
            (&["run", "--workflow", "ship", "-p", "varsion=1"], "it takes count, version"),
            (&["run", "--workflow", "shp", "-p", "version=1"], "There are: ship"),
        ] {
            let out = oar(space, admin, args).await?;
            ensure!(out.code == Some(2) && out.stderr.contains(said), "{said}: {}", out.text());
        }
        let run = ["run", "--workflow", "ship", "--name", "first", "-p", "version=2", "-p", "count=3", "--budget", "0.5"];
        let out = oar(space, admin, &run).await?.success()?;
        holds(&out, &["Task first is created", "oar get first --watch"])?;
        let spec = space.api::<Task>().get("first").await?.spec;
        ensure!(spec.workflow.is_some_and(|named| named.name.as_deref() == Some("ship")));
        ensure!(json!(spec.params) == json!({"version": "2", "count": 3}), "{:?}", spec.params);
        let out = oar(space, admin, &["logs", "first"]).await?;
        ensure!(out.code == Some(2) && out.stderr.contains("oar get first"), "{}", out.text());
        let out = oar(space, admin, &["cancel", "first"]).await?.success()?;
        holds(&out, &["Task first is being cancelled"])
    })
    .await
}

/// Makes a run whose Workflow is not there, so that an operator, where there is one, leaves its steps alone.
async fn run(space: &Space, name: &str) -> Result<()> {
    let task = object("Task", json!({"workflow": {"name": "none"}}));
    let task = with(&task, json!({"metadata": {"name": name}}));
    space.create(&task.to_string()).await?;
    Ok(())
}

async fn stands(space: &Space, name: &str, status: Value) -> Result<()> {
    let operator = account(space, RELEASE, "oarmaster-operator")?;
    let theirs: Api<Task> = Api::namespaced(operator, &space.name);
    let status = Patch::Merge(json!({"status": status}));
    theirs
        .patch_status(name, &PatchParams::default(), &status)
        .await?;
    Ok(())
}

fn steps(more: Value) -> Value {
    let steps =
        json!({"revision": "none@sha256:0", "progress": "1/3", "total": 3, "succeeded": ["build"]});
    with(&steps, more)
}

#[tokio::test]
async fn a_run_is_shown_with_its_steps() -> Result<()> {
    in_space("oar-steps", async |space| {
        run(space, "ship").await?;
        let active = json!([{"name": "ask", "kind": "Approval", "object": "ship-ask-1", "phase": "Waiting"}]);
        let failed = json!([{"name": "check", "class": "ToolFailed", "message": "exit code 1"}]);
        let steps = steps(json!({"active": active, "failed": failed}));
        stands(space, "ship", json!({"phase": "Waiting", "steps": steps})).await?;
        let admin = &space.cluster.kubeconfig;
        let out = oar(space, admin, &["get", "ship"]).await?.success()?;
        let said = ["Steps        1/3 have ended", "oar approvals ship-ask-1", "STEP", "ToolFailed: exit code 1"];
        holds(&out, &said)?;
        let row = |name: &str, state: &str| {
            let mut lines = out.stdout.lines();
            lines.any(|line| line.starts_with(name) && line.contains(state))
        };
        let rows = [("build", "Succeeded"), ("check", "Failed"), ("ask", "Waiting")];
        for (name, state) in rows {
            ensure!(row(name, state), "{name}: {}", out.text());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_is_followed_to_its_end_without_a_gateway() -> Result<()> {
    in_space("oar-follow", async |space| {
        run(space, "ship").await?;
        let changes = async {
            let active = json!([{"name": "check", "kind": "Task", "object": "ship-check", "phase": "Running"}]);
            let under_way = steps(json!({ "active": active }));
            stands(space, "ship", json!({"phase": "Running", "steps": under_way})).await?;
            let failed = json!([{"name": "check", "class": "ToolFailed", "message": "exit code 1"}]);
            let over = steps(json!({"active": [], "failed": failed, "skipped": ["mend"]}));
            let holds = |kind: &str| {
                json!({"type": kind, "status": "True", "reason": "Complete", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
            };
            let conditions = json!([holds("Complete"), holds("Finished")]);
            let status = json!({"phase": "Succeeded", "steps": over, "conditions": conditions, "output": {"said": "shipped"}});
            stands(space, "ship", status).await
        };
        let kubeconfig = &space.cluster.kubeconfig;
        let watched = oar(space, kubeconfig, &["get", "ship", "--follow"]);
        let (out, changed) = tokio::join!(watched, changes);
        changed?;
        let out = out?.success()?;
        // How much of what came before is seen depends on who is faster.
        let said = [
            "step build succeeded",
            "step check failed: ToolFailed: exit code 1",
            "step mend is skipped",
            "\"said\": \"shipped\"",
            "Task ship is Complete",
        ];
        holds(&out, &said)?;
        ensure!(!out.stderr.contains("transcript"), "{}", out.text());
        Ok(())
    })
    .await
}
