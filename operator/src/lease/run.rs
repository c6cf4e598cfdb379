//! Holds the lease.

use super::step::{Step, step};
use super::tenure::{Tenure, boot_time};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use std::future::Future;
use std::time::{Duration, Instant};

/// Name of the Lease.
const NAME: &str = "oarmaster-operator";
/// How long a holder may be silent.
const TTL: Duration = Duration::from_secs(15);
/// How long a holder writes after its last renewal; less than the TTL, so that it stops before another one starts.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the holder renews.
const RENEW: Duration = Duration::from_secs(5);
/// How often the others look.
const LOOK: Duration = Duration::from_secs(2);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(3);

/// The lease of this process.
pub struct Lease {
    api: Api<Object>,
    me: String,
    held: Object,
    /// Boot time at which the last renewal was sent.
    renewed: Duration,
    tenure: Tenure,
}

/// The lease was lost: another process leads, or may.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else wrote it.
    #[error("the lease was taken by another process")]
    Taken,
    /// It could not be renewed in time.
    #[error("the lease was not renewed within {DEADLINE:?}")]
    Late,
}

impl Lease {
    /// Waits until this process leads. The client must be one without retries. `tenure` lasts as long as the lease is held.
    pub async fn acquire(client: kube::Client, namespace: &str, me: &str, tenure: Tenure) -> Self {
        let api: Api<Object> = Api::namespaced(client, namespace);
        let mut seen: Option<(String, Instant)> = None;
        loop {
            let wait = match call(api.get_opt(NAME)).await {
                Err(why) => {
                    tracing::warn!(error = why, "lease not read");
                    LOOK
                }
                Ok(found) => {
                    let version = found
                        .as_ref()
                        .and_then(|lease| lease.metadata.resource_version.clone())
                        .unwrap_or_default();
                    let since = match &seen {
                        Some((held, since)) if *held == version => *since,
                        _ => Instant::now(),
                    };
                    seen = Some((version, since));
                    let next = step(found.as_ref(), me, TTL, LOOK, since.elapsed());
                    let begun = boot_time();
                    let written = match next {
                        Step::Wait(wait) => Err(wait),
                        Step::Create => {
                            let lease = object(None, me);
                            let params = PostParams::default();
                            call(api.create(&params, &lease)).await.map_err(|_| LOOK)
                        }
                        Step::Take | Step::Renew => {
                            let lease = object(found.as_ref(), me);
                            let params = PostParams::default();
                            call(api.replace(NAME, &params, &lease))
                                .await
                                .map_err(|_| LOOK)
                        }
                    };
                    match written {
                        Ok(held) => {
                            tenure.set(begun + DEADLINE);
                            return Self {
                                api,
                                me: me.to_owned(),
                                held,
                                renewed: begun,
                                tenure,
                            };
                        }
                        Err(wait) => wait,
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Renews for ever; ends only when the lease is lost.
    pub async fn keep(&mut self) -> Lost {
        let lost = self.renew().await;
        self.tenure.end();
        lost
    }

    async fn renew(&mut self) -> Lost {
        loop {
            let age = boot_time().saturating_sub(self.renewed);
            tokio::time::sleep(RENEW.saturating_sub(age).clamp(LOOK, RENEW)).await;
            let begun = boot_time();
            // A process that was frozen, or whose machine slept, finds out here, before it asks anybody.
            if begun.saturating_sub(self.renewed) >= DEADLINE {
                return Lost::Late;
            }
            let next = object(Some(&self.held), &self.me);
            let params = PostParams::default();
            match tokio::time::timeout(CALL, self.api.replace(NAME, &params, &next)).await {
                Ok(Ok(held)) => {
                    self.held = held;
                    self.renewed = begun;
                    self.tenure.set(begun + DEADLINE);
                }
                // Our own write whose answer was lost looks the same: the holder tells.
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
                    match call(self.api.get(NAME)).await {
                        Ok(found) if holder(&found) == Some(self.me.as_str()) => self.held = found,
                        Ok(_) => return Lost::Taken,
                        Err(why) => tracing::warn!(error = why, "lease not read"),
                    }
                }
                Ok(Err(kube::Error::Api(status))) if status.is_not_found() => return Lost::Taken,
                Ok(Err(error)) => {
                    tracing::warn!(error = error.to_string(), "lease not renewed");
                }
                Err(_) => tracing::warn!("lease not renewed in time"),
            }
        }
    }

    /// Gives the lease back, so that another process need not wait.
    pub async fn release(self) {
        self.tenure.end();
        let mut next = object(Some(&self.held), &self.me);
        if let Some(spec) = &mut next.spec {
            spec.holder_identity = Some(String::new());
        }
        if let Err(why) = call(self.api.replace(NAME, &PostParams::default(), &next)).await {
            tracing::warn!(error = why, "lease not released");
        }
    }
}

fn holder(lease: &Object) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// The lease in our name. A new holder counts as one more transition.
fn object(found: Option<&Object>, me: &str) -> Object {
    let spec = found.and_then(|lease| lease.spec.clone());
    let ours = found.and_then(holder) == Some(me);
    let transitions = spec
        .as_ref()
        .and_then(|spec| spec.lease_transitions)
        .unwrap_or(0);
    let now = MicroTime(Timestamp::now());
    let acquired = spec
        .and_then(|spec| spec.acquire_time)
        .filter(|_| ours)
        .unwrap_or_else(|| now.clone());
    Object {
        metadata: found.map_or_else(
            || ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata.clone(),
        ),
        spec: Some(LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: i32::try_from(TTL.as_secs()).ok(),
            acquire_time: Some(acquired),
            renew_time: Some(now),
            lease_transitions: Some(if ours {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }),
    }
}

async fn call<T>(asked: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(CALL, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {CALL:?}")),
    }
}
