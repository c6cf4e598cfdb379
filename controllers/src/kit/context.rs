//! What every pass can reach.

use super::events::Events;
use super::gateway::Gateway;
use super::graphs::Graphs;
use super::metrics::Metrics;
use super::turns::Turns;
use super::watch::ByTask;
use super::{Error, Result};
use crate::class::targets::Places;
use crate::network::Made;
use crate::task::Memories;
use crate::task::memo::Memos;
use crate::task::places::Places as TaskPlaces;
use crate::task::pod::{JobFacts, PodFacts};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Client;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use oarmaster_crds::WorkflowSpec;
use oarmaster_crds::users::RANGE_ANNOTATION;
use oarmaster_crds::validate::summary;
use oarmaster_crds::{
    Agent, Approval, Budget, ModelPool, ModelProvider, SandboxClass, Task, Workflow, names,
};
use oarmaster_protocol::admin::{BudgetReport, ProviderHealth};
use oarmaster_workflow::graph::Graph;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

pub use super::guard::Guard;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the installation.
    pub namespace: String,
    /// Name of the gateway's Service there.
    pub gateway_service: String,
    /// Image of pilot and supervisor.
    pub runner_image: String,
    /// Name of the pool in the installation's namespace that `default` falls back to, if there is one.
    pub default_pool: Option<String>,
    /// What a sandbox pod must not reach.
    pub places: Places,
    /// Name of this process, in events.
    pub identity: String,
}

impl Settings {
    /// The gateway's host name, for which its certificate is.
    #[must_use]
    pub fn gateway_host(&self) -> String {
        format!("{}.{}.svc", self.gateway_service, self.namespace)
    }

    /// Namespace and name of the pool that `default` falls back to.
    #[must_use]
    pub fn shared_pool(&self) -> Option<(&str, &str)> {
        let name = self.default_pool.as_deref()?;
        Some((&self.namespace, name))
    }
}

/// The caches, each filled by one watch.
#[derive(Clone)]
pub struct Stores {
    /// ModelProviders.
    pub providers: Store<Guard<ModelProvider>>,
    /// ModelPools.
    pub pools: Store<Guard<ModelPool>>,
    /// Budgets.
    pub budgets: Store<Guard<Budget>>,
    /// SandboxClasses.
    pub classes: Store<Guard<SandboxClass>>,
    /// Namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Agents.
    pub agents: Store<Guard<Agent>>,
    /// Workflows.
    pub workflows: Store<Guard<Workflow>>,
    /// Tasks.
    pub tasks: Store<Guard<Task>>,
    /// Approvals.
    pub approvals: Store<Guard<Approval>>,
    /// Jobs of Tasks.
    pub jobs: ByTask<JobFacts>,
    /// Pods of Tasks.
    pub pods: ByTask<PodFacts>,
    /// Jobs that probe SandboxClasses.
    pub probe_jobs: Store<Job>,
    /// Pods of these Jobs.
    pub probe_pods: Store<Pod>,
    /// The sandboxes' ServiceAccounts.
    pub service_accounts: Store<PartialObjectMeta<ServiceAccount>>,
    /// RuntimeClasses.
    pub runtime_classes: Store<PartialObjectMeta<RuntimeClass>>,
    /// The gateway's Service.
    pub services: Store<Service>,
    /// The sandboxes' NetworkPolicies.
    pub network_policies: Store<NetworkPolicy>,
}

/// What every pass can reach.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What was configured.
    pub settings: Settings,
    /// CA certificates of the gateway as PEM: given to every sandbox pod.
    pub ca: ArcSwap<String>,
    /// The gateway's admin API.
    pub gateway: Gateway,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The caches.
    pub stores: Stores,
    /// What the gateway last said of the providers; `None` before it said anything.
    pub health: ArcSwap<Option<HashMap<(String, String), ProviderHealth>>>,
    /// What the gateway last said of the Budgets, by name.
    pub budgets: ArcSwap<HashMap<String, BudgetReport>>,
    /// Which Tasks have a place of their namespace and their agent.
    pub places: Arc<TaskPlaces>,
    /// Which Tasks do what others wait for.
    pub memos: Memos,
    /// Whoever takes a place that is somebody's does so alone.
    pub slots: tokio::sync::Mutex<()>,
    /// The NetworkPolicies that this process applied.
    pub policies: Made,
    written: Mutex<HashMap<String, Timestamp>>,
    graphs: Graphs,
    memories: Memories,
    /// What users wrote is read and evaluated by so many at once, whoever wrote it.
    thinking: Turns,
}

impl Context {
    /// Puts a context together.
    #[must_use]
    pub fn new(
        client: Client,
        settings: Settings,
        gateway: Gateway,
        metrics: Arc<Metrics>,
        stores: Stores,
        places: Arc<TaskPlaces>,
        ca: String,
    ) -> Self {
        Self {
            events: Events::new(client.clone(), &settings.identity),
            client,
            settings,
            ca: ArcSwap::from_pointee(ca),
            gateway,
            metrics,
            stores,
            health: ArcSwap::from_pointee(None),
            budgets: ArcSwap::default(),
            places,
            memos: Memos::default(),
            slots: tokio::sync::Mutex::default(),
            policies: Made::default(),
            written: Mutex::default(),
            graphs: Graphs::default(),
            memories: Memories::default(),
            thinking: Turns::new(2),
        }
    }

    /// The labels of a namespace, if it is known.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> Option<Labels> {
        let found = self.stores.namespaces.get(&ObjectRef::new(namespace))?;
        Some(found.metadata.labels.clone().unwrap_or_default())
    }

    /// The range of user ids that a namespace has from the platform, as it is written there.
    #[must_use]
    pub fn uid_range(&self, namespace: &str) -> Option<String> {
        let found = self.stores.namespaces.get(&ObjectRef::new(namespace))?;
        let held = found.metadata.annotations.as_ref()?;
        held.get(RANGE_ANNOTATION).cloned()
    }

    /// Does what may take long, like an expression that a user of this namespace wrote, off the async threads.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn think<T: Send + 'static>(
        &self,
        namespace: &str,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let failed = |message: String| Error::Protocol {
            act: "think about what a user wrote".to_owned(),
            message,
        };
        let turn = self.thinking.take(namespace).await;
        let _turn = turn.map_err(|error| failed(error.to_string()))?;
        let thought = tokio::task::spawn_blocking(what).await;
        thought.map_err(|error| failed(error.to_string()))
    }

    /// Checks a workflow of this namespace; what is wrong with it as one text.
    ///
    /// # Errors
    /// As [`Self::think`].
    pub async fn compile(
        &self,
        namespace: &str,
        spec: WorkflowSpec,
    ) -> Result<std::result::Result<Arc<Graph>, String>> {
        let digest = names::spec_digest(&spec).ok(); // the types of our kinds always serialise
        if let Some(graph) = digest
            .as_deref()
            .and_then(|digest| self.graphs.same(digest))
        {
            return Ok(Ok(graph));
        }
        let graph = self.think(namespace, move || compiled(&spec)).await?;
        Ok(graph.map(|graph| match digest {
            Some(digest) => self.graphs.share(digest, graph),
            None => Arc::new(graph),
        }))
    }

    /// What runs run, as far as this process has read it.
    #[must_use]
    pub const fn graphs(&self) -> &Graphs {
        &self.graphs
    }

    /// Forgets what is known of a run: it has ended.
    pub fn forget_run(&self, uid: &str) {
        self.graphs.forget(uid);
        self.memories.forget(uid);
    }

    /// What passes over runs remember.
    #[must_use]
    pub fn memories(&self) -> &Memories {
        &self.memories
    }

    /// When this process last wrote the status of a Task or a Budget.
    #[must_use]
    pub fn written(&self, uid: &str) -> Option<Timestamp> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(uid).copied()
    }

    /// Remembers, or with `None` forgets, when the status of a Task or a Budget was written.
    pub fn remember(&self, uid: &str, at: Option<Timestamp>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => written.insert(uid.to_owned(), at),
            None => written.remove(uid),
        };
    }
}

fn compiled(spec: &WorkflowSpec) -> std::result::Result<Graph, String> {
    Graph::compile(spec).map_err(|problems| summary(&problems))
}

/// An object from a cache, if it is there and can be read.
#[must_use]
pub fn readable<K>(store: &Store<Guard<K>>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut key = ObjectRef::<Guard<K>>::new(name);
    if !namespace.is_empty() {
        key = key.within(namespace);
    }
    let found = store.get(&key)?;
    found.0.as_ref().ok().map(|object| Arc::new(object.clone()))
}
