//! Budget: how much money may be spent over all callers. Cluster-scoped, owned by whoever owns the money.

use crate::common::{Selector, conditions_schema};
use crate::money::Usd;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most counters in a status.
pub const MAX_COUNTERS: usize = 50;

/// How much money may be spent, per namespace, pool, agent or requester, in a window of time. A model call leaves only if its worst case still fits under every Budget that it counts for.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "Budget",
    plural = "budgets",
    shortname = "obudget",
    category = "oarmaster",
    status = "BudgetStatus",
    derive = "PartialEq",
    doc = "How much money may be spent over all callers.",
    printcolumn(name = "PER", type_ = "string", json_path = ".spec.per"),
    printcolumn(name = "WINDOW", type_ = "string", json_path = ".spec.window"),
    printcolumn(name = "LIMIT", type_ = "string", json_path = ".spec.usd"),
    printcolumn(name = "SPENT", type_ = "string", json_path = ".status.spent"),
    printcolumn(name = "RESETS", type_ = "string", json_path = ".status.resets"),
    printcolumn(
        name = "EXCEEDED",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Exceeded\")].status",
        priority = 1
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BudgetSpec {
    /// Namespaces whose calls count, by their labels. A Task's calls are of its namespace, those of a ServiceAccount of its own, those of anybody else of the pool's. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Selector>,
    /// Pools whose calls count. At most 32. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub pools: Vec<PoolName>,
    /// What has a counter of its own: `Cluster` (one for everything), `Namespace`, `Pool`, `Agent` (the calls of Tasks with an agent, by its namespace and name; others do not count), or `Requester` (the user who created the Task, or who calls). Counters go by name: an object that is made anew does not start anew. Another value starts new counters. Default Cluster.
    #[serde(default)]
    pub per: Per,
    /// When a counter begins anew, in UTC: at each full `Hour`, `Day` or `Month`, or never (`Total`). Another value starts new counters.
    pub window: BudgetWindow,
    /// Most money in USD in one window of one counter, as a decimal string. It can be raised and lowered at any time.
    pub usd: Usd,
    /// Percent of `usd` at which the metric `oarmaster_budget_warnings_total` counts, once per counter and window. 1 to 100, at most 5. Default 80.
    #[serde(default = "default_warn_at")]
    #[schemars(
        length(max = 5),
        inner(range(min = 1, max = 100)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub warn_at: Vec<i64>,
    /// What happens to a call that does not fit: `Stop` refuses it (a Task waits, an SDK caller gets 429), `FreeOnly` lets it go on to members of its pool whose every price is 0. Default Stop.
    #[serde(default)]
    pub on_exceeded: OnExceeded,
}

/// Names a ModelPool of any namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolName {
    /// Name of the pool.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
}

/// What has a counter of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Per {
    /// One counter for everything.
    #[default]
    Cluster,
    /// Each namespace.
    Namespace,
    /// Each pool.
    Pool,
    /// Each agent.
    Agent,
    /// Each user.
    Requester,
}

/// When a counter begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BudgetWindow {
    /// At each full hour.
    Hour,
    /// At midnight.
    Day,
    /// On the first of a month.
    Month,
    /// Never.
    Total,
}

/// What happens to a call that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExceeded {
    /// It is refused.
    #[default]
    Stop,
    /// Members that cost nothing are asked.
    FreeOnly,
}

fn default_warn_at() -> Vec<i64> {
    vec![80]
}

/// What is known of a budget, from the gateway's ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the gateway counts for it. Exceeded: a counter has no room.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// What the largest counter has spent in this window, in USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<String>,
    /// When the counters begin anew; absent where they never do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets: Option<Time>,
    /// The counters of this window: the largest 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<CounterStatus>,
    /// How many counters there are in this window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter_count: Option<i64>,
}

/// A counter in this window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CounterStatus {
    /// Whose money, like `namespace/team`.
    pub key: String,
    /// Settled, in USD.
    pub usd: String,
    /// Reserved by running calls, in USD.
    pub reserved: String,
    /// Whether it has no room.
    pub exceeded: bool,
}
