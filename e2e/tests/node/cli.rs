//! `oar`, as a user runs it: with a kubeconfig and nothing else.

use crate::support::beside_others;
use anyhow::{Context as _, Result};
use oarmaster_crds::ModelPool;
use oarmaster_crds::conditions::{ACCEPTED, READY, find, reason};
use oarmaster_e2e::Space;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::command::{Output, Run, built};
use oarmaster_e2e::installed::image;
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A program that is nowhere in the repository, with a loop that ends one early.
const PROGRAM: [(&str, &str); 3] = [
    ("shop/__init__.py", ""),
    (
        "shop/pages.py",
        "def pages(items, size):\n    found = []\n    for start in range(0, len(items) - 1, size):\n        found.append(items[start:start + size])\n    return found\n",
    ),
    (
        "test_pages.py",
        "import unittest\n\nfrom shop.pages import pages\n\n\nclass Pages(unittest.TestCase):\n    def test_the_last_page_counts(self):\n        self.assertEqual(pages([1, 2, 3, 4, 5], 2), [[1, 2], [3, 4], [5]])\n        self.assertEqual(pages([1], 3), [[1]])\n",
    ),
];

/// A folder with these files, which is removed in the end.
fn folder(files: &[(&str, &str)]) -> Result<TempDir> {
    let folder = TempDir::new()?;
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().context("no parent")?)?;
        std::fs::write(path, content)?;
    }
    Ok(folder)
}

/// The quickstart without its Task, and the ServiceAccount whose token `oar` shows.
async fn prepare(space: &Space) -> Result<()> {
    for file in ["1-model-provider.yaml", "2-model-pool.yaml", "3-agent.yaml"] {
        let yaml =
            std::fs::read_to_string(checkout().join("config/samples/quickstart").join(file))?;
        space
            .create(&yaml.replace("python:3.12-slim", &image("python")))
            .await?;
    }
    space.kubectl(&["create", "serviceaccount", "oar"]).await?;
    let account = format!("--serviceaccount={}:oar", space.name);
    space
        .kubectl(&[
            "create",
            "rolebinding",
            "oar",
            "--clusterrole=oarmaster-view",
            &account,
        ])
        .await?;
    let ready = [
        "wait",
        "oagent/python-fixer",
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    space.kubectl(&ready).await?;
    Ok(())
}

/// Runs `oar` as a user does.
pub async fn oar(kubeconfig: &Path, namespace: &str, args: &[&str]) -> Result<Output> {
    Run::new(built("oar").await?)
        .args(args)
        .args(&["--namespace", namespace, "--kubeconfig"])
        .args(&[kubeconfig])
        .dir(checkout())
        .within(Duration::from_secs(900))
        .output()
        .await
}

#[tokio::test]
async fn a_program_of_the_user_is_repaired() -> Result<()> {
    beside_others("cli", async |space| {
        prepare(space).await?;
        let kubeconfig = &space.cluster.kubeconfig;
        let from = format!("{}/oar", space.name);
        let token = ["--token-from", &from];
        let files = folder(&PROGRAM)?;
        let path = files.path().to_string_lossy().into_owned();

        let run = [
            "run",
            "python-fixer",
            "--name",
            "mine",
            "--files",
            &path,
            "--watch",
        ];
        let out = oar(kubeconfig, &space.name, &[&run[..], &token].concat())
            .await?
            .success()?;
        for said in [
            // Not that it is Running: a script may be done before anybody has looked.
            "runs in pod mine-",
            "→ ListFiles",
            "→ Shell command=",
            "FAILED (failures=",
            "tokens, $0.",
            "check 1: accepted",
            "Task mine is Complete",
        ] {
            assert!(out.stdout.contains(said), "no `{said}` in {}", out.text());
        }

        let out = oar(kubeconfig, &space.name, &["result", "mine"])
            .await?
            .success()?;
        assert!(
            out.stdout.starts_with("--- a/shop/pages.py"),
            "{}",
            out.text()
        );
        assert!(
            out.stdout
                .contains("-    for start in range(0, len(items) - 1, size):"),
            "{}",
            out.text()
        );

        let logs = ["logs", "mine", "-o", "json"];
        let out = oar(kubeconfig, &space.name, &[&logs[..], &token].concat())
            .await?
            .success()?;
        let records: Vec<Value> = out
            .stdout
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let numbers: Vec<u64> = records
            .iter()
            .filter_map(|record| record["seq"].as_u64())
            .collect();
        let expected: Vec<u64> = (0..).take(records.len()).collect();
        assert_eq!(numbers, expected, "the transcript has no gap");

        let out = oar(kubeconfig, &space.name, &["list"]).await?.success()?;
        assert!(
            out.stdout.contains("mine") && out.stdout.contains("Succeeded"),
            "{}",
            out.text()
        );
        let out = oar(kubeconfig, &space.name, &["get", "mine"])
            .await?
            .success()?;
        assert!(out.stdout.contains("Complete=True"), "{}", out.text());
        assert!(out.stdout.contains("Requester"), "{}", out.text());

        // The administrator's kubeconfig of the local cluster has no token: the error says how to get one.
        let out = oar(kubeconfig, &space.name, &["logs", "mine"]).await?;
        assert!(
            out.code == Some(0)
                || (out.code == Some(3)
                    && out.stderr.contains("kubectl create serviceaccount oar")),
            "{}",
            out.text()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_repaired_is_said_with_the_exit_code() -> Result<()> {
    beside_others("cli-failed", async |space| {
        prepare(space).await?;
        let kubeconfig = &space.cluster.kubeconfig;
        let from = format!("{}/oar", space.name);
        let files = folder(&[
            ("shop.py", "def total(prices):\n    return None\n"),
            ("test_shop.py", "import unittest\n\nfrom shop import total\n\n\nclass Shop(unittest.TestCase):\n    def test_total(self):\n        self.assertEqual(total([17, 25]), 42)\n"),
        ])?;
        let path = files.path().to_string_lossy().into_owned();
        let run = ["run", "python-fixer", "--name", "hopeless", "--files", &path, "--watch", "--token-from", &from];
        let out = oar(kubeconfig, &space.name, &run).await?;
        assert_eq!(out.code, Some(1), "{}", out.text());
        assert!(out.stderr.contains("NotAccepted") && out.stderr.contains("oar logs --full hopeless"), "{}", out.text());

        let out = oar(kubeconfig, &space.name, &["result", "hopeless"]).await?;
        assert_eq!(out.code, Some(1), "{}", out.text());

        for (args, said) in [
            (&["run", "python-fixr", "-p", "prompt=x"][..], "There are: python-fixer"),
            (&["run", "python-fixer"], "-p prompt="),
            (&["run", "python-fixer", "-p", "prompt=x", "--name", "hopeless"], "already exists"),
            (&["get", "absent"], "oar list"),
            (&["result", "absent"], "oar list"),
            (&["cancel", "hopeless"], "already ended"),
        ] {
            let out = oar(kubeconfig, &space.name, args).await?;
            assert_eq!(out.code, Some(2), "{}", out.text());
            assert!(out.stderr.contains(said), "no `{said}` in {}", out.text());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_suspended_pool_keeps_tasks_waiting_until_it_is_resumed() -> Result<()> {
    beside_others("pools", async |space| {
        prepare(space).await?;
        let kubeconfig = &space.cluster.kubeconfig;
        let pools = async |words: &[&str]| {
            let words = [&["pools"], words].concat();
            oar(kubeconfig, &space.name, &words).await
        };
        let out = pools(&["suspend", "--all"]).await?.success()?;
        let told = format!("ModelPool {}/default takes no new calls\n", space.name);
        assert_eq!(out.stdout, told, "of this namespace alone");
        let suspended = |pool: &ModelPool| {
            let held = pool.status.clone().unwrap_or_default().conditions;
            find(&held, READY).is_some_and(|ready| ready.reason == reason::SUSPENDED)
        };
        let what = "the operator has seen it";
        wait::until(space.api(), "default", what, SOON, suspended).await?;
        let files = folder(&PROGRAM)?;
        let path = files.path().to_string_lossy().into_owned();
        let run = ["run", "python-fixer", "--name", "mine", "--files", &path];
        oar(kubeconfig, &space.name, &run).await?.success()?;
        let task = space
            .task_until("mine", "waiting for its pool", |task| {
                let held = task.status.clone().unwrap_or_default().conditions;
                find(&held, ACCEPTED).is_some_and(|held| held.message.contains("suspend"))
            })
            .await?;
        assert_eq!(task.status.unwrap_or_default().attempt, None, "no pod");
        pools(&["resume", "default"]).await?.success()?;
        space.complete("mine").await?;

        let out = pools(&["suspend", "absent"]).await?;
        assert_eq!(out.code, Some(2), "{}", out.text());
        assert!(out.stderr.contains("absent"), "{}", out.text());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said() -> Result<()> {
    let files = folder(&[(
        "kubeconfig",
        "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: x, user: {token: x}}]\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n",
    )])?;
    let out = oar(&files.path().join("kubeconfig"), "default", &["list"]).await?;
    assert_eq!(out.code, Some(3), "{}", out.text());
    assert!(
        out.stderr.contains("kubectl cluster-info"),
        "{}",
        out.text()
    );
    Ok(())
}
