//! The cluster's certificates and kubeconfigs. Everything is made new at each
//! `up`; nothing outlives the cluster.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

use crate::cluster::layout::{Layout, NODE, State, write};

/// An identity that a program shows: user name, groups, and the names under
/// which it serves.
struct Identity {
    file: &'static str,
    user: String,
    groups: &'static [&'static str],
    names: Vec<SanType>,
}

/// Writes the authority, one certificate for each program, the key that signs
/// service account tokens, and the kubeconfigs.
pub fn write_all(layout: &Layout, state: &State) -> Result<()> {
    let authority = Authority::new()?;
    let pki = layout.pki();
    write(&pki.join("ca.crt"), authority.certificate.as_bytes())?;
    write(
        &pki.join("ca.key"),
        authority.issuer.key().serialize_pem().as_bytes(),
    )?;
    let tokens = KeyPair::generate().context("failed to make the token key")?;
    write(&pki.join("tokens.key"), tokens.serialize_pem().as_bytes())?;
    write(&pki.join("tokens.pub"), tokens.public_key_pem().as_bytes())?;

    for identity in identities(state)? {
        let (certificate, key) = authority.issue(&identity)?;
        write(
            &pki.join(format!("{}.crt", identity.file)),
            certificate.as_bytes(),
        )?;
        write(&pki.join(format!("{}.key", identity.file)), key.as_bytes())?;
    }
    for user in [
        "admin",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "calico",
    ] {
        let config = kubeconfig(&pki, user, state)?;
        write(
            &layout.kubeconfigs().join(user),
            config.to_string().as_bytes(),
        )?;
    }
    Ok(())
}

fn identities(state: &State) -> Result<Vec<Identity>> {
    let dns = |name: &str| -> Result<SanType> { Ok(SanType::DnsName(name.try_into()?)) };
    let node = SanType::IpAddress(IpAddr::V4(state.addresses.node));
    let loopback = SanType::IpAddress(IpAddr::from([127, 0, 0, 1]));
    let identity = |file, user: &str, groups| Identity {
        file,
        user: user.to_owned(),
        groups,
        names: Vec::new(),
    };
    let masters: &[&str] = &["system:masters"];
    Ok(vec![
        Identity {
            names: vec![
                node.clone(),
                loopback.clone(),
                SanType::IpAddress(IpAddr::V4(state.addresses.kubernetes())),
                dns("localhost")?,
                dns("kubernetes")?,
                dns("kubernetes.default")?,
                dns("kubernetes.default.svc")?,
                dns("kubernetes.default.svc.cluster.local")?,
            ],
            ..identity("kube-apiserver", "kube-apiserver", &[])
        },
        Identity {
            names: vec![loopback, dns("localhost")?],
            ..identity("etcd", "etcd", &[])
        },
        Identity {
            names: vec![node, dns(NODE)?],
            ..identity("kubelet", &format!("system:node:{NODE}"), &["system:nodes"])
        },
        identity("admin", "kubernetes-admin", masters),
        identity("kube-apiserver-client", "kube-apiserver-client", masters),
        identity(
            "kube-controller-manager",
            "system:kube-controller-manager",
            &[],
        ),
        identity("kube-scheduler", "system:kube-scheduler", &[]),
        identity("kube-proxy", "system:kube-proxy", &[]),
        // Plugin and agent: a user of their own, so that their writes can be
        // told from others'.
        identity("calico", "calico", masters),
    ])
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "oarmaster-local-cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("failed to make the authority's key")?;
        let certificate = params
            .self_signed(&key)
            .context("failed to sign the authority's certificate")?
            .pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn issue(&self, identity: &Identity) -> Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for group in identity.groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params
            .distinguished_name
            .push(DnType::CommonName, identity.user.as_str());
        params.subject_alt_names.clone_from(&identity.names);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().context("failed to make a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("failed to sign the certificate of {}", identity.file))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// A kubeconfig that names files, except the administrator's: that one is
/// copied and mounted by tests, so it carries its data.
fn kubeconfig(pki: &Path, user: &str, state: &State) -> Result<serde_json::Value> {
    let file = |name: &str| pki.join(name).display().to_string();
    let encoded = |name: &str| -> Result<serde_json::Value> {
        let path = pki.join(name);
        let bytes =
            fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(json!(STANDARD.encode(bytes)))
    };
    let server = format!("https://{}:{}", state.addresses.node, state.ports.api);
    let certificate = format!("{user}.crt");
    let key = format!("{user}.key");
    let (cluster, own) = if user == "admin" {
        (
            json!({ "server": server, "certificate-authority-data": encoded("ca.crt")? }),
            json!({
                "client-certificate-data": encoded(&certificate)?,
                "client-key-data": encoded(&key)?,
            }),
        )
    } else {
        (
            json!({ "server": server, "certificate-authority": file("ca.crt") }),
            json!({ "client-certificate": file(&certificate), "client-key": file(&key) }),
        )
    };
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "oarmaster", "cluster": cluster }],
        "users": [{ "name": user, "user": own }],
        "contexts": [{ "name": "oarmaster", "context": { "cluster": "oarmaster", "user": user } }],
        "current-context": "oarmaster",
    }))
}
