//! Provider keys in memory, and what is known of each.

use crate::provider::aws::key::AwsKey;
use crate::provider::entries::{Entries, line};
use oarmaster_protocol::admin::{KeyHealth, KeyState};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A key. It cannot be printed, cloned into text or serialised; it leaves only as a header, or as a signature in one.
pub struct ApiKey {
    value: Value,
    version: String,
}

enum Value {
    Text(SecretString),
    Aws(AwsKey),
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

/// A key that no header can carry: one of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not a header value")]
pub struct NotAHeader;

impl ApiKey {
    /// Reads a key from a Secret's value: one line of printable ASCII; one line end after it is forgiven.
    ///
    /// # Errors
    /// What is wrong, without the value.
    pub fn new(bytes: &[u8], version: &str) -> Result<Self, &'static str> {
        line(bytes).map(|text| Self::text(text, version))
    }

    /// A key that was read.
    #[must_use]
    pub fn text(text: &str, version: &str) -> Self {
        Self {
            value: Value::Text(text.into()),
            version: version.to_owned(),
        }
    }

    /// AWS's credentials.
    #[must_use]
    pub fn aws(key: AwsKey, version: &str) -> Self {
        Self {
            value: Value::Aws(key),
            version: version.to_owned(),
        }
    }

    /// The credentials to sign with, where it is some.
    #[must_use]
    pub const fn signs(&self) -> Option<&AwsKey> {
        match &self.value {
            Value::Text(_) => None,
            Value::Aws(key) => Some(key),
        }
    }

    /// The key as the value of a header.
    ///
    /// # Errors
    /// [`NotAHeader`].
    pub fn plain(&self) -> Result<http::HeaderValue, NotAHeader> {
        self.header("")
    }

    /// The key as the value of `Authorization`.
    ///
    /// # Errors
    /// As [`Self::plain`].
    pub fn bearer(&self) -> Result<http::HeaderValue, NotAHeader> {
        self.header("Bearer ")
    }

    fn header(&self, before: &str) -> Result<http::HeaderValue, NotAHeader> {
        let Value::Text(text) = &self.value else {
            return Err(NotAHeader);
        };
        let text = format!("{before}{}", text.expose_secret());
        let mut value = http::HeaderValue::from_str(&text).map_err(|_| NotAHeader)?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn parts(&self) -> Vec<&str> {
        match &self.value {
            Value::Text(text) => vec![text.expose_secret()],
            Value::Aws(key) => key.parts().collect(),
        }
    }

    /// Whether the text has the whole key in it, or a whole part of one of several.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.parts().into_iter().any(|part| text.contains(part))
    }

    /// The text with something else in place of the key, wherever the whole of it stands.
    #[must_use]
    pub fn hide(&self, mut text: String) -> String {
        for part in self.parts() {
            if text.contains(part) {
                text = text.replace(part, "[redacted]");
            }
        }
        text
    }

    /// Whether the text and the key share `length` characters in a row, or the text has the whole of a shorter key in it.
    #[must_use]
    pub fn shares(&self, text: &str, length: usize) -> bool {
        let shared = |key: &str| {
            if key.len() < length {
                return text.contains(key);
            }
            text.as_bytes()
                .windows(length)
                .any(|part| key.as_bytes().windows(length).any(|window| window == part))
        };
        self.parts().into_iter().any(shared)
    }
}

/// What the gateway last saw of a Secret.
#[derive(Debug)]
pub enum SecretSight {
    /// It was read.
    Found {
        /// The object's resourceVersion.
        version: String,
        /// The keys that providers find in it, or why they do not.
        values: BTreeMap<Entries, Result<Arc<ApiKey>, String>>,
    },
    /// It does not exist.
    Missing,
    /// It may not be read; the text is the command that grants it.
    Forbidden(String),
    /// The API server could not be asked yet.
    Unknown,
}

/// A key of a ModelProvider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Name of the key in the provider.
    pub name: String,
    /// Name of the Secret.
    pub secret: String,
    /// What of the Secret it is.
    pub entries: Entries,
    /// Its share of the requests; 0: only after the others.
    pub weight: u32,
}

enum Mark {
    Refused { version: String, message: String },
    Exhausted { version: String, until: Instant },
}

type SecretName = (String, String);
type Lane = (String, String, String);

/// All keys of all providers.
#[derive(Default)]
pub struct Keyring {
    secrets: RwLock<HashMap<SecretName, SecretSight>>,
    marks: RwLock<HashMap<Lane, Mark>>,
}

/// How long a key without money or quota is left alone, where the provider does not say: somebody has to pay first.
const EXHAUSTED_FOR: Duration = Duration::from_secs(600);

impl Keyring {
    /// Stores what was seen of a Secret.
    pub fn see(&self, namespace: &str, secret: &str, sight: SecretSight) {
        write(&self.secrets).insert((namespace.to_owned(), secret.to_owned()), sight);
    }

    /// Forgets a Secret that no provider names any more.
    pub fn forget(&self, namespace: &str, secret: &str) {
        write(&self.secrets).remove(&(namespace.to_owned(), secret.to_owned()));
    }

    /// The keys of a provider that can be tried now, in order.
    #[must_use]
    pub fn usable(
        &self,
        namespace: &str,
        provider: &str,
        keys: &[KeyRef],
    ) -> Vec<(String, Arc<ApiKey>)> {
        keys.iter()
            .filter_map(|key| {
                let value = self.usable_one(namespace, provider, key)?;
                Some((key.name.clone(), value))
            })
            .collect()
    }

    /// A key, if it can be tried now.
    #[must_use]
    pub fn usable_one(&self, namespace: &str, provider: &str, key: &KeyRef) -> Option<Arc<ApiKey>> {
        let value = self.value(namespace, key).ok()?;
        let marked = self.mark_of(namespace, provider, key, &value);
        marked.is_none().then_some(value)
    }

    /// The provider refused the key: it is out until its Secret changes.
    pub fn refused(
        &self,
        namespace: &str,
        provider: &str,
        name: &str,
        key: &ApiKey,
        message: &str,
    ) {
        let mark = Mark::Refused {
            version: key.version.clone(),
            message: message.to_owned(),
        };
        write(&self.marks).insert(lane(namespace, provider, name), mark);
    }

    /// The account behind the key has no money or quota left.
    pub fn exhausted(
        &self,
        namespace: &str,
        provider: &str,
        name: &str,
        key: &ApiKey,
        wait: Option<Duration>,
    ) {
        let mark = Mark::Exhausted {
            version: key.version.clone(),
            until: Instant::now() + wait.unwrap_or(EXHAUSTED_FOR),
        };
        write(&self.marks).insert(lane(namespace, provider, name), mark);
    }

    /// What is known of a provider's keys.
    #[must_use]
    pub fn health(&self, namespace: &str, provider: &str, keys: &[KeyRef]) -> Vec<KeyHealth> {
        keys.iter()
            .map(|key| {
                let (state, message) = match self.value(namespace, key) {
                    Err(problem) => problem,
                    Ok(value) => self
                        .mark_of(namespace, provider, key, &value)
                        .unwrap_or((KeyState::Ok, String::new())),
                };
                KeyHealth {
                    name: key.name.clone(),
                    state,
                    message,
                }
            })
            .collect()
    }

    /// A text that changes with the Secrets behind the keys, to know when to probe again. No part of a key is in it.
    #[must_use]
    pub fn versions(&self, namespace: &str, keys: &[KeyRef]) -> String {
        let secrets = read(&self.secrets);
        let mut text = String::new();
        for key in keys {
            match secrets.get(&(namespace.to_owned(), key.secret.clone())) {
                Some(SecretSight::Found { version, .. }) => text.push_str(version),
                Some(_) | None => text.push('-'),
            }
            text.push(',');
        }
        text
    }

    fn value(&self, namespace: &str, key: &KeyRef) -> Result<Arc<ApiKey>, (KeyState, String)> {
        let secrets = read(&self.secrets);
        match secrets.get(&(namespace.to_owned(), key.secret.clone())) {
            Some(SecretSight::Found { values, .. }) => match values.get(&key.entries) {
                Some(Ok(value)) => Ok(value.clone()),
                Some(Err(problem)) => Err((KeyState::SecretInvalid, problem.clone())),
                None => Err(unread(&key.secret)),
            },
            Some(SecretSight::Missing) => {
                let entries = key.entries.needed();
                let literals = entries.join("=... --from-literal=");
                Err((
                    KeyState::SecretMissing,
                    format!(
                        "Secret {0} does not exist in namespace {namespace}; create it: kubectl create secret generic {0} -n {namespace} --from-literal={literals}=...",
                        key.secret
                    ),
                ))
            }
            Some(SecretSight::Forbidden(command)) => Err((
                KeyState::SecretForbidden,
                format!(
                    "the gateway may not read Secret {}; grant it with: {command}",
                    key.secret
                ),
            )),
            Some(SecretSight::Unknown) | None => Err(unread(&key.secret)),
        }
    }

    fn mark_of(
        &self,
        namespace: &str,
        provider: &str,
        key: &KeyRef,
        value: &ApiKey,
    ) -> Option<(KeyState, String)> {
        match read(&self.marks).get(&lane(namespace, provider, &key.name))? {
            Mark::Refused { version, message } if *version == value.version => {
                Some((KeyState::Invalid, message.clone()))
            }
            Mark::Exhausted { version, until }
                if *version == value.version && *until > Instant::now() =>
            {
                let text = "the provider says that the account behind it has no money or quota left; it is tried again within minutes";
                Some((KeyState::Exhausted, text.to_owned()))
            }
            Mark::Refused { .. } | Mark::Exhausted { .. } => None,
        }
    }
}

fn unread(secret: &str) -> (KeyState, String) {
    let text = format!("Secret {secret} was not read yet");
    (KeyState::SecretMissing, text)
}

fn lane(namespace: &str, provider: &str, key: &str) -> Lane {
    (namespace.to_owned(), provider.to_owned(), key.to_owned())
}

// A panic while a lock was held leaves maps of plain values, which are whole.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
