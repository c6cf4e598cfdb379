//! Puts the watches, the caches and the controllers together. What triggers what is said here and nowhere else:
//!
//! | changed | looked at again |
//! |---|---|
//! | an object | itself |
//! | ModelProvider | the ModelPools that name it |
//! | ModelPool | the Agents that may mean it, and the Tasks of their namespaces, or with a `run` that may, that wait |
//! | Namespace | where something is allowed by labels: its ModelPools, its Agents, and its Tasks that wait |
//! | Budget | the Tasks that wait |
//! | SandboxClass | the Agents that name it, and the Tasks that wait |
//! | Agent | the Tasks of its namespace that wait and name it, have it pinned, or choose one |
//! | Workflow | the Tasks of its namespace that wait and name it |
//! | ConfigMap | the Tasks of its namespace that wait and name it |
//! | Task without a live attempt | the first Tasks that wait for a place of its agent, or of its namespace |
//! | the ConfigMap `oarmaster-limits` | the Tasks that wait for a place |
//! | RuntimeClass | every SandboxClass |
//! | Task | the Task that gave it its work; the Approvals that it asked for; those that do the same and wait for it; runs of the same key |
//! | Approval | its Task |
//! | Job, Pod of a Task | the Task |
//! | Job, Pod of a probe | the SandboxClass |
//! | the gateway's Service | the Tasks that wait; every SandboxClass; the NetworkPolicy of each namespace that runs Tasks |
//! | NetworkPolicy of the sandboxes | that of its namespace |

mod touch;

pub use touch::{active_tasks, oldest_queued};

use crate::agent::pool::{of_agent, of_run};
use crate::kit::changes::{self, Gone, Triggers};
use crate::kit::context::{Context, Guard, Settings, Stores};
use crate::kit::gateway::Gateway;
use crate::kit::metrics::Metrics;
use crate::kit::run::{Runner, Shutdown};
use crate::kit::slim::Slim;
use crate::kit::watch::{Facts, Nothing, Stored, drive, lean, named, only_task};
use crate::network;
use crate::network::repair::Changed;
use crate::task::census::has_ended;
use crate::task::hire;
use crate::task::memo;
use crate::task::places::Places;
use crate::task::pod::{JobFacts, PodFacts};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use oarmaster_crds::kinds::class::UsersFrom;
use oarmaster_crds::{
    Agent, Approval, Budget, ModelPool, ModelProvider, SandboxClass, Task, Workflow, names,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch as flag;
use touch::{
    Asked, Concerns, any, by_labels, placed, queues, reload, report_gone, rivals, send, send_class,
    touch, waits, waits_for_budget,
};

/// Passes at once of the Task controller, each mostly waiting for the API server or the gateway.
const TASK_CONCURRENCY: u16 = 128;
/// Passes at once of the others.
const CONCURRENCY: u16 = 4;
/// A Task's pass begins at once; two triggers of the same moment are one.
const TASK_DEBOUNCE: Duration = Duration::from_millis(1);
/// The others gather a little: their input changes in bursts.
const DEBOUNCE: Duration = Duration::from_millis(20);

type Sender<K> = UnboundedSender<ObjectRef<Guard<K>>>;
type Receiver<K> = UnboundedReceiver<ObjectRef<Guard<K>>>;

/// Everything that runs while this process leads.
pub struct World {
    /// What every pass can reach.
    pub context: Arc<Context>,
    client: Client,
    drives: Vec<BoxFuture<'static, ()>>,
    ready: Vec<flag::Receiver<bool>>,
    receivers: Receivers,
    triggers: Triggers,
    gone: UnboundedReceiver<Gone>,
    progress: Receiver<Task>,
    policies: Changed,
}

struct Receivers {
    providers: Receiver<ModelProvider>,
    pools: Receiver<ModelPool>,
    budgets: Receiver<Budget>,
    classes: Receiver<SandboxClass>,
    agents: Receiver<Agent>,
    tasks: Receiver<Task>,
    approvals: Receiver<Approval>,
    workflows: Receiver<Workflow>,
}

impl World {
    /// Makes the caches and the watches that fill them; nothing runs yet.
    #[must_use]
    pub fn new(
        client: Client,
        settings: Settings,
        gateway: Gateway,
        metrics: Arc<Metrics>,
        ca: String,
    ) -> Self {
        let (provider_to, providers) = unbounded_channel();
        let (pool_to, pools) = unbounded_channel();
        let (budget_to, budgets) = unbounded_channel();
        let (class_to, classes) = unbounded_channel();
        let (agent_to, agents) = unbounded_channel();
        let (task_to, tasks) = unbounded_channel();
        let (approval_to, approvals) = unbounded_channel();
        let (workflow_to, workflows) = unbounded_channel();
        let (gone_to, gone) = unbounded_channel();
        let (progress_to, progress) = unbounded_channel();
        let policies = Changed::default();
        let called = task_to.clone();
        let places = Arc::new(Places::new(move |namespace, name| {
            send(&called, named(namespace, name));
        }));

        let (provider_store, provider_cache) = Stored::<Guard<ModelProvider>>::new();
        let (pool_store, pool_cache) = Stored::<Guard<ModelPool>>::new();
        let (budget_store, budget_cache) = Stored::<Guard<Budget>>::new();
        let (class_store, class_cache) = Stored::<Guard<SandboxClass>>::new();
        let (namespaces, namespace_cache) = Stored::new();
        let (agent_store, agent_cache) = Stored::<Guard<Agent>>::new();
        let (workflow_store, workflow_cache) = Stored::<Guard<Workflow>>::new();
        let (task_store, task_cache) = Stored::<Guard<Task>>::new();
        let (approval_store, approval_cache) = Stored::<Guard<Approval>>::new();
        let (jobs, job_cache) = Facts::new(|job: &Slim<Job>| JobFacts::of(&job.0), only_task);
        let (pods, pod_cache) = Facts::new(|pod: &Slim<Pod>| PodFacts::of(&pod.0), only_task);
        let (probe_jobs, probe_job_cache) = Stored::<Job>::new();
        let (probe_pods, probe_pod_cache) = Stored::<Pod>::new();
        let (service_accounts, account_cache) = Stored::new();
        let (runtime_classes, runtime_cache) = Stored::new();
        let (limit_store, limit_cache) = Stored::<ConfigMap>::new();
        let (services, service_cache) = Stored::<Service>::new();
        let (network_policies, policy_cache) = Stored::<NetworkPolicy>::new();

        let mut watches = Watches::default();
        let all = Config::default;
        let one = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        let labelled = |of: &str| {
            let selector = format!("{}=true,{of}", names::SANDBOX_LABEL);
            Config::default().labels(&selector)
        };
        let sandboxes = || labelled(names::TASK_UID_LABEL);
        let probes = || labelled(names::CLASS_UID_LABEL);

        watches.add("modelproviders", provider_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, pool_to, pools) = (provider_to.clone(), pool_to.clone(), pool_store.clone());
            (events, move |provider: &Guard<ModelProvider>| {
                send(&to, ObjectRef::from_obj(provider));
                let (namespace, name) = (provider.namespace(), provider.name_any());
                touch(&pools, &pool_to, |pool: &ModelPool| {
                    let own = pool.namespace().unwrap_or_default();
                    pool.spec.members.iter().any(|member| {
                        let named = &member.provider;
                        named.name == name && Some(named.namespace(&own)) == namespace.as_deref()
                    })
                });
            })
        });
        let shared = settings
            .default_pool
            .clone()
            .map(|name| (settings.namespace.clone(), name));
        watches.add("modelpools", pool_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, agent_to, task_to) = (pool_to.clone(), agent_to.clone(), task_to.clone());
            let (agents, tasks) = (agent_store.clone(), task_store.clone());
            let pools = pool_store.clone();
            (events, move |pool: &Guard<ModelPool>| {
                send(&to, ObjectRef::from_obj(pool));
                // An alias that it gave up or took may be another one's.
                touch(&pools, &to, |other: &ModelPool| {
                    !other.spec.aliases.is_empty() && other.namespace() == pool.namespace()
                });
                let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
                let shared = shared
                    .as_ref()
                    .map(|(namespace, name)| (&**namespace, &**name));
                let means = |agent: &Agent| of_agent(agent).may_mean((&namespace, &name), shared);
                touch(&agents, &agent_to, means);
                let state = agents.state();
                let meaning = state.iter().filter_map(|agent| agent.0.as_ref().ok());
                let from: BTreeSet<_> = meaning
                    .filter(|agent| means(agent))
                    .map(|agent| agent.namespace())
                    .collect();
                touch(&tasks, &task_to, |task: &Task| {
                    let pool = (&*namespace, &*name);
                    let runs = of_run(task).is_some_and(|named| named.may_mean(pool, shared));
                    waits(task) && (runs || from.contains(&task.namespace()))
                });
            })
        });
        watches.add("namespaces", namespace_cache, {
            let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
            let (pool_to, agent_to, task_to) = (pool_to.clone(), agent_to.clone(), task_to.clone());
            let (providers, pools) = (provider_store.clone(), pool_store.clone());
            let (agents, tasks) = (agent_store.clone(), task_store.clone());
            let (class_to, classes) = (class_to.clone(), class_store.clone());
            let own = settings.namespace.clone();
            let events = lean(watcher(api, all()));
            (events, move |namespace: &PartialObjectMeta<Namespace>| {
                let within = |of: Option<String>| of.as_ref() == namespace.metadata.name.as_ref();
                if any(&providers, |of| by_labels(&of.spec.allowed_namespaces)) {
                    touch(&pools, &pool_to, |pool: &ModelPool| {
                        within(pool.namespace())
                    });
                }
                let by_labels = any(&pools, |of| by_labels(&of.spec.allowed_namespaces));
                let gives_users =
                    |class: &SandboxClass| class.spec.users.from == UsersFrom::FromNamespace;
                if by_labels {
                    touch(&agents, &agent_to, |agent: &Agent| {
                        within(agent.namespace())
                    });
                }
                if by_labels || any(&classes, gives_users) {
                    touch(&tasks, &task_to, |task: &Task| {
                        waits(task) && within(task.namespace())
                    });
                }
                if within(Some(own.clone())) {
                    touch(&classes, &class_to, gives_users);
                }
            })
        });
        watches.add("budgets", budget_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, task_to, tasks) = (budget_to.clone(), task_to.clone(), task_store.clone());
            (events, move |budget: &Guard<Budget>| {
                send(&to, ObjectRef::from_obj(budget));
                touch(&tasks, &task_to, waits_for_budget);
            })
        });
        watches.add("sandboxclasses", class_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, agent_to, task_to) = (class_to.clone(), agent_to.clone(), task_to.clone());
            let (agents, tasks) = (agent_store.clone(), task_store.clone());
            (events, move |class: &Guard<SandboxClass>| {
                send(&to, ObjectRef::from_obj(class));
                touch(&agents, &agent_to, |agent: &Agent| {
                    agent.spec.sandbox.class.name == class.name_any()
                });
                touch(&tasks, &task_to, waits);
            })
        });
        watches.add("agents", agent_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, task_to, tasks) = (agent_to.clone(), task_to.clone(), task_store.clone());
            (events, move |agent: &Guard<Agent>| {
                send(&to, ObjectRef::from_obj(agent));
                touch(&tasks, &task_to, |task: &Task| {
                    waits(task)
                        && task.namespace() == agent.namespace()
                        && hire::may_mean(task, &agent.name_any())
                });
            })
        });
        watches.add("workflows", workflow_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, task_to, tasks) = (workflow_to, task_to.clone(), task_store.clone());
            (events, move |workflow: &Guard<Workflow>| {
                send(&to, ObjectRef::from_obj(workflow));
                touch(&tasks, &task_to, |task: &Task| {
                    let named = task.spec.workflow.as_ref();
                    waits(task)
                        && task.namespace() == workflow.namespace()
                        && named.is_some_and(|named| {
                            named.name.as_deref() == Some(&*workflow.name_any())
                        })
                });
            })
        });
        watches.add("tasks", task_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()))
                .inspect_ok(move |event| report_gone(event, &gone_to));
            let (to, tasks, places) = (task_to.clone(), task_store.clone(), Arc::clone(&places));
            let asked = Asked {
                to: task_to.clone(),
                approvals: approval_to.clone(),
            };
            (events, move |task: &Guard<Task>| {
                let own = ObjectRef::from_obj(task);
                placed(task, &tasks, &places);
                let gone = tasks.get(&own).is_none();
                send(&to, own);
                asked.tell(task);
                if let Ok(task) = &task.0 {
                    rivals(task, gone, &tasks, &places, &to);
                    if memo::lets_others(task, gone) {
                        touch(&tasks, &to, |other: &Task| {
                            waits(other)
                                && other.namespace() == task.namespace()
                                && memo::follows(other, &task.name_any())
                        });
                    }
                }
                if task.0.as_ref().is_ok_and(has_ended) {
                    touch(&tasks, &to, |other: &Task| {
                        let mut awaited = other.spec.awaited();
                        waits(other)
                            && other.namespace() == task.namespace()
                            && awaited.any(|named| named.name == task.name_any())
                    });
                }
            })
        });
        watches.add("approvals", approval_cache, {
            let events = lean(watcher(Api::all(client.clone()), all()));
            let (to, task_to) = (approval_to, task_to.clone());
            (events, move |approval: &Guard<Approval>| {
                send(&to, ObjectRef::from_obj(approval));
                if let Ok(readable) = &approval.0 {
                    let namespace = readable.namespace().unwrap_or_default();
                    send(&task_to, named(&namespace, &readable.spec.task.name));
                }
            })
        });
        let concerns = Concerns {
            to: task_to.clone(),
            tasks: task_store.clone(),
            jobs: jobs.clone(),
        };
        watches.add("jobs", job_cache, {
            let events = lean(watcher(Api::all(client.clone()), sandboxes()));
            let concerns = concerns.clone();
            (events, move |job: &Slim<Job>| concerns.tell(job))
        });
        watches.add("pods", pod_cache, {
            let events = lean(watcher(Api::all(client.clone()), sandboxes()));
            (events, move |pod: &Slim<Pod>| concerns.tell(pod))
        });
        watches.add("probe jobs", probe_job_cache, {
            let api = Api::namespaced(client.clone(), &settings.namespace);
            let to = class_to.clone();
            (lean(watcher(api, probes())), move |job: &Job| {
                send_class(&to, job);
            })
        });
        watches.add("probe pods", probe_pod_cache, {
            let api = Api::namespaced(client.clone(), &settings.namespace);
            let to = class_to.clone();
            (lean(watcher(api, probes())), move |pod: &Pod| {
                send_class(&to, pod);
            })
        });
        watches.add("configmaps", Nothing, {
            let api: Api<PartialObjectMeta<ConfigMap>> = Api::all(client.clone());
            let events = lean(watcher(api, all())).map_ok(|event| match event {
                Event::InitApply(object) => Event::Apply(object), // nothing is kept: each one counts as changed
                event => event,
            });
            let (to, tasks) = (task_to.clone(), task_store.clone());
            (events, move |map: &PartialObjectMeta<ConfigMap>| {
                touch(&tasks, &to, |task: &Task| {
                    waits(task)
                        && task.namespace() == map.namespace()
                        && task.spec.files.iter().any(|file| {
                            file.config_map
                                .as_ref()
                                .is_some_and(|named| named.name == map.name_any())
                        })
                });
            })
        });
        watches.add("limits", limit_cache, {
            let api = Api::namespaced(client.clone(), &settings.namespace);
            let events = lean(watcher(api, one(names::LIMITS)));
            let (to, tasks) = (task_to.clone(), task_store.clone());
            let places = Arc::clone(&places);
            (events, move |map: &ConfigMap| {
                let held = limit_store.get(&ObjectRef::from_obj(map));
                if reload(&places.limits, held.as_deref()) {
                    touch(&tasks, &to, queues);
                }
            })
        });
        watches.add("serviceaccounts", account_cache, {
            let api: Api<PartialObjectMeta<ServiceAccount>> = Api::all(client.clone());
            let config = one(names::SANDBOX_SERVICE_ACCOUNT);
            (lean(watcher(api, config)), |_: &_| {})
        });
        watches.add("runtimeclasses", runtime_cache, {
            let api: Api<PartialObjectMeta<RuntimeClass>> = Api::all(client.clone());
            let (to, classes) = (class_to.clone(), class_store.clone());
            (lean(watcher(api, all())), move |_: &_| {
                touch(&classes, &to, |_: &SandboxClass| true);
            })
        });
        watches.add("services", service_cache, {
            let api = Api::namespaced(client.clone(), &settings.namespace);
            let events = lean(watcher(api, one(&settings.gateway_service)));
            let (to, tasks) = (task_to.clone(), task_store.clone());
            let policies = policies.clone();
            let (class_to, classes) = (class_to.clone(), class_store.clone());
            (events, move |_: &Service| {
                touch(&tasks, &to, waits);
                touch(&classes, &class_to, |_: &SandboxClass| true);
                for namespace in network::repair::namespaces(&tasks) {
                    policies.add(namespace);
                }
            })
        });
        watches.add("networkpolicies", policy_cache, {
            let config = one(names::SANDBOX_POLICY);
            let events = lean(watcher(Api::all(client.clone()), config));
            let policies = policies.clone();
            (events, move |policy: &NetworkPolicy| {
                policies.add(policy.namespace().unwrap_or_default());
            })
        });

        let stores = Stores {
            providers: provider_store,
            pools: pool_store,
            budgets: budget_store,
            classes: class_store,
            namespaces,
            agents: agent_store,
            workflows: workflow_store,
            tasks: task_store,
            approvals: approval_store,
            jobs,
            pods,
            probe_jobs,
            probe_pods,
            service_accounts,
            runtime_classes,
            services,
            network_policies,
        };
        let context = Context::new(
            client.clone(),
            settings,
            gateway,
            metrics,
            stores,
            places,
            ca,
        );
        Self {
            context: Arc::new(context),
            client,
            drives: watches.drives,
            ready: watches.ready,
            receivers: Receivers {
                providers,
                pools,
                budgets,
                classes,
                agents,
                tasks,
                approvals,
                workflows,
            },
            triggers: Triggers {
                tasks: task_to,
                progress: progress_to,
                providers: provider_to,
                budgets: budget_to,
            },
            gone,
            progress,
            policies,
        }
    }

    /// Runs until shutdown: fills the caches, then starts the controllers, then ends when their passes have ended.
    pub async fn run(self, shutdown: Shutdown) {
        let Self {
            context,
            client,
            drives,
            ready,
            receivers,
            triggers,
            gone,
            progress,
            policies,
        } = self;
        let Receivers {
            providers,
            pools,
            budgets,
            classes,
            agents,
            tasks,
            approvals,
            workflows,
        } = receivers;
        let mut helpers = tokio::task::JoinSet::new(); // aborted when dropped
        for drive in drives {
            helpers.spawn(drive);
        }
        let filled = async {
            for mut ready in ready {
                // A watch never ends, so its sender stays; if it did, there would be nothing to wait for.
                let _ = ready.wait_for(|ready| *ready).await;
            }
        };
        tokio::select! {
            () = filled => {}
            () = shutdown.clone() => return,
        }
        tracing::info!("caches are filled, controllers start");
        helpers.spawn(changes::gather(progress, triggers.tasks.clone()));
        helpers.spawn(changes::follow(Arc::clone(&context), triggers));
        helpers.spawn(changes::bury(Arc::clone(&context), gone));
        helpers.spawn(network::repair::follow(Arc::clone(&context), policies));
        let stores = context.stores.clone();
        futures::join!(
            Runner {
                kind: "ModelProvider",
                store: stores.providers,
                triggers: providers,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::provider::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "ModelPool",
                store: stores.pools,
                triggers: pools,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::pool::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "Budget",
                store: stores.budgets,
                triggers: budgets,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::budget::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "SandboxClass",
                store: stores.classes,
                triggers: classes,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::class::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "Agent",
                store: stores.agents,
                triggers: agents,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::agent::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "Approval",
                store: stores.approvals,
                triggers: approvals,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::approval::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "Workflow",
                store: stores.workflows,
                triggers: workflows,
                concurrency: CONCURRENCY,
                debounce: DEBOUNCE,
                reconcile: crate::workflow::reconcile,
            }
            .run(
                Arc::clone(&context),
                shutdown.clone(),
                Api::all(client.clone())
            ),
            Runner {
                kind: "Task",
                store: stores.tasks,
                triggers: tasks,
                concurrency: TASK_CONCURRENCY,
                debounce: TASK_DEBOUNCE,
                reconcile: crate::task::reconcile,
            }
            .run(Arc::clone(&context), shutdown, Api::all(client)),
        );
    }
}

/// The watches in the making.
#[derive(Default)]
struct Watches {
    drives: Vec<BoxFuture<'static, ()>>,
    ready: Vec<flag::Receiver<bool>>,
}

impl Watches {
    fn add<K, C, S, T>(&mut self, what: &'static str, cache: C, (events, touched): (S, T))
    where
        K: Clone + Send + Sync + 'static,
        C: crate::kit::watch::Cache<K> + Send + 'static,
        S: futures::Stream<Item = kube::runtime::watcher::Result<Event<K>>> + Send + 'static,
        T: Fn(&K) + Send + 'static,
    {
        let (sender, receiver) = flag::channel(false);
        self.ready.push(receiver);
        self.drives
            .push(drive(what, events.boxed(), cache, touched, sender).boxed());
    }
}
