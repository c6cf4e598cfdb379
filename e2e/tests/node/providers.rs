//! Providers that cannot be used: the provider says why, and so does the Task.

use crate::support::{KEYS, agent, beside_others, create, key, pool, provider, task};
use anyhow::{Context as _, Result};
use oarmaster_crds::ModelProvider;
use oarmaster_crds::conditions::{self, find};
use oarmaster_e2e::task::{SOON, failure};
use oarmaster_e2e::{Space, wait};
use serde_json::{Value, json};

fn spec(endpoint: &str) -> Value {
    json!({
        "type": "OpenAICompatible",
        "endpoint": endpoint,
        "keys": [{"name": "main", "secretKeyRef": {"name": "model", "key": "api-key"}}],
        "timeouts": {"connect": "1s"},
    })
}

/// Waits until a condition of the provider has this status and reason; its message.
async fn says(
    space: &Space,
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
) -> Result<String> {
    let what = format!("{kind}={status} because of {reason}");
    let seen = wait::until(
        space.api::<ModelProvider>(),
        "model",
        &what,
        SOON,
        move |provider| {
            let held = provider.status.clone().unwrap_or_default().conditions;
            find(&held, kind).is_some_and(|held| held.status == status && held.reason == reason)
        },
    )
    .await?;
    let held = seen.status.unwrap_or_default().conditions;
    Ok(find(&held, kind)
        .map(|held| held.message.clone())
        .unwrap_or_default())
}

#[tokio::test]
async fn a_secret_that_is_forbidden_then_missing_then_empty_then_there() -> Result<()> {
    beside_others("secret", async |space| {
        space.kubectl(&["delete", "rolebinding", KEYS]).await?;
        create(
            space,
            &[
                provider(spec("http://192.0.2.1/v1")),
                pool(),
                agent(&[]),
                task(&json!({})),
            ],
        )
        .await?;
        let message = says(
            space,
            conditions::SECRET_RESOLVED,
            "False",
            conditions::reason::SECRET_FORBIDDEN,
        )
        .await?;
        let command = message
            .split_once("kubectl ")
            .with_context(|| format!("no command that grants it: {message}"))?;
        let granted = command.1.split_whitespace().collect::<Vec<_>>();
        space.cluster.kubectl(&granted).await?.success()?;

        let message = says(
            space,
            conditions::SECRET_RESOLVED,
            "False",
            conditions::reason::SECRET_MISSING,
        )
        .await?;
        assert!(message.contains("model"), "names the Secret: {message}");
        space
            .task_until("work", "naming what is missing", |task| {
                let held = task.status.clone().unwrap_or_default().conditions;
                find(&held, conditions::ACCEPTED)
                    .is_some_and(|held| held.status == "False" && held.message.contains("default"))
            })
            .await?;
        create(space, &[key("")]).await?;
        let message = says(
            space,
            conditions::SECRET_RESOLVED,
            "False",
            conditions::reason::SECRET_INVALID,
        )
        .await?;
        assert!(message.contains("api-key"), "names the key: {message}");
        let patch = r#"{"stringData":{"api-key":"there"}}"#;
        space
            .kubectl(&["patch", "secret", "model", "--type=merge", "-p", patch])
            .await?;
        says(
            space,
            conditions::SECRET_RESOLVED,
            "True",
            conditions::reason::RESOLVED,
        )
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves() -> Result<()> {
    beside_others("endpoint", async |space| {
        let node = oarmaster_e2e::mock::node_address(&space.cluster).await?;
        // Port 1 is closed.
        let endpoint = format!("http://{node}:1/v1");
        create(
            space,
            &[
                key("one"),
                provider(spec(&endpoint)),
                pool(),
                agent(&[]),
                task(&json!({})),
            ],
        )
        .await?;
        let task = space.failed("work", "ModelUnavailable").await?;
        assert!(
            failure(&task).1.contains("model"),
            "names the provider: {task:#?}"
        );
        let message = says(
            space,
            conditions::REACHABLE,
            "False",
            conditions::reason::NO_ANSWER,
        )
        .await?;
        assert!(!message.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_is_private_and_not_listed() -> Result<()> {
    beside_others("private", async |space| {
        let endpoint = "http://169.254.169.254/v1";
        create(
            space,
            &[
                key("one"),
                provider(spec(endpoint)),
                pool(),
                agent(&[]),
                task(&json!({})),
            ],
        )
        .await?;
        let message = says(
            space,
            conditions::READY,
            "False",
            conditions::reason::UNUSABLE,
        )
        .await?;
        assert!(message.contains("privateEndpoints"), "{message}");
        // No attempt is made, and the Task says what would allow one.
        let task = space
            .task_until("work", "naming what would allow it", |task| {
                let held = task.status.clone().unwrap_or_default().conditions;
                find(&held, conditions::ACCEPTED).is_some_and(|held| {
                    held.status == "False" && held.message.contains("privateEndpoints")
                })
            })
            .await?;
        assert_eq!(task.status.unwrap_or_default().attempt, None);
        Ok(())
    })
    .await
}
