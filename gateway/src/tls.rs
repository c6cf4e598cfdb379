//! TLS: the certificate in our Secret, and the trust in providers.

use k8s_openapi::ByteString;
use oarmaster_serve::certificate::{BadCertificate, Certificate};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Takes over the certificate of a Secret; the one before stays when it cannot be used.
///
/// # Errors
/// [`BadCertificate`].
pub fn load(
    certificate: &Certificate,
    data: &BTreeMap<String, ByteString>,
) -> Result<(), BadCertificate> {
    let (chain, key) = (entry(data, "tls.crt")?, entry(data, "tls.key")?);
    certificate.replace(chain, key).map(drop)
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
