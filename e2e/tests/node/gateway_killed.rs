//! The gateway dies in the middle of a run.

use crate::support::{PRICES, agent, alone, create, key, mocked, pool, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use oarmaster_e2e::gateway::POD;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{kill, wait};
use oarmaster_protocol::journal::Body;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn the_run_goes_on_and_the_ledger_equals_the_bill() -> Result<()> {
    alone("gateway-killed", async |space| {
        // The second turn is asked twice: the first time the gateway dies while it waits for the answer.
        let gate = Gate::default();
        let (held, asked) = (gate.clone(), AtomicBool::new(false));
        let mock = Mock::start(&space.cluster, move |call| match call.turn {
            0 => Reply::python("print('worked')").usage(111, 22),
            1 if !asked.swap(true, Ordering::SeqCst) => {
                Reply::text("nobody hears this").after(&held)
            }
            1 => Reply::python("print('worked again')").usage(333, 44),
            _ => Reply::text("done").usage(555, 66),
        })
        .await?;
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["RunCode"]),
                task(&json!({})),
            ],
        )
        .await?;
        mock.until("the second call", SOON, |bill| bill.len() == 2)
            .await?;

        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let gateway = pods.get(POD).await?;
        let restarts =
            |pod: &Pod| kill::status(pod, "gateway").map_or(0, |held| held.restart_count);
        let before = restarts(&gateway);
        kill::container(&gateway, "gateway")?;
        wait::until(pods, POD, "its restart", SOON, |pod| {
            restarts(pod) > before && kill::status(pod, "gateway").is_some_and(|held| held.ready)
        })
        .await?;

        let task = space.complete("work").await?;
        let journal = space.journal("work").await?;
        assert_eq!(
            mock.bill().len(),
            4,
            "the open call once more, the answered ones never: {:#?}",
            mock.bill()
        );
        assert_eq!(
            journal.results().len(),
            2,
            "no tool ran twice: {journal:#?}"
        );
        assert_eq!(
            task.status.as_ref().and_then(|status| status.attempt),
            Some(1)
        );

        let (estimated, known): (Vec<_>, Vec<_>) = journal
            .booked()
            .into_iter()
            .partition(|usage| usage.estimated);
        let known = known.iter().fold((0, 0), |sum, usage| {
            (sum.0 + usage.input_tokens, sum.1 + usage.output_tokens)
        });
        assert_eq!(known, mock.billed(), "what was answered");
        assert_eq!(known, (111 + 333 + 555, 22 + 44 + 66), "what was answered");
        assert_eq!(
            estimated.len(),
            1,
            "the call that was open is booked: {journal:#?}"
        );
        let reserved = journal.0.iter().find_map(|record| match &record.body {
            Body::Open {
                call: 1,
                reserved_pico,
                ..
            } => Some(*reserved_pico),
            _ => None,
        });
        let booked = estimated.first().context("no estimated row")?.cost_pico;
        assert_eq!(Some(booked), reserved, "at its reservation: {journal:#?}");
        let usage = space.reader().await?.usage("work").await?;
        assert_eq!(
            usage.sum.cost_pico,
            known.0 * PRICES.0 + known.1 * PRICES.1 + booked
        );
        assert_eq!(usage.reserved_pico, 0, "nothing stays reserved");
        gate.open();
        Ok(())
    })
    .await
}
