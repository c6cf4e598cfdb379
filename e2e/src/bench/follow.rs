//! A watch with types of our own: only what is needed is read, so that the load generator takes little of the machine it measures.
#![allow(
    clippy::print_stderr,
    reason = "a developer's command talks to its terminal"
)]

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use kube::Client;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

/// What is read of an object's metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// UID.
    pub uid: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A condition of a Task or a Job.
#[derive(Clone, Debug, Deserialize)]
pub struct Condition {
    /// Its type.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// What is read of a status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Phase.
    #[serde(default)]
    pub phase: String,
}

impl Status {
    /// Whether a condition is True.
    pub fn is(&self, kind: &str) -> bool {
        self.conditions
            .iter()
            .any(|held| held.r#type == kind && held.status == "True")
    }
}

/// A Task or a Job.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    /// Metadata.
    pub metadata: Meta,
    /// Status.
    #[serde(default)]
    pub status: Status,
}

/// Calls `each` for every object of a list that is there, appears or changes, for ever; for some of them more than once.
pub async fn follow<T>(client: Client, list: String, mut each: impl FnMut(T))
where
    T: Clone + DeserializeOwned,
{
    loop {
        if let Err(error) = once(&client, &list, &mut each).await {
            eprintln!("watch of {list}: {error:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn once<T>(client: &Client, list: &str, each: &mut impl FnMut(T)) -> Result<()>
where
    T: Clone + DeserializeOwned,
{
    // Version 0: everything that is there now, then what changes.
    let url = format!("{list}?watch=true&resourceVersion=0&timeoutSeconds=7200");
    let request = http::Request::get(url)
        .body(Vec::new())
        .context("failed to build a watch")?;
    let mut events = pin!(client.request_events::<T>(request).await?);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => each(object),
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
        }
    }
    Ok(())
}
