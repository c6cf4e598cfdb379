//! The identity that the gateway is shown: the kubeconfig's own bearer token, else one of a ServiceAccount that the user names.

use crate::args::TokenFrom;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::client::{Body, ConfigExt as _};
use kube::{Api, Config};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// The value of the Authorization header. `--token-from` goes before the kubeconfig's token. Made anew for each connection: tokens
/// of login plugins and of ServiceAccounts end.
pub async fn bearer(cluster: &Cluster) -> Result<HeaderValue, Error> {
    if let Some(from) = &cluster.global.token_from {
        return requested(cluster, from).await;
    }
    let header = own(&cluster.config).await?;
    match header {
        Some(header) if header.as_bytes().starts_with(b"Bearer ") => Ok(header),
        _ => Err(none(&cluster.namespace)),
    }
}

fn none(namespace: &str) -> Error {
    Error::cluster("this kubeconfig has no bearer token (it identifies you by a client certificate or a password), and the gateway needs one to know who asks")
        .next(format!("\
Name a ServiceAccount whose token is used: --token-from {namespace}/oar, or OAR_TOKEN_FROM={namespace}/oar. To make one that may read transcripts, artifacts and usage there:
  kubectl create serviceaccount oar -n {namespace}
  kubectl create rolebinding oar -n {namespace} --clusterrole=oarmaster-view --serviceaccount={namespace}:oar"))
}

/// The header that the client would send to the API server. The client's own layer makes it, so that every way to log in that kube
/// knows (token, file, plugin, with renewal) works here as well.
async fn own(config: &Config) -> Result<Option<HeaderValue>, Error> {
    let failed = "failed to get your token from the kubeconfig";
    let Some(layer) = config
        .auth_layer()
        .map_err(|error| Error::kube(failed, error))?
    else {
        return Ok(None);
    };
    let echo = service_fn(|request: Request<Body>| async move {
        let mut response = Response::new(Body::empty());
        if let Some(header) = request.headers().get(AUTHORIZATION) {
            response.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        Ok::<_, tower::BoxError>(response)
    });
    let response = layer
        .layer(echo)
        .oneshot(Request::new(Body::empty()))
        .await
        .map_err(|error| Error::cluster(failed).source(error))?;
    Ok(response.headers().get(AUTHORIZATION).cloned())
}

/// A token of a ServiceAccount, for the API server's audience, for an hour.
async fn requested(cluster: &Cluster, from: &TokenFrom) -> Result<HeaderValue, Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), &from.namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let act = format!(
        "failed to get a token of ServiceAccount {}/{} (--token-from)",
        from.namespace, from.name
    );
    let answer = call(
        &act,
        accounts.create_token_request(&from.name, &PostParams::default(), &request),
    )
    .await
    .map_err(|error| missing(error, from))?;
    let token = answer.status.map(|status| status.token).unwrap_or_default();
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|error| Error::cluster(act).source(error))?;
    header.set_sensitive(true);
    Ok(header)
}

/// That the ServiceAccount is not there must not look as if the Task were not.
fn missing(mut error: Error, from: &TokenFrom) -> Error {
    if !std::mem::take(&mut error.absent) {
        return error;
    }
    let TokenFrom { namespace, name } = from;
    error.next(format!(
        "\
To make it:
  kubectl create serviceaccount {name} -n {namespace}
  kubectl create rolebinding {name} -n {namespace} --clusterrole=oarmaster-view --serviceaccount={namespace}:{name}"
    ))
}

#[cfg(test)]
mod tests;
