//! The samples that need neither a key nor anybody else, as their comments say they are used.

use crate::quickstart;
use crate::support::beside_others;
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::Space;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::installed::image;

/// Applies the files of a sample, with an image that is there.
async fn apply(space: &Space, files: &[&str]) -> Result<()> {
    for file in files {
        let path = checkout().join("config/samples").join(file);
        let yaml = std::fs::read_to_string(path).context((*file).to_owned())?;
        space
            .create(&yaml.replace("python:3.12-slim", &image("python")))
            .await?;
    }
    Ok(())
}

/// Waits until a Task is Complete; its output has these words.
async fn said(space: &Space, task: &str, words: &str) -> Result<()> {
    let status = space.complete(task).await?.status;
    let output = status
        .and_then(|status| status.output)
        .context("no output")?;
    ensure!(
        output["text"]
            .as_str()
            .is_some_and(|text| text.contains(words)),
        "{task}: {output}"
    );
    Ok(())
}

#[tokio::test]
async fn files_go_from_task_to_task() -> Result<()> {
    beside_others("samples-files", async |space| {
        apply(space, &["files/files.yaml"]).await?;
        let status = space.complete("files-tested").await?.status;
        let output = status.and_then(|status| status.output);
        let output = output.context("no output")?;
        ensure!(output["stdoutTail"] == "repaired\n", "{output}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn agents_work_together() -> Result<()> {
    beside_others("samples-together", async |space| {
        apply(
            space,
            &[
                "delegation/delegation.yaml",
                "judge/judge.yaml",
                "crew/crew.yaml",
            ],
        )
        .await?;
        said(space, "delegation", "Ships sail before the wind").await?;
        said(space, "explained", "because").await?;
        said(space, "crew", "All tests pass").await
    })
    .await
}

#[tokio::test]
async fn agents_remember_go_on_and_are_replayed() -> Result<()> {
    beside_others("samples-later", async |space| {
        apply(space, &["memory/1-told.yaml"]).await?;
        said(space, "told", "I will remember it").await?;
        apply(space, &["memory/2-asked.yaml"]).await?;
        said(space, "asked", "Falcon").await?;

        let follow = [
            "follow-up/0-agent.yaml",
            "follow-up/1-task.yaml",
            "follow-up/2-follow-up.yaml",
        ];
        apply(space, &follow).await?;
        said(space, "first-look", "1900").await?;
        said(space, "first-look-repaired", "repaired").await?;

        quickstart::apply(space, "config/samples/quickstart/4-task.yaml", &[]).await?;
        space.complete("fix-summary").await?;
        apply(
            space,
            &["replay/1-recorded.yaml", "replay/2-then-live.yaml"],
        )
        .await?;
        space.complete("fix-summary-replayed").await?;
        space.complete("fix-summary-forked").await?;
        Ok(())
    })
    .await
}
