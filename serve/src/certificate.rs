//! The certificate of listeners, swapped live.

use arc_swap::ArcSwapOption;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The current certificate, if there is one yet.
#[derive(Debug, Default)]
pub struct Certificate {
    current: ArcSwapOption<CertifiedKey>,
}

/// Why a certificate is not used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// A part of the Secret is absent or empty.
    #[error("the Secret has no {0}")]
    Missing(&'static str),
    /// PEM that cannot be read.
    #[error("failed to read {0}")]
    Pem(&'static str, #[source] rustls_pki_types::pem::Error),
    /// A key that does not fit or is of an unknown type.
    #[error("the key cannot be used with the certificate")]
    Key(#[from] rustls::Error),
}

impl Certificate {
    /// Takes over what a Secret holds as `tls.crt` and `tls.key`, and says whether that is another certificate. The one before stays when
    /// it cannot be used.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<bool, BadCertificate> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BadCertificate::Pem("tls.crt", error))?;
        if chain.is_empty() {
            return Err(BadCertificate::Missing("tls.crt"));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| BadCertificate::Pem("tls.key", error))?;
        let found = Arc::new(CertifiedKey::new(chain, any_supported_type(&key)?));
        found.keys_match()?;
        let before = self.current.swap(Some(found.clone()));
        Ok(before.is_none_or(|before| before.cert != found.cert))
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.current.load().is_some()
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
        self.current.load_full()
    }
}
