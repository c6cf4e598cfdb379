//! What a program asks its proxy for, and whether it may: pure.

use http::{Method, Uri};
use oarmaster_crds::domain::NotADomain;
use oarmaster_crds::{Domain, DomainPattern};

/// The port of https.
const HTTPS: u16 = 443;
/// The port of http.
const HTTP: u16 = 80;

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The domain.
    pub domain: Domain,
    /// How it is reached.
    pub way: Way,
}

/// How a domain is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A tunnel for TLS.
    Tunnel,
    /// One request of plain http.
    Plain,
}

impl Way {
    /// The port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Tunnel => HTTPS,
            Self::Plain => HTTP,
        }
    }
}

/// Why not. The text is for the program, and so for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no request to a proxy.
    #[error("this is a proxy: send CONNECT name:443, or a request for http://name/")]
    Form,
    /// It is one for something else than http.
    #[error("only http:// is asked for in full; https goes through CONNECT name:443")]
    Scheme,
    /// The port is not open.
    #[error(
        "port {0} cannot be reached: only 443 through CONNECT, and 80 with requests for http://"
    )]
    Port(u16),
    /// The host is no domain.
    #[error("the host that was asked for {0}")]
    Host(#[from] NotADomain),
    /// The domain is none of the sandbox's.
    #[error("{domain} cannot be reached from this sandbox, which has {allowed}")]
    Domain {
        /// The domain.
        domain: Domain,
        /// What it has, in words.
        allowed: String,
    },
}

impl Refused {
    /// In a word.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Form | Self::Scheme => "invalid_request",
            Self::Port(_) => "port",
            Self::Host(_) => "no_domain",
            Self::Domain { .. } => "domain",
        }
    }
}

/// Reads the first line of a request.
///
/// # Errors
/// [`Refused`].
pub fn read(method: &Method, uri: &Uri, allowed: &[DomainPattern]) -> Result<Asked, Refused> {
    // A user's name before the host is for the other side, and some readers take it for the host.
    let authority = uri.authority().filter(|text| !text.as_str().contains('@'));
    let authority = authority.ok_or(Refused::Form)?;
    let way = match (method, uri.scheme_str()) {
        (&Method::CONNECT, None) => Way::Tunnel,
        (&Method::CONNECT, Some(_)) | (_, None) => return Err(Refused::Form),
        (_, Some("http")) => Way::Plain,
        (_, Some(_)) => return Err(Refused::Scheme),
    };
    let port = match (authority.port_u16(), way) {
        (Some(port), _) => port,
        // What stands behind the colon is no port.
        (None, _) if authority.as_str().len() > authority.host().len() => {
            return Err(Refused::Form);
        }
        (None, Way::Tunnel) => return Err(Refused::Form),
        (None, Way::Plain) => HTTP,
    };
    let domain = Domain::parse(authority.host())?;
    if port != way.port() {
        return Err(Refused::Port(port));
    }
    if allowed.iter().any(|pattern| pattern.matches(&domain)) {
        return Ok(Asked { domain, way });
    }
    let patterns: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    let allowed = match patterns.as_slice() {
        [] => "no egress".to_owned(),
        patterns => format!("egress to {}", patterns.join(", ")),
    };
    Err(Refused::Domain { domain, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(method: &str, uri: &str) -> Result<(String, Way), &'static str> {
        let allowed = ["pypi.org", "*.hosted.example"];
        let allowed: Vec<_> = allowed
            .map(|text| DomainPattern::parse(text).unwrap())
            .into();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let Ok(uri) = uri.parse() else {
            return Err("no uri"); // hyper answers 400
        };
        match read(&method, &uri, &allowed) {
            Ok(asked) => Ok((asked.domain.to_string(), asked.way)),
            Err(refused) => Err(refused.reason()),
        }
    }

    #[test]
    fn domains_of_the_sandbox_are_reached_in_two_ways() {
        let tunnel = |name: &str| Ok((name.to_owned(), Way::Tunnel));
        let plain = |name: &str| Ok((name.to_owned(), Way::Plain));
        for (method, uri, expected) in [
            ("CONNECT", "pypi.org:443", tunnel("pypi.org")),
            ("CONNECT", "PyPI.org.:443", tunnel("pypi.org")),
            (
                "CONNECT",
                "a.b.hosted.example:443",
                tunnel("a.b.hosted.example"),
            ),
            ("GET", "http://pypi.org", plain("pypi.org")),
            ("POST", "http://pypi.org:80/simple/?a=b", plain("pypi.org")),
            (
                "PUT",
                "http://a.hosted.example/x",
                plain("a.hosted.example"),
            ),
        ] {
            assert_eq!(ask(method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for (method, uri, reason) in [
            ("CONNECT", "evil.example:443", "domain"),
            ("CONNECT", "hosted.example:443", "domain"),
            ("CONNECT", "files.pypi.org:443", "domain"),
            ("CONNECT", "pypi.org.evil.example:443", "domain"),
            ("CONNECT", "pypi.org:80", "port"),
            ("CONNECT", "pypi.org:22", "port"),
            ("CONNECT", "pypi.org:8443", "port"),
            ("CONNECT", "pypi.org:0", "port"),
            ("CONNECT", "pypi.org", "invalid_request"),
            ("CONNECT", "pypi.org:", "invalid_request"),
            ("CONNECT", "pypi.org:65979", "invalid_request"), // 443 + 65536
            ("CONNECT", "pypi.org@evil.example:443", "invalid_request"),
            ("CONNECT", "evil.example@pypi.org:443", "invalid_request"),
            ("CONNECT", "http://pypi.org:443/", "invalid_request"),
            ("CONNECT", "1.1.1.1:443", "no_domain"),
            ("CONNECT", "[::1]:443", "no_domain"),
            ("CONNECT", "[::ffff:169.254.169.254]:443", "no_domain"),
            ("CONNECT", "127.1:443", "no_domain"),
            ("CONNECT", "0x7f000001:443", "no_domain"),
            ("CONNECT", "localhost:443", "no_domain"),
            ("CONNECT", "kubernetes:443", "no_domain"),
            (
                "GET",
                "http://169.254.169.254/latest/meta-data",
                "no_domain",
            ),
            ("GET", "http://pypi.org:443/", "port"),
            ("GET", "http://pypi.org:8080/", "port"),
            ("GET", "http://pypi.org@evil.example/", "invalid_request"),
            ("GET", "http://evil.example/", "domain"),
            ("GET", "https://pypi.org/", "invalid_request"),
            ("GET", "ftp://pypi.org/", "invalid_request"),
            ("GET", "/simple/", "invalid_request"),
            ("OPTIONS", "*", "invalid_request"),
        ] {
            assert_eq!(ask(method, uri), Err(reason), "{method} {uri}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_sandboxs_own_names_is_let_through(
            method in "CONNECT|GET|POST",
            uri in "(http://|https://)?[a-zA-Z0-9.@:%\\[\\]\\-_]{0,40}(pypi\\.org|hosted\\.example)?(:443|:80)?/?[a-z/?#]{0,5}",
        ) {
            if let Ok((name, _)) = ask(&method, &uri) {
                prop_assert!(name == "pypi.org" || name.ends_with(".hosted.example"), "{}", name);
                prop_assert!(Domain::parse(&name).is_ok());
            }
        }
    }
}
