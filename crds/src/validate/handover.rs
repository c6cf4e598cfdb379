//! Checks of what a Task has of other Tasks, and keeps for them.

use super::{Problem, bounds};
use crate::kinds::task::{ArtifactSource, FileSpec, TaskSpec};

/// Most files that are artifacts of other Tasks: the policy `oarmaster-files` asks for the right to read each of them.
pub const MAX_PLACED: usize = 16;

/// What is wrong with what the workspace begins with.
pub fn workspace(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    let Some(workspace) = &spec.workspace else {
        return;
    };
    match &workspace.from {
        Some(from) => bounds::text(problems, "spec.workspace.from.name", &from.name, 253),
        None if workspace.keep => {}
        None => problems.push(Problem::spec(
            "spec.workspace",
            "set from, or keep: true, or both",
        )),
    }
    if spec.continue_from.is_some() || spec.replay.is_some() {
        problems.push(Problem::spec(
            "spec.workspace",
            "does not go with continueFrom and replay, which say themselves what the workspace is",
        ));
    }
}

/// What is wrong with how an artifact is named.
pub fn artifact(problems: &mut Vec<Problem>, field: &str, source: &ArtifactSource) {
    bounds::text(
        problems,
        &format!("{field}.task.name"),
        &source.task.name,
        253,
    );
    name(problems, &format!("{field}.name"), &source.name);
}

/// Whether there are too many of them.
pub fn count(problems: &mut Vec<Problem>, files: &[FileSpec]) {
    let placed = files.iter().filter(|file| file.artifact.is_some()).count();
    if placed > MAX_PLACED {
        problems.push(Problem::spec(
            "spec.files",
            format!(
                "{placed} are artifacts of other Tasks: at most {MAX_PLACED} can be; keep several files as one archive, by a glob"
            ),
        ));
    }
}

/// What is wrong with the name of an artifact.
pub fn name(problems: &mut Vec<Problem>, field: &str, name: &str) {
    let known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let named = (1..=63).contains(&name.len())
        && name.bytes().all(known)
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.']);
    if !named {
        problems.push(Problem::spec(
            field,
            "write 1 to 63 lower-case letters, digits, - and ., beginning and ending with a letter or digit",
        ));
    }
}
