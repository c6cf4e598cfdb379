//! An authority of this run's own, and TLS with it on every connection: the same on both sides of everything that is measured.

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The certificates of a run, in files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The certificate of every server.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Where they are in a folder.
    pub fn of(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.crt"),
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        }
    }

    /// Makes them: ECDSA on P-256, for the loopback address.
    pub fn make(folder: &Path) -> Result<Self> {
        let files = Self::of(folder);
        let key = KeyPair::generate().context("failed to make a key")?;
        let mut params = CertificateParams::default();
        // A name of its own: an issuer of the same name makes a certificate look signed by itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a benchmark");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params
            .self_signed(&key)
            .context("failed to make an authority")?;
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().context("failed to make a key")?;
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names).context("failed to name a certificate")?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true; // Python insists
        let leaf = params
            .signed_by(&key, &issuer)
            .context("failed to sign a certificate")?;
        write(&files.ca, &ca.pem())?;
        write(&files.certificate, &leaf.pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }

    /// TLS of a server, set up as the gateway's listeners are.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("failed to read {}", self.certificate.display()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("failed to read {}", self.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("failed to use the certificate")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// TLS of a client that trusts the authority alone.
    pub fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(&self.ca)
            .with_context(|| format!("failed to read {}", self.ca.display()))?;
        roots.add(ca).context("failed to trust the authority")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
