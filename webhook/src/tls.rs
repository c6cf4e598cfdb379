//! The certificate in the mounted Secret, swapped live.

use arc_swap::ArcSwap;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the directory is looked at. The kubelet brings a changed Secret within a minute or two.
const LOOK: Duration = Duration::from_secs(5);

/// The current certificate of a directory.
#[derive(Debug)]
pub struct Certificate {
    dir: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

/// Why the files of a directory are not used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// A file cannot be read.
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// A file is not PEM, or there is nothing of the kind in it.
    #[error("failed to read {0} as PEM")]
    Pem(&'static str, #[source] rustls_pki_types::pem::Error),
    /// The key does not fit, or is of an unknown type.
    #[error("the key cannot be used with the certificate")]
    Key(#[from] rustls::Error),
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key` of a directory.
    ///
    /// # Errors
    /// [`BadCertificate`]. Between two reads the kubelet may have changed both files; that is an error, too.
    pub fn read(dir: PathBuf) -> Result<Self, BadCertificate> {
        let current = ArcSwap::from_pointee(read(&dir)?);
        Ok(Self { dir, current })
    }

    /// Takes over what the directory holds now; whether that is another certificate. The one before stays when it cannot be used.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn reload(&self) -> Result<bool, BadCertificate> {
        let found = read(&self.dir)?;
        let changed = found.cert != self.current.load().cert;
        if changed {
            self.current.store(Arc::new(found));
        }
        Ok(changed)
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
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(dir: &Path) -> Result<CertifiedKey, BadCertificate> {
    let text = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).map_err(|error| BadCertificate::Read(path, error))
    };
    let (chain, key) = (text("tls.crt")?, text("tls.key")?);
    let pem = |name| move |error| BadCertificate::Pem(name, error);
    // The first by itself, so that an empty file is an error.
    CertificateDer::from_pem_slice(&chain).map_err(pem("tls.crt"))?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem("tls.crt"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(pem("tls.key"))?;
    let certified = CertifiedKey::new(chain, any_supported_type(&key)?);
    certified.keys_match()?;
    Ok(certified)
}
