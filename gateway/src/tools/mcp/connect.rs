//! Connections to MCP servers: where they may go, with which key, and for how long.

use super::quiet::Quiet;
use super::text;
use crate::cluster::secrets::grant;
use crate::provider::guard::PrivateEndpoints;
use crate::provider::keys::ApiKey;
use crate::provider::redact::redact;
use http::header::AUTHORIZATION;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use oarmaster_protocol::assignment::{McpServer, SecretKey};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, Tool};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientCacheConfig, Peer, RoleClient, ServiceError, serve_client};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a TCP connection, the handshake of the protocol, and the list of tools may take.
const CONNECT: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(20);
const LIST: Duration = Duration::from_secs(20);
/// Most pages of a list of tools.
const PAGES: usize = 16;
/// Largest message of a server in bytes, and how much of an error is read. As JSON in memory a message may be 30 times as large.
const MESSAGE: usize = 2 << 20;
const ERROR: usize = 4 << 10;
/// How long the API server may take for a Secret.
const READ: Duration = Duration::from_secs(10);

/// How servers are reached.
pub struct Outbound {
    kube: Client,
    /// The release namespace, for the command that lets the gateway read Secrets.
    release: String,
    guard: Arc<PrivateEndpoints>,
    /// For https: public addresses, and private ones that are listed.
    tls: Result<reqwest::Client, String>,
    /// For http: listed addresses alone.
    plain: Result<reqwest::Client, String>,
}

impl Outbound {
    /// Servers at addresses that `guard` lets through, with keys that `kube` reads.
    #[must_use]
    pub fn new(
        kube: Client,
        release: &str,
        guard: PrivateEndpoints,
        tls: rustls::ClientConfig,
    ) -> Self {
        let guard = Arc::new(guard);
        let client = |only_listed: bool| {
            let resolver = Guarded {
                guard: guard.clone(),
                only_listed,
            };
            let built = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .https_only(!only_listed)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Arc::new(resolver))
                .connect_timeout(CONNECT)
                .build();
            built.map_err(|error| error.to_string())
        };
        Self {
            tls: client(false),
            plain: client(true),
            kube,
            release: release.to_owned(),
            guard,
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// A sentence for the model and for whoever reads the transcript: what is in the way, and who can do what about it.
    pub async fn open(&self, server: &McpServer) -> Result<Door, String> {
        let url = url::Url::parse(&server.url).map_err(|error| format!("no URL: {error}"))?;
        let client = self.client(&url)?;
        if let Some(url::Host::Domain(host)) = url.host() {
            // Said here, where it can be said in full; the resolver of the client holds it.
            let found = addresses(&self.guard, url.scheme() == "http", host).await;
            found.map_err(|why| why.to_string())?;
        }
        let key = match &server.key {
            Some(named) => Some(self.key(named).await?),
            None => None,
        };
        let mut config = StreamableHttpClientTransportConfig::with_uri(server.url.as_str())
            .max_sse_event_size(MESSAGE)
            .max_json_response_size(MESSAGE)
            .max_error_response_size(ERROR)
            // A call may have had its effect: it is not sent again because the session is over.
            .reinit_on_expired_session(false);
        config.retry_config = Arc::new(NeverRetry::default());
        if let Some(key) = &key {
            let bearer = key.bearer().map_err(|error| error.to_string())?;
            config.custom_headers.insert(AUTHORIZATION, bearer);
        }
        let transport = StreamableHttpClientTransport::with_client(Quiet(client), config);
        let us = Implementation::new("oarmaster", env!("CARGO_PKG_VERSION"));
        let us = ClientConfig::new(ClientCapabilities::default(), us);
        let told = |error: &dyn Error| failure(error, key.as_ref());
        match timeout(HANDSHAKE, serve_client(us, transport)).await {
            Ok(Ok(service)) => {
                // What was listed is in the journal, and is not asked for again.
                let none = ClientCacheConfig::disabled();
                service.peer().set_response_cache_config(none).await;
                Ok(Door { service, key })
            }
            Ok(Err(error)) => Err(format!("the server cannot be used: {}", told(&error))),
            Err(_) => Err(format!(
                "the server did not answer within {} s",
                HANDSHAKE.as_secs()
            )),
        }
    }

    fn client(&self, url: &url::Url) -> Result<reqwest::Client, String> {
        self.guard
            .check_literal(url)
            .map_err(|error| error.to_string())?;
        let client = match url.scheme() {
            "https" => &self.tls,
            "http" => {
                let literal = match url.host() {
                    Some(url::Host::Ipv4(address)) => Some(address.into()),
                    Some(url::Host::Ipv6(address)) => Some(address.into()),
                    _ => None,
                };
                if literal.is_some_and(|address| !self.guard.lists("", address)) {
                    return Err(NOT_LISTED.to_owned());
                }
                &self.plain
            }
            _ => return Err("the URL is not https".to_owned()),
        };
        client.clone()
    }

    /// The key, read now.
    async fn key(&self, named: &SecretKey) -> Result<ApiKey, String> {
        let SecretKey {
            namespace,
            name,
            key,
        } = named;
        let secrets: Api<Secret> = Api::namespaced(self.kube.clone(), namespace);
        let found = timeout(READ, secrets.get_opt(name)).await;
        let secret = match found {
            Ok(Ok(Some(secret))) => secret,
            Ok(Ok(None)) => {
                return Err(format!(
                    "Secret {name} does not exist in namespace {namespace}"
                ));
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(format!(
                    "the gateway may not read Secret {name} in namespace {namespace}; an administrator grants it with: {}",
                    grant(namespace, &self.release)
                ));
            }
            Ok(Err(_)) | Err(_) => {
                return Err(format!("Secret {name} could not be read; try again later"));
            }
        };
        let version = secret.metadata.resource_version.unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        let value = data
            .get(key)
            .ok_or_else(|| format!("Secret {name} has no key {key}"))?;
        ApiKey::new(&value.0, &version)
            .map_err(|why| format!("key {key} of Secret {name} is not usable: {why}"))
    }
}

const NOT_LISTED: &str =
    "http is for addresses that the chart's gateway.privateEndpoints lists; use https";

/// An open connection.
pub struct Door {
    service: RunningService<RoleClient, ClientConfig>,
    key: Option<ApiKey>,
}

impl Door {
    /// The server.
    pub fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    /// Whether it can be used no more.
    pub fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// The server's tools of these names; two of each, where there are as many.
    ///
    /// # Errors
    /// What the server, or the way to it, said.
    pub async fn list(&self, allow: &[String]) -> Result<Vec<Tool>, ServiceError> {
        let list = async {
            let (mut tools, mut cursor) = (Vec::<Tool>::new(), None);
            for _ in 0..PAGES {
                let params = PaginatedRequestParams::default().with_cursor(cursor);
                let page = self.peer().list_tools(Some(params)).await?;
                for tool in page.tools {
                    let known = tools.iter().filter(|known| known.name == tool.name);
                    if known.count() < 2 && allow.iter().any(|name| *name == tool.name) {
                        tools.push(tool);
                    }
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            Ok(tools)
        };
        match timeout(LIST, list).await {
            Ok(listed) => listed,
            Err(_) => Err(ServiceError::Timeout { timeout: LIST }),
        }
    }

    /// What went wrong, without the key.
    pub fn told(&self, error: &ServiceError) -> String {
        failure(error, self.key.as_ref())
    }

    /// Whether the key is in a text of the server.
    pub fn has_key(&self, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_in(text))
    }

    /// A text of the server without the key.
    pub fn hide(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.hide(text),
            None => text,
        }
    }
}

/// What went wrong: its last cause, which says most, without keys.
fn failure(error: &dyn Error, key: Option<&ApiKey>) -> String {
    let mut last = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        last = next.to_string();
        cause = next.source();
    }
    // Before it stands which Rust type said so.
    let said = last
        .rsplit_once("] error: ")
        .map_or(&*last, |(_, said)| said);
    redact(&text::clean(said), key)
}

/// Finds the addresses of names, and refuses those that nobody may reach.
struct Guarded {
    guard: Arc<PrivateEndpoints>,
    only_listed: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, only_listed) = (self.guard.clone(), self.only_listed);
        Box::pin(async move {
            let found = addresses(&guard, only_listed, name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name, if all of them may be reached.
async fn addresses(
    guard: &PrivateEndpoints,
    only_listed: bool,
    host: &str,
) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
    // One that may not be reached among others refuses all: which of them answers is not ours to choose.
    for address in &found {
        guard.check(host, address.ip())?;
        if only_listed && !guard.lists(host, address.ip()) {
            return Err(NOT_LISTED.into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_private_addresses_are_not_reached() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nobody = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let guard = PrivateEndpoints::parse(&[]).unwrap();
        let tls = crate::tls::client_config().unwrap();
        let outbound = Outbound::new(Client::try_from(nobody).unwrap(), "r", guard, tls);
        let server = McpServer {
            name: "hub".into(),
            url: "https://localhost:1/mcp".into(),
            key: None,
            allow: vec!["echo".into()],
            timeout_ms: 1000,
        };
        let why = outbound.open(&server).await.err().unwrap();
        assert!(why.contains("private address"), "{why}");
        // Nor by the client itself, whatever was found before.
        let sent = outbound.tls.unwrap().get("https://localhost:1/").send();
        let why = failure(&sent.await.unwrap_err(), None);
        assert!(why.contains("private address"), "{why}");
    }
}
