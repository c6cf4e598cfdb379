//! Calls to the API server, each with its own time limit: the client behind them would wait for minutes.

use super::{Error, Result};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Resource;
use kube::core::object::HasStatus;
use oarmaster_crds::names::FIELD_MANAGER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// How long one call may take. The client's own retries of 429 and 5xx happen within it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for a call, at most `limit`.
///
/// # Errors
/// The call's error, or that it was not answered in time; both with `act`, what was tried.
pub async fn within<T>(
    limit: Duration,
    act: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Error::Kubernetes {
            act: act.to_owned(),
            source: Box::new(source),
        }),
        Err(_) => Err(Error::Slow {
            act: act.to_owned(),
            after: limit,
        }),
    }
}

/// Replaces the status of an object, if it is still at the version that was seen. Fields at its top that this version does not know stay: a
/// newer operator wrote them, and may come back.
///
/// A JSON patch and not a merge patch: a `null` inside a Task's output is a value, which a merge patch would take for a removal. The
/// resource version in it makes a write to a newer object a conflict.
///
/// # Errors
/// A conflict, or any other failure of the call.
pub async fn status<K>(api: &Api<K>, seen: &K, new: &K::Status) -> Result<K>
where
    K: Resource + HasStatus + Clone + DeserializeOwned + Debug,
    K::Status: Serialize,
{
    let name = seen.meta().name.as_deref().unwrap_or_default();
    let act = format!("write status of {name}");
    let version = seen.meta().resource_version.as_deref();
    let patch = replacing(version.unwrap_or_default(), seen.status(), new).map_err(|error| {
        Error::Protocol {
            act: act.clone(),
            message: error.to_string(),
        }
    })?;
    within(
        WRITE_TIMEOUT,
        &act,
        api.patch_status(name, &params(), &Patch::Json::<()>(patch)),
    )
    .await
}

/// The patch that makes `new` of the status `held`.
fn replacing<S: Serialize>(
    version: &str,
    held: Option<&S>,
    new: &S,
) -> serde_json::Result<json_patch::Patch> {
    let new = serde_json::to_value(new)?;
    let at_version =
        json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version });
    let mut acts = vec![at_version];
    match (held.map(serde_json::to_value).transpose()?, new) {
        (Some(Value::Object(held)), Value::Object(new)) => {
            // What is not in `held` is not there, or not ours. Names of fields need no escape in a path.
            let gone = held.keys().filter(|field| !new.contains_key(*field));
            acts.extend(
                gone.map(|field| json!({ "op": "remove", "path": format!("/status/{field}") })),
            );
            acts.extend(new.into_iter().map(|(field, value)| {
                json!({ "op": "add", "path": format!("/status/{field}"), "value": value })
            }));
        }
        (_, new) => acts.push(json!({ "op": "add", "path": "/status", "value": new })),
    }
    serde_json::from_value(Value::Array(acts))
}

/// Writes conditions of an object that could not be read, of the generation that they are about, and leaves the rest of its status as it
/// is, if it is still at the version that was seen.
///
/// # Errors
/// A conflict, or any other failure of the call.
pub async fn conditions<K>(
    api: &Api<K>,
    name: &str,
    version: Option<&str>,
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) -> Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let patch = json!({
        "metadata": { "resourceVersion": version },
        "status": {
            "conditions": conditions,
            "observedGeneration": conditions.first().and_then(|held| held.observed_generation),
        },
    });
    within(
        WRITE_TIMEOUT,
        &format!("write conditions of {name}"),
        api.patch_status(name, &params(), &Patch::Merge(&patch)),
    )
    .await
    .map(|_| ())
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Deletes one object, only if it still has this UID, and its dependents after it. One that is gone is fine.
///
/// # Errors
/// Any failure but that it is gone, or is another one by now.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match within(
        WRITE_TIMEOUT,
        &format!("delete {name}"),
        api.delete(name, &params),
    )
    .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
