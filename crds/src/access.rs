//! Who may refer to an object from another namespace, and what is said to those who may not.

use crate::common::Selector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Namespaces whose objects may refer to this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("set selector with from: Selector, like {matchLabels: {team: a}}, and with no other"))]
pub struct AllowedNamespaces {
    /// `Same`: the own namespace alone. `All`: every namespace. `Selector`: the own one, and those that `selector` chooses. Default Same.
    #[serde(default)]
    pub from: AllowedFrom,
    /// Chooses namespaces by their labels; each has its name in `kubernetes.io/metadata.name`. For `from: Selector` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// From where an object may be referred to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AllowedFrom {
    /// The own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// The own namespace, and those that a selector chooses.
    Selector,
}

impl AllowedNamespaces {
    /// Whether an object of the namespace `own` may be referred to from the namespace `from`, which has these labels; `None` where they are not
    /// known: then no selector chooses it.
    #[must_use]
    pub fn allows(&self, own: &str, from: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        if own == from {
            return true;
        }
        match self.from {
            AllowedFrom::Same => false,
            AllowedFrom::All => true,
            AllowedFrom::Selector => {
                let selector = self.selector.as_ref();
                selector
                    .zip(labels)
                    .is_some_and(|(selector, labels)| selector.chooses(labels))
            }
        }
    }
}

/// The text for an object that is absent. Of another namespace's it is also the text for one that may not be referred to from the namespace
/// `from`: who may not use it does not learn whether there is one.
#[must_use]
pub fn absent(kind: &str, (namespace, name): (&str, &str), from: &str) -> String {
    if namespace.is_empty() {
        format!("{kind} {name} does not exist; an administrator can create it")
    } else if namespace == from {
        format!("{kind} {name} does not exist in namespace {namespace}; create it there")
    } else {
        format!(
            "{kind} {name} does not exist in namespace {namespace}, or does not allow namespace {from}: its owner can create it, or set spec.allowedNamespaces to {{from: All}}, or to {{from: Selector, selector: {{matchLabels: {{kubernetes.io/metadata.name: {from}}}}}}}"
        )
    }
}
