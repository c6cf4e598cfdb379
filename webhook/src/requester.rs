//! Who creates a Task: pure.

use crate::review::Request;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use kube::Resource as _;
use oarmaster_crds::Task;
use serde_json::Value;

/// Longest name that is put in, in bytes. The schema takes 1,024 characters.
const MAX_NAME: usize = 4 * 1024;

/// The change of a Task that is being created: `spec.requestedBy` becomes the name of the user who creates it.
///
/// `None` leaves the object as it is. So it is for everything that is no Task or is not being created, for a `spec` that is no object
/// and a name that is too long (the schema refuses them), and for a Task that names a requester: whether that is true is for the policy
/// to judge, which knows the user as well and holds also while this server is not asked.
#[must_use]
pub fn stamp(request: &Request<'_>) -> Option<Patch> {
    let kind = &request.kind;
    let created = kind.group == Task::group(&())
        && kind.kind == Task::kind(&())
        && request.operation == "CREATE";
    let user = request.user_info.username.as_deref()?;
    if !created || user.len() > MAX_NAME || !request.names_nobody() {
        return None;
    }
    Some(Patch(vec![PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens(["spec", "requestedBy"]),
        value: Value::String(user.to_owned()),
    })]))
}

#[cfg(test)]
mod tests;
