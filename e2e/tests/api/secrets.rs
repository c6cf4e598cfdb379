//! Who may have the gateway send a Secret somewhere: only who may read it.

use crate::provider;
use crate::support::{check, denied, in_space, object, refused, taken, with, with_spec};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::{Agent, ModelProvider};
use oarmaster_e2e::Space;
use serde_json::{Value, json};

fn keyed(secrets: &[&str]) -> Value {
    let keys: Vec<Value> = secrets
        .iter()
        .enumerate()
        .map(|(index, secret)| json!({"name": format!("k{index}"), "secretKeyRef": {"name": secret, "key": "api-key"}}))
        .collect();
    with_spec(&provider::remote(), json!({ "keys": keys }))
}

/// A user who may write our objects in the test's namespace, and read the Secret `own` only.
async fn writer(space: &Space) -> Result<kube::Client> {
    for args in [
        &[
            "create",
            "rolebinding",
            "edit",
            "--clusterrole=oarmaster-edit",
            "--user=mallory",
        ][..],
        &[
            "create",
            "rolebinding",
            "view",
            "--clusterrole=oarmaster-view",
            "--user=mallory",
        ],
        &[
            "create",
            "role",
            "own",
            "--verb=get",
            "--resource=secrets",
            "--resource-name=own",
        ],
        &[
            "create",
            "rolebinding",
            "own",
            "--role=own",
            "--user=mallory",
        ],
    ] {
        space.kubectl(args).await?;
    }
    space
        .cluster
        .acting_as("mallory", &["system:authenticated"])
}

#[tokio::test]
async fn a_secret_is_sent_only_by_who_may_read_it() -> Result<()> {
    in_space("secrets", async |space| {
        let user = writer(space).await?;
        let told = |index: usize, secret: &str| -> &'static str {
            format!(
                "spec.keys[{index}]: mallory may not get Secret {}/{secret}",
                space.name
            )
            .leak()
        };
        let whole = |secret: &str| {
            let key = json!({"name": "main", "secretRef": {"name": secret}});
            with_spec(&provider::remote(), json!({"type": "Bedrock", "endpoint": null, "bedrock": {"region": "eu-central-1"}, "keys": [key]}))
        };
        let many: Vec<&str> = vec!["own"; 16];
        let mut last = many.clone();
        last[15] = "theirs";
        check(
            &user,
            &space.name,
            &[
                taken("no key", provider::remote()),
                taken("a Secret of one's own", keyed(&["own"])),
                denied("another Secret", keyed(&["theirs"]), &[told(0, "theirs")]),
                taken("a whole Secret of one's own", whole("own")),
                denied("another whole Secret", whole("theirs"), &[told(0, "theirs")]),
                denied(
                    "another Secret beside one's own",
                    keyed(&["own", "theirs"]),
                    &[told(1, "theirs")],
                ),
                taken("16 keys", keyed(&many)),
                denied(
                    "another Secret in the last place",
                    keyed(&last),
                    &[told(15, "theirs")],
                ),
            ],
        )
        .await?;
        check(
            &space.cluster.client,
            &space.name,
            &[taken("who may read all", keyed(&["theirs"]))],
        )
        .await
    })
    .await
}

#[tokio::test]
async fn a_key_in_place_is_not_sent_elsewhere() -> Result<()> {
    in_space("redirect", async |space| {
        let user = writer(space).await?;
        space
            .create(&with(&keyed(&["theirs"]), json!({"metadata": {"name": "p"}})).to_string())
            .await?;
        let providers: Api<ModelProvider> = Api::namespaced(user, &space.name);
        let patch = async |patch: Value| {
            providers
                .patch("p", &PatchParams::default(), &Patch::Merge(patch))
                .await
        };
        let theirs = json!({"name": "k0", "secretKeyRef": {"name": "theirs", "key": "other"}});
        for attack in [
            json!({"spec": {"endpoint": "https://mallory.example.com/v1"}}),
            json!({"spec": {"keys": [theirs]}}),
        ] {
            let error = anyhow::Error::from(
                patch(attack.clone())
                    .await
                    .err()
                    .with_context(|| format!("{attack} was taken"))?,
            );
            ensure!(
                refused(&error).contains("mallory may not get Secret"),
                "{error:#}"
            );
        }
        patch(json!({"metadata": {"labels": {"team": "a"}}}))
            .await
            .context("a label")?;
        patch(json!({"spec": {"timeouts": {"response": "1m"}}}))
            .await
            .context("a timeout")?;
        patch(json!({"spec": {"keys": null}}))
            .await
            .context("no key any more")?;
        Ok(())
    })
    .await
}

/// An Agent with an MCP server for each of these Secrets.
pub fn connected(secrets: &[&str]) -> Value {
    let tools: Vec<Value> = secrets
        .iter()
        .enumerate()
        .map(|(index, secret)| {
            let key = json!({"name": secret, "key": "token"});
            json!({"mcp": {"name": format!("hub{index}"), "url": "https://mcp.example.com", "allow": ["search"], "secretKeyRef": key}})
        })
        .collect();
    object("Agent", json!({"instructions": "x", "tools": tools}))
}

#[tokio::test]
async fn an_agents_key_is_sent_only_by_who_may_read_it() -> Result<()> {
    in_space("agent-secrets", async |space| {
        let user = writer(space).await?;
        let told: &'static str = format!("mallory may not get Secret {}/theirs", space.name).leak();
        let mut last = vec!["own"; 8];
        let eight = connected(&last);
        last[7] = "theirs";
        check(
            &user,
            &space.name,
            &[
                taken(
                    "no key",
                    with_spec(&connected(&[]), json!({"tools": [{"builtin": "Recall"}]})),
                ),
                taken("a Secret of one's own", connected(&["own"])),
                denied("another Secret", connected(&["theirs"]), &[told]),
                taken("8 servers", eight),
                denied(
                    "another Secret in the last place",
                    connected(&last),
                    &[told],
                ),
            ],
        )
        .await?;
        let approvals = json!([{"tool": "hub0__search", "approvers": {"users": ["carol"]}}]);
        let approved = with_spec(&connected(&["theirs"]), json!({"approvals": approvals}));
        space
            .create(&with(&approved, json!({"metadata": {"name": "a"}})).to_string())
            .await?;
        let agents: Api<Agent> = Api::namespaced(user, &space.name);
        let patch = async |patch: Value| {
            agents
                .patch("a", &PatchParams::default(), &Patch::Merge(patch))
                .await
        };
        let mut elsewhere = connected(&["theirs"]);
        elsewhere["spec"]["tools"][0]["mcp"]["url"] = json!("https://mallory.example.com");
        let mut more = connected(&["theirs"]);
        more["spec"]["tools"][0]["mcp"]["allow"] = json!(["search", "drop"]);
        let tools = |of: &Value| json!({"spec": {"tools": of["spec"]["tools"]}});
        let unasked = json!({"spec": {"approvals": null}});
        for attack in [tools(&elsewhere), tools(&more), unasked] {
            let error = anyhow::Error::from(
                patch(attack.clone())
                    .await
                    .err()
                    .with_context(|| format!("{attack} was taken"))?,
            );
            ensure!(refused(&error).contains(told), "{error:#}");
        }
        patch(json!({"spec": {"instructions": "y"}}))
            .await
            .context("the instructions")?;
        patch(json!({"spec": {"tools": null, "approvals": null}}))
            .await
            .context("no key any more")?;
        Ok(())
    })
    .await
}
