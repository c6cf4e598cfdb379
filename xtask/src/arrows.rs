//! Holds the arrows between the crates (docs/architecture.md) and who may link a Kubernetes client.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Which of our crates a crate may link. A crate that is not listed is a new one: give it a line.
const ARROWS: [(&str, &[&str]); 13] = [
    ("oarmaster-crds", &[]),
    ("oarmaster-prices", &[]),
    ("oarmaster-protocol", &[]),
    ("oarmaster-dialect", &["oarmaster-protocol"]),
    ("oarmaster-serve", &[]),
    ("oarmaster-store", &["oarmaster-protocol"]),
    ("oarmaster-runner", &["oarmaster-protocol"]),
    (
        "oarmaster-workflow",
        &["oarmaster-crds", "oarmaster-protocol"],
    ),
    (
        "oarmaster-controllers",
        &["oarmaster-crds", "oarmaster-protocol", "oarmaster-workflow"],
    ),
    (
        "oarmaster-gateway",
        &[
            "oarmaster-store",
            "oarmaster-crds",
            "oarmaster-dialect",
            "oarmaster-prices",
            "oarmaster-protocol",
            "oarmaster-serve",
        ],
    ),
    (
        "oarmaster-operator",
        &["oarmaster-controllers", "oarmaster-crds", "oarmaster-serve"],
    ),
    ("oarmaster-cli", &["oarmaster-crds", "oarmaster-protocol"]),
    (
        "oarmaster-webhook",
        &["oarmaster-crds", "oarmaster-serve", "oarmaster-workflow"],
    ),
];

/// Tools and tests may link anything.
const FREE: [&str; 2] = ["oarmaster-e2e", "xtask"];

/// What a crate must not link, at any depth, with its own features alone.
const BANS: [(&str, &[&str]); 8] = [
    (
        "oarmaster-crds",
        &["kube-client", "kube-runtime", "tokio", "hyper"],
    ),
    (
        "oarmaster-protocol",
        &["kube-core", "k8s-openapi", "tokio", "hyper"],
    ),
    (
        "oarmaster-dialect",
        &["kube-core", "k8s-openapi", "tokio", "hyper"],
    ),
    (
        "oarmaster-prices",
        &["kube-core", "k8s-openapi", "tokio", "hyper"],
    ),
    ("oarmaster-serve", &["kube-core", "k8s-openapi"]),
    ("oarmaster-store", &["kube-core", "k8s-openapi"]),
    ("oarmaster-runner", &["kube-core", "k8s-openapi"]),
    (
        "oarmaster-webhook",
        &["kube-client", "kube-runtime", "reqwest"],
    ),
];

fn cargo(args: &[&str]) -> String {
    let out = crate::cmd::cargo().args(args).output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn our_crates_link_only_what_the_architecture_allows() {
    let metadata: Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--offline",
    ]))
    .unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        seen.insert(name);
        if FREE.contains(&name) {
            continue;
        }
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no line in ARROWS"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            // A test may use a neighbour.
            if dependency["kind"] == "dev" || !other.starts_with("oarmaster-") {
                continue;
            }
            assert!(allowed.contains(&other), "{name} must not link {other}");
        }
    }
    for (name, _) in ARROWS {
        assert!(
            seen.contains(name),
            "{name} is gone: take its line out of ARROWS"
        );
    }
}

#[test]
fn nothing_but_what_talks_to_kubernetes_links_a_client() {
    for (name, bans) in BANS {
        let tree = cargo(&[
            "tree",
            "--package",
            name,
            "--edges=normal",
            "--prefix=none",
            "--format={p}",
            "--offline",
        ]);
        let linked: BTreeSet<&str> = tree
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(linked.contains(name), "{tree}");
        for ban in bans {
            assert!(!linked.contains(ban), "{name} must not link {ban}");
        }
    }
}
