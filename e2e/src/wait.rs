//! Waiting by watch, with a deadline.

use anyhow::{Result, bail};
use futures::TryStreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::runtime::watcher;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

/// Waits until `done` holds for the object named `name`, and returns it.
///
/// # Errors
/// When the deadline passes first; the error shows the object as it was seen last.
pub async fn until<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    deadline: Duration,
    done: impl Fn(&K) -> bool,
) -> Result<K>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut last = None;
    let seen = async {
        let mut objects = pin!(watcher::watch_object(api, name));
        loop {
            match objects.try_next().await {
                Ok(Some(Some(object))) if done(&object) => return Some(object),
                Ok(Some(object)) => last = object,
                Ok(None) => return None,
                // The watcher starts again by itself; the deadline bounds it.
                Err(_) => {}
            }
        }
    };
    match tokio::time::timeout(deadline, seen).await {
        Ok(Some(object)) => Ok(object),
        Ok(None) => bail!("the watch of {name} ended before {what}"),
        Err(_) => bail!("{name}: {what} did not happen within {deadline:?}; last seen: {last:#?}"),
    }
}

/// Waits until the object named `name` does not exist.
///
/// # Errors
/// When the deadline passes first.
pub async fn until_gone<K>(api: Api<K>, name: &str, deadline: Duration) -> Result<()>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let gone = async {
        let mut objects = pin!(watcher::watch_object(api, name));
        loop {
            if let Ok(Some(None)) = objects.try_next().await {
                return;
            }
        }
    };
    if tokio::time::timeout(deadline, gone).await.is_err() {
        bail!("{name} still exists after {deadline:?}");
    }
    Ok(())
}

/// Whether a condition of this type has this status (`True`, `False`, `Unknown`).
#[must_use]
pub fn has(conditions: &[Condition], kind: &str, status: &str) -> bool {
    conditions
        .iter()
        .any(|held| held.type_ == kind && held.status == status)
}
