//! WebSearch: one question to the installation's search endpoint.

use super::results::{self, NoList};
use super::{Failed, Web, begins, counted, ended, get, read};
use crate::identity::sandbox::SandboxPod;
use crate::provider::client::NoAnswer;
use crate::state::Gateway;
use crate::tools::clean;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use oarmaster_protocol::text;
use serde::Deserialize;

/// Longest query in characters; search engines take 400 or more.
const MAX_QUERY: usize = 400;
/// Most results.
const MAX_COUNT: usize = 10;
/// Results where the model asks for no number.
const COUNT: usize = 5;

/// What the model asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    /// The words.
    pub query: String,
    /// How many results.
    #[serde(default)]
    pub count: Option<u64>,
}

/// Searches.
///
/// # Errors
/// What the model is told.
pub async fn search(
    gateway: &Gateway,
    pod: &SandboxPod,
    arguments: &Arguments,
) -> Result<String, Failed> {
    counted(gateway, "WebSearch", run(gateway, pod, arguments)).await
}

async fn run(gateway: &Gateway, pod: &SandboxPod, arguments: &Arguments) -> Result<String, Failed> {
    let (query, count) = asked(arguments)?;
    let Web { search, .. } = &gateway.web;
    let Some((search, client)) = search else {
        return Err(Failed::new(
            "unconfigured",
            "this installation has no search endpoint, so WebSearch finds nothing; its administrator sets one in the chart's value gateway.search.url",
        ));
    };
    let path = search.template.fill(&query, count);
    let request = client.request(Method::GET, &path);
    let mut request = request.map_err(|error| Failed::new("invalid", error))?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    if let Some((name, key)) = &search.key {
        let key = key.plain().map_err(|error| {
            Failed::new(
                "unconfigured",
                format!("the installation's key for searches cannot be sent: {error}"),
            )
        })?;
        headers.insert(name, key);
    }
    let (_, host) = search.endpoint.split_once("://").unwrap_or_default();
    begins(gateway, pod, host).await?;
    let response = client
        .send(request)
        .await
        .map_err(|error| unreached(&error))?;
    answered(response.status())?;
    let encoding = response.headers().get(CONTENT_ENCODING);
    let encoding = encoding.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let body = get::collect(response.into_body())
        .await
        .map_err(of_endpoint)?;
    ended(gateway, pod, host, body.bytes.len());
    let fields = search.fields.clone();
    let found = read(&gateway.web, move || {
        let body = get::unpack(encoding.as_deref(), body).map_err(of_endpoint)?;
        if body.is_cut {
            return Err(Failed::new(
                "unreadable",
                "the search endpoint answered with more than 2 MiB",
            ));
        }
        results::read(&body.bytes, &fields, count).map_err(unlisted)
    });
    let shown = results::show(&found.await??);
    match &search.key {
        Some((_, key)) if key.is_in(&shown) => Err(Failed::new(
            "unreadable",
            "the search endpoint repeated its key in the results, which are not shown therefore",
        )),
        _ => Ok(shown),
    }
}

/// The words in one line, and the number of results.
fn asked(arguments: &Arguments) -> Result<(String, usize), Failed> {
    let invalid = |text: String| Err(Failed::new("invalid", text));
    let query = clean::line(&arguments.query, usize::MAX);
    if query.is_empty() {
        return invalid("query is empty; write what to search for".to_owned());
    }
    if query.chars().nth(MAX_QUERY).is_some() {
        return invalid(format!(
            "query has more than {MAX_QUERY} characters; write fewer words"
        ));
    }
    let count = match arguments.count {
        None => COUNT,
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
    };
    if !(1..=MAX_COUNT).contains(&count) {
        return invalid(format!(
            "count is {count}; write a number from 1 to {MAX_COUNT}"
        ));
    }
    Ok((query, count))
}

fn unreached(error: &NoAnswer) -> Failed {
    match error {
        NoAnswer::Forbidden(private) => Failed::new(
            "unconfigured",
            format!("the search endpoint cannot be used: {private}"),
        ),
        NoAnswer::Unconnected { .. } | NoAnswer::Broken { .. } => {
            tracing::warn!(%error, "a search had no answer");
            Failed::new(
                "unreachable",
                "the search endpoint does not answer; try again later",
            )
        }
    }
}

fn answered(status: StatusCode) -> Result<(), Failed> {
    if status == StatusCode::OK {
        return Ok(());
    }
    tracing::warn!(
        status = status.as_u16(),
        "a search was not answered with results"
    );
    let why = match status.as_u16() {
        300..=399 => {
            "it leads elsewhere, which is not followed; gateway.search.url must be its last address"
        }
        401 | 403 => {
            "it refuses; its key (gateway.search.secretName) may be wrong or, with SearXNG, json not among search.formats"
        }
        429 => "it takes no more searches for now; try again later",
        _ => "try again later",
    };
    Err(Failed::new(
        "unreachable",
        format!("the search endpoint answered {}: {why}", status.as_u16()),
    ))
}

fn of_endpoint(failed: Failed) -> Failed {
    Failed::new(
        failed.outcome,
        format!("the search endpoint has failed: {}", failed.text),
    )
}

fn unlisted(error: NoList) -> Failed {
    Failed::new(
        "unreadable",
        format!(
            "the search endpoint cannot be used: {}",
            text::shorten(&error.to_string(), 300)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_bounds() {
        let ask = |query: &str, count| {
            let arguments = Arguments {
                query: query.to_owned(),
                count,
            };
            asked(&arguments).map_err(|failed| failed.text)
        };
        assert_eq!(
            ask(" rust\n\u{202e}async ", None),
            Ok(("rust async".to_owned(), 5))
        );
        assert_eq!(ask(&"é".repeat(400), Some(10)).unwrap().1, 10);
        for (query, count, why) in [
            ("", None, "query is empty"),
            (" \n\u{7}", None, "query is empty"),
            (&"é".repeat(401), None, "more than 400 characters"),
            ("a", Some(0), "count is 0"),
            ("a", Some(11), "count is 11"),
            ("a", Some(u64::MAX), "write a number from 1 to 10"),
        ] {
            let told = ask(query, count).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
