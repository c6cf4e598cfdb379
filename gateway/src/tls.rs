//! The certificate of our listeners, swapped live.

use arc_swap::ArcSwapOption;
use k8s_openapi::ByteString;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The current certificate.
#[derive(Debug, Default)]
pub struct Certificate {
    current: ArcSwapOption<CertifiedKey>,
}

/// Why a Secret's certificate is not used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// A key of the Secret is absent or empty.
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
    /// Takes over the certificate of a Secret; the one before stays when it cannot be used.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn load(&self, data: &BTreeMap<String, ByteString>) -> Result<(), BadCertificate> {
        let chain = CertificateDer::pem_slice_iter(entry(data, "tls.crt")?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BadCertificate::Pem("tls.crt", error))?;
        if chain.is_empty() {
            return Err(BadCertificate::Missing("tls.crt"));
        }
        let key = PrivateKeyDer::from_pem_slice(entry(data, "tls.key")?)
            .map_err(|error| BadCertificate::Pem("tls.key", error))?;
        let certified = CertifiedKey::new(chain, any_supported_type(&key)?);
        certified.keys_match()?;
        self.current.store(Some(Arc::new(certified)));
        Ok(())
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

fn entry<'a>(
    data: &'a BTreeMap<String, ByteString>,
    name: &'static str,
) -> Result<&'a [u8], BadCertificate> {
    data.get(name)
        .map(|value| value.0.as_slice())
        .filter(|value| !value.is_empty())
        .ok_or(BadCertificate::Missing(name))
}

/// TLS towards providers, with the system's certificate authorities (also those of `SSL_CERT_FILE` and `SSL_CERT_DIR`), or Mozilla's
/// list where the system has none, as in our image, whose root is empty.
///
/// # Errors
/// Never with the built-in cryptography.
pub fn client_config() -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(error = %error, "failed to read certificate authorities");
    }
    let system = !found.certs.is_empty();
    let (added, ignored) = if system {
        roots.add_parsable_certificates(found.certs)
    } else {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned())
    };
    tracing::info!(
        added,
        ignored,
        system,
        "certificate authorities for providers"
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
