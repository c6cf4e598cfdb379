//! Every sample and every YAML block of the documents is taken by the API server.

use crate::support::{OF_THE_CLUSTER, in_space, refused};
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::apply;
use oarmaster_e2e::cluster::checkout;
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files(&entry.path(), ending, into)?;
        } else if entry.path().extension().is_some_and(|held| held == ending) {
            into.push(entry.path());
        }
    }
    into.sort();
    Ok(())
}

/// README.md and every page below docs/.
pub fn pages() -> Result<Vec<PathBuf>> {
    let root = checkout();
    let mut pages = vec![root.join("README.md")];
    files(&root.join("docs"), "md", &mut pages)?;
    Ok(pages)
}

/// The blocks that are marked as this and nothing more, with the line that each begins on. Objects are marked `yaml`, values of charts
/// `yaml values`, commands `sh`.
pub fn blocks(text: &str, marked: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start();
        match &mut open {
            Some((start, indent, body)) => {
                if fence.starts_with("```") {
                    found.push((*start, std::mem::take(body)));
                    open = None;
                } else {
                    body.push_str(line.strip_prefix(indent.as_str()).unwrap_or(line));
                    body.push('\n');
                }
            }
            None if fence.strip_prefix("```") == Some(marked) => {
                let indent = line[..line.len() - fence.len()].to_owned();
                open = Some((index + 1, indent, String::new()));
            }
            None => {}
        }
    }
    found
}

#[test]
fn blocks_are_found() {
    let text = "a\n```yaml\nb: 1\n```\n- c\n  ```yaml\n  d: 2\n  ```\n```yaml values\ne: 3\n```\n```sh\nf\n```\n";
    for (marked, found) in [
        ("yaml", &[(2, "b: 1\n"), (6, "d: 2\n")][..]),
        ("yaml values", &[(9, "e: 3\n")]),
        ("sh", &[(12, "f\n")]),
    ] {
        let blocks = blocks(text, marked);
        let blocks: Vec<_> = blocks
            .iter()
            .map(|(line, text)| (*line, text.as_str()))
            .collect();
        assert_eq!(blocks, found);
    }
}

/// All of them, each with its place.
pub fn texts() -> Result<Vec<(String, String)>> {
    let root = checkout();
    let mut texts: Vec<(String, String)> = Vec::new();
    let mut samples = Vec::new();
    files(&root.join("config/samples"), "yaml", &mut samples)?;
    for path in samples.iter().filter(|path| {
        path.file_name()
            .is_none_or(|name| name != "kustomization.yaml")
    }) {
        texts.push((path.display().to_string(), fs::read_to_string(path)?));
    }
    for path in pages()? {
        for (line, block) in blocks(&fs::read_to_string(&path)?, "yaml") {
            texts.push((format!("{}:{line}", path.display()), block));
        }
    }
    ensure!(!texts.is_empty(), "no samples and no blocks were found");
    Ok(texts)
}

#[tokio::test]
async fn every_sample_and_every_block_is_taken() -> Result<()> {
    let texts = texts()?;
    in_space("documents", async |space| {
        let _alone = OF_THE_CLUSTER.lock().await;
        let mut wrong = Vec::new();
        for (place, text) in &texts {
            let documents = apply::documents(text).with_context(|| place.clone())?;
            ensure!(!documents.is_empty(), "{place} is empty");
            if let Err(error) = apply::dry_run(&space.cluster.client, &space.name, text).await {
                wrong.push(format!("{place}: {} ({error:#})", refused(&error)));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        // kubectl reads YAML in its own way, and people use that.
        let dir = tempfile::tempdir()?;
        for (nth, (place, text)) in texts.iter().enumerate() {
            let path = dir.path().join(format!("{nth}.yaml"));
            fs::write(&path, text)?;
            let path = path.display().to_string();
            let read = [
                "create",
                "--dry-run=client",
                "--validate=false",
                "-o",
                "name",
                "-f",
                &path,
            ];
            if let Err(error) = space.kubectl(&read).await {
                wrong.push(format!("{place}: kubectl: {error:#}"));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}
