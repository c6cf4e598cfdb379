//! What the operations guide tells to type and to write is what it says.

use crate::documents::{blocks, pages};
use crate::support::cluster;
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::Cluster;
use oarmaster_e2e::cluster::checkout;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The pages of the guide.
fn guide() -> Result<Vec<(String, String)>> {
    let folder = checkout().join("docs/operations");
    let all = pages()?.into_iter();
    let ours = all.filter(|path| path.starts_with(&folder));
    let read = |path: std::path::PathBuf| -> Result<_> {
        let text = fs::read_to_string(&path)?;
        Ok((path.display().to_string(), text))
    };
    ours.map(read).collect()
}

async fn template(cluster: &Cluster, values: &str) -> Result<()> {
    let run = cluster.run("helm").dir(checkout()).stdin(values);
    let args = ["template", "oarmaster", "charts/oarmaster", "--values=-"];
    let run = run.args(&args).args(&["--kube-version=1.33.0"]);
    run.output().await?.success().map(drop)
}

#[tokio::test]
async fn every_block_of_values_is_taken_by_the_chart() -> Result<()> {
    let cluster = cluster().await?;
    let mut found = 0;
    for path in pages()? {
        for (line, block) in blocks(&fs::read_to_string(&path)?, "yaml values") {
            found += 1;
            let taken = template(&cluster, &block).await;
            taken.with_context(|| format!("{}:{line}", path.display()))?;
        }
    }
    ensure!(found > 6, "only {found} blocks");
    Ok(())
}

#[tokio::test]
async fn every_command_can_be_read_and_sets_values_that_there_are() -> Result<()> {
    let cluster = cluster().await?;
    let values = fs::read_to_string(checkout().join("charts/oarmaster/values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&values)?;
    let (mut scripts, mut set) = (0, 0);
    for (page, text) in guide()? {
        for (line, block) in blocks(&text, "sh") {
            let place = format!("{page}:{line}");
            scripts += 1;
            let read = cluster.run("bash").args(&["-n"]).stdin(block.clone());
            let read = read.output().await?.success();
            read.with_context(|| place.clone())?;
            let words: Vec<&str> = block.split_whitespace().collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "--set") {
                set += 1;
                let (name, _) = pair[1].split_once('=').context("no value")?;
                let pointer = format!("/{}", name.replace('.', "/"));
                ensure!(values.pointer(&pointer).is_some(), "{place}: {name}");
            }
            for word in words.iter().filter(|word| word.starts_with("charts/")) {
                ensure!(checkout().join(word).is_dir(), "{place}: {word}");
            }
        }
    }
    ensure!(scripts > 15 && set > 1, "{scripts} scripts, {set} values");
    Ok(())
}

#[tokio::test]
async fn a_team_has_its_place_after_three_commands() -> Result<()> {
    let cluster = cluster().await?;
    let text = fs::read_to_string(checkout().join("docs/operations/teams.md"))?;
    let (_, script) = blocks(&text, "sh")
        .into_iter()
        .next()
        .context("no script")?;
    let commands = script.lines().filter(|line| line.starts_with("kubectl "));
    ensure!(commands.count() == 3, "{script}");
    let team = format!("e2e-{}", uuid::Uuid::new_v4().simple());
    let script = script.replace("team-a", &team);
    let run = cluster
        .run("bash")
        .args(&["-euo", "pipefail"])
        .stdin(script);
    let looked = async {
        run.output().await?.success()?;
        for (what, wanted) in [
            (&["create", "tasks.oarmaster.dev"][..], "yes"),
            (&["create", "modelproviders.oarmaster.dev"], "yes"),
            (
                &["get", "tasks.oarmaster.dev", "--subresource=transcript"],
                "yes",
            ),
            (&["update", "budgets.oarmaster.dev"], "no"),
        ] {
            let who = [
                "auth",
                "can-i",
                "--namespace",
                &team,
                "--as=ann",
                "--as-group",
                &team,
                "--as-group=system:authenticated",
            ];
            let said = cluster.kubectl(&[&who[..], what].concat()).await?;
            ensure!(said.stdout.trim() == wanted, "{what:?}: {}", said.text());
        }
        let window = ["get", "obudget", &team, "-o", "jsonpath={.spec.window}"];
        ensure!(cluster.kubectl(&window).await?.success()?.stdout == "Day");
        Ok(())
    };
    // What was made goes, whatever came of it.
    let ended = looked.await;
    for what in [["namespace", &team], ["obudget", &team]] {
        let gone = ["delete", "--wait=false", "--ignore-not-found"];
        cluster
            .kubectl(&[&gone[..], &what].concat())
            .await?
            .success()?;
    }
    ended
}

#[test]
fn every_link_of_the_guide_leads_somewhere() -> Result<()> {
    let mut followed = 0;
    for (page, text) in guide()? {
        for link in text.split("](").skip(1) {
            let link = link.split_once(')').map_or(link, |(link, _)| link);
            if link.starts_with("https://") {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&page).parent().context("no folder")?;
            let target = if file.is_empty() {
                page.clone().into()
            } else {
                folder.join(file)
            };
            let text = fs::read_to_string(&target).with_context(|| format!("{page}: {link}"))?;
            let headings = text.lines().filter(|line| line.starts_with('#'));
            // As GitHub makes them.
            let mut anchors = headings.map(|line| {
                let words = line.trim_start_matches('#').trim().to_lowercase();
                let kept = words
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.collect::<String>().replace(' ', "-")
            });
            ensure!(
                heading.is_empty() || anchors.any(|anchor| anchor == heading),
                "{page}: {link}"
            );
        }
    }
    ensure!(followed > 20, "{followed} links");
    Ok(())
}
