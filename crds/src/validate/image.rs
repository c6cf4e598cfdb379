//! Names of images: parsing, the full form that container runtimes give to a short name, and matching against a SandboxClass.

use std::fmt;

/// An image reference in its full form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Registry, with a port if it has one, in lower case.
    pub registry: String,
    /// Path within the registry.
    pub repository: String,
    /// Tag, if one was written.
    pub tag: Option<String>,
    /// Digest, if one was written.
    pub digest: Option<String>,
}

/// Why a text is not an image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not an image name ({what}): write it like python:3.12-slim, registry.example.com:5000/team/tool:1, or with @sha256:..."
)]
pub struct NotAnImage {
    text: String,
    what: &'static str,
}

impl Image {
    /// Reads a name as container runtimes do: the part before the first `/` is a registry if it has a `.` or a `:` or is `localhost`;
    /// otherwise the image is of docker.io, and one without any `/` of its `library`. (distribution/reference, `ParseNormalizedNamed`.)
    ///
    /// # Errors
    /// [`NotAnImage`] when the text does not follow that grammar.
    pub fn parse(text: &str) -> Result<Self, NotAnImage> {
        let bad = |what| NotAnImage {
            text: text.chars().take(80).collect(),
            what,
        };
        if text.len() > 512 {
            return Err(bad("too long"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(bad("the digest is not sha256: and 64 hex digits")),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; before it, a port.
        let name_from = rest.rfind('/').map_or(0, |slash| slash + 1);
        let tail = rest.get(name_from..).unwrap_or_default();
        let (name, tag) = match tail.find(':') {
            Some(colon) => {
                let (name, tag) = rest.split_at(name_from + colon);
                (name, Some(tag.trim_start_matches(':').to_owned()))
            }
            None => (rest, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("the tag has characters that a tag cannot have"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => {
                (first.to_ascii_lowercase(), path.to_owned())
            }
            _ => ("docker.io".to_owned(), name.to_owned()),
        };
        let registry = match registry.as_str() {
            "index.docker.io" => "docker.io".to_owned(),
            _ => registry,
        };
        let repository = if registry == "docker.io" && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        if !registry
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte))
        {
            return Err(bad(
                "the registry has characters that a host name cannot have",
            ));
        }
        if !repository.split('/').all(is_component) {
            return Err(bad(
                "its parts are lower-case letters, digits, and . _ - between them",
            ));
        }
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// The full name without tag and digest, like `docker.io/library/python`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Whether one of the patterns matches. A pattern is a full name, where `*` matches within one path segment and a last `/*` or `/**`
    /// everything below; with a tag after it, only that tag.
    #[must_use]
    pub fn matches_any(&self, patterns: &[String]) -> bool {
        patterns.iter().any(|pattern| self.matches(pattern))
    }

    fn matches(&self, pattern: &str) -> bool {
        let name_from = pattern.rfind('/').map_or(0, |slash| slash + 1);
        let tail = pattern.get(name_from..).unwrap_or_default();
        let (pattern, tag) = match tail.find(':') {
            Some(colon) => {
                let (name, tag) = pattern.split_at(name_from + colon);
                (name, Some(tag.trim_start_matches(':')))
            }
            None => (pattern, None),
        };
        if tag.is_some_and(|tag| !segment(tag, self.tag.as_deref().unwrap_or("latest"))) {
            return false;
        }
        let name = self.name();
        let mut found = name.split('/');
        let wanted: Vec<&str> = pattern.split('/').collect();
        for (index, part) in wanted.iter().enumerate() {
            let last = index > 0 && index + 1 == wanted.len();
            if last && (*part == "*" || *part == "**") {
                return found.next().is_some();
            }
            match found.next() {
                Some(name) if segment(part, name) => {}
                _ => return false,
            }
        }
        found.next().is_none()
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (Some(tag), None) => write!(f, ":{tag}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => f.write_str(":latest"),
        }
    }
}

/// What is wrong with a pattern of a SandboxClass; `None` if nothing is.
#[must_use]
pub fn pattern_problem(pattern: &str) -> Option<String> {
    let (first, rest) = pattern.split_once('/').unwrap_or((pattern, ""));
    if rest.is_empty() || !(is_registry(first) || first.contains('*')) {
        return Some(format!(
            "'{pattern}' is not a full image name: begin with the registry, like docker.io/library/*"
        ));
    }
    if pattern.contains('@') {
        return Some(format!(
            "'{pattern}' names a digest: allow the name, and set requireDigest"
        ));
    }
    None
}

/// Whether a segment matches, `*` standing for any characters. Linear: the greedy wildcard match with one remembered star.
fn segment(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric)
        && text
            .bytes()
            .all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
}
