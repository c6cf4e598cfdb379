//! AWS's credentials.

use secrecy::{ExposeSecret, SecretString};

/// Entries of a Secret with AWS's credentials; the last one is there for temporary credentials only.
pub const ACCESS_KEY_ID: &str = "access-key-id";
/// See [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "secret-access-key";
/// See [`ACCESS_KEY_ID`].
pub const SESSION_TOKEN: &str = "session-token";

/// AWS's credentials. They cannot be printed; the secret access key never leaves, only signatures that are made with it.
pub struct AwsKey {
    id: SecretString,
    secret: SecretString,
    token: Option<SecretString>,
}

impl AwsKey {
    /// Credentials of these parts: lines of printable ASCII.
    #[must_use]
    pub fn new(id: &str, secret: &str, token: Option<&str>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            token: token.map(SecretString::from),
        }
    }

    /// The access key's id.
    pub(super) fn id(&self) -> &str {
        self.id.expose_secret()
    }

    /// The secret access key.
    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The session token of temporary credentials.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Every part, for who looks for them in a text.
    pub(in crate::provider) fn parts(&self) -> impl Iterator<Item = &str> {
        [Some(self.id()), Some(self.secret()), self.token()]
            .into_iter()
            .flatten()
    }
}
