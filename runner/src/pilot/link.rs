//! The way to the gateway, which all attempts of a process share, and the token that each of them shows.

use super::Error;
use super::gateway::chain;
use bytes::Bytes;
use oarmaster_protocol::task::Capability;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, StatusCode, Url};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway's data listener.
#[derive(Clone)]
pub(crate) struct Link {
    pub(super) client: Client,
    pub(super) base: Url,
}

/// What says whose a request is.
#[derive(Clone)]
pub(crate) enum Token {
    /// A projected token, read anew for each request.
    File(PathBuf),
    /// The claim of one attempt.
    Claim(Capability),
}

impl Token {
    pub(crate) async fn read(&self) -> std::io::Result<Cow<'_, str>> {
        match self {
            Self::File(path) => {
                let text = tokio::fs::read_to_string(path).await?;
                Ok(Cow::Owned(text.trim().to_owned()))
            }
            Self::Claim(capability) => Ok(Cow::Borrowed(&capability.0)),
        }
    }
}

/// The CA of the gateway's certificate, as PEM.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn authority(ca: Option<&str>, file: Option<&Path>) -> Result<String, Error> {
    match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Error::Setup(format!("--ca-file: {error}"))),
        None => Ok(ca.unwrap_or_default().to_owned()),
    }
}

impl Link {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the URL or the CA cannot be used.
    pub(crate) fn new(gateway: &str, pem: &str) -> Result<Self, Error> {
        let setup =
            |what: &str, error: &dyn std::fmt::Display| Error::Setup(format!("{what}: {error}"));
        let base = Url::parse(gateway).map_err(|error| setup("--gateway", &error))?;
        // The token goes in clear to nobody but this machine itself.
        let is_loopback = matches!(base.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if base.scheme() != "https" && !is_loopback {
            return Err(Error::Setup("--gateway: only https is spoken".to_owned()));
        }
        let authorities = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| setup("the gateway's CA", &error))?;
        if authorities.is_empty() && base.scheme() == "https" {
            return Err(Error::Setup(
                "the gateway's CA: neither --ca-file nor OARMASTER_CA has a certificate".to_owned(),
            ));
        }
        let client = Client::builder()
            .tls_certs_only(authorities)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            // A gateway whose node is gone sends no reset.
            .tcp_keepalive(Duration::from_secs(15))
            .tcp_keepalive_interval(Duration::from_secs(5))
            .tcp_keepalive_retries(3)
            .build()
            .map_err(|error| setup("the client", &error))?;
        Ok(Self { client, base })
    }

    /// Posts once.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn post(
        &self,
        token: &Token,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        let token = token.read().await;
        let token = token.map_err(|error| format!("failed to read the token: {error}"))?;
        let mut url = self.base.clone();
        url.set_path(path);
        let request = self
            .client
            .post(url)
            .bearer_auth(token)
            .header(CONTENT_TYPE, "application/json")
            .timeout(within)
            .body(body);
        let response = request.send().await.map_err(|error| chain(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| chain(&error))?;
        Ok((status, body))
    }
}
