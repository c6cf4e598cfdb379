//! The gateway's own identity at AWS, for the providers that may use it. Where it comes from is in the environment of the gateway's pod, as EKS
//! writes it there, and nowhere else: no ModelProvider can name a place that is asked for credentials.

use super::fetch::{Fetched, fetch};
use crate::provider::keys::ApiKey;
use jiff::{SignedDuration, Timestamp};
use oarmaster_crds::kinds::provider::aws_endpoint;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use url::{Host, Url};

/// Credentials are renewed when they are good for less than this.
const RENEW: SignedDuration = SignedDuration::from_mins(5);
/// Credentials that end within this are not used any more.
const SPENT: SignedDuration = SignedDuration::from_secs(10);
/// After a failure, and after credentials that are about to end, nothing is asked for so long.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The agents of EKS and ECS on the node. They speak HTTP, on addresses of the link.
const AGENTS_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 170, 2),
];
const AGENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// IAM roles for service accounts: STS gives them for the pod's token.
    WebIdentity {
        /// Where STS is.
        endpoint: Url,
        /// The role's ARN.
        role: String,
        /// What the session is called in AWS's logs.
        session: String,
        /// The pod's token for STS.
        token_file: PathBuf,
    },
    /// EKS Pod Identity: the node's agent gives them for the pod's token.
    Container {
        /// Where the agent is.
        url: Url,
        /// The pod's token for the agent.
        token_file: PathBuf,
    },
}

impl Source {
    /// Reads the variables that EKS sets: for roles for service accounts first, as AWS's own SDKs do.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        if let (Some(file), Some(role)) = (var("AWS_WEB_IDENTITY_TOKEN_FILE"), var("AWS_ROLE_ARN"))
        {
            let region = var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION"));
            let endpoint = var("AWS_ENDPOINT_URL_STS")
                .or_else(|| region.map(|region| aws_endpoint("sts", &region)))
                .ok_or("AWS_ROLE_ARN is set, and AWS_REGION is not")?;
            return Ok(Self::WebIdentity {
                endpoint: parse("the endpoint of STS", &endpoint)?,
                role,
                session: var("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION.to_owned()),
                token_file: file.into(),
            });
        }
        let url = var("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let file = var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let (Some(url), Some(file)) = (url, file) else {
            return Err(NONE.to_owned());
        };
        let url = parse("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)?;
        let is_agent = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback() || AGENTS_V4.contains(&address),
            Some(Host::Ipv6(address)) => address.is_loopback() || address == AGENT_V6,
            Some(Host::Domain(_)) | None => false,
        };
        if url.scheme() != "https" && !is_agent {
            return Err(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor the address of an agent on the node"
                    .to_owned(),
            );
        }
        Ok(Self::Container {
            url,
            token_file: file.into(),
        })
    }
}

const SESSION: &str = "oarmaster-gateway";
const NONE: &str = "the gateway has no identity at AWS: associate its ServiceAccount oarmaster-gateway with a role (EKS Pod Identity), or annotate it with one (IAM roles for service accounts), and restart it";

fn parse(what: &str, text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("{what} is no address")),
    }
}

/// The identity, with its credentials of the hour. One request at a time asks for new ones.
pub struct Workload {
    source: Result<(Source, reqwest::Client), String>,
    /// The credentials, and when they end.
    held: RwLock<Option<(Arc<ApiKey>, Timestamp)>>,
    /// Who has it renews.
    renewing: tokio::sync::Mutex<Option<Pause>>,
}

struct Pause {
    until: Timestamp,
    failure: Option<String>,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = self.source.as_ref().map(|(source, _)| source);
        f.debug_tuple("Workload").field(&source).finish()
    }
}

impl Workload {
    /// The identity of this source. Its requests go where the source says, follow no redirect and use no proxy.
    #[must_use]
    pub fn new(source: Result<Source, String>, tls: &rustls::ClientConfig) -> Self {
        let with_client = |source| {
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(Duration::from_secs(2))
                .build()
                .map_err(|_| "failed to make an HTTP client".to_owned())?;
            Ok((source, client))
        };
        Self {
            source: source.and_then(with_client),
            held: RwLock::default(),
            renewing: tokio::sync::Mutex::default(),
        }
    }

    /// Credentials that are good for a request at this time.
    ///
    /// # Errors
    /// Why there are none: no part of a token or a key is in it.
    pub async fn key(&self, now: Timestamp) -> Result<Arc<ApiKey>, String> {
        let (source, http) = self.source.as_ref().map_err(Clone::clone)?;
        let mut pause = match self.held(now) {
            Some((key, true)) => return Ok(key),
            // Somebody is at it, and these are still good.
            Some((key, false)) => match self.renewing.try_lock() {
                Ok(pause) => pause,
                Err(_) => return Ok(key),
            },
            None => self.renewing.lock().await,
        };
        // Whoever waited finds what the one before it got.
        let held = match self.held(now) {
            Some((key, true)) => return Ok(key),
            Some((key, false)) => Some(key),
            None => None,
        };
        if let Some(pause) = pause.as_ref().filter(|pause| pause.until > now) {
            match (held.clone(), &pause.failure) {
                (Some(key), _) => return Ok(key),
                (None, Some(failure)) => return Err(failure.clone()),
                (None, None) => {}
            }
        }
        let fetched = fetch(http, source).await.and_then(|fetched| {
            (left(fetched.expires, now) > SPENT)
                .then_some(fetched)
                .ok_or_else(|| "AWS gave the gateway credentials that have expired".to_owned())
        });
        let wait = |failure| Pause {
            until: now.saturating_add(PAUSE).unwrap_or(now),
            failure,
        };
        match fetched {
            Ok(Fetched { key, expires }) => {
                let key = Arc::new(ApiKey::aws(key, &expires.to_string()));
                *pause = (left(expires, now) <= RENEW).then(|| wait(None));
                let taken = Some((key.clone(), expires));
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = taken;
                Ok(key)
            }
            Err(failure) => {
                tracing::warn!(
                    error = failure,
                    "failed to get credentials for the gateway's own identity at AWS"
                );
                *pause = Some(wait(Some(failure.clone())));
                held.ok_or(failure)
            }
        }
    }

    /// What can be used now, and whether it will do for a while.
    fn held(&self, now: Timestamp) -> Option<(Arc<ApiKey>, bool)> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let (key, expires) = held.as_ref()?;
        let left = left(*expires, now);
        (left > SPENT).then(|| (key.clone(), left > RENEW))
    }
}

fn left(expires: Timestamp, now: Timestamp) -> SignedDuration {
    expires.duration_since(now)
}
