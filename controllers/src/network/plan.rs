//! What the policy says, and whether it does: pure.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{
    NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oarmaster_crds::names;

/// Label that Kubernetes puts on every namespace: its name.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// Name of the port for model calls and the task API in the gateway's Service.
const DATA: &str = "data";

/// Everything the planner may look at.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The gateway's Service.
    pub gateway: Option<Service>,
    /// The policy, as the namespace has it.
    pub held: Option<NetworkPolicySpec>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The namespace has the policy.
    Settled,
    /// Apply it.
    Apply(Box<NetworkPolicySpec>),
    /// The gateway cannot be told from other pods yet.
    Wait,
}

/// Plans one pass over a namespace.
#[must_use]
pub fn plan(seen: &Observed) -> Plan {
    let Some(wanted) = seen.gateway.as_ref().and_then(spec) else {
        return Plan::Wait;
    };
    if seen.held.as_ref().is_some_and(|held| same(held, &wanted)) {
        return Plan::Settled;
    }
    Plan::Apply(Box::new(wanted))
}

/// The policy for sandboxes of this gateway. Policies see a packet behind the Service's translation: they name the gateway's pods and the
/// port that these listen on. A Service without a selector, or without that port, names neither.
fn spec(gateway: &Service) -> Option<NetworkPolicySpec> {
    let spec = gateway.spec.as_ref()?;
    let selector = spec.selector.clone().filter(|labels| !labels.is_empty())?;
    let ports = spec.ports.as_ref()?;
    let data = ports
        .iter()
        .find(|port| port.name.as_deref() == Some(DATA))?;
    let namespace = gateway.metadata.namespace.clone()?;
    let gateway = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([(NAMESPACE_LABEL.to_owned(), namespace)].into()),
            match_expressions: None,
        }),
        pod_selector: Some(LabelSelector {
            match_labels: Some(selector),
            match_expressions: None,
        }),
        ip_block: None,
    };
    Some(NetworkPolicySpec {
        pod_selector: Some(LabelSelector {
            match_labels: None,
            // Whatever its value: the label is guarded by its key.
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: names::SANDBOX_LABEL.to_owned(),
                operator: "Exists".to_owned(),
                values: None,
            }]),
        }),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        // Written out: applying it takes away what somebody added.
        ingress: Some(Vec::new()),
        egress: Some(vec![NetworkPolicyEgressRule {
            to: Some(vec![gateway]),
            ports: Some(vec![NetworkPolicyPort {
                protocol: Some("TCP".to_owned()),
                port: Some(
                    data.target_port
                        .clone()
                        .unwrap_or(IntOrString::Int(data.port)),
                ),
                end_port: None,
            }]),
        }]),
    })
}

/// Whether two policies say the same: the API server does not keep empty lists.
fn same(held: &NetworkPolicySpec, wanted: &NetworkPolicySpec) -> bool {
    let whole = |spec: &NetworkPolicySpec| NetworkPolicySpec {
        ingress: Some(spec.ingress.clone().unwrap_or_default()),
        egress: Some(spec.egress.clone().unwrap_or_default()),
        ..spec.clone()
    };
    whole(held) == whole(wanted)
}
