//! All files below a directory of the workspace, in bounded memory, without following anything.

use super::workspace::{MAX_DEPTH, Name, Workspace};
use oarmaster_protocol::exec::EntryKind;
use oarmaster_protocol::text::decode;

/// Most memory for directories that are still to be looked into, in bytes.
const MAX_OPEN: usize = 4 << 20;

/// What a walk comes by.
pub(super) enum Step {
    /// Anything but a directory.
    Entry(Name),
    /// A directory. What is in it follows.
    Directory(Name),
    /// What was passed over, and why.
    Passed(String),
}

/// Walks until `visit` says otherwise. A directory's own entries come before those of the directories in it, both by name.
pub(super) fn walk<E>(
    workspace: &Workspace,
    start: &[u8],
    mut visit: impl FnMut(Step) -> Result<(), E>,
) -> Result<(), E> {
    let mut open = vec![(start.to_vec(), 0)];
    let mut held = 0;
    while let Some((dir, depth)) = open.pop() {
        held -= if depth == 0 { 0 } else { dir.len() };
        let shown = || decode(&dir).text.into_owned();
        if depth > MAX_DEPTH {
            visit(Step::Passed(format!("{} (too deep)", shown())))?;
            continue;
        }
        let found = match workspace.names(&dir) {
            Ok(found) => found,
            Err(error) => {
                visit(Step::Passed(error.message))?;
                continue;
            }
        };
        if found.more {
            visit(Step::Passed(format!(
                "a part of {} (too many entries)",
                shown()
            )))?;
        }
        let mut below = Vec::new();
        for name in found.names {
            if name.kind == EntryKind::Directory {
                below.push(name.path.clone());
                visit(Step::Directory(name))?;
            } else {
                visit(Step::Entry(name))?;
            }
        }
        for path in below.into_iter().rev() {
            if held + path.len() > MAX_OPEN {
                visit(Step::Passed(format!(
                    "{} (too many directories)",
                    decode(&path).text
                )))?;
                continue;
            }
            held += path.len();
            open.push((path, depth + 1));
        }
    }
    Ok(())
}
