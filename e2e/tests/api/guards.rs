//! The attacks that the admission policies stop, each beside what stays allowed. The attackers have the built-in roles `edit` and `admin`; `attacks.rs`
//! has one for each policy.

use crate::support::{Case, check, denied, in_space, refused, taken, with};
use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use oarmaster_e2e::Space;
use oarmaster_e2e::installed::RELEASE;
use serde_json::{Value, json};
use std::time::Duration;

const KUBELETS_ONLY: &str = "is given out by the pod's kubelet only";
const OPERATOR_ONLY: &str = "are made and changed by the operator only";

/// A user who may edit the test's namespace.
pub async fn editor(space: &Space) -> Result<Client> {
    space
        .kubectl(&[
            "create",
            "rolebinding",
            "eve",
            "--clusterrole=edit",
            "--user=eve",
        ])
        .await?;
    space.cluster.acting_as("eve", &["system:authenticated"])
}

/// Users who have the built-in roles of the test's namespace: `edit`, and `admin`, who may make roles there besides.
pub async fn attackers(space: &Space) -> Result<[Client; 2]> {
    let admin = [
        "create",
        "rolebinding",
        "adam",
        "--clusterrole=admin",
        "--user=adam",
    ];
    space.kubectl(&admin).await?;
    let adam = space.cluster.acting_as("adam", &["system:authenticated"])?;
    Ok([editor(space).await?, adam])
}

/// A client of a ServiceAccount.
pub fn account(space: &Space, namespace: &str, name: &str) -> Result<Client> {
    space.cluster.acting_as(
        &format!("system:serviceaccount:{namespace}:{name}"),
        &[
            "system:serviceaccounts",
            &format!("system:serviceaccounts:{namespace}"),
            "system:authenticated",
        ],
    )
}

/// A pod that the `restricted` standard takes. It never runs: there is no such image.
pub fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "case"},
        "spec": {
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "c", "image": "registry.invalid/none:0", "resources": {"requests": {"memory": "16Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

pub fn labelled(object: &Value) -> Value {
    with(
        object,
        json!({"metadata": {
            "labels": {"oarmaster.dev/sandbox": "true", "oarmaster.dev/task-uid": "u", "oarmaster.dev/attempt": "1"},
            "annotations": {"oarmaster.dev/task": "t"},
        }}),
    )
}

fn job(template: Value) -> Value {
    let template = with(
        &template,
        json!({"apiVersion": null, "kind": null, "metadata": {"name": null}}),
    );
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "case"},
        "spec": {"backoffLimit": 0, "template": template},
    })
}

pub fn owned(object: &Value) -> Value {
    with(
        object,
        json!({"metadata": {"ownerReferences": [{
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": "t", "uid": "6b1ef02c-0000-4000-8000-000000000000",
        }]}}),
    )
}

#[tokio::test]
async fn nobody_forges_a_pod_or_a_job_of_a_task() -> Result<()> {
    in_space("forge", async |space| {
        let users = attackers(space).await?;
        let pods = "made by the Job controller only";
        let forged: Vec<Case> = vec![
            taken("a pod", pod()),
            denied("a sandbox pod", labelled(&pod()), &[pods]),
            denied(
                "a pod with the label alone",
                with(
                    &pod(),
                    json!({"metadata": {"labels": {"oarmaster.dev/sandbox": ""}}}),
                ),
                &[pods],
            ),
            taken("a Job", job(pod())),
            denied("a labelled Job", labelled(&job(pod())), &[OPERATOR_ONLY]),
            denied(
                "a Job with labelled pods",
                job(labelled(&pod())),
                &[OPERATOR_ONLY],
            ),
            denied("a Job of a Task", owned(&job(pod())), &[OPERATOR_ONLY]),
        ];
        // Rights do not help: the policy asks who it is.
        for user in users.iter().chain([&space.cluster.client]) {
            check(user, &space.name, &forged).await?;
        }
        let operator = account(space, RELEASE, "oarmaster-operator")?;
        let real = vec![
            taken("a labelled Job", owned(&labelled(&job(labelled(&pod()))))),
            denied("a sandbox pod", labelled(&pod()), &["forbidden"]),
        ];
        check(&operator, &space.name, &real).await
    })
    .await
}

/// The Job of a Task as the operator makes it, and the pod that the Job controller makes of it.
async fn real_pod(space: &Space) -> Result<Pod> {
    let operator = account(space, RELEASE, "oarmaster-operator")?;
    let real: Job = serde_json::from_value(with(
        &labelled(&job(labelled(&pod()))),
        json!({"metadata": {"name": "real"}}),
    ))?;
    Api::namespaced(operator, &space.name)
        .create(&PostParams::default(), &real)
        .await?;
    let found = watcher(
        space.api::<Pod>(),
        watcher::Config::default().labels("job-name=real"),
    );
    let mut found = std::pin::pin!(found.applied_objects());
    tokio::time::timeout(Duration::from_secs(60), found.try_next())
        .await
        .context("the Job controller made no pod within 60 s")??
        .context("the watch ended")
}

async fn patched<K>(api: &Api<K>, name: &str, patch: Value) -> Result<(), String>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(&error.into()).to_owned()),
    }
}

#[tokio::test]
async fn what_identifies_a_live_pod_does_not_change() -> Result<()> {
    in_space("live", async |space| {
        let [eve, adam] = attackers(space).await?;
        let pods: Api<Pod> = Api::namespaced(eve, &space.name);
        let as_admin: Api<Pod> = Api::namespaced(adam, &space.name);
        let name = real_pod(space).await?.metadata.name.context("a pod without name")?;
        let labels = "labels that identify a sandbox pod do not change";
        let attacks = [
            (json!({"labels": {"oarmaster.dev/task-uid": "other"}}), labels),
            (json!({"labels": {"oarmaster.dev/sandbox": null}}), labels),
            (json!({"labels": {"oarmaster.dev/more": "x"}}), labels),
            (json!({"labels": {"batch.kubernetes.io/controller-uid": null}}), labels),
            (json!({"annotations": {"oarmaster.dev/task": "other"}}), "annotations below oarmaster.dev/"),
            (json!({"ownerReferences": []}), "the owner of a sandbox pod does not change"),
        ];
        for (patch, told) in attacks {
            for pods in [&pods, &as_admin] {
                let answer = patched(pods, &name, json!({ "metadata": patch })).await;
                ensure!(answer.as_ref().is_err_and(|text| text.contains(told)), "{patch}: {answer:?}");
            }
        }
        let fine = json!({"metadata": {"labels": {"mine": "1"}, "annotations": {"mine": "1"}}});
        patched(&pods, &name, fine).await.map_err(anyhow::Error::msg)?;

        let debugger = with(&pod()["spec"]["containers"][0], json!({"name": "debugger", "resources": null, "targetContainerName": "c"}));
        for (subresource, patch) in [
            ("ephemeralcontainers", json!({"spec": {"ephemeralContainers": [debugger]}})),
            ("resize", json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "64Gi"}}}]}})),
        ] {
            // Whether `edit` has the right differs between versions; the policy holds for everybody.
            let all: Api<Pod> = space.api();
            let answer = all.patch_subresource(subresource, &name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            let error = anyhow::Error::from(answer.err().with_context(|| format!("{subresource} was taken"))?);
            ensure!(refused(&error).contains("takes no other containers and no other resources"), "{error:#}");
        }

        let other: Pod = serde_json::from_value(pod())?;
        pods.create(&PostParams::default(), &other).await?;
        let answer = patched(&pods, "case", labelled(&json!({}))).await;
        ensure!(answer.as_ref().is_err_and(|text| text.contains("are not put on another pod")), "{answer:?}");
        patched(&pods, "case", json!({"metadata": {"labels": {"mine": "1"}}})).await.map_err(anyhow::Error::msg)
    })
    .await
}

#[tokio::test]
async fn a_job_of_a_task_is_changed_by_nobody_and_deleted_as_usual() -> Result<()> {
    in_space("job", async |space| {
        let [eve, adam] = attackers(space).await?;
        let jobs: Api<Job> = Api::namespaced(eve, &space.name);
        let as_admin: Api<Job> = Api::namespaced(adam, &space.name);
        let pod = real_pod(space)
            .await?
            .metadata
            .name
            .context("a pod without name")?;
        for patch in [
            json!({"spec": {"suspend": true}}),
            json!({"metadata": {"labels": {"oarmaster.dev/sandbox": null}}}),
        ] {
            for jobs in [&jobs, &as_admin] {
                let answer = patched(jobs, "real", patch.clone()).await;
                ensure!(
                    answer
                        .as_ref()
                        .is_err_and(|text| text.contains(OPERATOR_ONLY)),
                    "{answer:?}"
                );
            }
        }
        let uid = jobs
            .get("real")
            .await?
            .metadata
            .uid
            .context("a Job without UID")?;
        // Without its pods: the garbage collector takes the owner off the pod, which the policies must not hold up.
        jobs.delete("real", &DeleteParams::orphan()).await?;
        let pods = watcher(
            space.api::<Pod>(),
            watcher::Config::default().fields(&format!("metadata.name={pod}")),
        );
        let mut pods = std::pin::pin!(pods.applied_objects());
        let orphaned = async {
            while let Some(pod) = pods.try_next().await? {
                if pod.metadata.owner_references.unwrap_or_default().is_empty() {
                    return Ok(());
                }
            }
            anyhow::bail!("the watch ended")
        };
        tokio::time::timeout(Duration::from_secs(60), orphaned)
            .await
            .context("the pod kept its owner for 60 s")??;
        let gone = kube::runtime::wait::await_condition(
            jobs,
            "real",
            kube::runtime::wait::conditions::is_deleted(&uid),
        );
        tokio::time::timeout(Duration::from_secs(60), gone)
            .await
            .context("the Job was not deleted within 60 s")??;
        Ok(())
    })
    .await
}

/// A Job in a queue, as the operator makes it.
async fn queued_job(space: &Space) -> Result<()> {
    let operator = account(space, RELEASE, "oarmaster-operator")?;
    // An owner that is there: the garbage collector would delete the Job otherwise.
    let owner = "kube-root-ca.crt";
    let uid = space.api::<ConfigMap>().get(owner).await?.metadata.uid;
    let job: Job = serde_json::from_value(with(
        &labelled(&job(labelled(&pod()))),
        json!({
            "metadata": {
                "name": "queued",
                "labels": {"kueue.x-k8s.io/queue-name": "q"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}],
            },
            "spec": {"suspend": true},
        }),
    ))?;
    Api::<Job>::namespaced(operator, &space.name)
        .create(&PostParams::default(), &job)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_job_in_a_queue_is_let_run_by_kueue_which_changes_nothing_else() -> Result<()> {
    in_space("queue", async |space| {
        queued_job(space).await?;
        let kueue = account(space, "kueue-system", "kueue-controller-manager")?;
        space
            .kubectl(&[
                "create",
                "rolebinding",
                "kueue",
                "--clusterrole=edit",
                "--serviceaccount=kueue-system:kueue-controller-manager",
            ])
            .await?;
        let others: Api<Job> = Api::namespaced(editor(space).await?, &space.name);
        let answer = patched(&others, "queued", json!({"spec": {"suspend": false}})).await;
        ensure!(
            answer
                .as_ref()
                .is_err_and(|text| text.contains(OPERATOR_ONLY)),
            "{answer:?}"
        );

        let jobs: Api<Job> = Api::namespaced(kueue, &space.name);
        let on_job = "labels and annotations of a Task's Job do not change";
        let on_pod = "labels and annotations of a Task's pod do not change";
        let rest = "only suspend and where its pod may run change";
        for (patch, told) in [
            (json!({"metadata": {"labels": {"oarmaster.dev/task-uid": "other"}}}), on_job),
            (json!({"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "other"}}}), on_job),
            (json!({"metadata": {"labels": {"kueue.x-k8s.io/queue-name": null}}}), on_job),
            (json!({"metadata": {"annotations": {"oarmaster.dev/task": "other"}}}), on_job),
            (json!({"spec": {"template": {"metadata": {"labels": {"oarmaster.dev/attempt": "2"}}}}}), on_pod),
            (json!({"spec": {"template": {"metadata": {"annotations": {"mine": "1"}}}}}), on_pod),
            (json!({"spec": {"parallelism": 2}}), rest),
            (json!({"spec": {"activeDeadlineSeconds": 100_000}}), rest),
            (json!({"metadata": {"ownerReferences": []}}), rest),
        ] {
            let answer = patched(&jobs, "queued", patch.clone()).await;
            ensure!(answer.as_ref().is_err_and(|text| text.contains(told)), "{patch}: {answer:?}");
        }
        let admitted = json!({
            "metadata": {"annotations": {"kueue.x-k8s.io/stopping": "true"}},
            "spec": {"suspend": false, "template": {
                "metadata": {"labels": {"kueue.x-k8s.io/podset": "main"}},
                "spec": {"nodeSelector": {"flavor": "spot"}},
            }},
        });
        patched(&jobs, "queued", admitted).await.map_err(anyhow::Error::msg)?;
        patched(&jobs, "queued", json!({"spec": {"suspend": true}})).await.map_err(anyhow::Error::msg)?;

        // Of others' Jobs without a queue it is as anybody.
        real_pod(space).await?;
        let answer = patched(&jobs, "real", json!({"spec": {"suspend": true}})).await;
        ensure!(answer.as_ref().is_err_and(|text| text.contains(OPERATOR_ONLY)), "{answer:?}");
        Ok(())
    })
    .await
}

async fn token(
    client: &Client,
    space: &Space,
    account: &str,
    audience: &str,
    pod: Option<&Pod>,
) -> Result<TokenRequest> {
    let bound = pod.map(|pod| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid,
        })
    });
    let request: TokenRequest = serde_json::from_value(json!({
        "metadata": {}, "spec": {"audiences": [audience], "boundObjectRef": bound},
    }))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &space.name);
    Ok(accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?)
}

fn told(answer: Result<TokenRequest>, part: &str) -> Result<()> {
    let error = answer
        .err()
        .with_context(|| format!("a token was given, should be refused with: {part}"))?;
    ensure!(refused(&error).contains(part), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_token_that_speaks_for_a_pod_is_given_to_its_kubelet_only() -> Result<()> {
    in_space("token", async |space| {
        let users = attackers(space).await?;
        for name in ["app", "oarmaster-sandbox"] {
            space.kubectl(&["create", "serviceaccount", name]).await?;
        }
        // A node that exists by name only, and a pod on it.
        let node = format!("none-{}", space.name);
        let nodes: Api<Node> = Api::all(space.cluster.client.clone());
        nodes
            .create(
                &PostParams::default(),
                &serde_json::from_value(json!({"metadata": {"name": node}}))?,
            )
            .await?;
        let answers = tokens(space, &users, &node).await;
        nodes.delete(&node, &DeleteParams::default()).await?;
        answers
    })
    .await
}

async fn tokens(space: &Space, users: &[Client; 2], node: &str) -> Result<()> {
    let (data, admin) = ("oarmaster-gateway", "oarmaster-gateway-admin");
    let on_node: Pod = serde_json::from_value(with(
        &pod(),
        json!({"spec": {
            "nodeName": node, "serviceAccountName": "app",
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": data}}]}}],
        }}),
    ))?;
    let pod = space
        .api::<Pod>()
        .create(&PostParams::default(), &on_node)
        .await?;

    for client in users.iter().chain([&space.cluster.client]) {
        told(
            token(client, space, "app", data, Some(&pod)).await,
            KUBELETS_ONLY,
        )?;
        told(
            token(client, space, "oarmaster-sandbox", data, None).await,
            "use another ServiceAccount",
        )?;
        told(
            token(client, space, "app", admin, None).await,
            "for the operator's pods only",
        )?;
        told(
            token(client, space, "app", admin, Some(&pod)).await,
            "for the operator's pods only",
        )?;
    }
    for user in users {
        token(user, space, "app", data, None)
            .await
            .context("an SDK caller's token")?;
        token(user, space, "app", "somebody-else", Some(&pod))
            .await
            .context("a bound token of another audience")?;
    }
    let kubelet = space.cluster.acting_as(
        &format!("system:node:{node}"),
        &["system:nodes", "system:authenticated"],
    )?;
    // The authorizer learns of the pod by a watch.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        match token(&kubelet, space, "app", data, Some(&pod)).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error.context("the kubelet's token"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[tokio::test]
async fn a_task_that_others_keep_has_no_time_to_live() -> Result<()> {
    in_space("ttl", async |space| {
        let task = with(
            &crate::task::run(),
            json!({"spec": {"ttlAfterFinished": "1h"}}),
        );
        let marked = |metadata: Value| with(&task, json!({ "metadata": metadata }));
        let told = "leave ttlAfterFinished out";
        let mut cases = vec![
            taken("a Task of nobody", task.clone()),
            taken(
                "a Task with a label of its own",
                marked(json!({"labels": {"team": "a", "app.kubernetes.io/managed-by": "me"}})),
            ),
            taken(
                "a tracked Task that stays",
                with(
                    &marked(json!({"labels": {"argocd.argoproj.io/instance": "app"}})),
                    json!({
                        "spec": {"ttlAfterFinished": null},
                    }),
                ),
            ),
            denied(
                "Argo CD's annotation",
                marked(json!({"annotations": {"argocd.argoproj.io/tracking-id": "app:x"}})),
                &[told],
            ),
            denied(
                "Argo CD's common label",
                marked(json!({"labels": {"app.kubernetes.io/instance": "app"}})),
                &[told],
            ),
        ];
        for label in oarmaster_crds::validate::TRACKING_LABELS {
            cases.push(denied(
                "a label",
                marked(json!({"labels": {label: "Helm"}})),
                &[told],
            ));
        }
        for annotation in oarmaster_crds::validate::TRACKING_ANNOTATIONS {
            cases.push(denied(
                "an annotation",
                marked(json!({"annotations": {annotation: "x"}})),
                &[told],
            ));
        }
        for user in attackers(space)
            .await?
            .iter()
            .chain([&space.cluster.client])
        {
            check(user, &space.name, &cases).await?;
        }
        Ok(())
    })
    .await
}

/// Whoever may create Tasks but read no transcript could otherwise have an agent tell what another one was told.
#[tokio::test]
async fn a_conversation_is_continued_by_those_who_may_read_it() -> Result<()> {
    in_space("continue", async |space| {
        // Who may only make Tasks; the built-in role `edit` reads transcripts, too.
        space
            .kubectl(&[
                "create",
                "role",
                "maker",
                "--verb=create",
                "--resource=tasks.oarmaster.dev",
            ])
            .await?;
        space
            .kubectl(&[
                "create",
                "rolebinding",
                "maker",
                "--role=maker",
                "--user=eve",
            ])
            .await?;
        let eve = space.cluster.acting_as("eve", &["system:authenticated"])?;
        let mut follow = crate::task::agent();
        follow["spec"]["continueFrom"] = json!({"name": "earlier"});
        let mut replay = crate::task::agent();
        replay["spec"]["replay"] = json!({"task": {"name": "earlier"}});
        let cases = || {
            [
                denied(
                    "a follow-up of a Task whose transcript may not be read",
                    follow.clone(),
                    &[
                        "eve may not get tasks/transcript of Task",
                        "/earlier, and so may not begin with its conversation; ask for that right",
                    ],
                ),
                denied(
                    "a replay of a Task whose transcript may not be read",
                    replay.clone(),
                    &["spec.replay: eve may not get tasks/transcript of Task"],
                ),
                taken("a Task of its own", crate::task::agent()),
            ]
        };
        check(&eve, &space.name, &cases()).await?;
        let may_get = async |what: &str| -> Result<()> {
            let resource = format!("--resource=tasks.oarmaster.dev/{what}");
            space
                .kubectl(&["create", "role", what, "--verb=get", &resource])
                .await?;
            let role = format!("--role={what}");
            space
                .kubectl(&["create", "rolebinding", what, &role, "--user=eve"])
                .await?;
            Ok(())
        };
        may_get("transcript").await?;
        let denied = [denied(
            "a follow-up of a Task whose files may not be read",
            follow.clone(),
            &[
                "eve may not get tasks/artifacts of Task",
                "/earlier, and so may not begin in its workspace; ask for that right",
            ],
        )];
        // The authoriser hears of a new role a moment later.
        let heard = async |cases: &[Case]| {
            tokio::time::timeout(Duration::from_secs(30), async {
                while check(&eve, &space.name, cases).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
            .await
        };
        heard(&denied)
            .await
            .context("eve may read the transcript, and the files are not asked for")?;
        may_get("artifacts").await?;
        let taken = [
            taken("a follow-up of a Task that may be read", follow.clone()),
            taken("a replay of a Task that may be read", replay.clone()),
        ];
        heard(&taken)
            .await
            .context("eve may read transcript and files, and may not continue it")
    })
    .await
}

/// Whoever may create Tasks but read no files could otherwise have them placed in a sandbox of their own.
#[tokio::test]
async fn files_are_placed_for_those_who_may_read_them() -> Result<()> {
    in_space("files-of-others", async |space| {
        let create = async |words: &[&str]| space.kubectl(&[&["create"], words].concat()).await;
        let tasks = "--resource=tasks.oarmaster.dev";
        create(&["role", "maker", "--verb=create", tasks]).await?;
        create(&["rolebinding", "maker", "--role=maker", "--user=eve"]).await?;
        // Of one Task alone.
        let artifacts = "--resource=tasks.oarmaster.dev/artifacts";
        let named = "--resource-name=open";
        create(&["role", "reader", "--verb=get", artifacts, named]).await?;
        create(&["rolebinding", "reader", "--role=reader", "--user=eve"]).await?;
        let eve = space.cluster.acting_as("eve", &["system:authenticated"])?;
        let begins = |name: &str| {
            let mut task = crate::task::agent();
            task["spec"]["workspace"] = json!({"from": {"name": name}});
            task
        };
        let places = |names: &[&str]| {
            let mut task = crate::task::agent();
            let files = names.iter().enumerate().map(|(at, name)| {
                json!({"path": format!("a{at}"), "artifact": {"task": {"name": name}, "name": "out"}})
            });
            task["spec"]["files"] = files.collect();
            task
        };
        let closed = "/closed, and so may not begin with its files (workspace.from, files[].artifact); ask for that right";
        let other = "/other, and so may not begin with its files";
        let mut many = vec!["open"; 15];
        many.push("closed");
        let mut too_many = places(&["open"; 17]);
        too_many["spec"]["workspace"] = json!({"from": {"name": "open"}});
        let mut kept = crate::task::agent();
        kept["spec"]["workspace"] = json!({"keep": true});
        let mut both = places(&["open"]);
        both["spec"]["workspace"] = json!({"from": {"name": "other"}});
        let cases = [
            denied(
                "the workspace of a Task whose files may not be read",
                begins("closed"),
                &["eve may not get tasks/artifacts of Task", closed],
            ),
            denied("an artifact of it", places(&["open", "closed"]), &[closed]),
            denied("the last of many", places(&many), &[closed]),
            denied("a workspace beside artifacts", both, &[other]),
            denied(
                "more than are asked for",
                too_many,
                &["at most 16 files can be artifacts of other Tasks"],
            ),
            taken("a workspace that may be read", begins("open")),
            taken("artifacts that may be read", places(&["open"; 16])),
            taken("a workspace of its own that is kept", kept),
        ];
        // The authoriser hears of a new role a moment later.
        let heard = tokio::time::timeout(Duration::from_secs(30), async {
            while check(&eve, &space.name, &cases).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        heard.await.context("eve reads what she may not, or does not what she may")
    })
    .await
}

/// It must be able to delete Leases of any name, and other Leases say who leads and which nodes live.
#[tokio::test]
async fn the_operator_deletes_the_leases_of_tasks_alone() -> Result<()> {
    in_space("leases", async |space| {
        let operator = account(space, RELEASE, "oarmaster-operator")?;
        let leases: Api<Lease> = Api::namespaced(operator, &space.name);
        let lease = |name: &str, labels: Value| {
            serde_json::from_value::<Lease>(json!({"metadata": {"name": name, "labels": labels}}))
        };
        let own = lease("own", json!({"oarmaster.dev/task-uid": "u"}))?;
        let other = lease("other", json!({"node": "n"}))?;
        for lease in [&own, &other] {
            leases.create(&PostParams::default(), lease).await?;
        }
        leases.delete("own", &DeleteParams::default()).await?;
        match leases.delete("other", &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => ensure!(
                status
                    .message
                    .contains("with the label oarmaster.dev/task-uid only"),
                "{}",
                status.message
            ),
            answer => anyhow::bail!("the operator deleted it: {answer:?}"),
        }
        // Nobody else is concerned.
        let leases: Api<Lease> = Api::namespaced(space.cluster.client.clone(), &space.name);
        leases.delete("other", &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}
