//! Who creates a Task: pure.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use kube::Resource as _;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};
use oarmaster_crds::Task;
use serde_json::Value;

/// The change of a Task that is being created: `spec.requestedBy` becomes the name of the user who creates it.
///
/// `None` leaves the object as it is. So it is for everything that is no Task or is not being created, for a `spec` that is no object
/// (the schema refuses it), and for a Task that names a requester: whether that is true is for the policy to judge, which knows the user
/// as well and holds also while this server is not asked.
#[must_use]
pub fn stamp(request: &AdmissionRequest<DynamicObject>) -> Option<Patch> {
    let kind = &request.kind;
    if kind.group != Task::group(&())
        || kind.kind != Task::kind(&())
        || request.operation != Operation::Create
    {
        return None;
    }
    let user = request.user_info.username.as_deref()?;
    let spec = request.object.as_ref()?.data.get("spec")?.as_object()?;
    // A null means absent.
    if spec
        .get("requestedBy")
        .is_some_and(|named| !named.is_null())
    {
        return None;
    }
    Some(Patch(vec![PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens(["spec", "requestedBy"]),
        value: Value::String(user.to_owned()),
    })]))
}

#[cfg(test)]
mod tests;
