//! `oar result`.

use super::{is_complete, is_run, name, phase, source, what_happened, why};
use crate::args::{Format, ResultArgs};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::follow::is_finished;
use crate::gateway::Gateway;
use crate::output;
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::ArtifactStatus;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::path::Path;

pub async fn run(cluster: &Cluster, args: ResultArgs) -> Result<(), Error> {
    let ResultArgs {
        task,
        artifact,
        to,
        output,
    } = args;
    let task = cluster.task(&task).await?;
    if !is_finished(&task) {
        return Err(Error::input(format!(
            "Task {} has not ended: it is {}",
            name(&task),
            phase(&task)
        ))
        .next(format!(
            "To wait for it: {} {}{}",
            if is_run(&task) {
                "oar get --watch"
            } else {
                "oar logs -f"
            },
            name(&task),
            cluster.flags()
        )));
    }
    match artifact {
        Some(artifact) => save(cluster, &task, &artifact, to.as_deref()).await,
        None => answer(cluster, &task, output),
    }
}

fn answer(cluster: &Cluster, task: &Task, format: Option<Format>) -> Result<(), Error> {
    let value = task
        .status
        .as_ref()
        .and_then(|status| status.output.as_ref());
    if let Some(value) = value {
        match (text(value), format) {
            (_, Some(format)) => output::data(value, format)?,
            (Some(text), None) if output::is_terminal() => output::line(text.trim_end())?,
            // Into a file or a program it goes as the model wrote it, without so much as a line end more.
            (Some(text), None) => output::raw(text.as_bytes())?,
            (None, None) => output::data(value, Format::Json)?,
        }
    }
    if is_complete(task) {
        return Ok(());
    }
    let why = why(task).map(|why| format!(": {why}")).unwrap_or_default();
    Err(
        Error::failed(format!("Task {} is {}{why}", name(task), phase(task))).next(format!(
            "What happened: {} {}{}",
            what_happened(task, false),
            name(task),
            cluster.flags()
        )),
    )
}

/// The text of an answer that is nothing but text.
fn text(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("text")?.as_str()
}

async fn save(
    cluster: &Cluster,
    task: &Task,
    artifact: &str,
    to: Option<&Path>,
) -> Result<(), Error> {
    let held = find(task, artifact)?;
    let gateway = Gateway::new(cluster).await?;
    // What it took of another Task is that one's, and read as such.
    let (of, uid) = match source(task) {
        Some(source) => (source.name.as_str(), source.uid.as_str()),
        None => (name(task), task.metadata.uid.as_deref().unwrap_or_default()),
    };
    let path = format!(
        "/read/v1/namespaces/{}/tasks/{of}/artifacts/{artifact}?uid={uid}",
        cluster.namespace
    );
    let bytes = gateway.get_all(&path).await?;
    let digest = format!(
        "sha256:{}",
        Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    );
    if digest != held.digest {
        return Err(Error::cluster(format!(
            "artifact {artifact} came as {digest}, but the Task says {}",
            held.digest
        )));
    }
    match to {
        Some(to) => write(to, &bytes),
        None if !output::is_terminal() => output::raw(&bytes),
        None => match std::str::from_utf8(&bytes) {
            Ok(text) => output::line(text.trim_end()),
            Err(_) => Err(
                Error::input(format!("artifact {artifact} is not text")).next(format!(
                    "oar result {} --artifact {artifact} --to FILE{}",
                    name(task),
                    cluster.flags()
                )),
            ),
        },
    }
}

fn find<'a>(task: &'a Task, artifact: &str) -> Result<&'a ArtifactStatus, Error> {
    let all = task
        .status
        .as_ref()
        .map(|status| status.artifacts.as_slice())
        .unwrap_or_default();
    all.iter()
        .find(|held| held.name == artifact)
        .ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|held| held.name.as_str()).collect();
            let next = if names.is_empty() {
                "It kept none: spec.artifacts says what a Task keeps.".to_owned()
            } else {
                format!("It kept: {}", names.join(", "))
            };
            Error::input(format!("Task {} kept no artifact {artifact}", name(task))).next(next)
        })
}

/// Writes a file in one step: a broken download leaves nothing half.
fn write(to: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::input(format!("failed to write {}", to.display())).source(error)
    };
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(to).map_err(|error| failed(error.error))?;
    eprintln!(
        "saved {} ({})",
        to.display(),
        crate::text::bytes(bytes.len() as u64)
    );
    Ok(())
}
