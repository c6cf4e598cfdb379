//! Pods as the operator builds them, and the admission of a namespace that enforces the Pod Security Standard "restricted".

use crate::support::{in_space, refused};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Toleration};
use oarmaster_controllers::class::targets::Places;
use oarmaster_controllers::task::job::{Installation, build};
use oarmaster_controllers::task::plan::Start;
use oarmaster_controllers::task::refs::Resolved;
use oarmaster_crds::kinds::class::SandboxClassSpec;
use oarmaster_crds::kinds::sandbox::SandboxSpec;
use oarmaster_crds::names::SANDBOX_SERVICE_ACCOUNT;
use oarmaster_crds::quantity::{Cpu, Size};
use oarmaster_crds::{Task, TaskSpec, UserIds};
use oarmaster_e2e::apply;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn installation() -> Installation {
    Installation {
        runner_image: "registry.example.com/oarmaster/runner:1".to_owned(),
        gateway_host: "oarmaster-gateway.oarmaster-system.svc".to_owned(),
        ca: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        places: Places {
            internet: ([1, 1, 1, 1], 443).into(),
            dns: vec![[10, 96, 0, 10].into()],
        },
    }
}

/// One value each of what a class says of its pods. What must exist besides (runtimes, priorities) is left out.
fn classes() -> Vec<SandboxClassSpec> {
    let labels = |names: &[&str]| -> BTreeMap<String, String> {
        let pairs = names
            .iter()
            .map(|name| ((*name).to_owned(), "a".to_owned()));
        pairs.collect()
    };
    let taint = Toleration {
        key: Some("sandboxes".to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    };
    let mut classes = Vec::new();
    for host_users in [true, false] {
        for names in [&[][..], &["team", "example.com/cost"]] {
            for secrets in [0, 2] {
                classes.push(SandboxClassSpec {
                    host_users,
                    pod_labels: labels(names),
                    node_selector: labels(names),
                    tolerations: vec![taint.clone(); names.len()],
                    image_pull_secrets: (0..secrets).map(|number| format!("s{number}")).collect(),
                    ..SandboxClassSpec::default()
                });
            }
        }
    }
    classes
}

fn sandboxes() -> Vec<Option<SandboxSpec>> {
    let mut all = vec![None];
    for image in [
        "python",
        "ghcr.io/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ] {
        for cpu in ["1m", "9999"] {
            for size in ["32Mi", "33554433", "900Gi"] {
                all.push(Some(SandboxSpec {
                    image: image.to_owned(),
                    cpu: Cpu::new(cpu),
                    memory: Size::new(size),
                    disk: Size::new(size),
                    ..SandboxSpec::default()
                }));
            }
        }
    }
    all
}

/// The pod that the Job controller would make, under another name and without our labels, with which only that one may make one.
fn pod(class: &SandboxClassSpec, sandbox: Option<SandboxSpec>, users: UserIds) -> Result<Value> {
    let mut task = Task::new("work", TaskSpec::default());
    task.metadata.uid = Some("uid-1".to_owned());
    let start = Start {
        attempt: 1,
        job: "work-abc-1".to_owned(),
        shared: false,
        resolved: Resolved {
            chosen: None,
            class_name: "default".to_owned(),
            class: class.clone(),
            users,
            sandbox,
            shared: false,
            pinned: None,
            assignment: None,
            budget: oarmaster_protocol::admin::TaskBudget::default(),
        },
        requested_by: None,
        parent: None,
        ends: false,
        labels: BTreeMap::new(),
        gateway_ip: "10.96.0.7".to_owned(),
        left: Duration::from_secs(60),
        service_account: false,
        opened: false,
    };
    let job = build(&task, &start, &installation(), "sha256:abc");
    let template = job.spec.context("no spec")?.template;
    let mut meta = template.metadata.context("no metadata")?;
    meta.name = Some("case".to_owned());
    if let Some(labels) = &mut meta.labels {
        labels.retain(|name, _| !name.starts_with("oarmaster.dev/"));
    }
    let pod = Pod {
        metadata: meta,
        spec: template.spec,
        status: None,
    };
    Ok(serde_json::to_value(pod)?)
}

#[tokio::test]
async fn pods_of_any_class_are_restricted() -> Result<()> {
    in_space("pods", async |space| {
        let client = &space.cluster.client;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SANDBOX_SERVICE_ACCOUNT},
        });
        space.create(&account.to_string()).await?;
        let mut taken = 0;
        for class in classes() {
            for sandbox in sandboxes() {
                for (pilot, exec) in [(65_532, 65_533), (1, 65_535)] {
                    let users = UserIds { pilot, exec };
                    let pod = pod(&class, sandbox.clone(), users)?;
                    apply::dry_run(client, &space.name, &pod.to_string())
                        .await
                        .with_context(|| format!("{class:?} {sandbox:?}"))?;
                    taken += 1;
                }
            }
        }
        ensure!(taken == 208, "{taken} pods were tried");

        // That the namespace does enforce it.
        let users = UserIds {
            pilot: 65_532,
            exec: 65_533,
        };
        let sandbox = Some(SandboxSpec::default());
        let good = pod(&SandboxClassSpec::default(), sandbox, users)?;
        for (path, value) in [
            ("/spec/hostNetwork", json!(true)),
            ("/spec/initContainers/1/securityContext/runAsUser", json!(0)),
            (
                "/spec/initContainers/1/securityContext/allowPrivilegeEscalation",
                json!(true),
            ),
            (
                "/spec/containers/0/securityContext/capabilities/drop",
                json!(["NET_RAW"]),
            ),
            (
                "/spec/containers/0/securityContext/seccompProfile/type",
                json!("Unconfined"),
            ),
        ] {
            let patch = json_patch::AddOperation {
                path: path.parse()?,
                value,
            };
            let mut bad = good.clone();
            json_patch::patch(&mut bad, &[json_patch::PatchOperation::Add(patch)])?;
            let answer = apply::dry_run(client, &space.name, &bad.to_string()).await;
            let error = answer.err().with_context(|| format!("{path} was taken"))?;
            let told = refused(&error);
            ensure!(told.contains("violates PodSecurity \"restricted"), "{path}: {told}");
        }
        Ok(())
    })
    .await
}
