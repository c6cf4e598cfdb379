//! Addresses that FetchPage may read, and why: pure. Decision 0036 has the reasons.

use oarmaster_crds::domain::NotADomain;
use oarmaster_crds::{Domain, DomainPattern};
use std::fmt;
use url::Url;

/// Longest address in bytes.
pub const MAX_URL: usize = 2048;

/// An address of http or https: a domain at the scheme's own port, nobody's name before it, without what stands behind `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    url: Url,
    domain: Domain,
}

/// Why a text is no address that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// It is no absolute URL.
    #[error("it is no URL; write one like https://example.com/page")]
    Url,
    /// It is too long.
    #[error("it has more than {MAX_URL} bytes")]
    TooLong,
    /// It is of another scheme.
    #[error("it begins with {0}:, and only https and http can be fetched")]
    Scheme(String),
    /// It has a user's name or a password.
    #[error("it has a user's name or a password before the host; take them out")]
    User,
    /// It is at another port.
    #[error("port {0} cannot be reached: only 443 for https, and 80 for http")]
    Port(u16),
    /// Its host is no domain.
    #[error("its host {0}")]
    Host(#[from] NotADomain),
}

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn parse(text: &str) -> Result<Self, NoTarget> {
        if text.len() > MAX_URL {
            return Err(NoTarget::TooLong);
        }
        Self::of(Url::parse(text.trim()).map_err(|_| NoTarget::Url)?)
    }

    /// The address that one within this page means.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn join(&self, text: &str) -> Result<Self, NoTarget> {
        if text.len() > MAX_URL {
            return Err(NoTarget::TooLong);
        }
        Self::of(self.url.join(text.trim()).map_err(|_| NoTarget::Url)?)
    }

    fn of(mut url: Url) -> Result<Self, NoTarget> {
        if !matches!(url.scheme(), "https" | "http") {
            let scheme = url.scheme().chars().take(20).collect();
            return Err(NoTarget::Scheme(scheme));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NoTarget::User);
        }
        let domain = Domain::parse(url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            return Err(NoTarget::Port(port));
        }
        url.set_fragment(None);
        // One spelling of the host, whose last dot is none.
        if url.host_str() != Some(domain.as_str()) && url.set_host(Some(domain.as_str())).is_err() {
            return Err(NoTarget::Url);
        }
        if url.as_str().len() > MAX_URL {
            return Err(NoTarget::TooLong);
        }
        Ok(Self { url, domain })
    }

    /// Its domain.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        if self.is_https() { 443 } else { 80 }
    }

    /// Path and query, as they are asked for.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// Whether the other is one site with this: the same host, but for `www.`.
    fn is_site_of(&self, other: &Self) -> bool {
        let bare = |target: &Self| -> String {
            let name = target.domain.as_str();
            name.strip_prefix("www.").unwrap_or(name).to_owned()
        };
        bare(self) == bare(other)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.url.as_str())
    }
}

/// Why an address may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Its domain is one of the Task's.
    Domain,
    /// A search of this Task returned it: the agent has not made it.
    Found,
}

/// Whether an address may be fetched; `found` tells whether a search returned it.
#[must_use]
pub fn grant(
    target: &Target,
    domains: &[DomainPattern],
    found: impl FnOnce() -> bool,
) -> Option<Grant> {
    if domains
        .iter()
        .any(|pattern| pattern.matches(target.domain()))
    {
        return Some(Grant::Domain);
    }
    found().then_some(Grant::Found)
}

/// Whether a redirect may be followed: to what may be fetched by itself, or, from what a search returned, within its site by https.
#[must_use]
pub fn follows(
    from: (&Target, Grant),
    to: &Target,
    domains: &[DomainPattern],
    found: impl FnOnce() -> bool,
) -> Option<Grant> {
    let (page, why) = from;
    // What was asked for in secret is not asked for again in the open.
    if page.is_https() && !to.is_https() {
        return None;
    }
    grant(to, domains, found).or_else(|| {
        (why == Grant::Found && to.is_https() && to.is_site_of(page)).then_some(Grant::Found)
    })
}

#[cfg(test)]
mod tests;
