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
    /// otherwise the image is of docker.io, and one without any `/` of its `library`. (distribution/reference, `ParseNormalizedNamed`; of
    /// what it takes, registries in upper case, IPv6 addresses and digests other than sha256 are refused here.)
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
        let (registry, path) = match name.split_once('/') {
            Some(("index.docker.io", path)) => ("docker.io", path),
            Some((first, path)) if is_registry(first) => (first, path),
            _ => ("docker.io", name),
        };
        let repository = match registry {
            "docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if !is_host(registry) {
            return Err(bad(
                "the registry is no host name in lower case, with or without a port",
            ));
        }
        if !repository.split('/').all(is_component) {
            return Err(bad(
                "its parts are lower-case letters, digits, and . _ - between them",
            ));
        }
        if registry.len() + 1 + repository.len() > 255 {
            return Err(bad("it is longer than 255 characters"));
        }
        Ok(Self {
            registry: registry.to_owned(),
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

    /// Whether one of the patterns matches: each is a full name, in which `*` at the end of a part stands for any rest of that part, and a
    /// last part that is `*` alone for everything below.
    #[must_use]
    pub fn matches_any(&self, patterns: &[String]) -> bool {
        patterns.iter().any(|pattern| self.matches(pattern))
    }

    fn matches(&self, pattern: &str) -> bool {
        let Some((registry, path)) = pattern.split_once('/') else {
            return false;
        };
        if registry != self.registry {
            return false;
        }
        let mut wanted = path.split('/').peekable();
        let mut found = self.repository.split('/');
        while let Some(part) = wanted.next() {
            let Some(name) = found.next() else {
                return false;
            };
            let held = match part.strip_suffix('*') {
                Some("") if wanted.peek().is_none() => return true,
                Some(beginning) => name.starts_with(beginning),
                None => part == name,
            };
            if !held {
                return false;
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

/// What is wrong with a pattern of a SandboxClass; `None` if nothing is. What cannot match any image is wrong: it was meant otherwise.
#[must_use]
pub fn pattern_problem(pattern: &str) -> Option<String> {
    let (registry, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let what = if path.is_empty() || !is_registry(registry) {
        "is not a full image name: begin with the registry, like docker.io/library/*"
    } else if !is_host(registry) {
        "does not begin with a registry in lower case, with or without a port, and without *"
    } else if path.contains(['@', ':']) {
        "names a tag or digest: allow the name, and set requireDigest, since a tag can be moved"
    } else if !path.split('/').all(is_part) {
        "has a part that no image has: write lower-case letters, digits, and . _ - between them; * stands at the end of a part"
    } else {
        return None;
    };
    Some(format!("'{pattern}' {what}"))
}

/// Whether an image's part can be meant.
fn is_part(text: &str) -> bool {
    match text.strip_suffix('*') {
        Some("") => true,
        // What is cut off may go on with what belongs between two words.
        Some(beginning) => is_component(&format!("{beginning}0")),
        None => is_component(text),
    }
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

/// Words of lower-case letters and digits, between each two of them one of `.`, `_`, `__`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let of_word = |byte: char| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = text;
    loop {
        let after = rest.trim_start_matches(of_word);
        if after.len() == rest.len() {
            return false;
        }
        if after.is_empty() {
            return true;
        }
        rest = after.trim_start_matches(|byte| !of_word(byte));
        let between = after.strip_suffix(rest).unwrap_or_default();
        if !matches!(between, "." | "_" | "__") && !between.bytes().all(|byte| byte == b'-') {
            return false;
        }
    }
}

/// A host name in lower case, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |text: &str| {
        !text.starts_with('-')
            && !text.ends_with('-')
            && !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| {
            port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with('+')
        })
}
