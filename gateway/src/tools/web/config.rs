//! Where the installation searches the web: one address with places for the words and the number of results, and where in the JSON that it answers
//! the results stand. OpenSearch's templates are the model (<https://github.com/dewitt/opensearch>, 1.1 Draft 6, "OpenSearch URL template syntax").

use crate::provider::keys::ApiKey;
use anyhow::{Context as _, bail, ensure};
use http::HeaderName;
use std::sync::Arc;

/// Longest address with its words, in bytes; what servers take is mostly 8 KiB.
const MAX_TEMPLATE: usize = 2048;

/// The flags, as they are written.
#[derive(Clone, Debug, Default)]
pub struct SearchFlags {
    /// Address with `{searchTerms}`; empty: there is no search.
    pub url: String,
    /// Where the list of results stands.
    pub results: String,
    /// Where in a result its title stands.
    pub title: String,
    /// Where its address stands.
    pub link: String,
    /// Where its text stands.
    pub text: String,
    /// Header that carries the key.
    pub key_header: Option<String>,
    /// The key.
    pub key: Option<Arc<ApiKey>>,
}

/// Where searches go.
#[derive(Clone, Debug)]
pub struct Search {
    /// Scheme, host and port.
    pub endpoint: String,
    /// Path and query, in pieces.
    pub template: Template,
    /// Where in the answer the results stand.
    pub fields: Fields,
    /// The header with the key, where there is one.
    pub key: Option<(HeaderName, Arc<ApiKey>)>,
}

/// Where in the JSON of an answer the results stand: JSON pointers (RFC 6901), the last three within a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The list.
    pub results: String,
    /// The title.
    pub title: String,
    /// The address.
    pub link: String,
    /// The text.
    pub text: String,
}

/// A path with a query, and places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Terms,
    Count,
}

impl Search {
    /// Reads the flags; `None` where no address is given.
    ///
    /// # Errors
    /// What is wrong with a flag, and what to write. Never the key.
    pub fn parse(flags: SearchFlags) -> anyhow::Result<Option<Self>> {
        let SearchFlags {
            url,
            results,
            title,
            link,
            text,
            key_header,
            key,
        } = flags;
        let key_header = key_header.filter(|name| !name.is_empty());
        if url.is_empty() {
            ensure!(
                key_header.is_none() && key.is_none(),
                "a key for searches needs --search-url, which says where they go"
            );
            return Ok(None);
        }
        let (endpoint, template) = address(&url)?;
        let header = key_header.map(|name| header(&name)).transpose()?;
        let key = match (header, key) {
            (None, None) => None,
            (Some(name), Some(key)) => Some((name, key)),
            (Some(_), None) => bail!(
                "--search-key-header needs the key: set OARMASTER_SEARCH_KEY (the chart's gateway.search.secretName)"
            ),
            (None, Some(_)) => bail!(
                "OARMASTER_SEARCH_KEY needs --search-key-header (the chart's gateway.search.keyHeader), the header that carries it, like X-Subscription-Token"
            ),
        };
        let fields = Fields {
            results: pointer("--search-results", &results)?,
            title: pointer("--search-title", &title)?,
            link: pointer("--search-link", &link)?,
            text: pointer("--search-text", &text)?,
        };
        Ok(Some(Self {
            endpoint,
            template,
            fields,
            key,
        }))
    }
}

/// The server, and what is asked of it.
fn address(url: &str) -> anyhow::Result<(String, Template)> {
    let example =
        "--search-url is an address like https://search.example/search?q={searchTerms}&format=json";
    ensure!(
        url.len() <= MAX_TEMPLATE,
        "--search-url has more than {MAX_TEMPLATE} bytes"
    );
    let (scheme, rest) = url.split_once("://").context(example)?;
    let at = rest.find(['/', '?', '#']).context(example)?;
    let (host, path) = rest.split_at(at);
    ensure!(!host.is_empty(), "{example}");
    ensure!(
        !host.contains(['{', '}', '@']),
        "the host in --search-url is fixed, without a user's name: {example}"
    );
    let template = Template::parse(path)?;
    let filled = format!("{scheme}://{host}{}", template.fill("x", 1));
    ensure!(
        http::uri::PathAndQuery::try_from(template.fill("x", 1)).is_ok(),
        "--search-url has characters that must be written as %XX, like %20 for a space"
    );
    let parsed = url::Url::parse(&filled).context(example)?;
    ensure!(
        matches!(parsed.scheme(), "http" | "https") && parsed.has_host(),
        "{example}"
    );
    ensure!(
        parsed.fragment().is_none(),
        "what stands behind # in --search-url is sent to nobody; take it out"
    );
    Ok((format!("{scheme}://{host}"), template))
}

fn header(name: &str) -> anyhow::Result<HeaderName> {
    let parsed: HeaderName = name
        .parse()
        .with_context(|| format!("--search-key-header {name:?} is no name of a header"))?;
    let ours = ["host", "connection", "transfer-encoding", "content-length"];
    ensure!(
        !ours.contains(&parsed.as_str()),
        "--search-key-header cannot be {parsed}: that one is the gateway's own"
    );
    Ok(parsed)
}

/// A JSON pointer, from one or from the name of a field.
fn pointer(flag: &str, text: &str) -> anyhow::Result<String> {
    if text.is_empty() || text.starts_with('/') {
        let mut rest = text.split('~').skip(1);
        ensure!(
            rest.all(|after| after.starts_with(['0', '1'])),
            "{flag} {text:?} is no JSON pointer: write ~0 for ~, and ~1 for / in a name"
        );
        return Ok(text.to_owned());
    }
    Ok(format!("/{}", text.replace('~', "~0").replace('/', "~1")))
}

impl Template {
    fn parse(path: &str) -> anyhow::Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = path;
        while let Some(at) = rest.find(['{', '}']) {
            let (text, place) = rest.split_at(at);
            pieces.push(Piece::Text(text.to_owned()));
            let place = place.strip_prefix('{').and_then(|it| it.split_once('}'));
            let (name, after) = place.context("a { or } stands alone in --search-url")?;
            pieces.push(match name.trim_end_matches('?') {
                "searchTerms" => Piece::Terms,
                "count" => Piece::Count,
                other => {
                    bail!("--search-url has {{{other}}}; it may have {{searchTerms}} and {{count}}")
                }
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        ensure!(
            pieces.contains(&Piece::Terms),
            "--search-url lacks {{searchTerms}}, the place for the words: it is like https://search.example/search?q={{searchTerms}}&format=json"
        );
        Ok(Self(pieces))
    }

    /// The path and query of one search. What stands in the places has no byte that means something in an address.
    #[must_use]
    pub fn fill(&self, terms: &str, count: usize) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Count => filled.push_str(&count.to_string()),
                Piece::Terms => {
                    for byte in terms.bytes() {
                        match char::from(byte) {
                            letter if letter.is_ascii_alphanumeric() => filled.push(letter),
                            letter @ ('-' | '.' | '_' | '~') => filled.push(letter),
                            _ => filled.push_str(&format!("%{byte:02X}")),
                        }
                    }
                }
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests;
