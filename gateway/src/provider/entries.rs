//! Which entries of a Secret are a key, and how they are read.

use crate::provider::aws::key::{ACCESS_KEY_ID, AwsKey, SECRET_ACCESS_KEY, SESSION_TOKEN};
use crate::provider::keys::ApiKey;

/// One line of printable ASCII; one line end after it is forgiven.
///
/// # Errors
/// What is wrong, without the value.
pub fn line(bytes: &[u8]) -> Result<&str, &'static str> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| "is not ASCII")?;
    if text.is_empty() {
        Err("is empty")
    } else if text.contains(['\n', '\r']) {
        Err("has more than one line")
    } else if !text.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        Err("has characters other than printable ASCII")
    } else {
        Ok(text)
    }
}

/// What of a Secret is a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entries {
    /// The value of this entry.
    One(String),
    /// AWS's credentials, whose entries have fixed names.
    Aws,
}

impl Entries {
    /// The entries that must be there.
    #[must_use]
    pub fn needed(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Aws => vec![ACCESS_KEY_ID, SECRET_ACCESS_KEY],
        }
    }

    /// Reads the key from a Secret's data.
    ///
    /// # Errors
    /// What the Secret lacks, or what is wrong with an entry, without its value.
    pub fn read<'a>(
        &self,
        secret: &str,
        version: &str,
        data: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Result<ApiKey, String> {
        let mut lacks = self.needed();
        lacks.retain(|name| data(name).is_none());
        if !lacks.is_empty() {
            let advice = match self {
                Self::One(_) => "add it, or name one that it has in the ModelProvider",
                Self::Aws => {
                    "type Bedrock needs access-key-id and secret-access-key, and session-token for temporary credentials"
                }
            };
            let lacks = lacks.join(" and no key ");
            return Err(format!("Secret {secret} has no key {lacks}: {advice}"));
        }
        let text = |name: &str| {
            line(data(name).unwrap_or_default())
                .map_err(|problem| format!("{name} of Secret {secret} {problem}"))
        };
        Ok(match self {
            Self::One(name) => ApiKey::text(text(name)?, version),
            Self::Aws => {
                let token = data(SESSION_TOKEN).map(|_| text(SESSION_TOKEN));
                let (id, secret) = (text(ACCESS_KEY_ID)?, text(SECRET_ACCESS_KEY)?);
                ApiKey::aws(AwsKey::new(id, secret, token.transpose()?), version)
            }
        })
    }
}
