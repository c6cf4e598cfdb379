//! Where the certificates are kept: the mounted Secret, and writes that test what they replace.

use super::issue::Pair;
use super::plan::{CaTimes, LeafTimes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::path::Path;

/// Annotation of the Secrets: when, and for a leaf by which CA, they were issued. The chart does not set it, so that nothing which
/// applies the chart sets it back.
pub const ISSUED: &str = "oarmaster.dev/issued";

/// The CA's Secret.
#[derive(Clone)]
pub struct Ca {
    /// The CA that signs, and when it was made.
    pub signing: (i64, Pair),
    /// The CA that will.
    pub next: Option<(i64, Pair)>,
    /// The CA that did, and when it was replaced.
    pub before: Option<(i64, String)>,
}

impl Ca {
    /// Its times.
    #[must_use]
    pub fn times(&self) -> CaTimes {
        CaTimes {
            issued: self.signing.0,
            next: self.next.as_ref().map(|next| next.0),
            replaced: self.before.as_ref().map(|before| before.0),
        }
    }

    /// Every certificate that is to be trusted, as PEM; the one that signs first.
    #[must_use]
    pub fn bundle(&self) -> String {
        let mut bundle = self.signing.1.certificate.clone();
        if let Some((_, next)) = &self.next {
            bundle.push_str(&next.certificate);
        }
        if let Some((_, before)) = &self.before {
            bundle.push_str(before);
        }
        bundle
    }

    /// The annotation that stands for this state.
    #[must_use]
    pub fn mark(&self) -> String {
        let times = self.times();
        let part = |time: Option<i64>| time.map(|time| time.to_string()).unwrap_or_default();
        match (times.next, times.replaced) {
            (None, None) => times.issued.to_string(),
            (next, replaced) => format!("{}/{}/{}", times.issued, part(next), part(replaced)),
        }
    }

    /// The Secret's data, base64 as in its JSON.
    #[must_use]
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        let mut data = BTreeMap::from([
            ("issued", encode(&self.signing.0.to_string())),
            ("tls.crt", encode(&self.signing.1.certificate)),
            ("tls.key", encode(&self.signing.1.key)),
        ]);
        if let Some((issued, pair)) = &self.next {
            data.insert("next-issued", encode(&issued.to_string()));
            data.insert("next.crt", encode(&pair.certificate));
            data.insert("next.key", encode(&pair.key));
        }
        if let Some((replaced, certificate)) = &self.before {
            data.insert("before-replaced", encode(&replaced.to_string()));
            data.insert("before.crt", encode(certificate));
        }
        data
    }

    /// Reads the mounted Secret; `None` while it is empty.
    ///
    /// # Errors
    /// When the directory cannot be read, or what it holds is not ours.
    pub fn mounted(dir: &Path) -> Result<Option<Self>, Unreadable> {
        let Some(certificate) = text(dir, "tls.crt")? else {
            return Ok(None);
        };
        let needed = |name: &'static str| {
            text(dir, name)?.ok_or(Unreadable {
                file: name,
                why: "is missing".to_owned(),
            })
        };
        let next = match time(dir, "next-issued")? {
            None => None,
            Some(issued) => Some((
                issued,
                Pair {
                    certificate: needed("next.crt")?,
                    key: needed("next.key")?,
                },
            )),
        };
        let before = match time(dir, "before-replaced")? {
            None => None,
            Some(replaced) => Some((replaced, needed("before.crt")?)),
        };
        let issued = time(dir, "issued")?.ok_or(Unreadable {
            file: "issued",
            why: "is missing".to_owned(),
        })?;
        Ok(Some(Self {
            signing: (
                issued,
                Pair {
                    certificate,
                    key: needed("tls.key")?,
                },
            ),
            next,
            before,
        }))
    }
}

/// Data of a Secret, as in its JSON.
#[must_use]
pub fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// Whether an annotation is one that [`Ca::mark`] makes.
#[must_use]
pub fn is_ca_mark(mark: &str) -> bool {
    let parts: Vec<&str> = mark.split('/').collect();
    let time = |part: &str| part.parse::<i64>().is_ok_and(|time| time > 0);
    match parts.as_slice() {
        [issued] => time(issued),
        [issued, rest @ ..] if rest.len() == 2 => {
            time(issued) && rest.iter().all(|part| part.is_empty() || time(part))
        }
        _ => false,
    }
}

/// A mounted file that is not as it must be.
#[derive(Debug, thiserror::Error)]
#[error("the mounted CA's {file} {why}")]
pub struct Unreadable {
    file: &'static str,
    why: String,
}

fn text(dir: &Path, file: &'static str) -> Result<Option<String>, Unreadable> {
    match std::fs::read_to_string(dir.join(file)) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unreadable {
            file,
            why: format!("cannot be read: {error}"),
        }),
    }
}

fn time(dir: &Path, file: &'static str) -> Result<Option<i64>, Unreadable> {
    text(dir, file)?
        .map(|text| {
            text.trim().parse().map_err(|_| Unreadable {
                file,
                why: "is not a time".to_owned(),
            })
        })
        .transpose()
}

/// The annotation of a leaf's Secret.
#[must_use]
pub fn leaf_mark(leaf: LeafTimes) -> String {
    format!("{}/{}", leaf.issued, leaf.ca)
}

/// Reads it; `None` while nothing was issued, or what is there is not ours and will be replaced.
#[must_use]
pub fn leaf_times(mark: &str) -> Option<LeafTimes> {
    let (issued, ca) = mark.split_once('/')?;
    Some(LeafTimes {
        issued: issued.parse().ok()?,
        ca: ca.parse().ok()?,
    })
}
