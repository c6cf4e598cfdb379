//! The quickstart, and the controls that show it to be no puppet show.

use crate::support::beside_others;
use anyhow::{Context as _, Result};
use oarmaster_e2e::Space;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::installed::image;
use oarmaster_e2e::task::Journal;
use oarmaster_protocol::journal::Body;

/// Applies the sample's provider, pool and agent, and the Task of a file, as the README says; `changes` are made to the texts.
pub async fn apply(space: &Space, task: &str, changes: &[(&str, &str)]) -> Result<()> {
    let sample = "config/samples/quickstart";
    for file in ["1-model-provider.yaml", "2-model-pool.yaml", "3-agent.yaml"] {
        let mut yaml = std::fs::read_to_string(checkout().join(sample).join(file))?;
        // As `make demo` does: nothing can be pulled here.
        yaml = yaml.replace("python:3.12-slim", &image("python"));
        for (from, to) in changes {
            yaml = yaml.replace(from, to);
        }
        space.create(&yaml).await?;
    }
    let task = checkout().join(task);
    space.create(&std::fs::read_to_string(task)?).await?;
    Ok(())
}

fn edits(journal: &Journal) -> usize {
    journal.count(|body| matches!(body, Body::ToolIntent { tool, .. } if tool == "EditFile" || tool == "WriteFile"))
}

#[tokio::test]
async fn the_bug_is_repaired() -> Result<()> {
    beside_others("quickstart", async |space| {
        apply(space, "config/samples/quickstart/4-task.yaml", &[]).await?;
        let task = space.complete("fix-summary").await?;
        let journal = space.journal("fix-summary").await?;

        let results = journal.results();
        let tests: Vec<_> = results.iter().filter(|held| held.0 == "Shell").collect();
        assert_eq!(tests.len(), 2, "{journal:#?}");
        assert!(
            tests[0].2.contains("FAILED (failures=")
                && tests[0].2.contains("test_median_of_an_even_number"),
            "{}",
            tests[0].2
        );
        assert!(
            tests[1].2.contains("Ran 8 tests") && tests[1].2.contains("OK"),
            "{}",
            tests[1].2
        );
        assert_eq!(edits(&journal), 1, "{journal:#?}");
        assert!(
            results.iter().any(|held| held.0 == "EditFile" && held.1),
            "{journal:#?}"
        );
        assert!(
            matches!(journal.checks()[..], [(true, Some(0), _)]),
            "{journal:#?}"
        );

        let status = task.status.context("no status")?;
        let output = status.output.context("no output")?;
        let diff = output["text"].as_str().context("no text")?;
        assert!(
            diff.contains("-    return (ordered[middle] + ordered[middle + 1]) / 2"),
            "{diff}"
        );
        assert!(
            diff.contains("+    return (ordered[middle - 1] + ordered[middle]) / 2"),
            "{diff}"
        );
        let usage = status.usage.context("no usage")?;
        assert!(
            usage.calls >= 5 && usage.total_tokens > 0 && usage.usd != "0",
            "{usage:?}"
        );
        assert_eq!(usage.models, ["repairer"]);
        let booked = journal.booked();
        let tokens: u64 = booked
            .iter()
            .map(|one| one.input_tokens + one.output_tokens)
            .sum();
        assert_eq!(
            i64::try_from(tokens)?,
            usage.total_tokens,
            "the sum of the ledger"
        );
        let table = space.kubectl(&["get", "otask", "-o", "wide"]).await?;
        assert!(
            table.contains("agent/python-fixer") && table.contains("Succeeded"),
            "{table}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bug_elsewhere_is_not_accepted() -> Result<()> {
    for name in ["moved", "second-bug"] {
        beside_others(name, async |space| {
            apply(space, &format!("e2e/fixtures/quickstart/{name}.yaml"), &[]).await?;
            space.failed(name, "NotAccepted").await?;
            let journal = space.journal(name).await?;
            assert_eq!(
                edits(&journal),
                usize::from(name == "second-bug"),
                "{journal:#?}"
            );
            let checks = journal.checks();
            assert!(!checks.is_empty(), "{journal:#?}");
            for (accepted, code, text) in checks {
                assert!(
                    !accepted && code == Some(1) && text.contains("FAILED"),
                    "{journal:#?}"
                );
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn green_tests_need_no_edit() -> Result<()> {
    beside_others("green", async |space| {
        apply(space, "e2e/fixtures/quickstart/green.yaml", &[]).await?;
        space.complete("green").await?;
        let journal = space.journal("green").await?;
        assert_eq!(edits(&journal), 0, "{journal:#?}");
        let results = journal.results();
        assert!(
            results
                .iter()
                .any(|held| held.0 == "Shell" && held.2.contains("OK")),
            "{journal:#?}"
        );
        assert!(
            matches!(journal.checks()[..], [(true, Some(0), _)]),
            "{journal:#?}"
        );
        Ok(())
    })
    .await
}
