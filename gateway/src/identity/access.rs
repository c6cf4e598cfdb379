//! What a user may do, by SubjectAccessReview.

use super::{User, ask, fingerprint};
use crate::error::ApiFailure;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;

const KNOWN_FOR: Duration = Duration::from_secs(10);
const MAX_CACHED: u64 = 20_000;

/// Asks the API server for permission. Answers hold for 10 s.
#[derive(Clone)]
pub struct Access {
    api: Api<SubjectAccessReview>,
    cache: Cache<[u8; 32], bool>,
}

/// Something that RBAC guards, in the group `oarmaster.dev`.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The resource.
    pub resource: &'a str,
    /// The subresource, or nothing.
    pub subresource: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
}

impl Access {
    /// Asks with this client.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            api: Api::all(client.clone()),
            cache: Cache::builder()
                .max_capacity(MAX_CACHED)
                .time_to_live(KNOWN_FOR)
                .build(),
        }
    }

    /// Whether the user may.
    ///
    /// # Errors
    /// `unavailable` while the API server cannot be asked and no answer is known.
    pub async fn may(&self, user: &User, act: Act<'_>) -> Result<bool, ApiFailure> {
        let Act {
            verb,
            resource,
            subresource,
            namespace,
            name,
        } = act;
        let mut parts = vec![
            verb,
            resource,
            subresource,
            namespace,
            name,
            &user.name,
            &user.uid,
            "groups",
        ];
        parts.extend(user.groups.iter().map(String::as_str));
        for (key, values) in &user.extra {
            parts.extend(["extra", key]);
            parts.extend(values.iter().map(String::as_str));
        }
        self.cache
            .try_get_with(fingerprint(parts), async {
                let review = SubjectAccessReview {
                    spec: SubjectAccessReviewSpec {
                        user: Some(user.name.clone()),
                        uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
                        groups: Some(user.groups.clone()),
                        extra: Some(user.extra.clone()),
                        resource_attributes: Some(ResourceAttributes {
                            group: Some(oarmaster_crds::GROUP.to_owned()),
                            resource: Some(resource.to_owned()),
                            subresource: Some(subresource.to_owned())
                                .filter(|text| !text.is_empty()),
                            namespace: Some(namespace.to_owned()),
                            name: Some(name.to_owned()),
                            verb: Some(verb.to_owned()),
                            ..ResourceAttributes::default()
                        }),
                        ..SubjectAccessReviewSpec::default()
                    },
                    ..SubjectAccessReview::default()
                };
                let answer = ask(
                    "SubjectAccessReview",
                    self.api.create(&PostParams::default(), &review),
                )
                .await?;
                Ok(answer
                    .status
                    .is_some_and(|status| status.allowed && status.denied != Some(true)))
            })
            .await
            .map_err(|error: Arc<ApiFailure>| (*error).clone())
    }
}
