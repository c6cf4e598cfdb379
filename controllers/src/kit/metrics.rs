//! What Prometheus sees of the controllers. Every label is from a closed set, but `namespace`, which the cluster bounds, and `agent`,
//! which is capped here.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most different values of the label `agent`; the rest counts as `other`.
const MAX_AGENTS: usize = 100;

/// A Task that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TaskLabels {
    /// Its namespace.
    pub namespace: String,
    /// `agent` or `run`.
    pub kind: &'static str,
    /// `NAMESPACE/NAME` of its Agent, empty for a `run`, `other` beyond the cap.
    pub agent: String,
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
struct ErrorLabels {
    kind: &'static str,
    category: &'static str,
}

type Histograms = Family<KindLabels, Histogram, fn() -> Histogram>;

/// The metrics of the controllers.
pub struct Metrics {
    tasks: Family<TaskLabels, Counter>,
    durations: Histograms,
    active: Gauge,
    queued: Family<NamespaceLabels, Gauge>,
    passes: Histograms,
    errors: Family<ErrorLabels, Counter>,
    agents: Mutex<BTreeSet<String>>,
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
            active: Gauge::default(),
            queued: Family::default(),
            passes: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
            }),
            errors: Family::default(),
            agents: Mutex::default(),
        };
        let Self {
            tasks,
            durations,
            active,
            queued,
            passes,
            errors,
            agents: _,
        } = &metrics;
        registry.register("tasks", "Tasks that ended", tasks.clone());
        registry.register(
            "task_duration_seconds",
            "Time from the creation of a Task to its end",
            durations.clone(),
        );
        registry.register("tasks_active", "Tasks that have not ended", active.clone());
        registry.register(
            "oldest_queued_task_seconds",
            "Age of the oldest Task of a namespace that waits for its turn (phase Queued); absent where none does",
            queued.clone(),
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

    /// A Task ended: of an agent, a `run` or a `workflow` (`kind`).
    pub fn ended(
        &self,
        namespace: &str,
        kind: &'static str,
        agent: Option<&str>,
        outcome: &'static str,
        after: Duration,
    ) {
        let agent = agent.map(|name| self.capped(format!("{namespace}/{name}")));
        let labels = TaskLabels {
            namespace: namespace.to_owned(),
            kind,
            agent: agent.unwrap_or_default(),
            outcome,
        };
        self.tasks.get_or_create(&labels).inc();
        self.durations
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

    /// How many Tasks have not ended: counted when somebody looks.
    pub fn active(&self, count: usize) {
        self.active.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Namespaces in which Tasks wait for their turn, and the age of the oldest: counted when somebody looks.
    pub fn queued(&self, oldest: impl IntoIterator<Item = (String, Duration)>) {
        self.queued.clear();
        for (namespace, age) in oldest {
            self.queued
                .get_or_create(&NamespaceLabels { namespace })
                .set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        }
    }

    fn capped(&self, agent: String) -> String {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if agents.contains(&agent) || agents.len() < MAX_AGENTS {
            agents.insert(agent.clone());
            agent
        } else {
            "other".to_owned()
        }
    }
}
