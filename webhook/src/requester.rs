//! Who creates a Task, and whether it is the root of a tree: pure.

use crate::review::Request;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use kube::Resource as _;
use oarmaster_crds::{Task, names};
use serde_json::{Value, json};

/// Longest name that is put in, in bytes. The schema takes 1,024 characters.
const MAX_NAME: usize = 4 * 1024;

/// The change of a Task that is being created: `spec.requestedBy` becomes the name of the user who creates it, and one that no other Task asked for
/// has the label of a root.
///
/// `None` leaves the object as it is. So it is for everything that is no Task or is not being created. No name is put into a `spec` that is no object
/// and none that is too long (the schema refuses them), nor where a Task names a requester: whether that is true is for the policy
/// to judge, which knows the user as well and holds also while this server is not asked.
#[must_use]
pub fn stamp(request: &Request<'_>) -> Option<Patch> {
    let kind = &request.kind;
    let created = kind.group == Task::group(&())
        && kind.kind == Task::kind(&())
        && request.operation == "CREATE";
    if !created {
        return None;
    }
    let changes: Vec<PatchOperation> = [requester(request), root(request)]
        .into_iter()
        .flatten()
        .map(|(path, value)| PatchOperation::Add(AddOperation { path, value }))
        .collect();
    (!changes.is_empty()).then_some(Patch(changes))
}

fn requester(request: &Request<'_>) -> Option<(PointerBuf, Value)> {
    let user = request.user_info.username.as_deref()?;
    let named = user.len() <= MAX_NAME && request.names_nobody();
    let path = PointerBuf::from_tokens(["spec", "requestedBy"]);
    named.then(|| (path, Value::String(user.to_owned())))
}

fn root(request: &Request<'_>) -> Option<(PointerBuf, Value)> {
    let labels = request.labels()?;
    let of_its_own = [names::PARENT_UID_LABEL, names::ROOT_LABEL];
    match labels {
        None => Some((
            PointerBuf::from_tokens(["metadata", "labels"]),
            json!({names::ROOT_LABEL: "true"}),
        )),
        Some(labels)
            if labels
                .iter()
                .any(|label| of_its_own.contains(&label.as_str())) =>
        {
            None
        }
        Some(_) => Some((
            PointerBuf::from_tokens(["metadata", "labels", names::ROOT_LABEL]),
            json!("true"),
        )),
    }
}

#[cfg(test)]
mod tests;
