//! Budgets, and the labels of namespaces that they choose by.

use super::objects::follow;
use crate::budgets::{Budgets, Labels};
use crate::catalog::Id;
use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use oarmaster_crds::Budget;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch::Sender;

/// The objects, and the snapshot made of them.
pub struct BudgetWatch {
    seen: Mutex<Seen>,
    snapshot: Arc<ArcSwap<Budgets>>,
    synced: Sender<bool>,
}

#[derive(Default)]
struct Seen {
    budgets: Option<BTreeMap<Id, Budget>>,
    labels: Option<Labels>,
}

impl BudgetWatch {
    /// Nothing seen yet. `synced` becomes true once both kinds were listed.
    #[must_use]
    pub fn new(snapshot: Arc<ArcSwap<Budgets>>, synced: Sender<bool>) -> Self {
        Self {
            seen: Mutex::default(),
            snapshot,
            synced,
        }
    }

    /// Watches both kinds, for ever.
    pub async fn run(&self, client: Client) {
        let budgets = follow::<Budget>(&client, |all| self.change(|seen| seen.budgets = Some(all)));
        let namespaces = follow::<Namespace>(&client, |all: BTreeMap<Id, Namespace>| {
            let labels = all
                .into_iter()
                .map(|(id, object)| (id.1, object.metadata.labels.unwrap_or_default()))
                .collect();
            self.change(|seen| seen.labels = Some(labels));
        });
        tokio::join!(budgets, namespaces);
    }

    fn change(&self, edit: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut seen);
        let objects = seen.budgets.as_ref().map(|budgets| {
            let objects = budgets.iter();
            objects.map(|(id, budget)| (id.1.as_str(), budget))
        });
        let now = Budgets::new(objects, seen.labels.clone());
        let listed = now.listed();
        self.snapshot.store(Arc::new(now));
        if listed {
            self.synced.send_replace(true);
        }
    }
}
