//! SandboxClass: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken};
use anyhow::Result;
use serde_json::{Value, json};

const USERS: &str = "a pod with a user namespace has the user ids up to 65535: with hostUsers false write users of that range, from: Fixed";

pub fn cases() -> Vec<Case> {
    let c = |spec: Value| object("SandboxClass", spec);
    let secrets: Vec<String> = (0..9).map(|n| format!("s{n}")).collect();
    vec![
        taken("a class", c(json!({}))),
        taken(
            "tolerations and node labels",
            c(json!({
                "nodeSelector": {"pool": "sandboxes"}, "tolerations": [{"key": "sandboxes", "operator": "Exists", "effect": "NoSchedule"}],
            })),
        ),
        denied(
            "one user for both",
            c(json!({"users": {"pilot": 1000, "exec": 1000}})),
            &["pilot and exec must be different user ids"],
        ),
        denied(
            "one user for both by default",
            c(json!({"users": {"exec": 65_532}})),
            &["pilot and exec must be different user ids"],
        ),
        denied(
            "root",
            c(json!({"users": {"exec": 0}})),
            &["spec.users.exec", "greater than or equal to 1"],
        ),
        denied(
            "no image",
            c(json!({"images": {"allow": []}})),
            &["spec.images.allow", "at least 1"],
        ),
        taken(
            "images of some registries",
            c(json!({"images": {
                "allow": ["docker.io/library/*", "reg.example.com:5000/team-*/py*", "localhost/x"],
                "requireDigest": true,
            }})),
        ),
        denied(
            "images of every registry",
            c(json!({"images": {"allow": ["*/*"]}})),
            &["spec.images.allow[0]", "should match"],
        ),
        denied(
            "a star within a part",
            c(json!({"images": {"allow": ["docker.io/library/*", "ghcr.io/a*b"]}})),
            &["spec.images.allow[1]", "should match"],
        ),
        denied(
            "a tag",
            c(json!({"images": {"allow": ["docker.io/library/python:3.12"]}})),
            &["spec.images.allow[0]", "should match"],
        ),
        denied(
            "a registry in upper case",
            c(json!({"images": {"allow": ["GHCR.io/acme/*"]}})),
            &["spec.images.allow[0]", "should match"],
        ),
        taken(
            "users of the namespace's range",
            c(json!({"users": {"from": "FromNamespace"}})),
        ),
        taken(
            "users who are nobody on the node",
            c(json!({"users": {"exec": 65_535}, "hostUsers": false})),
        ),
        denied(
            "users that no user namespace has",
            c(json!({"users": {"exec": 65_536}, "hostUsers": false})),
            &[USERS],
        ),
        denied(
            "users of the namespace's range in a user namespace",
            c(json!({"users": {"from": "FromNamespace"}, "hostUsers": false})),
            &[USERS],
        ),
        denied(
            "users from elsewhere",
            c(json!({"users": {"from": "Image"}})),
            &["spec.users.from", "\"Fixed\", \"FromNamespace\""],
        ),
        taken(
            "labels of the pods",
            c(
                json!({"podLabels": {"team": "a", "sidecar.istio.io/inject": "false", "notoarmaster.dev/x": ""}}),
            ),
        ),
        denied(
            "a label of ours",
            c(json!({"podLabels": {"oarmaster.dev/sandbox": "false"}})),
            &[
                "podLabels below oarmaster.dev/ and those of the Job controller say whose a pod is; leave them out",
            ],
        ),
        denied(
            "a label below ours",
            c(json!({"podLabels": {"x.oarmaster.dev/y": "z"}})),
            &[
                "podLabels below oarmaster.dev/ and those of the Job controller say whose a pod is; leave them out",
            ],
        ),
        denied(
            "a label of the Job controller",
            c(json!({"podLabels": {"job-name": "mine"}})),
            &[
                "podLabels below oarmaster.dev/ and those of the Job controller say whose a pod is; leave them out",
            ],
        ),
        denied(
            "a label that is none",
            c(json!({"podLabels": {"-team": "a"}})),
            &["names of podLabels are like team or example.com/team"],
        ),
        denied(
            "a label's value that is none",
            c(json!({"podLabels": {"team": "a b"}})),
            &["spec.podLabels.team", "should match"],
        ),
        denied(
            "17 labels",
            c(
                json!({"podLabels": (0..17).map(|n| (format!("l{n}"), String::new())).collect::<std::collections::BTreeMap<_, _>>()}),
            ),
            &["spec.podLabels", "at most 16"],
        ),
        denied(
            "no isolation",
            c(json!({"minimumIsolation": "None"})),
            &["spec.minimumIsolation", "\"Seccomp\", \"Landlock\""],
        ),
        denied(
            "an empty budget",
            c(json!({"defaultTaskBudget": {}})),
            &["set usd, tokens, or both"],
        ),
        denied(
            "a size in words",
            c(json!({"maximum": {"memory": "lots"}})),
            &["spec.maximum.memory", "should match"],
        ),
        denied(
            "a start in words",
            c(json!({"startupTimeout": "soon"})),
            &["spec.startupTimeout", "should match"],
        ),
        denied(
            "9 pull secrets",
            c(json!({ "imagePullSecrets": secrets })),
            &["spec.imagePullSecrets", "at most 8"],
        ),
        taken(
            "domains for its sandboxes",
            c(json!({"egress": {"domains": ["pypi.org", "*.pythonhosted.org"]}})),
        ),
        denied(
            "every domain",
            c(json!({"egress": {"domains": ["*"]}})),
            &["spec.egress.domains[0]", "should match"],
        ),
        denied(
            "every domain below org",
            c(json!({"egress": {"domains": ["*.org"]}})),
            &["spec.egress.domains[0]", "should match"],
        ),
        denied(
            "an address",
            c(json!({"egress": {"domains": ["pypi.org", "10.0.0.1"]}})),
            &["spec.egress.domains[1]", "should match"],
        ),
        denied(
            "a domain twice",
            c(json!({"egress": {"domains": ["pypi.org", "pypi.org"]}})),
            &["spec.egress.domains[1]", "Duplicate value"],
        ),
        denied(
            "a pod's field",
            c(json!({"securityContext": {"privileged": true}})),
            &["unknown field \"spec.securityContext\""],
        ),
    ]
}

#[tokio::test]
async fn a_class_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("class", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
