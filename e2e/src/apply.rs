//! Objects from YAML, as a user would apply them.

use anyhow::{Context as _, Result};
use kube::api::{DynamicObject, PostParams};
use kube::core::request::Request;
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{ApiResource, Scope, oneshot};
use kube::{Api, Client, Resource as _};
use serde::Deserialize as _;

/// The documents of a YAML text.
///
/// # Errors
/// When a document is no object with `apiVersion` and `kind`.
pub fn documents(yaml: &str) -> Result<Vec<DynamicObject>> {
    let values: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(yaml).context("failed to read YAML")?;
    values
        .into_iter()
        .filter(|value| !value.is_null())
        .map(|value| {
            DynamicObject::deserialize(value).context("a YAML document is no Kubernetes object")
        })
        .collect()
}

/// Creates the objects of a YAML text, in `namespace` unless they name one or need none. Unknown and repeated fields are refused.
///
/// # Errors
/// The API server's refusal of the first that it did not take, as [`kube::Error`].
pub async fn create(client: &Client, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut made = Vec::new();
    for object in documents(yaml)? {
        made.push(create_one(client, namespace, object, false).await?);
    }
    Ok(made)
}

/// As [`create`], but the API server only says whether it would take them.
///
/// # Errors
/// As [`create`].
pub async fn dry_run(client: &Client, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut made = Vec::new();
    for object in documents(yaml)? {
        made.push(create_one(client, namespace, object, true).await?);
    }
    Ok(made)
}

async fn create_one(
    client: &Client,
    namespace: &str,
    object: DynamicObject,
    dry_run: bool,
) -> Result<DynamicObject> {
    let types = object
        .types
        .clone()
        .context("a YAML document has no apiVersion and kind")?;
    let (resource, scope) = resource(client, &types).await?;
    let namespace = match scope {
        Scope::Cluster => None,
        Scope::Namespaced => Some(object.meta().namespace.as_deref().unwrap_or(namespace)),
    };
    let params = PostParams {
        dry_run,
        field_manager: Some("oarmaster-e2e".to_owned()),
    };
    let url = DynamicObject::url_path(&resource, namespace);
    let mut request = Request::new(url).create(&params, serde_json::to_vec(&object)?)?;
    // The client has no parameter for this one.
    let strict = format!("{}&fieldValidation=Strict", request.uri());
    *request.uri_mut() = strict.parse()?;
    Ok(client.request(request).await?)
}

/// The API of a kind that is known by name only.
///
/// # Errors
/// When the API server does not serve the kind.
pub async fn api_of(
    client: &Client,
    namespace: &str,
    types: &TypeMeta,
) -> Result<Api<DynamicObject>> {
    let (resource, scope) = resource(client, types).await?;
    Ok(match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
    })
}

async fn resource(client: &Client, types: &TypeMeta) -> Result<(ApiResource, Scope)> {
    let kind = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) =
        oneshot::pinned_kind(client, &kind).await.with_context(|| {
            format!(
                "the cluster does not serve {}/{}",
                types.api_version, types.kind
            )
        })?;
    Ok((resource, capabilities.scope))
}

/// The API server's message, if that is what the error is.
#[must_use]
pub fn refusal(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(&status.message),
        _ => None,
    }
}
