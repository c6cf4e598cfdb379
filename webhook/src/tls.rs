//! The certificate in the mounted Secret.

use oarmaster_serve::certificate::{BadCertificate, Certificate};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the directory is looked at. The kubelet brings a changed Secret within a minute or two.
const LOOK: Duration = Duration::from_secs(5);

/// The certificate of a directory.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
    current: Arc<Certificate>,
}

/// Why the files of a directory are not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A file cannot be read.
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// What they hold is no certificate with its key.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
}

impl Mounted {
    /// Reads `tls.crt` and `tls.key` of a directory.
    ///
    /// # Errors
    /// [`Unusable`]. Between two reads the kubelet may have changed both files; that is an error, too.
    pub fn read(dir: PathBuf) -> Result<Self, Unusable> {
        let mounted = Self {
            dir,
            current: Arc::default(),
        };
        mounted.reload()?;
        Ok(mounted)
    }

    /// Takes over what the directory holds now; whether that is another certificate. The one before stays when it cannot be used.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn reload(&self) -> Result<bool, Unusable> {
        let read = |name: &str| {
            let path = self.dir.join(name);
            std::fs::read(&path).map_err(|error| Unusable::Read(path, error))
        };
        Ok(self.current.replace(&read("tls.crt")?, &read("tls.key")?)?)
    }

    /// Follows the directory for ever.
    pub async fn follow(&self) -> Infallible {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            match self.reload() {
                Ok(true) => tracing::info!("certificate changed"),
                Ok(false) => {}
                Err(error) => {
                    let why = anyhow::Error::new(error);
                    let why = format!("{why:#}");
                    if why != told {
                        tracing::warn!(error = why, "the certificate before stays in use");
                        told = why;
                    }
                    continue;
                }
            }
            told.clear();
        }
    }

    /// The configuration of a listener with this certificate.
    ///
    /// # Errors
    /// Never with the built-in cryptography.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        self.current.server_config()
    }
}
