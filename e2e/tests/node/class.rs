//! What a SandboxClass says of its nodes, and what it demands of each pod: in a cluster that enforces NetworkPolicies and in one that does not.

use crate::support::{
    agent, beside_others, create, pool, python, run, says, scripted, task, with_class,
};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::{SandboxClass, Task, names};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::network::enforced;
use oarmaster_e2e::task::{SOON, failure, holds};
use oarmaster_e2e::{Space, wait};
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};

/// Status, reason and message of a class's condition.
fn says_of(class: &SandboxClass, kind: &str) -> (String, String, String) {
    let status = class.status.as_ref();
    status
        .and_then(|status| conditions::find(&status.conditions, kind))
        .map(|held| {
            (
                held.status.clone(),
                held.reason.clone(),
                held.message.clone(),
            )
        })
        .unwrap_or_default()
}

/// Waits until a probe ended, another one than `before`.
async fn probed(classes: &Api<SandboxClass>, name: &str, before: &str) -> Result<SandboxClass> {
    wait::until(classes.clone(), name, "its probe", SOON, |class| {
        let probe = class
            .status
            .as_ref()
            .and_then(|status| status.probe.as_ref());
        probe.is_some_and(|probe| probe.job != before)
    })
    .await
}

/// What the nodes' kubelets say of the processes of a pod; `None` where they limit none.
async fn pod_pids_limit(space: &Space, node: &str) -> Result<Option<i64>> {
    let path = format!("/api/v1/nodes/{node}/proxy/configz");
    let told = space.cluster.kubectl(&["get", "--raw", &path]).await?;
    let config: Value = serde_json::from_str(&told.success()?.stdout)?;
    let limit = config["kubeletconfig"]["podPidsLimit"].as_i64();
    Ok(limit.filter(|limit| *limit > 0))
}

#[tokio::test]
async fn enforcement_and_the_rest_that_a_node_offers_is_told_by_a_probe_and_again_when_asked()
-> Result<()> {
    beside_others("class-probe", async |space| {
        with_class(space, json!({}), async |classes, name| {
            let class = probed(classes, name, "").await?;
            let status = class.status.clone().context("no status")?;
            let policy = says_of(&class, conditions::NETWORK_POLICY_ENFORCED);
            let (value, why) = match enforced() {
                true => ("True", reason::ENFORCED),
                false => ("False", reason::NOT_ENFORCED),
            };
            ensure!((policy.0.as_str(), policy.1.as_str()) == (value, why), "{policy:?}");
            let tried = match enforced() {
                true => "did not reach the internet, the metadata address, the cluster's DNS, the API server, another pod",
                false => "the cluster's DNS, the API server, another pod, its node's kubelet and did not reach",
            };
            ensure!(policy.2.contains(tried), "{policy:?}");
            let ready = says_of(&class, conditions::READY);
            ensure!(ready.0 == "True", "nothing is demanded: {ready:?}");
            ensure!(status.landlock.is_some(), "{status:?}");
            let probe = status.probe.context("no probe")?;
            let node = probe.node.context("no node")?;
            let found = status.pids.map(|pids| pids.limit);
            match pod_pids_limit(space, &node).await? {
                // The runtime has some of its own in the pod.
                Some(limit) if limit < 4096 => ensure!(
                    found.is_some_and(|found| (limit - 64..=limit).contains(&found)),
                    "{found:?} of {limit}"
                ),
                _ => ensure!(found.is_none_or(|found| found > 256), "{found:?}"),
            }

            let table = space.kubectl(&["get", "sandboxclass", name]).await?;
            let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
            ensure!(
                header == ["NAME", "RUNTIME", "LANDLOCK", "POLICY", "PIDS", "READY", "AGE"],
                "{table}"
            );

            // The evidence goes once it is written down; then nothing happens until somebody asks.
            let jobs: Api<Job> = Api::namespaced(space.cluster.client.clone(), RELEASE);
            wait::until_gone(jobs.clone(), &probe.job, SOON).await?;
            if !enforced() {
                return Ok(()); // the next one would wait as long for a policy that does not come
            }
            let asked = format!("{}=again", names::PROBE_ANNOTATION);
            space.kubectl(&["annotate", "sandboxclass", name, &asked]).await?;
            let again = probed(classes, name, &probe.job).await?;
            ensure!(says_of(&again, conditions::NETWORK_POLICY_ENFORCED).0 == value);
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_runtime_class_that_is_absent_keeps_tasks_waiting_and_nothing_else() -> Result<()> {
    beside_others("class-runtime", async |space| {
        let runtime = space.name.clone();
        let spec = json!({"runtimeClassName": runtime});
        with_class(space, spec, async |classes, name| {
            let class = wait::until(classes.clone(), name, "a word", SOON, |class| {
                !says_of(class, conditions::READY).0.is_empty()
            })
            .await?;
            for kind in [conditions::READY, conditions::RUNTIME_CLASS_FOUND] {
                let (status, why, text) = says_of(&class, kind);
                ensure!(
                    (status.as_str(), why.as_str()) == ("False", reason::NOT_FOUND),
                    "{class:?}"
                );
                ensure!(
                    text.contains(&format!("RuntimeClass {runtime} does not exist")),
                    "{text}"
                );
            }
            let mut waiting = run("work", json!({"command": ["true"]}), &json!({}));
            waiting["spec"]["run"]["sandbox"]["class"] = json!({"name": name});
            create(space, &[waiting]).await?;
            space
                .task_until("work", "a word about the RuntimeClass", |task| {
                    let status = task.status.as_ref();
                    status
                        .and_then(|status| conditions::find(&status.conditions, conditions::READY))
                        .is_some_and(|held| held.message.contains(&runtime))
                })
                .await?;
            let probes = format!(
                "{}={}",
                names::CLASS_UID_LABEL,
                class.uid().unwrap_or_default()
            );
            let jobs: Api<Job> = Api::namespaced(space.cluster.client.clone(), RELEASE);
            let found = jobs.list(&ListParams::default().labels(&probes)).await?;
            ensure!(
                found.items.is_empty(),
                "no pod of it can be made: {found:?}"
            );

            let runtimes: Api<RuntimeClass> = Api::all(space.cluster.client.clone());
            let made =
                serde_json::from_value(json!({"metadata": {"name": runtime}, "handler": "runc"}))?;
            runtimes.create(&PostParams::default(), &made).await?;
            let done = async {
                space.complete("work").await?;
                let class = probed(classes, name, "").await?;
                ensure!(says_of(&class, conditions::READY).0 == "True", "{class:?}");
                Ok(())
            };
            let done = done.await;
            runtimes
                .delete(&runtime, &DeleteParams::background())
                .await?;
            done
        })
        .await
    })
    .await
}

fn isolated(task: &Task) -> String {
    let status = task.status.as_ref();
    status
        .and_then(|status| conditions::find(&status.conditions, conditions::ISOLATED))
        .map(|held| held.message.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn enforcement_that_a_class_demands_is_proven_before_anything_runs() -> Result<()> {
    beside_others("class-demands", async |space| {
        let spec = json!({"requireNetworkPolicy": true, "startupTimeout": "45s"});
        with_class(space, spec, async |classes, name| {
            let mut worker = agent(&["RunCode"]);
            worker["spec"]["sandbox"]["class"] = json!({"name": name});
            let replies = [python("print(6 * 7)"), says("done")];
            create(
                space,
                &[scripted(&replies), pool(), worker, task(&json!({}))],
            )
            .await?;
            if enforced() {
                let done = space.complete("work").await?;
                ensure!(holds(&done, conditions::ISOLATED), "{done:#?}");
                let told = isolated(&done);
                ensure!(told.contains("network policy enforced: the pod"), "{told}");
                let journal = space.journal("work").await?;
                let position = |wanted: fn(&Body) -> bool| {
                    journal.0.iter().position(|record| wanted(&record.body))
                };
                let proven = position(|body| matches!(body, Body::Isolation { proven: true, .. }));
                let ran = position(|body| matches!(body, Body::ToolResult { .. }));
                ensure!(proven.is_some() && proven < ran, "{journal:#?}");
                let class = probed(classes, name, "").await?;
                ensure!(says_of(&class, conditions::READY).0 == "True", "{class:?}");
                return Ok(());
            }
            let done = space.failed("work", "IsolationUnproven").await?;
            ensure!(!holds(&done, conditions::ISOLATED), "{done:#?}");
            let told = failure(&done).1;
            ensure!(
                told.contains("reached") && told.contains("the API server"),
                "{told}"
            );
            ensure!(
                isolated(&done).contains("network policy not enforced"),
                "{done:#?}"
            );
            let journal = space.journal("work").await?;
            ensure!(journal.results().is_empty(), "nothing ran: {journal:#?}");
            let class = probed(classes, name, "").await?;
            let ready = says_of(&class, conditions::READY);
            ensure!(
                (ready.0.as_str(), ready.1.as_str()) == ("False", reason::NOT_ENFORCED),
                "{ready:?}"
            );
            Ok(())
        })
        .await
    })
    .await
}

/// Whether this machine's kernel and runtime can give a pod users of its own is not the test's to say; that nobody is told so where they do not is.
#[tokio::test]
async fn users_of_the_node_are_never_taken_for_users_of_a_pods_own() -> Result<()> {
    beside_others("class-users", async |space| {
        let spec = json!({"hostUsers": false, "startupTimeout": "45s"});
        with_class(space, spec, async |classes, name| {
            let cat = json!({"command": ["cat", "/proc/self/uid_map"]});
            let mut work = run("work", cat, &json!({}));
            work["spec"]["run"]["sandbox"]["class"] = json!({"name": name});
            create(space, &[work]).await?;
            let class = probed(classes, name, "").await?;
            let (found, why, text) = says_of(&class, conditions::USER_NAMESPACE);
            let ready = says_of(&class, conditions::READY).0;
            let done = space.finished("work").await?;
            if found == "True" {
                ensure!(holds(&done, conditions::COMPLETE), "{done:#?}");
                let output = done.status.and_then(|status| status.output);
                let output = output.context("no output")?;
                let map = output["stdoutTail"].as_str().context("no map")?;
                let ids: Vec<&str> = map.split_whitespace().collect();
                ensure!(ids != ["0", "0", "4294967295"], "{map}");
                ensure!(ready == "True", "{class:?}");
                return Ok(());
            }
            let known = [reason::NODE_USERS, reason::PROBE_FAILED];
            ensure!(
                known.contains(&why.as_str()) && ready == "False",
                "{class:?}"
            );
            let expected = if why == reason::NODE_USERS {
                "IsolationUnproven"
            } else {
                "StartFailed"
            };
            let (class, told) = failure(&done);
            ensure!(class == expected, "{class}: {told}; the class says: {text}");
            Ok(())
        })
        .await
    })
    .await
}
