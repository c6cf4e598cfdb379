//! Carries the steps out, while this process leads.

use super::issue::{self, Pair};
use super::plan::{LeafTimes, Step, plan};
use super::store::{Ca, ISSUED, Unreadable, leaf_mark, leaf_times};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use oarmaster_crds::names::FIELD_MANAGER;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The CA's Secret.
const CA_SECRET: &str = "oarmaster-ca";
/// The gateway's Secret.
const LEAF_SECRET: &str = "oarmaster-gateway-tls";
/// The CA's public part.
const CA_CONFIG_MAP: &str = "oarmaster-gateway-ca";
/// How often the mount is looked at while it is empty: the kubelet fills it about once a minute.
const MOUNT_LOOK: Duration = Duration::from_secs(2);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// The certificates of the installation.
pub struct Certificates {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    dir: PathBuf,
    hosts: Vec<String>,
    ca: Option<Ca>,
    leaf: Option<LeafTimes>,
    leaf_mark: String,
    published: Option<String>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The mount cannot be used.
    #[error(transparent)]
    Mount(#[from] Unreadable),
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] issue::Error),
    /// A patch could not be written down.
    #[error("failed to build a patch")]
    Patch(#[from] serde_json::Error),
    /// The API server refused.
    #[error("failed to {act}")]
    Kubernetes {
        /// What was tried.
        act: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("failed to {0}: no answer within {CALL:?}")]
    Slow(&'static str),
    /// The Secret was issued to by somebody else since it was looked at.
    #[error("{0} was changed by somebody else")]
    Changed(&'static str),
    /// A step needs a CA and there is none.
    #[error("no CA is known")]
    NoCa,
}

impl Certificates {
    /// The certificates of the installation in `namespace`, for the gateway's host name there.
    #[must_use]
    pub fn new(client: kube::Client, namespace: &str, dir: PathBuf, gateway_host: String) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client, namespace),
            dir,
            hosts: vec![gateway_host, "localhost".to_owned()],
            ca: None,
            leaf: None,
            leaf_mark: String::new(),
            published: None,
        }
    }

    /// Does what is due, and gives the certificates to trust (PEM) and the time until something is due again.
    ///
    /// # Errors
    /// When a step fails; it is made again by the next call.
    pub async fn settle(&mut self) -> Result<(String, Duration), Error> {
        if self.leaf_mark.is_empty() {
            self.read_leaf().await?;
        }
        loop {
            if self.ca.is_none() {
                self.ca = Ca::mounted(&self.dir)?;
            }
            let now = Timestamp::now().as_second();
            let times = self.ca.as_ref().map(Ca::times);
            let step = plan(times, self.leaf, now);
            match step {
                Step::CreateCa => self.create_ca(now).await?,
                Step::StageCa | Step::PromoteCa | Step::RetireCa => {
                    let old = self.ca.as_ref().ok_or(Error::NoCa)?;
                    let new = turned(old, step, now)?;
                    let mark = old.mark();
                    self.write_ca(&mark, &new).await?;
                    tracing::info!(step = ?step, "CA rotation goes on");
                    self.ca = Some(new);
                    // The gateway's Secret carries the bundle too.
                    self.issue_leaf(now).await?;
                }
                Step::IssueLeaf => {
                    // Whoever is to trust a certificate knows its CA first.
                    self.publish().await?;
                    self.issue_leaf(now).await?;
                }
                Step::Wait(wait) => {
                    self.publish().await?;
                    let ca = self.ca.as_ref().ok_or(Error::NoCa)?;
                    return Ok((ca.bundle(), wait));
                }
            }
        }
    }

    /// Makes the first CA. If another process did, its CA comes by the mount.
    async fn create_ca(&mut self, now: i64) -> Result<(), Error> {
        let ca = Ca {
            signing: (now, issue::ca(now)?),
            next: None,
            before: None,
        };
        match self.write_ca("0", &ca).await {
            Ok(()) => {
                tracing::info!("CA issued");
                self.ca = Some(ca);
                Ok(())
            }
            Err(Error::Changed(_)) => {
                tracing::info!("a CA was issued before, waiting for its mount");
                while self.ca.is_none() {
                    tokio::time::sleep(MOUNT_LOOK).await;
                    self.ca = Ca::mounted(&self.dir)?;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn write_ca(&self, mark: &str, ca: &Ca) -> Result<(), Error> {
        let data = ca.data();
        self.write(CA_SECRET, mark, &ca.mark(), &data).await
    }

    async fn issue_leaf(&mut self, now: i64) -> Result<(), Error> {
        use base64::Engine as _;

        let ca = self.ca.as_ref().ok_or(Error::NoCa)?;
        let (ca_issued, ca_pair) = &ca.signing;
        let Pair { certificate, key } = issue::leaf(*ca_issued, &ca_pair.key, &self.hosts, now)?;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let data = BTreeMap::from([
            ("ca.crt", encode(&ca.bundle())),
            ("tls.crt", encode(&certificate)),
            ("tls.key", encode(&key)),
        ]);
        let times = LeafTimes {
            issued: now,
            ca: *ca_issued,
        };
        let mark = leaf_mark(times);
        match self.write(LEAF_SECRET, &self.leaf_mark, &mark, &data).await {
            Ok(()) => {
                tracing::info!("gateway certificate issued");
                self.leaf = Some(times);
                self.leaf_mark = mark;
                Ok(())
            }
            Err(error @ Error::Changed(_)) => {
                self.read_leaf().await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the annotation of the gateway's Secret. An empty patch changes nothing and is answered with the object; the answer is asked
    /// for as metadata only, so that no key leaves the API server. The operator has no right to `get` it.
    async fn read_leaf(&mut self) -> Result<(), Error> {
        let act = "read the annotation of oarmaster-gateway-tls";
        let patch = Patch::Merge(json!({}));
        let params = params();
        let call = self.secrets.patch_metadata(LEAF_SECRET, &params, &patch);
        let found = timely(act, call).await?;
        self.leaf_mark = found
            .metadata
            .annotations
            .and_then(|mut held| held.remove(ISSUED))
            .unwrap_or_default();
        self.leaf = leaf_times(&self.leaf_mark);
        Ok(())
    }

    /// Replaces a Secret's data, if its annotation is still `old`.
    async fn write(
        &self,
        name: &'static str,
        old: &str,
        new: &str,
        data: &BTreeMap<&'static str, String>,
    ) -> Result<(), Error> {
        let path = format!("/metadata/annotations/{}", ISSUED.replace('/', "~1"));
        let patch = serde_json::from_value(json!([
            { "op": "test", "path": path, "value": old },
            { "op": "replace", "path": path, "value": new },
            { "op": "add", "path": "/data", "value": data },
        ]))?;
        let params = params();
        let patch = Patch::Json::<()>(patch);
        let call = self.secrets.patch_metadata(name, &params, &patch);
        match timely("issue a certificate", call).await {
            Ok(_) => Ok(()),
            Err(Error::Kubernetes { source, .. }) if refused(&source) => Err(Error::Changed(name)),
            Err(error) => Err(error),
        }
    }

    /// Makes the CA's public part known to the CLI.
    async fn publish(&mut self) -> Result<(), Error> {
        let bundle = self.ca.as_ref().ok_or(Error::NoCa)?.bundle();
        if self.published.as_ref() == Some(&bundle) {
            return Ok(());
        }
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": CA_CONFIG_MAP },
            "data": { "ca.crt": bundle },
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let call = self.config_maps.patch(CA_CONFIG_MAP, &params, &patch);
        timely("publish the CA", call).await?;
        self.published = Some(bundle);
        Ok(())
    }
}

/// The CA after a step of its rotation.
fn turned(old: &Ca, step: Step, now: i64) -> Result<Ca, Error> {
    let mut new = old.clone();
    match step {
        Step::StageCa => new.next = Some((now, issue::ca(now)?)),
        Step::PromoteCa => {
            if let Some(next) = new.next.take() {
                let before = std::mem::replace(&mut new.signing, next);
                new.before = Some((now, before.1.certificate));
            }
        }
        Step::RetireCa => new.before = None,
        Step::CreateCa | Step::IssueLeaf | Step::Wait(_) => {}
    }
    Ok(new)
}

/// Whether the API server refused what the patch tests. (Forbidden and not found are other errors.)
fn refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 409 | 422))
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

async fn timely<T>(
    act: &'static str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    tokio::time::timeout(CALL, call)
        .await
        .map_err(|_| Error::Slow(act))?
        .map_err(|source| Error::Kubernetes {
            act,
            source: Box::new(source),
        })
}
