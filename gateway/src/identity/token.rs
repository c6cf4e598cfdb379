//! Bearer tokens, by TokenReview. Known ones are served from memory for up to a minute.

use super::{User, ask, fingerprint};
use crate::error::ApiFailure;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::Expiry;
use moka::future::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ACCEPTED_FOR: Duration = Duration::from_secs(60);
const REFUSED_FOR: Duration = Duration::from_secs(10);
const MAX_CACHED: u64 = 20_000;

type Verdict = Option<Arc<User>>;

/// Reviews tokens for one listener.
#[derive(Clone)]
pub struct Tokens {
    api: Api<TokenReview>,
    audience: Option<&'static str>,
    cache: Cache<[u8; 32], Verdict>,
}

struct Lifetime;

impl Expiry<[u8; 32], Verdict> for Lifetime {
    fn expire_after_create(&self, _: &[u8; 32], verdict: &Verdict, _: Instant) -> Option<Duration> {
        Some(if verdict.is_some() {
            ACCEPTED_FOR
        } else {
            REFUSED_FOR
        })
    }
}

impl Tokens {
    /// Accepts tokens of this audience; without one, those of the API server.
    #[must_use]
    pub fn new(client: &Client, audience: Option<&'static str>) -> Self {
        Self {
            api: Api::all(client.clone()),
            audience,
            cache: Cache::builder()
                .max_capacity(MAX_CACHED)
                .expire_after(Lifetime)
                .build(),
        }
    }

    /// The user behind a token. One review at a time per token.
    ///
    /// # Errors
    /// `unauthenticated` for a token that Kubernetes or the audience refuses; `unavailable` for an unknown one while the API server
    /// cannot be asked.
    pub async fn review(&self, token: &str) -> Result<Arc<User>, ApiFailure> {
        let verdict = self
            .cache
            .try_get_with(fingerprint([token]), self.ask(token))
            .await
            .map_err(|error: Arc<ApiFailure>| (*error).clone())?;
        verdict.ok_or_else(|| {
            ApiFailure::unauthenticated(match self.audience {
                Some(audience) => format!(
                    "the token was refused: it needs to be a valid token of audience {audience} (kubectl create token NAME --audience={audience})"
                ),
                None => "the token was refused by the API server".to_owned(),
            })
        })
    }

    async fn ask(&self, token: &str) -> Result<Verdict, ApiFailure> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: self.audience.map(|audience| vec![audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let answer = ask(
            "TokenReview",
            self.api.create(&PostParams::default(), &review),
        )
        .await?;
        Ok(answer
            .status
            .and_then(|status| self.judge(status))
            .map(Arc::new))
    }

    fn judge(&self, status: TokenReviewStatus) -> Option<User> {
        // An authenticator that does not know audiences leaves the list empty: then the token may be meant for anybody.
        let meant_for_us = self.audience.is_none_or(|audience| {
            status
                .audiences
                .is_some_and(|list| list.iter().any(|known| known == audience))
        });
        let user = status
            .user
            .filter(|_| status.authenticated == Some(true) && meant_for_us)?;
        Some(User {
            name: user.username.filter(|name| !name.is_empty())?,
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }
}
