//! The proof of the pod's own NetworkPolicy, made beside everything else that an attempt begins with.

use crate::network::{Target, prove};
use oarmaster_protocol::assignment::Sandbox;
use oarmaster_protocol::probe::NetworkFindings;
use std::time::Duration;
use tokio::sync::oneshot::{self, Receiver};

/// How long a policy that nobody demands is waited for, before the transcript says that it is not enforced.
const UNDEMANDED: Duration = Duration::from_secs(5);

/// The proof, under way or told.
pub(super) struct Policy {
    proof: Option<Receiver<NetworkFindings>>,
    /// Whether the machine asks for it; else it is told when it is there.
    demanded: bool,
}

impl Policy {
    /// Begins. Without a sandbox there is no untrusted code, and without targets nothing to say of a policy that nobody demands.
    pub(super) fn watch(sandbox: Option<&Sandbox>, targets: &[Target]) -> Self {
        let demanded = sandbox.and_then(|sandbox| sandbox.network_policy_within_ms);
        let mut policy = Self {
            proof: None,
            demanded: demanded.is_some(),
        };
        if sandbox.is_some() && !targets.is_empty() {
            let patience = demanded.map_or(UNDEMANDED, Duration::from_millis);
            let targets = targets.to_vec();
            let (tell, proof) = oneshot::channel();
            tokio::spawn(async move {
                // The attempt may be over by now.
                let _ = tell.send(prove(&targets, patience).await);
            });
            policy.proof = Some(proof);
        }
        policy
    }

    /// The findings, once, where nobody waits for them.
    pub(super) fn news(&mut self) -> Option<NetworkFindings> {
        let found = match &mut self.proof {
            Some(proof) if !self.demanded => proof.try_recv().ok()?,
            _ => return None,
        };
        self.proof = None;
        Some(found)
    }

    /// The findings, waited for. Where nothing can be tried, nothing was found, which proves nothing.
    pub(super) async fn wait(&mut self) -> NetworkFindings {
        match self.proof.take() {
            Some(proof) => proof.await.unwrap_or_default(),
            None => NetworkFindings::default(),
        }
    }
}
