//! Secrets that may be patched by name and never read.

use super::store::ISSUED;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams};
use oarmaster_crds::names::FIELD_MANAGER;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// Why a Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A patch could not be written down.
    #[error("failed to build a patch")]
    Patch(#[from] serde_json::Error),
    /// The API server refused.
    #[error("failed to {act} {name}")]
    Kubernetes {
        /// What was tried.
        act: &'static str,
        /// With which object.
        name: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("failed to {act} {name}: no answer within {CALL:?}")]
    Slow {
        /// What was tried.
        act: &'static str,
        /// With which object.
        name: &'static str,
    },
    /// It is not as it was seen.
    #[error("{0} was changed by somebody else")]
    Changed(&'static str),
}

/// A Secret as it was last seen. What is written to it is written under this version: of two processes that saw the same, one writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What its annotation says was issued; empty without one.
    pub mark: String,
    version: String,
    annotated: bool,
}

impl Seen {
    fn of(metadata: ObjectMeta) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        Self {
            mark: annotations.get(ISSUED).cloned().unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            annotated: !annotations.is_empty(),
        }
    }
}

/// The Secrets of the installation.
pub struct Secrets(Api<Secret>);

impl Secrets {
    /// Those in `namespace`.
    #[must_use]
    pub fn new(client: kube::Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// What a Secret says of itself. An empty patch changes nothing and is answered with the object; the answer is asked for as metadata
    /// only, so that no key leaves the API server. The operator has no right to `get` it.
    ///
    /// # Errors
    /// When it is not there, or the API server cannot be asked.
    pub async fn read(&self, name: &'static str) -> Result<Seen, Error> {
        let patch = Patch::Merge(json!({}));
        let params = params();
        let call = self.0.patch_metadata(name, &params, &patch);
        let found = timely("read the annotation of", name, call).await?;
        Ok(Seen::of(found.metadata))
    }

    /// Writes the first content of a Secret.
    ///
    /// # Errors
    /// [`Error::Changed`] when it is not as it was seen, or is not empty, whatever its annotation says.
    pub async fn fill(
        &self,
        name: &'static str,
        seen: &Seen,
        mark: &str,
        data: &BTreeMap<&'static str, String>,
    ) -> Result<Seen, Error> {
        let empty = json!({ "op": "test", "path": "/data", "value": null });
        self.patch(name, seen, mark, data, vec![empty]).await
    }

    /// Replaces the content of a Secret.
    ///
    /// # Errors
    /// [`Error::Changed`] when it is not as it was seen.
    pub async fn write(
        &self,
        name: &'static str,
        seen: &Seen,
        mark: &str,
        data: &BTreeMap<&'static str, String>,
    ) -> Result<Seen, Error> {
        self.patch(name, seen, mark, data, Vec::new()).await
    }

    async fn patch(
        &self,
        name: &'static str,
        seen: &Seen,
        mark: &str,
        data: &BTreeMap<&'static str, String>,
        mut patch: Vec<Value>,
    ) -> Result<Seen, Error> {
        // A resource version in a patch that is not the object's own is a conflict.
        let version = &seen.version;
        patch.push(
            json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version }),
        );
        patch.push(if seen.annotated {
            let path = format!("/metadata/annotations/{}", ISSUED.replace('/', "~1"));
            json!({ "op": "add", "path": path, "value": mark })
        } else {
            json!({ "op": "add", "path": "/metadata/annotations", "value": { ISSUED: mark } })
        });
        patch.push(json!({ "op": "add", "path": "/data", "value": data }));
        let patch = Patch::Json::<()>(serde_json::from_value(Value::Array(patch))?);
        let params = params();
        let call = self.0.patch_metadata(name, &params, &patch);
        match timely("issue", name, call).await {
            Ok(written) => Ok(Seen::of(written.metadata)),
            Err(Error::Kubernetes { source, .. }) if refused(&source) => Err(Error::Changed(name)),
            Err(error) => Err(error),
        }
    }
}

/// Whether the API server refused what the patch tests. (Forbidden and not found are other errors.)
fn refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 409 | 422))
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Waits for a call, but not for long.
///
/// # Errors
/// The call's, or that there was no answer.
pub async fn timely<T>(
    act: &'static str,
    name: &'static str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    tokio::time::timeout(CALL, call)
        .await
        .map_err(|_| Error::Slow { act, name })?
        .map_err(|source| Error::Kubernetes {
            act,
            name,
            source: Box::new(source),
        })
}
