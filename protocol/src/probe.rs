//! What a pod finds of its own network and node: the pilot beside its first model call, and the probe of a SandboxClass, which writes a
//! [`NodeFindings`] as its termination message.

use serde::{Deserialize, Serialize};

/// Most bytes of a container's termination message (the kubelet's own bound).
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// A place that the NetworkPolicy of a sandbox pod forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Something outside the cluster.
    Internet,
    /// The address where clouds serve the node's identity.
    Metadata,
    /// The cluster's DNS.
    Dns,
    /// The API server.
    ApiServer,
    /// A port of another pod.
    Pod,
    /// The kubelet of the pod's own node. Reported only: Kubernetes lets plugins allow a pod's traffic with its own node.
    Kubelet,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 6] = [
        Self::Internet,
        Self::Metadata,
        Self::Dns,
        Self::ApiServer,
        Self::Pod,
        Self::Kubelet,
    ];

    /// The place as it is written on a command line and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::Metadata => "metadata",
            Self::Dns => "dns",
            Self::ApiServer => "api-server",
            Self::Pod => "pod",
            Self::Kubelet => "kubelet",
        }
    }

    /// The place of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == name)
    }

    /// The place in a sentence.
    const fn words(self) -> &'static str {
        match self {
            Self::Internet => "the internet",
            Self::Metadata => "the metadata address",
            Self::Dns => "the cluster's DNS",
            Self::ApiServer => "the API server",
            Self::Pod => "another pod",
            Self::Kubelet => "its node's kubelet",
        }
    }

    /// Whether no answer from there is the doing of the pod's own policy: in every cluster something listens, and nothing else stands before
    /// it. The port of another pod is the gateway's, which has a policy of its own; that it answers is a finding, that it does not is none.
    const fn proves(self) -> bool {
        matches!(self, Self::ApiServer)
    }
}

/// What was reached and what was not, when everything was tried at once and for the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFindings {
    /// What answered.
    pub reached: Vec<Place>,
    /// What did not.
    pub refused: Vec<Place>,
}

impl NetworkFindings {
    /// Whether the NetworkPolicy is enforced: nothing that it forbids was reached, and something that would have answered was tried.
    /// The pod's own node does not count.
    #[must_use]
    pub fn enforced(&self) -> bool {
        self.refused.iter().any(|place| place.proves())
            && self.reached.iter().all(|place| *place == Place::Kubelet)
    }

    /// The findings as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut parts = Vec::new();
        if !self.reached.is_empty() {
            parts.push(format!("reached {}", listed(&self.reached)));
        }
        if !self.refused.is_empty() {
            parts.push(format!("did not reach {}", listed(&self.refused)));
        }
        if parts.is_empty() {
            parts.push("tried nothing".to_owned());
        }
        parts.join(" and ")
    }
}

fn listed(places: &[Place]) -> String {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup(); // a cluster may have several DNS servers
    let words: Vec<&str> = places.iter().map(|place| place.words()).collect();
    words.join(", ")
}

/// What the probe of a SandboxClass found on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFindings {
    /// Landlock ABI of the kernel; 0 when it has none.
    pub landlock: u32,
    /// Processes and threads that could be started at once; absent when there were more than are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether the pod had a user namespace of its own.
    #[serde(default)]
    pub user_namespace: bool,
    /// The network; absent when not even the gateway was reached, so that no answer elsewhere means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFindings>,
}

impl NodeFindings {
    /// Reads a termination message. It comes out of a container: whatever it holds, what is read is a few numbers and known words.
    ///
    /// # Errors
    /// When it is too long, or is not what the probe writes.
    pub fn read(message: &str) -> Result<Self, String> {
        const MOST_PLACES: usize = 64;
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(format!("it has {} bytes", message.len()));
        }
        let found: Self = serde_json::from_str(message).map_err(|error| {
            // The position and kind, not the text.
            format!("{:?} error in column {}", error.classify(), error.column())
        })?;
        let places = found
            .network
            .as_ref()
            .map_or(0, |found| found.reached.len() + found.refused.len());
        if places > MOST_PLACES {
            return Err(format!("it names {places} places"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
