//! The user's cluster: kubeconfig, namespace, client, and calls with a bound on their time.

use crate::args::Global;
use crate::error::Error;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use oarmaster_crds::{Agent, Task};
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
        let agents: Api<Agent> = Api::namespaced(self.client.clone(), &self.namespace);
        let act = format!("failed to get Agent {}/{name}", self.namespace);
        match call(&act, agents.get(name)).await {
            Err(error) if error.absent => {}
            found => return found,
        }
        let all = call("failed to list Agents", agents.list(&ListParams::default())).await?;
        let names: Vec<String> = all
            .items
            .into_iter()
            .filter_map(|agent| agent.metadata.name)
            .collect();
        let next = if names.is_empty() {
            "There are no Agents in this namespace. Apply one, or choose another namespace with -n; `kubectl get oagent -A` shows all.".to_owned()
        } else {
            let names = names.join(", ");
            format!("There are: {names}. Choose another namespace with -n.")
        };
        let what = format!("there is no Agent {name} in namespace {}", self.namespace);
        Err(Error::input(what).next(next))
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
