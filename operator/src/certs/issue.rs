//! Makes keys and certificates.

use super::plan::{CA_LIFE, LEAF_LIFE};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

/// Clocks of nodes differ: a certificate is valid from this many seconds before it was made.
const SKEW: i64 = 3600;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key. Never logged: the type has no `Debug`.
    pub key: String,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library refused.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// A time is beyond what a certificate can say.
    #[error("failed to make a certificate: the clock says {0} s since 1970")]
    Clock(i64),
}

/// Makes a CA.
///
/// # Errors
/// When the key or the certificate cannot be made.
pub fn ca(issued: i64) -> Result<Pair, Error> {
    let key = KeyPair::generate()?;
    let certificate = ca_params(issued)?.self_signed(&key)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Makes a leaf for these host names, the first of which is its name, signed by the CA that was made at `ca_issued` with this key.
///
/// # Errors
/// When the CA's key cannot be read, or the certificate cannot be made.
pub fn leaf(ca_issued: i64, ca_key: &str, hosts: &[String], issued: i64) -> Result<Pair, Error> {
    let issuer = Issuer::new(ca_params(ca_issued)?, KeyPair::from_pem(ca_key)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = name(&common(hosts));
    params.not_before = at(issued - SKEW)?;
    params.not_after = at(issued + LEAF_LIFE)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// The CA's parameters follow from its time, so that the issuer of a leaf needs no parsing of the CA's certificate. The time in the name
/// tells two CAs apart while both are trusted.
fn ca_params(issued: i64) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("oarmaster-ca-{issued}"));
    params.not_before = at(issued - SKEW)?;
    params.not_after = at(issued + CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A common name has at most 64 characters; who verifies looks at the host names beside it.
fn common(hosts: &[String]) -> String {
    let first = hosts.first().map(String::as_str).unwrap_or_default();
    first.chars().take(64).collect()
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn at(seconds: i64) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Error::Clock(seconds))
}
