//! The requests for credentials of the gateway's own: to EKS's agent on the node, and to STS.

use super::key::AwsKey;
use super::workload::Source;
use crate::provider::redact::redact;
use http::{HeaderValue, header};
use jiff::Timestamp;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 10;
/// Largest token that is read.
const MAX_TOKEN: usize = 64 << 10;
const LIMIT: Duration = Duration::from_secs(5);

/// Credentials with their end.
pub struct Fetched {
    pub key: AwsKey,
    pub expires: Timestamp,
}

/// Asks for credentials.
///
/// # Errors
/// What went wrong, for people; no token and no key is in it.
pub async fn fetch(http: &reqwest::Client, source: &Source) -> Result<Fetched, String> {
    let (request, who) = match source {
        Source::Container { url, token_file } => {
            let token = token(token_file).await?;
            let mut token = HeaderValue::from_str(&token)
                .map_err(|_| format!("{} holds no token", token_file.display()))?;
            token.set_sensitive(true);
            let request = http.get(url.clone()).header(header::AUTHORIZATION, token);
            (request, "EKS Pod Identity")
        }
        Source::WebIdentity {
            endpoint,
            role,
            session,
            token_file,
        } => {
            let token = token(token_file).await?;
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("Action", "AssumeRoleWithWebIdentity")
                .append_pair("Version", "2011-06-15")
                .append_pair("RoleArn", role)
                .append_pair("RoleSessionName", session)
                .append_pair("WebIdentityToken", &token)
                .finish();
            let request = http.post(endpoint.clone()).body(form).header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
            (request, "AWS STS")
        }
    };
    let (status, body) = tokio::time::timeout(LIMIT, ask(request))
        .await
        .map_err(|_| format!("{who} did not answer within {LIMIT:?}"))?
        .map_err(|problem| format!("{who} {problem}"))?;
    if !(200..300).contains(&status) {
        let said = redact(&said(&body), None);
        return Err(format!("{who} answered with status {status}: {said}"));
    }
    let read = match source {
        Source::Container { .. } => read_container(&body),
        Source::WebIdentity { .. } => read_web_identity(&body),
    };
    read.ok_or_else(|| format!("the answer of {who} holds no credentials"))
}

/// The token as it is now: the kubelet replaces it.
async fn token(file: &Path) -> Result<String, String> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("failed to read {}: {error}", file.display()))?;
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TOKEN {
        return Err(format!("{} holds no token", file.display()));
    }
    Ok(text.to_owned())
}

async fn ask(request: reqwest::RequestBuilder) -> Result<(u16, String), &'static str> {
    let mut response = request.send().await.map_err(|_| "cannot be reached")?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "broke off")? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err("sent more than 64 KiB");
        }
    }
    let text = String::from_utf8(body).map_err(|_| "sent what is no text")?;
    Ok((response.status().as_u16(), text))
}

/// What an error says: STS's code and message, else the text as it is.
fn said(body: &str) -> String {
    match (element(body, "Code"), element(body, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => body.to_owned(),
    }
}

fn read_container(body: &str) -> Option<Fetched> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        access_key_id: String,
        secret_access_key: String,
        token: String,
        expiration: Timestamp,
    }
    let body: Body = serde_json::from_str(body).ok()?;
    Some(Fetched {
        key: AwsKey::new(
            &body.access_key_id,
            &body.secret_access_key,
            Some(&body.token),
        ),
        expires: body.expiration,
    })
}

fn read_web_identity(body: &str) -> Option<Fetched> {
    let credentials = element(body, "Credentials")?;
    Some(Fetched {
        key: AwsKey::new(
            element(credentials, "AccessKeyId")?,
            element(credentials, "SecretAccessKey")?,
            Some(element(credentials, "SessionToken")?),
        ),
        expires: element(credentials, "Expiration")?.parse().ok()?,
    })
}

/// What stands in the first element of this name. Letters, digits and what Base64 has beside them are written as they are in XML: what has an escape
/// is no credential.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim()).filter(|inner| !inner.is_empty())
}
