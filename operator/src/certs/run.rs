//! Carries the steps out, while this process leads.

use super::issue::{self, Pair};
use super::plan::{LeafTimes, Rules, Step, plan};
use super::secret::{self, Secrets, Seen};
use super::store::{Ca, Unreadable, encode, is_ca_mark, leaf_mark, leaf_times};
use crate::serve::Expiry;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use oarmaster_crds::names::FIELD_MANAGER;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The CA's Secret.
const CA_SECRET: &str = "oarmaster-ca";
/// The CA's public part.
const CA_CONFIG_MAP: &str = "oarmaster-gateway-ca";
/// How often the mount is looked at while it is behind its Secret.
const MOUNT_LOOK: Duration = Duration::from_secs(2);
/// How long a mount may be behind its Secret: the kubelet fills it within two minutes. One that differs for longer is the truth.
const MOUNT_BEHIND: Duration = Duration::from_secs(180);

/// A server's certificate.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The Secret that it is kept in: made empty by the chart, and named in the operator's Role.
    pub secret: &'static str,
    /// The host names that it is for.
    pub hosts: Vec<String>,
}

/// The certificates of the installation.
pub struct Certificates {
    secrets: Secrets,
    config_maps: Api<ConfigMap>,
    dir: PathBuf,
    rules: Rules,
    leaves: Vec<Leaf>,
    expiry: Expiry,
    /// The CA as this process last wrote or read it: the mount is behind for a while.
    known: Option<Ca>,
    behind_since: Option<Instant>,
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
    /// A Secret could not be read or written.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// A step names a leaf that is not there.
    #[error("there is no leaf {0}")]
    NoLeaf(usize),
}

/// Where the CA comes from.
enum Found {
    /// It is the one in the Secret.
    Current(Ca),
    /// The Secret does not say what is in it, or says for too long what is not: this is to be written to it.
    Restored(Ca),
    /// The mount will bring it; until then this one, older by a step of its rotation, can be trusted.
    Behind(Option<Ca>),
    /// There is none.
    Absent,
}

impl Certificates {
    /// The certificates of the installation in `namespace`, whose CA's Secret is mounted at `dir`.
    #[must_use]
    pub fn new(
        client: kube::Client,
        namespace: &str,
        dir: PathBuf,
        rules: Rules,
        leaves: Vec<Leaf>,
        expiry: Expiry,
    ) -> Self {
        Self {
            secrets: Secrets::new(client.clone(), namespace),
            config_maps: Api::namespaced(client, namespace),
            dir,
            rules,
            leaves,
            known: None,
            behind_since: None,
            expiry,
        }
    }

    /// Does what is due, and gives the certificates to trust (PEM) and the time until something is due again.
    ///
    /// # Errors
    /// When a step fails; it is made again by the next call, from what is there then.
    pub async fn settle(&mut self) -> Result<(String, Duration), Error> {
        let mut seen = self.secrets.read(CA_SECRET).await?;
        let (mut seen, mut ca) = loop {
            match self.find(&seen)? {
                Found::Current(ca) => break (seen, ca),
                Found::Restored(ca) => {
                    tracing::warn!("the CA's Secret is restored");
                    break (self.write_ca(&seen, &ca).await?, ca);
                }
                Found::Behind(Some(ca)) => return Ok((ca.bundle(), MOUNT_LOOK)),
                Found::Behind(None) => {
                    tokio::time::sleep(MOUNT_LOOK).await;
                    seen = self.secrets.read(CA_SECRET).await?;
                }
                Found::Absent => {
                    let now = Timestamp::now().as_second();
                    let ca = Ca {
                        signing: (now, issue::ca(now)?),
                        next: None,
                        before: None,
                    };
                    let (mark, data) = (ca.mark(), ca.data());
                    let seen = self.secrets.fill(CA_SECRET, &seen, &mark, &data).await?;
                    tracing::info!("CA issued");
                    break (seen, ca);
                }
            }
        };
        let mut leaves = Vec::with_capacity(self.leaves.len());
        for leaf in &self.leaves {
            leaves.push(self.secrets.read(leaf.secret).await?);
        }
        loop {
            self.known = Some(ca.clone());
            let now = Timestamp::now().as_second();
            let times: Vec<_> = leaves.iter().map(|seen| leaf_times(&seen.mark)).collect();
            self.tell(&ca, &times);
            let step = plan(Some(ca.times()), &times, self.rules, now);
            match step {
                Step::CreateCa | Step::StageCa | Step::PromoteCa | Step::RetireCa => {
                    let new = turned(&ca, step, now)?;
                    seen = self.write_ca(&seen, &new).await?;
                    tracing::info!(step = ?step, "CA rotation goes on");
                    ca = new;
                }
                Step::IssueLeaf(index) => {
                    // Whoever is to trust a certificate knows its CA first.
                    self.publish(&ca.bundle()).await?;
                    let held = leaves.get_mut(index).ok_or(Error::NoLeaf(index))?;
                    *held = self.issue(index, held, &ca, now).await?;
                }
                Step::Wait(wait) => {
                    self.publish(&ca.bundle()).await?;
                    return Ok((ca.bundle(), wait));
                }
            }
        }
    }

    /// Shows when each certificate ends.
    fn tell(&self, ca: &Ca, leaves: &[Option<LeafTimes>]) {
        self.expiry.set(CA_SECRET, ca.times().ends());
        for (leaf, times) in self.leaves.iter().zip(leaves) {
            if let Some(times) = times {
                self.expiry.set(leaf.secret, times.ends());
            }
        }
    }

    /// The CA, by what its Secret says of itself.
    fn find(&mut self, seen: &Seen) -> Result<Found, Error> {
        let wanted = |ca: &Ca| ca.mark() == seen.mark;
        if let Some(ca) = self.known.clone().filter(wanted) {
            self.behind_since = None;
            return Ok(Found::Current(ca));
        }
        let mounted = Ca::mounted(&self.dir)?;
        if let Some(ca) = mounted.clone().filter(wanted) {
            self.behind_since = None;
            return Ok(Found::Current(ca));
        }
        let newest = self.known.clone().or_else(|| mounted.clone());
        if !is_ca_mark(&seen.mark) {
            return Ok(newest.map_or(Found::Absent, Found::Restored));
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() < MOUNT_BEHIND {
            return Ok(Found::Behind(newest));
        }
        Ok(mounted.or(newest).map_or(Found::Absent, Found::Restored))
    }

    async fn write_ca(&self, seen: &Seen, ca: &Ca) -> Result<Seen, Error> {
        let (mark, data) = (ca.mark(), ca.data());
        Ok(self.secrets.write(CA_SECRET, seen, &mark, &data).await?)
    }

    async fn issue(&self, index: usize, seen: &Seen, ca: &Ca, now: i64) -> Result<Seen, Error> {
        let leaf = self.leaves.get(index).ok_or(Error::NoLeaf(index))?;
        let (ca_issued, ca_pair) = &ca.signing;
        let Pair { certificate, key } = issue::leaf(*ca_issued, &ca_pair.key, &leaf.hosts, now)?;
        let data = BTreeMap::from([
            ("ca.crt", encode(&ca_pair.certificate)),
            ("tls.crt", encode(&certificate)),
            ("tls.key", encode(&key)),
        ]);
        let mark = leaf_mark(LeafTimes {
            issued: now,
            ca: *ca_issued,
        });
        let written = self.secrets.write(leaf.secret, seen, &mark, &data).await?;
        tracing::info!(secret = leaf.secret, "certificate issued");
        Ok(written)
    }

    /// Makes the CA's public part known to the CLI. Under the version that was seen, as everything here: what a leader sent before it
    /// lost the lease must not replace what the next one wrote.
    async fn publish(&self, bundle: &str) -> Result<(), Error> {
        let get = self.config_maps.get_opt(CA_CONFIG_MAP);
        let found = secret::timely("read", CA_CONFIG_MAP, get).await?;
        let held = found
            .as_ref()
            .and_then(|map| map.data.as_ref()?.get("ca.crt"));
        if held.is_some_and(|held| held == bundle) {
            return Ok(());
        }
        let mut map = ConfigMap {
            data: Some(BTreeMap::from([("ca.crt".to_owned(), bundle.to_owned())])),
            ..ConfigMap::default()
        };
        map.metadata.name = Some(CA_CONFIG_MAP.to_owned());
        match found {
            None => {
                let params = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                let create = self.config_maps.create(&params, &map);
                secret::timely("create", CA_CONFIG_MAP, create).await?;
            }
            Some(found) => {
                let patch = Patch::Merge(json!({
                    "metadata": { "resourceVersion": found.metadata.resource_version },
                    "data": map.data,
                }));
                let params = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let patch = self.config_maps.patch(CA_CONFIG_MAP, &params, &patch);
                secret::timely("publish the CA in", CA_CONFIG_MAP, patch).await?;
            }
        }
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
        Step::CreateCa | Step::IssueLeaf(_) | Step::Wait(_) => {}
    }
    Ok(new)
}
