//! A key is changed while a Task runs.

use crate::support::{agent, beside_others, create, held_at_first_call, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, LogParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use oarmaster_crds::ModelProvider;
use oarmaster_e2e::gateway::POD;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, kill, wait};
use serde_json::json;

async fn rotate(space: &Space, value: &str) -> Result<()> {
    let secrets = space.api::<Secret>();
    let patch = Patch::Merge(json!({"stringData": {"api-key": value}}));
    secrets
        .patch("model", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_next_call_has_the_new_key() -> Result<()> {
    beside_others("rotation", async |space| {
        // Five seconds is what the documents promise.
        let first = Reply::python("import time; time.sleep(5)");
        let (gate, mock) = held_at_first_call(space, "the-old-key", first, "done").await?;
        let gateways: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let before = gateways.get(POD).await?;
        rotate(space, "the-new-key").await?;
        gate.open();

        space.complete("work").await?;
        let keys: Vec<_> = mock
            .bill()
            .into_iter()
            .map(|call| call.authorization.unwrap_or_default())
            .collect();
        assert_eq!(keys, ["Bearer the-old-key", "Bearer the-new-key"]);
        let after = gateways.get(POD).await?;
        assert_eq!(
            after.metadata.uid, before.metadata.uid,
            "nothing was restarted"
        );
        let restarts = |pod: &Pod| kill::status(pod, "gateway").map(|held| held.restart_count);
        assert_eq!(restarts(&after), restarts(&before), "nothing was restarted");
        let ours = ListParams::default().labels("app.kubernetes.io/name=oarmaster");
        for pod in gateways.list(&ours).await? {
            let name = pod.name_any();
            let logs = gateways.logs(&name, &LogParams::default()).await?;
            assert!(!logs.is_empty(), "{name} says nothing");
            for key in ["the-old-key", "the-new-key"] {
                assert!(!logs.contains(key), "a key is in the log of {name}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refused_key_is_out_until_its_secret_changes() -> Result<()> {
    beside_others("refused-key", async |space| {
        let mock = Mock::start(&space.cluster, |call| {
            if call.authorization.as_deref() == Some("Bearer good") {
                Reply::text("done")
            } else {
                Reply::fault(401)
            }
        })
        .await?;
        create(
            space,
            &[
                key("bad"),
                mocked(&mock),
                pool(),
                agent(&[]),
                task(&json!({})),
            ],
        )
        .await?;
        let state = async |wanted: &'static str| {
            wait::until(
                space.api::<ModelProvider>(),
                "model",
                wanted,
                SOON,
                move |provider| {
                    let status = provider.status.clone().unwrap_or_default();
                    status.keys.first().is_some_and(|key| key.state == wanted)
                },
            )
            .await
        };

        space.failed("work", "ModelUnavailable").await?;
        let refused = state("Invalid").await?;
        let text = serde_json::to_string(&refused.status)?;
        assert!(!text.contains("bad"), "the key is in the status: {text}");
        assert_eq!(mock.bill().len(), 1, "a refused key is not tried again");

        rotate(space, "good").await?;
        state("Ok").await?;
        let mut again = task(&json!({}));
        again["metadata"]["name"] = json!("again");
        create(space, &[again]).await?;
        space.complete("again").await?;
        let last = mock.bill().pop().context("no call")?;
        assert_eq!(last.authorization.as_deref(), Some("Bearer good"));
        Ok(())
    })
    .await
}
