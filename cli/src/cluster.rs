//! The user's cluster: kubeconfig, namespace, client, and calls with a bound on their time.

use crate::args::Global;
use crate::error::Error;
use crate::text;
use kube::api::{DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::{ApiResource, DeserializeGuard, NamespaceResourceScope};
use kube::{Api, Client, Config, Resource};
use oarmaster_crds::{Agent, Approval, Task, Workflow};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// Longest call of the API server that is not a watch.
const CALL: Duration = Duration::from_secs(30);
/// Longest connection set-up.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection to a cluster.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub config: Config,
    pub namespace: String,
    pub global: Global,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub async fn connect(global: &Global) -> Result<Self, Error> {
        let mut config = config(global).await.map_err(|error| {
            Error::cluster("failed to read the kubeconfig")
                .source(error)
                .next("Set KUBECONFIG or --kubeconfig to a file that `kubectl` works with, and --context to one of `kubectl config get-contexts`.")
        })?;
        config.connect_timeout = Some(CONNECT);
        // A person waits: an error now is better than minutes of silent retries.
        config.default_retry = false;
        let client = Client::try_from(config.clone())
            .map_err(|error| Error::kube("failed to use the kubeconfig", error))?;
        let namespace = global
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self {
            client,
            config,
            namespace,
            global: global.clone(),
        })
    }

    /// The Tasks of the namespace.
    pub fn tasks(&self) -> Api<Task> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Task of this name.
    pub async fn task(&self, name: &str) -> Result<Task, Error> {
        let act = format!("failed to get Task {}/{name}", self.namespace);
        call(&act, self.tasks().get(name)).await.map_err(|error| {
            if error.absent {
                Error::input(format!("there is no Task {name} in namespace {}", self.namespace))
                    .absent()
                    .next("`oar list` shows the Tasks of this namespace, `oar list -A` all; choose a namespace with -n.")
            } else {
                error
            }
        })
    }

    /// The Agent of this name.
    pub async fn agent(&self, name: &str) -> Result<Agent, Error> {
        self.named(name, "kubectl get oagent -A").await
    }

    /// The Workflow of this name.
    pub async fn workflow(&self, name: &str) -> Result<Workflow, Error> {
        self.named(name, "oar workflows -A").await
    }

    /// The Approval of this name.
    pub async fn approval(&self, name: &str) -> Result<Approval, Error> {
        let namespace = &self.namespace;
        let act = format!("failed to get Approval {namespace}/{name}");
        call(&act, self.api().get(name)).await.map_err(|error| {
            if error.absent {
                Error::input(format!("there is no Approval {name} in namespace {namespace}"))
                    .absent()
                    .next("`oar approvals` shows those of this namespace that wait, `oar approvals -A` of all; choose a namespace with -n.")
            } else {
                error
            }
        })
    }

    /// The object of this name. Where there is none it is said which there are; `all` lists those of all namespaces.
    async fn named<K: Ours>(&self, name: &str, all: &str) -> Result<K, Error> {
        let (kind, namespace) = (K::kind(&()), &self.namespace);
        let act = format!("failed to get {kind} {namespace}/{name}");
        match call(&act, self.api::<K>().get(name)).await {
            Err(error) if error.absent => {}
            found => return found,
        }
        let act = format!("failed to list {kind}s");
        let found = call(&act, self.api::<K>().list_metadata(&ListParams::default())).await?;
        let names = found.items.into_iter();
        let names: Vec<String> = names.filter_map(|held| held.metadata.name).collect();
        let next = if names.is_empty() {
            format!(
                "There are no {kind}s in this namespace. Apply one, or choose another namespace with -n; `{all}` shows all."
            )
        } else {
            let names = names.join(", ");
            format!("There are: {names}. Choose another namespace with -n.")
        };
        let what = format!("there is no {kind} {name} in namespace {namespace}");
        Err(Error::input(what).next(next))
    }

    fn api<K: Ours>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The objects of a kind in the namespace, or in all of them. A malformed one must not hide the others: it is named and left out.
    pub async fn list<K: Ours>(
        &self,
        all_namespaces: bool,
        which: &ListParams,
    ) -> Result<Vec<K>, Error> {
        let api: Api<DeserializeGuard<K>> = if all_namespaces {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        };
        let kind = K::kind(&());
        let listed = call(&format!("failed to list {kind}s"), api.list(which)).await?;
        let mut found = Vec::new();
        for guard in listed.items {
            match guard.0 {
                Ok(object) => found.push(object),
                Err(invalid) => eprintln!(
                    "warning: {kind} {} cannot be read and is left out: {}",
                    text::clean(invalid.metadata.name.as_deref().unwrap_or_default()),
                    text::one_line(&invalid.error, 200)
                ),
            }
        }
        Ok(found)
    }

    /// The objects of a kind as they are stored, fields included that this oar does not know.
    pub fn stored<K: Ours>(&self, all_namespaces: bool) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<K>(&());
        if all_namespaces {
            Api::all_with(self.client.clone(), &kind)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
        }
    }

    /// The flags that a follow-up command needs, with a leading space.
    pub fn flags(&self) -> String {
        let mut flags = String::new();
        if self.namespace != self.config.default_namespace {
            flags = format!(" -n {}", self.namespace);
        }
        if let Some(context) = &self.global.context {
            flags.push_str(" --context ");
            flags.push_str(context);
        }
        if let Some(path) = &self.global.kubeconfig {
            flags.push_str(" --kubeconfig ");
            flags.push_str(&path.display().to_string());
        }
        flags
    }
}

/// A namespaced kind of ours.
pub trait Ours:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}

impl<K> Ours for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
{
}

async fn config(global: &Global) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions {
        context: global.context.clone(),
        ..KubeConfigOptions::default()
    };
    match &global.kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await,
        None => Config::from_kubeconfig(&options).await,
    }
}

/// A call of the API server that ends.
pub async fn call<T>(
    act: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::kube(act, error)),
        Err(_) => Err(
            Error::cluster(format!("{act}: no answer within {} s", CALL.as_secs()))
                .transient()
                .next("Is the cluster up, and is it the one you mean? See `kubectl cluster-info`."),
        ),
    }
}
