//! What a Task begins with that other Tasks have kept: a workspace, artifacts. Pure.
//!
//! What is not there yet is waited for; what will never be there ends the Task, with a word of what to do. Whether it is still kept is the gateway's to say.

use super::memo;
use super::refs::{Looked, Refs};
use oarmaster_crds::kinds::task::{ArtifactSource, ArtifactStatus};
use oarmaster_crds::{Task, access, conditions};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Placed, Workspace};

/// What of other Tasks an attempt begins with, and whether its workspace is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The workspace.
    pub workspace: Workspace,
    /// Artifacts among its files.
    pub placed: Vec<Placed>,
}

/// A Task that another one begins with, once it has ended.
///
/// # Errors
/// [`Refs::Missing`] before that.
pub fn ended<'a>(
    task: &Task,
    field: &str,
    name: &str,
    found: Option<&'a Task>,
) -> Result<&'a Task, Refs> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let found =
        found.ok_or_else(|| Refs::Missing(access::absent("Task", (namespace, name), namespace)))?;
    let conditions = found.status.as_ref().map(|status| &status.conditions[..]);
    if !conditions::is_true(conditions.unwrap_or_default(), conditions::FINISHED) {
        return Err(Refs::Missing(format!(
            "{field}: Task {name} has not ended yet; this one begins when it has"
        )));
    }
    Ok(found)
}

/// What other Tasks have kept for this one. What is not there yet is added to `missing`, and left out.
///
/// # Errors
/// [`Refs::Refused`] for what will never be there.
pub fn sources(task: &Task, looked: &Looked, missing: &mut Vec<String>) -> Result<Sources, Refs> {
    let mut sources = Sources::default();
    let mut wait = |refs: Refs| match refs {
        Refs::Missing(what) => {
            missing.push(what);
            Ok(())
        }
        refused => Err(refused),
    };
    if let Some(workspace) = &task.spec.workspace {
        sources.workspace.keep = workspace.keep;
        if let Some(from) = &workspace.from {
            let field = "workspace.from";
            let found = looked.awaited(&from.name);
            let found = ended(task, field, &from.name, found);
            match found.and_then(|found| kept(field, &from.name, found)) {
                Ok(found) => sources.workspace.from = Some(memo::origin(found)),
                Err(refs) => wait(refs)?,
            }
        }
    }
    for (index, file) in task.spec.files.iter().enumerate() {
        let Some(source) = &file.artifact else {
            continue;
        };
        let field = format!("files[{index}].artifact");
        let name = &source.task.name;
        let found = ended(task, &field, name, looked.awaited(name));
        match found.and_then(|found| Ok((found, artifact(&field, source, found)?))) {
            Ok((found, kept)) => sources.placed.push(Placed {
                path: file.path.clone(),
                task: memo::origin(found),
                name: kept.name.clone(),
                digest: kept.digest.clone(),
                size: u64::try_from(kept.size).unwrap_or_default(),
                archive: kept.archive,
            }),
            Err(refs) => wait(refs)?,
        }
    }
    Ok(sources)
}

/// A Task that has kept its workspace.
fn kept<'a>(field: &str, name: &str, found: &'a Task) -> Result<&'a Task, Refs> {
    let status = found.status.as_ref();
    if status.is_some_and(|status| status.workspace.is_some()) {
        return Ok(found);
    }
    let keeps = found.spec.workspace.as_ref().is_some_and(|it| it.keep);
    Err(refused(if keeps {
        format!(
            "{field}: Task {name} ended before its workspace could be kept; its status and its transcript say why"
        )
    } else {
        format!(
            "{field}: Task {name} kept no workspace; create it again with workspace: {{keep: true}}"
        )
    }))
}

/// An artifact that a Task has kept.
fn artifact<'a>(
    field: &str,
    source: &ArtifactSource,
    found: &'a Task,
) -> Result<&'a ArtifactStatus, Refs> {
    let (task, name) = (&source.task.name, &source.name);
    let held = found.status.iter().flat_map(|status| &status.artifacts);
    if let Some(held) = held.clone().find(|held| held.name == *name) {
        return Ok(held);
    }
    let names: Vec<&str> = held.map(|held| held.name.as_str()).collect();
    let asked = found.spec.artifacts.iter().any(|asked| asked.name == *name);
    let why = match (asked, &names[..]) {
        (true, _) => {
            "nothing matched its path there, or the Task ended before it was kept".to_owned()
        }
        (false, []) => "it kept none; name it in spec.artifacts there".to_owned(),
        (false, names) => format!("it kept {}", names.join(", ")),
    };
    Err(refused(format!(
        "{field}: Task {task} has no artifact {name}: {why}"
    )))
}

const fn refused(message: String) -> Refs {
    Refs::Refused(FailureClass::InvalidInput, message)
}
