//! Defaults are in the schema: what is stored shows what will happen.

use crate::support::{in_space, object};
use crate::{agent, budget, provider, task};
use anyhow::{Result, ensure};
use oarmaster_e2e::apply;
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_left_out_is_filled_in() -> Result<()> {
    let sandbox = json!({
        "class": {"name": "default"}, "image": "python:3.12-slim", "cpu": "1", "memory": "512Mi", "disk": "256Mi", "callTimeout": "300s",
        "egress": {"domains": []},
    });
    let retry = json!({"limit": 1, "backoff": {"base": "10s", "factor": 2, "max": "5m"}});
    let timeouts = json!({"connect": "2s", "firstToken": "60s", "idle": "30s", "response": "10m"});
    let cases: [(Value, &[(&str, Value)]); 8] = [
        (
            task::agent(),
            &[
                ("/spec/timeout", json!("20m")),
                ("/spec/state", json!("Running")),
                ("/spec/retry", retry.clone()),
            ],
        ),
        (
            crate::support::with_spec(
                &task::run(),
                json!({"run": {"sandbox": {"memory": "1Gi"}}, "retry": {"backoff": {"base": "1s"}}}),
            ),
            &[
                ("/spec/run/sandbox/memory", json!("1Gi")),
                ("/spec/run/sandbox/image", sandbox["image"].clone()),
                ("/spec/run/sandbox/class", sandbox["class"].clone()),
                ("/spec/retry/backoff/max", json!("5m")),
                ("/spec/retry/limit", json!(1)),
            ],
        ),
        (
            agent::agent(),
            &[
                ("/spec/sandbox", sandbox.clone()),
                ("/spec/limits", json!({"turns": 30, "toolCalls": 100})),
                (
                    "/spec/model",
                    json!({"pool": {"name": "default"}, "maxOutputTokens": 4096, "cache": "Pool"}),
                ),
            ],
        ),
        (
            provider::remote(),
            &[
                ("/spec/timeouts", timeouts),
                ("/spec/allowedNamespaces", json!({"from": "Same"})),
            ],
        ),
        (
            crate::support::with_spec(
                &provider::remote(),
                json!({"type": "Bedrock", "bedrock": {"region": "eu-central-1"}, "keys": [{"name": "main", "secretRef": {"name": "s"}}]}),
            ),
            &[
                ("/spec/bedrock/credentials", json!("Secret")),
                ("/spec/keys/0/weight", json!(1)),
            ],
        ),
        (
            object(
                "ModelPool",
                json!({"members": [{"provider": {"name": "p"}, "model": "m"}]}),
            ),
            &[
                ("/spec/members/0/priority", json!(0)),
                ("/spec/members/0/weight", json!(1)),
                ("/spec/strategy", json!("Priority")),
                ("/spec/suspend", json!(false)),
                ("/spec/allowedNamespaces", json!({"from": "Same"})),
                (
                    "/spec/cache",
                    json!({"mode": "Off", "ttl": "1h", "sampled": false, "per": "Namespace"}),
                ),
                ("/spec/failover", json!({"maxHops": 4, "deadline": "180s"})),
                (
                    "/spec/breaker",
                    json!({"errorPercent": 50, "window": "30s", "minRequests": 5, "cooldown": "15s", "maxCooldown": "120s"}),
                ),
            ],
        ),
        (
            budget::budget(),
            &[
                ("/spec/per", json!("Cluster")),
                ("/spec/warnAt", json!([80])),
                ("/spec/onExceeded", json!("Stop")),
            ],
        ),
        (
            object("SandboxClass", json!({})),
            &[
                (
                    "/spec/users",
                    json!({"from": "Fixed", "pilot": 65_532, "exec": 65_533}),
                ),
                ("/spec/hostUsers", json!(true)),
                ("/spec/defaultTaskBudget", json!({"usd": "1"})),
                (
                    "/spec/maximum",
                    json!({"cpu": "4", "memory": "4Gi", "disk": "8Gi", "callTimeout": "1h"}),
                ),
                ("/spec/startupTimeout", json!("5m")),
                ("/spec/minimumIsolation", json!("Seccomp")),
                ("/spec/requireNetworkPolicy", json!(false)),
                ("/spec/sharedPilots", json!(true)),
                ("/spec/egress", json!({"domains": []})),
                ("/spec/requests", json!({"cpu": "50m"})),
            ],
        ),
    ];
    in_space("defaults", async |space| {
        for (object, filled) in cases {
            let held =
                apply::dry_run(&space.cluster.client, &space.name, &object.to_string()).await?;
            let held = serde_json::to_value(&held)?;
            for (pointer, value) in filled {
                let found = held[0].pointer(pointer);
                ensure!(found == Some(value), "{pointer} of {object} is {found:?}");
            }
        }
        Ok(())
    })
    .await
}
