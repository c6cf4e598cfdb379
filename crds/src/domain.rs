//! Names of domains, and the patterns by which a sandbox may reach some of them. Pure; the gateway decides with the same functions.

use std::fmt;
use std::net::IpAddr;

/// Longest name in characters, without a last dot (RFC 1035).
const MAX_NAME: usize = 253;
/// Longest part between dots.
const MAX_LABEL: usize = 63;

/// The whole name of a host, in the one form in which names are compared: lower case, no dot at its end, at least one inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain(String);

/// Why a text is no domain that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADomain {
    /// It is an address.
    #[error("is an address; write the name of a domain, like pypi.org")]
    Address,
    /// It has no dot.
    #[error("has no dot; write the whole name, like pypi.org")]
    OneLabel,
    /// It is too long.
    #[error("is too long; a name has at most 253 characters")]
    TooLong,
    /// A part between dots is none.
    #[error(
        "is no name of a domain; its parts have 1 to 63 letters, digits and hyphens, no hyphen at either end, and the last begins with a letter (names in other letters as xn--...)"
    )]
    Label,
    /// It is a name, but not in its form.
    #[error("must be in lower case, without a dot at its end")]
    Form,
}

impl Domain {
    /// Reads a name as a client writes it, in any case and with or without the dot at its end.
    ///
    /// # Errors
    /// [`NotADomain`], for addresses in every notation, too.
    pub fn parse(text: &str) -> Result<Self, NotADomain> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() {
            return Err(NotADomain::Address);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME {
            return Err(NotADomain::TooLong);
        }
        if !name.split('.').all(is_label) {
            return Err(NotADomain::Label);
        }
        let Some((_, last)) = name.rsplit_once('.') else {
            return Err(NotADomain::OneLabel);
        };
        // What ends in a number is an address to some readers, like 127.1 or 0x7f.0.0.1.
        if !last.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(NotADomain::Label);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name below `other`, and not the same.
    fn is_below(&self, other: &Self) -> bool {
        self.0
            .strip_suffix(&other.0)
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What may be reached: `pypi.org` is that name alone, `*.pypi.org` every name below it, at any depth, and not itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainPattern {
    domain: Domain,
    below: bool,
}

impl DomainPattern {
    /// Reads a pattern. It has one spelling: that of [`fmt::Display`].
    ///
    /// # Errors
    /// [`NotADomain`], for a `*` anywhere but as the whole first part, too.
    pub fn parse(text: &str) -> Result<Self, NotADomain> {
        let (name, below) = text
            .strip_prefix("*.")
            .map_or((text, false), |name| (name, true));
        let domain = Domain::parse(name)?;
        if domain.as_str() != name {
            return Err(NotADomain::Form);
        }
        Ok(Self { domain, below })
    }

    /// Whether this name may be reached.
    #[must_use]
    pub fn matches(&self, name: &Domain) -> bool {
        if self.below {
            name.is_below(&self.domain)
        } else {
            *name == self.domain
        }
    }

    /// Whether every name of `asked` is one of these.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        if asked.below {
            self.below && (asked.domain == self.domain || asked.domain.is_below(&self.domain))
        } else {
            self.matches(&asked.domain)
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.below { "*." } else { "" };
        write!(out, "{below}{}", self.domain)
    }
}

#[cfg(test)]
mod tests;
