//! What Prometheus sees of the controllers. Every label is from a closed set, but `namespace`, which the cluster bounds, and `agent` and
//! `workflow`, which are capped here.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets, linear_buckets};
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most different values of each of the labels `agent` and `workflow`; the rest counts as `other`.
const MAX_NAMES: usize = 100;

/// A Task that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TaskLabels {
    /// Its namespace.
    pub namespace: String,
    /// `agent`, `run`, `workflow` or `goal`.
    pub kind: &'static str,
    /// `NAMESPACE/NAME` of its Agent, empty where it has none, `other` beyond the cap.
    pub agent: String,
    /// `NAMESPACE/NAME` of its Workflow, or of that of the run that it is a step of; empty where it has none, `other` beyond the cap.
    pub workflow: String,
    /// `Complete`, `Cancelled` or a failure class.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentLabels {
    agent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    category: &'static str,
}

type Histograms = Family<KindLabels, Histogram, fn() -> Histogram>;

/// Whose Task it is.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// The Task's namespace.
    pub namespace: &'a str,
    /// `agent`, `run`, `workflow` or `goal`.
    pub kind: &'static str,
    /// Name of its Agent.
    pub agent: Option<&'a str>,
    /// Name of its Workflow, or of that of the run that it is a step of.
    pub workflow: Option<&'a str>,
}

/// The metrics of the controllers.
pub struct Metrics {
    tasks: Family<TaskLabels, Counter>,
    durations: Histograms,
    queued: Histograms,
    scores: Family<AgentLabels, Histogram, fn() -> Histogram>,
    active: Gauge,
    oldest: Family<NamespaceLabels, Gauge>,
    passes: Histograms,
    errors: Family<ErrorLabels, Counter>,
    agents: Names,
    workflows: Names,
}

impl Metrics {
    /// Makes them and registers them. Names are with the registry's prefix.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            tasks: Family::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1.0, 2.0, 16))
            }),
            queued: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.25, 2.0, 16))
            }),
            scores: Family::new_with_constructor(|| Histogram::new(linear_buckets(0.1, 0.1, 10))),
            active: Gauge::default(),
            oldest: Family::default(),
            passes: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
            }),
            errors: Family::default(),
            agents: Names::default(),
            workflows: Names::default(),
        };
        let Self {
            tasks,
            durations,
            queued,
            scores,
            active,
            oldest,
            passes,
            errors,
            agents: _,
            workflows: _,
        } = &metrics;
        registry.register("tasks", "Tasks that ended", tasks.clone());
        registry.register(
            "task_duration_seconds",
            "Time from the creation of a Task to its end",
            durations.clone(),
        );
        registry.register(
            "task_queue_seconds",
            "Time from the creation of a Task until it runs for the first time: waiting for room, a place, a queue and a pod",
            queued.clone(),
        );
        registry.register(
            "agent_score",
            "Scores, from 0 to 1, that judges gave to Tasks of an Agent that ended",
            scores.clone(),
        );
        registry.register("tasks_active", "Tasks that have not ended", active.clone());
        registry.register(
            "oldest_queued_task_seconds",
            "Age of the oldest Task of a namespace that waits for its turn (phase Queued); absent where none does",
            oldest.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time of one pass of a controller",
            passes.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Passes of a controller that failed",
            errors.clone(),
        );
        metrics
    }

    /// A Task ended, this long after its creation; with its score, if a judge gave one.
    pub fn ended(
        &self,
        whose: Whose<'_>,
        outcome: &'static str,
        after: Duration,
        score: Option<f64>,
    ) {
        let Whose {
            namespace,
            kind,
            agent,
            workflow,
        } = whose;
        let full = |name: &str| format!("{namespace}/{name}");
        let agent = agent.map(|name| self.agents.capped(full(name)));
        if let (Some(agent), Some(score)) = (&agent, score) {
            let agent = agent.clone();
            self.scores
                .get_or_create(&AgentLabels { agent })
                .observe(score);
        }
        let workflow = workflow.map(|name| self.workflows.capped(full(name)));
        let labels = TaskLabels {
            namespace: namespace.to_owned(),
            kind,
            agent: agent.unwrap_or_default(),
            workflow: workflow.unwrap_or_default(),
            outcome,
        };
        self.tasks.get_or_create(&labels).inc();
        self.durations
            .get_or_create(&KindLabels { kind })
            .observe(after.as_secs_f64());
    }

    /// A Task runs for the first time, this long after its creation.
    pub fn began(&self, kind: &'static str, after: Duration) {
        self.queued
            .get_or_create(&KindLabels { kind })
            .observe(after.as_secs_f64());
    }

    /// A controller made a pass.
    pub fn pass(&self, kind: &'static str, took: Duration, error: Option<&'static str>) {
        self.passes
            .get_or_create(&KindLabels { kind })
            .observe(took.as_secs_f64());
        if let Some(category) = error {
            self.errors
                .get_or_create(&ErrorLabels { kind, category })
                .inc();
        }
    }

    /// Namespaces in which Tasks wait for their turn, and the age of the oldest: counted when somebody looks.
    pub fn oldest_queued(&self, oldest: impl IntoIterator<Item = (String, Duration)>) {
        self.oldest.clear();
        for (namespace, age) in oldest {
            self.oldest
                .get_or_create(&NamespaceLabels { namespace })
                .set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        }
    }

    /// How many Tasks have not ended: counted when somebody looks.
    pub fn active(&self, count: usize) {
        self.active.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Names that a label has had.
#[derive(Default)]
struct Names(Mutex<BTreeSet<String>>);

impl Names {
    fn capped(&self, name: String) -> String {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(&name) || names.len() < MAX_NAMES {
            names.insert(name.clone());
            name
        } else {
            "other".to_owned()
        }
    }
}
