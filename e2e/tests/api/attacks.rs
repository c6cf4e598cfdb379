//! Each policy of the chart refuses an attack: of a user with the built-in role `edit`, and of one with `admin`, wherever those have the right to try it.

use crate::guards::{account, attackers, labelled, owned, pod};
use crate::support::{in_space, refused, with, with_spec};
use crate::{approval, provider, secrets, task, webhook};
use anyhow::{Context as _, Error, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use oarmaster_crds::names::RESERVED_LABELS;
use oarmaster_crds::{Approval, Task};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::{Space, apply};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DRY: PostParams = PostParams {
    dry_run: true,
    field_manager: None,
};

fn dry() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::default()
    }
}

/// The policies that have refused something.
struct Attacked<'a> {
    space: &'a Space,
    by: BTreeSet<String>,
}

impl Attacked<'_> {
    /// Holds what came of an attack: this policy refused it, and no other, and no right was missing.
    fn held(&mut self, guard: &str, what: &str, done: Result<(), Error>) -> Result<()> {
        let error = done
            .err()
            .with_context(|| format!("{guard}: {what} was taken"))?;
        let told = refused(&error);
        ensure!(
            told.contains(&format!("ValidatingAdmissionPolicy '{guard}'")),
            "{guard}: {what}: {error:#}"
        );
        self.by.insert(guard.to_owned());
        Ok(())
    }

    /// Users try to create an object.
    async fn created(&mut self, users: &[Client], guard: &str, object: &Value) -> Result<()> {
        for (at, user) in users.iter().enumerate() {
            let done = apply::dry_run(user, &self.space.name, &object.to_string()).await;
            self.held(guard, &format!("{object} of user {at}"), done.map(drop))?;
        }
        Ok(())
    }
}

/// A user who may write our objects, and read neither transcripts, nor files, nor Secrets.
async fn maker(space: &Space) -> Result<Client> {
    let binding = [
        "create",
        "rolebinding",
        "mallory",
        "--clusterrole=oarmaster-edit",
        "--user=mallory",
    ];
    space.kubectl(&binding).await?;
    space
        .cluster
        .acting_as("mallory", &["system:authenticated"])
}

#[tokio::test]
async fn each_guard_of_the_chart_refuses_an_attack() -> Result<()> {
    in_space("attacks", async |space| {
        let users = attackers(space).await?;
        let mut attacked = Attacked {
            space,
            by: BTreeSet::new(),
        };
        objects(&mut attacked, &users).await?;
        what_few_may(&mut attacked).await?;
        labels(&mut attacked, &users).await?;
        tokens(&mut attacked, &users).await?;
        renamed(&mut attacked, &users).await?;
        operator(&mut attacked).await?;

        let all: Api<ValidatingAdmissionPolicy> = Api::all(space.cluster.client.clone());
        let guards = ListParams::default().labels("app.kubernetes.io/component=guard");
        let guards = all.list(&guards).await?;
        let guards: BTreeSet<String> = guards.iter().map(ResourceExt::name_any).collect();
        ensure!(guards.len() > 10, "{guards:?}");
        let open: Vec<_> = guards.difference(&attacked.by).collect();
        ensure!(open.is_empty(), "no attack on {open:?}");
        Ok(())
    })
    .await
}

/// What both may try to create.
async fn objects(attacked: &mut Attacked<'_>, users: &[Client]) -> Result<()> {
    let template = with(
        &pod(),
        json!({"apiVersion": null, "kind": null, "metadata": {"name": null}}),
    );
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "case"},
        "spec": {"backoffLimit": 0, "template": template},
    });
    let theirs = with_spec(&task::run(), json!({"requestedBy": "alice@acme"}));
    let kept = with(
        &with_spec(&task::run(), json!({"ttlAfterFinished": "1h"})),
        json!({"metadata": {"labels": {"argocd.argoproj.io/instance": "app"}}}),
    );
    for (guard, object) in [
        ("oarmaster-sandbox-pods", labelled(&pod())),
        ("oarmaster-sandbox-jobs", labelled(&job)),
        ("oarmaster-requester", theirs),
        ("oarmaster-child-tasks", owned(&task::run())),
        ("oarmaster-ttl", kept),
    ] {
        attacked.created(users, guard, &object).await?;
    }
    Ok(())
}

/// What the built-in roles may do, or have no right to try: somebody with a part of their rights, and an administrator, who has all.
async fn what_few_may(attacked: &mut Attacked<'_>) -> Result<()> {
    let mallory = [maker(attacked.space).await?];
    let administrator = [attacked.space.cluster.client.clone()];
    let mut follow = task::agent();
    follow["spec"]["continueFrom"] = json!({"name": "earlier"});
    let mut begins = task::run();
    begins["spec"]["workspace"] = json!({"from": {"name": "earlier"}});
    let key = json!([{"name": "main", "secretKeyRef": {"name": "theirs", "key": "api-key"}}]);
    let keyed = with_spec(&provider::remote(), json!({ "keys": key }));
    for (users, guard, object) in [
        (&mallory, "oarmaster-continue", follow),
        (&mallory, "oarmaster-files", begins),
        (&mallory, "oarmaster-secret-references", keyed),
        (
            &mallory,
            "oarmaster-agent-secrets",
            secrets::connected(&["theirs"]),
        ),
        (&administrator, "oarmaster-approvals", approval::approval()),
    ] {
        attacked.created(users, guard, &object).await?;
    }
    Ok(())
}

/// Each reserved label, on what its users may write, also when it is there.
async fn labels(attacked: &mut Attacked<'_>, users: &[Client]) -> Result<()> {
    const GUARD: &str = "oarmaster-reserved";
    let space = attacked.space;
    for label in RESERVED_LABELS {
        let forged = with(
            &task::run(),
            json!({"metadata": {"labels": {label: "forged"}}}),
        );
        attacked.created(users, GUARD, &forged).await?;
    }
    let named = with(&task::run(), json!({"metadata": {"name": "live"}}));
    space.create(&named.to_string()).await?;
    let asked = approval::waiting(space, "asked", json!({})).await?;
    for user in users {
        let tasks: Api<Task> = Api::namespaced(user.clone(), &space.name);
        for label in RESERVED_LABELS {
            let patch = Patch::Merge(json!({"metadata": {"labels": {label: "forged"}}}));
            let done = tasks.patch("live", &dry(), &patch).await;
            let done = done.map(drop).map_err(Error::from);
            attacked.held(GUARD, &format!("{label} on a live Task"), done)?;
        }
    }
    // Of the rest not every cluster lets them write all: an administrator may.
    let client = &space.cluster.client;
    let approvals: Api<Approval> = Api::namespaced(client.clone(), &space.name);
    let patch = Patch::Merge(json!({"metadata": {"labels": {"oarmaster.dev/step": "ship"}}}));
    let done = approvals.patch(&asked.name_any(), &dry(), &patch).await;
    let done = done.map(drop).map_err(Error::from);
    attacked.held(GUARD, "the step of an Approval", done)?;
    let metadata = json!({"name": "forged", "labels": {"oarmaster.dev/task-uid": "u"}});
    let lease: Lease = serde_json::from_value(json!({ "metadata": metadata }))?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), &space.name);
    let done = leases.create(&DRY, &lease).await;
    let done = done.map(drop).map_err(Error::from);
    attacked.held(GUARD, "a Lease of a Task", done)?;
    let revision: ControllerRevision =
        serde_json::from_value(json!({"metadata": metadata, "data": {}, "revision": 1}))?;
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), &space.name);
    let done = revisions.create(&DRY, &revision).await;
    let done = done.map(drop).map_err(Error::from);
    attacked.held(GUARD, "a ControllerRevision of a Task", done)
}

async fn tokens(attacked: &mut Attacked<'_>, users: &[Client]) -> Result<()> {
    let space = attacked.space;
    let name = "oarmaster-sandbox";
    space.kubectl(&["create", "serviceaccount", name]).await?;
    let request = json!({"metadata": {}, "spec": {"audiences": ["oarmaster-gateway"]}});
    let request = serde_json::from_value(request)?;
    for user in users {
        let accounts: Api<ServiceAccount> = Api::namespaced(user.clone(), &space.name);
        let params = PostParams::default();
        let done = accounts.create_token_request(name, &params, &request).await;
        let done = done.map(drop).map_err(Error::from);
        attacked.held("oarmaster-tokens", "a sandbox's token", done)?;
    }
    Ok(())
}

async fn renamed(attacked: &mut Attacked<'_>, users: &[Client]) -> Result<()> {
    let space = attacked.space;
    let mut command = task::agent();
    command["metadata"]["name"] = json!("command");
    command["spec"]["agent"]["command"] = json!("explain");
    command["spec"]["params"] = json!({"module": "x"});
    space.create(&command.to_string()).await?;
    for user in users {
        let tasks: Api<Task> = Api::namespaced(user.clone(), &space.name);
        let patch = Patch::Merge(json!({"spec": {"params": {"module": null, "modul": "x"}}}));
        let done = tasks.patch("command", &dry(), &patch).await;
        let done = done.map(drop).map_err(Error::from);
        attacked.held("oarmaster-params", "a renamed parameter", done)?;
    }
    Ok(())
}

/// What the operator itself is kept from.
async fn operator(attacked: &mut Attacked<'_>) -> Result<()> {
    let space = attacked.space;
    let other: Lease = serde_json::from_value(json!({"metadata": {"name": "other"}}))?;
    let leases: Api<Lease> = space.api();
    leases.create(&PostParams::default(), &other).await?;
    let leases: Api<Lease> =
        Api::namespaced(account(space, RELEASE, "oarmaster-operator")?, &space.name);
    let params = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    let done = leases.delete("other", &params).await;
    let done = done.map(drop).map_err(Error::from);
    attacked.held("oarmaster-leases", "a Lease of somebody else", done)?;

    // With the rights of an administrator, so that only the policy can refuse.
    let user = format!("system:serviceaccount:{RELEASE}:oarmaster-operator");
    let client = space.cluster.acting_as(&user, &["system:masters"])?;
    let all: Api<MutatingWebhookConfiguration> = Api::all(client);
    let name = webhook::configuration(&space.cluster).await?;
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let done = all.patch(name, &dry(), &patch).await;
    let done = done.map(drop).map_err(Error::from);
    attacked.held("oarmaster-webhook-ca", "a label", done)
}
