//! Who is calling: from the bearer token by TokenReview, and for sandbox pods on to the Task by owner references. Never from anything
//! else in a request.

pub mod access;
pub mod sandbox;
pub mod token;

use crate::error::ApiFailure;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for one answer of the API server.
pub const API_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest token.
const MAX_TOKEN: usize = 16 << 10;
const AUTHORIZATION: &str = "authorization";
/// Where Anthropic's SDKs send a key.
const API_KEY: &str = "x-api-key";

/// An authenticated user of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// User name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Whatever else the authenticator said.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Namespace and name of a ServiceAccount.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.name
            .strip_prefix("system:serviceaccount:")?
            .split_once(':')
    }

    /// Namespace of a ServiceAccount.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.service_account().map(|(namespace, _)| namespace)
    }

    /// Name and UID of the pod that the token is bound to.
    #[must_use]
    pub fn pod(&self) -> Option<(&str, &str)> {
        let one = |name: &str| match self.extra.get(name).map(Vec::as_slice) {
            Some([value]) => Some(value.as_str()),
            _ => None,
        };
        Some((
            one("authentication.kubernetes.io/pod-name")?,
            one("authentication.kubernetes.io/pod-uid")?,
        ))
    }
}

/// The bearer token of a request.
///
/// # Errors
/// `unauthenticated` when there is none, more than one, or one that cannot be a token.
pub fn bearer(headers: &HeaderMap) -> Result<&str, ApiFailure> {
    let missing = || ApiFailure::unauthenticated("send one header 'Authorization: Bearer TOKEN'");
    let (scheme, token) = only(headers, AUTHORIZATION)
        .and_then(|text| text.split_once(' '))
        .ok_or_else(missing)?;
    let token = token.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && is_plain(token) {
        Ok(token)
    } else {
        Err(missing())
    }
}

/// The token of a caller of Anthropic's SDKs: a bearer token, else what they send as an API key.
///
/// # Errors
/// As [`bearer`].
pub fn api_key(headers: &HeaderMap) -> Result<&str, ApiFailure> {
    if headers.contains_key(AUTHORIZATION) {
        return bearer(headers);
    }
    only(headers, API_KEY)
        .filter(|token| is_plain(token))
        .ok_or_else(|| {
            ApiFailure::unauthenticated(
                "send one header 'x-api-key: TOKEN' or 'Authorization: Bearer TOKEN'",
            )
        })
}

/// The text of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether it can be a token.
fn is_plain(token: &str) -> bool {
    !token.is_empty()
        && token.len() <= MAX_TOKEN
        && token.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

/// SHA-256 of parts, each with its length before it: a cache key that reveals nothing.
#[must_use]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// One answer of the API server, or why there is none.
///
/// # Errors
/// `unavailable` when the API server does not answer in time or with an error of its own.
pub async fn ask<T>(
    what: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiFailure> {
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(what, error = %error, "the API server refused");
            Err(ApiFailure::unavailable(format!(
                "the API server cannot be asked for a {what}"
            )))
        }
        Err(_) => {
            tracing::warn!(what, "the API server did not answer in time");
            Err(ApiFailure::unavailable(format!(
                "the API server did not answer a {what} in time"
            )))
        }
    }
}
