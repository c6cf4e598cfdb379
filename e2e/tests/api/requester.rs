//! Whose a Task is: filled in at its creation, never forged, never changed.

use crate::guards::account;
use crate::support::{check, cluster, denied, in_space, refused, taken, with_spec};
use crate::{task, webhook};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use oarmaster_crds::Task;
use oarmaster_e2e::command::Output;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::{Space, apply};
use serde_json::{Value, json};
use std::time::Duration;

/// A person who may edit the test's namespace.
async fn person(space: &Space, name: &str) -> Result<Client> {
    let user = format!("--user={name}");
    space
        .kubectl(&["create", "rolebinding", name, "--clusterrole=edit", &user])
        .await?;
    space.cluster.acting_as(name, &["system:authenticated"])
}

fn named(name: &str) -> Value {
    let mut object = task::run();
    object["metadata"]["name"] = json!(name);
    object
}

async fn requester(space: &Space, name: &str) -> Result<Option<String>> {
    Ok(space.api::<Task>().get(name).await?.spec.requested_by)
}

#[tokio::test]
async fn a_task_says_who_created_it() -> Result<()> {
    in_space("stamp", async |space| {
        let alice = person(space, "alice@acme").await?;
        apply::create(&alice, &space.name, &named("hers").to_string()).await?;
        ensure!(requester(space, "hers").await?.as_deref() == Some("alice@acme"));
        // What Argo CD and `kubectl diff` look at.
        let tried = apply::dry_run(&alice, &space.name, &named("tried").to_string()).await?;
        ensure!(tried[0].data["spec"]["requestedBy"] == "alice@acme");

        let robot = format!("system:serviceaccount:{}:robot", space.name);
        let binding = format!("--serviceaccount={}:robot", space.name);
        space
            .kubectl(&[
                "create",
                "rolebinding",
                "robot",
                "--clusterrole=edit",
                &binding,
            ])
            .await?;
        let client = account(space, &space.name, "robot")?;
        apply::create(&client, &space.name, &named("robots").to_string()).await?;
        ensure!(requester(space, "robots").await? == Some(robot));

        let table = space
            .kubectl(&["get", "otask", "hers", "-o", "wide"])
            .await?;
        ensure!(
            table.contains("REQUESTER") && table.contains("alice@acme"),
            "{table}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_creates_a_task_in_anothers_name() -> Result<()> {
    in_space("forged", async |space| {
        let eve = person(space, "eve").await?;
        let by = |name: Value| with_spec(&task::run(), json!({ "requestedBy": name }));
        let mut null = task::run();
        null["spec"]["requestedBy"] = Value::Null;
        let cases = [
            taken("nobody's name", task::run()),
            taken("a null", null),
            taken("one's own name", by(json!("eve"))),
            denied(
                "another's name",
                by(json!("alice@acme")),
                &[
                    "spec.requestedBy is alice@acme",
                    "this request comes from eve",
                    "leave requestedBy out",
                ],
            ),
            denied(
                "nearly one's own name",
                by(json!("eve ")),
                &["leave requestedBy out"],
            ),
            denied(
                "a longer name than there is room for",
                by(json!("e".repeat(1025))),
                &["spec.requestedBy", "1024"],
            ),
        ];
        check(&eve, &space.name, &cases).await?;
        // Rights do not help, and the operator makes no Tasks.
        let forged = [denied(
            "another's name",
            by(json!("alice@acme")),
            &["leave requestedBy out"],
        )];
        check(&space.cluster.client, &space.name, &forged).await
    })
    .await
}

/// `kubectl apply` of the file on standard input, as somebody.
async fn applied(space: &Space, user: &str, more: &[&str], object: &Value) -> Result<Output> {
    let mut args = vec!["--namespace", &space.name, "--as", user];
    args.extend(["--as-group", "system:authenticated", "apply"]);
    args.extend(more);
    args.push("--filename=-");
    let run = space.cluster.run("kubectl").args(&args);
    run.stdin(object.to_string()).output().await
}

#[tokio::test]
async fn the_same_file_again_by_another_changes_nothing() -> Result<()> {
    in_space("again", async |space| {
        for name in ["alice", "bob"] {
            person(space, name).await?;
        }
        let tasks = space.api::<Task>();
        let ways: [(&str, &[&str]); 4] = [
            ("client", &[]),
            ("server", &["--server-side"]),
            ("manager", &["--server-side", "--field-manager=bobs-tool"]),
            ("forced", &["--server-side", "--force-conflicts"]),
        ];
        for (name, way) in ways {
            let file = named(name);
            let first: &[&str] = if way.is_empty() {
                way
            } else {
                &["--server-side"]
            };
            applied(space, "alice", first, &file).await?.success()?;
            let before = tasks.get(name).await?;
            applied(space, "bob", way, &file).await?.success()?;
            let after = tasks.get(name).await?;
            ensure!(after.spec == before.spec, "{name}: {:?}", after.spec);
            ensure!(
                after.metadata.generation == Some(1),
                "{name}: {:?}",
                after.metadata
            );
            ensure!(
                after.spec.requested_by.as_deref() == Some("alice"),
                "{name}"
            );

            // The file is changed where a Task may change: it stays hers.
            let stopped = with_spec(&file, json!({"state": "Cancelled"}));
            applied(space, "bob", way, &stopped).await?.success()?;
            let after = tasks.get(name).await?;
            ensure!(
                after.metadata.generation == Some(2),
                "{name}: {:?}",
                after.metadata
            );
            ensure!(
                after.spec.requested_by.as_deref() == Some("alice"),
                "{name}"
            );
        }
        // From the one way to the other, as tools are changed.
        let file = named("moved");
        applied(space, "alice", &[], &file).await?.success()?;
        applied(space, "bob", &["--server-side"], &file)
            .await?
            .success()?;
        applied(space, "alice", &[], &file).await?.success()?;
        ensure!(requester(space, "moved").await?.as_deref() == Some("alice"));

        let diff = space
            .cluster
            .run("kubectl")
            .args(&[
                "--namespace",
                &space.name,
                "--as",
                "bob",
                "--as-group",
                "system:authenticated",
            ])
            .args(&["diff", "--filename=-"])
            .stdin(named("moved").to_string())
            .output()
            .await?;
        ensure!(diff.code == Some(0), "{}", diff.text());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_the_webhook_no_task_is_created() -> Result<()> {
    in_space("unasked", async |space| {
        if webhook::runs_pods(&space.cluster).await? {
            return Ok(()); // there the configuration is really deleted: `node/requester.rs`
        }
        let alice = person(space, "alice").await?;
        let label = format!("{}=true", webhook::NOT_ASKED);
        space
            .kubectl(&["label", "namespace", &space.name, &label])
            .await?;
        // The API server learns of the label by a watch.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let error = loop {
            match apply::dry_run(&alice, &space.name, &task::run().to_string()).await {
                Err(error) => break error,
                Ok(_) => ensure!(
                    tokio::time::Instant::now() < deadline,
                    "the webhook is still asked after 30 s"
                ),
            }
        };
        let told = [
            "ValidatingAdmissionPolicy 'oarmaster-requester'",
            "spec.requestedBy is missing",
            "MutatingWebhookConfiguration oarmaster-webhook",
        ];
        let cases = [
            denied("a Task", task::run(), &told),
            denied(
                "a Task in another's name",
                with_spec(&task::run(), json!({"requestedBy": "bob"})),
                &["leave requestedBy out"],
            ),
            taken(
                "a Task in one's own name",
                with_spec(&task::run(), json!({"requestedBy": "alice"})),
            ),
        ];
        ensure!(refused(&error).contains(told[1]), "{error:#}");
        check(&alice, &space.name, &cases).await
    })
    .await
}

#[tokio::test]
async fn the_operator_changes_nothing_of_the_webhook_but_its_ca() -> Result<()> {
    let cluster = cluster().await?;
    let name = webhook::configuration(&cluster).await?;
    // With the rights of an administrator, so that only the policy can refuse.
    let operator = format!("system:serviceaccount:{RELEASE}:oarmaster-operator");
    let operator = cluster.acting_as(&operator, &["system:masters"])?;
    let patched = async |client: &Client, kind: &str, patch: &Value| -> Result<String> {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let kind = ApiResource::from_gvk(&kind);
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let patch = Patch::Json::<()>(serde_json::from_value(patch.clone())?);
        Ok(match all.patch(name, &params, &patch).await {
            Ok(_) => String::new(),
            Err(error) => refused(&error.into()).to_owned(),
        })
    };
    const STAMPS: &str = "MutatingWebhookConfiguration";
    const CHECKS: &str = "ValidatingWebhookConfiguration";
    let add = |path: &str, value: Value| json!([{"op": "add", "path": format!("/webhooks/0/{path}"), "value": value}]);
    let metadata = |field: &str, value: Value| json!([{"op": "add", "path": format!("/metadata/{field}"), "value": value}]);
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]});
    let changes = [
        add("rules/-", rule.clone()),
        add("rules", json!([rule.clone()])),
        add("failurePolicy", json!("Ignore")),
        add("timeoutSeconds", json!(30)),
        add("matchPolicy", json!("Exact")),
        add("reinvocationPolicy", json!("IfNeeded")),
        add("sideEffects", json!("NoneOnDryRun")),
        add("objectSelector", json!({"matchLabels": {"a": "b"}})),
        add("namespaceSelector", json!({"matchLabels": {"a": "b"}})),
        add(
            "matchConditions",
            json!([{"name": "never", "expression": "false"}]),
        ),
        add("clientConfig", json!({"url": "https://198.51.100.1/tasks"})),
        json!([{"op": "remove", "path": "/webhooks/0"}]),
        metadata("labels", json!({"a": "b"})),
        metadata("annotations", json!({"a": "b"})),
        metadata("finalizers", json!(["oarmaster.dev/kept"])),
        metadata(
            "ownerReferences",
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "gone"}]),
        ),
        json!([{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"}, {"op": "replace", "path": "/webhooks/1/name", "value": "more.oarmaster.dev"}]),
    ];
    let of_checks = [
        add("rules", json!([rule])),
        add("failurePolicy", json!("Ignore")),
        add(
            "matchConditions",
            json!([{"name": "never", "expression": "false"}]),
        ),
        add("objectSelector", json!({"matchLabels": {"a": "b"}})),
        add(
            "clientConfig",
            json!({"url": "https://198.51.100.1/objects"}),
        ),
        json!([{"op": "remove", "path": "/webhooks/0"}]),
        metadata("labels", json!({"a": "b"})),
    ];
    let changes = changes.map(|change| (STAMPS, change));
    let of_checks = of_checks.map(|change| (CHECKS, change));
    for (kind, change) in changes.into_iter().chain(of_checks) {
        let told = patched(&operator, kind, &change).await?;
        ensure!(
            told.contains("nothing of a webhook but its caBundle"),
            "{kind}: {change}: {told}"
        );
        let told = patched(&cluster.client, kind, &change).await?;
        ensure!(
            told.is_empty(),
            "the administrator: {kind}: {change}: {told}"
        );
    }
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let bundle = ByteString(certificate.cert.pem().into_bytes());
    for kind in [STAMPS, CHECKS] {
        let change = add("clientConfig/caBundle", json!(bundle));
        let told = patched(&operator, kind, &change).await?;
        ensure!(told.is_empty(), "{kind}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn the_webhook_has_the_rights_of_nobody() -> Result<()> {
    in_space("rights", async |space| {
        let rights = async |name: &str| -> Result<String> {
            let user = format!("system:serviceaccount:{RELEASE}:{name}");
            let group = format!("system:serviceaccounts:{RELEASE}");
            let mut all = String::new();
            for namespace in [RELEASE, &space.name] {
                let args = [
                    "--namespace",
                    namespace,
                    "--as",
                    &user,
                    "--as-group",
                    &group,
                ];
                let groups = [
                    "--as-group",
                    "system:serviceaccounts",
                    "--as-group",
                    "system:authenticated",
                ];
                let run = space.cluster.run("kubectl").args(&args).args(&groups);
                all += &run.args(&["auth", "can-i", "--list"]).stdout().await?;
            }
            Ok(all)
        };
        let nobody = rights("nobody").await?;
        for ours in ["oarmaster-webhook", "oarmaster-pilots"] {
            let has = rights(ours).await?;
            ensure!(has == nobody, "{ours}: {has}\n{nobody}");
        }
        ensure!(nobody != rights("oarmaster-operator").await?);
        Ok(())
    })
    .await
    .context("the webhook's ServiceAccount")
}
