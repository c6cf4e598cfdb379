//! SandboxClass: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken};
use anyhow::Result;
use serde_json::{Value, json};

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
