//! ModelPool: models of providers behind one name.

use crate::access::AllowedNamespaces;
use crate::common::{NamespacedRef, RateLimits, conditions_schema};
use crate::duration::GepDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Models of one or more providers behind one name. Agents and SDK callers name a pool, never a provider.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "ModelPool",
    plural = "modelpools",
    shortname = "opool",
    category = "oarmaster",
    namespaced,
    status = "ModelPoolStatus",
    derive = "PartialEq",
    doc = "Models of one or more providers behind one name.",
    printcolumn(name = "STRATEGY", type_ = "string", json_path = ".spec.strategy"),
    printcolumn(name = "MEMBERS", type_ = "integer", json_path = ".status.memberCount"),
    printcolumn(name = "USABLE", type_ = "integer", json_path = ".status.usableCount"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ModelPoolSpec {
    /// The order in which members of one priority are tried. `Priority`: as written. `Weighted`: drawn by `weight`. `Cheapest`: by what this request is expected to cost. `Fastest`: by the time to the first token of late, or to the end of answers that are not streamed; what nobody has tried comes first. `LeastBusy`: by the requests on their way. `FreeFirst`: those whose every price is 0 while their `freeQuota` lasts, then as `Cheapest`.
    #[serde(default)]
    pub strategy: Strategy,
    /// The members, tried by ascending priority, within one priority in the order of `strategy`. 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub members: Vec<PoolMember>,
    /// Other names by which SDK callers of this namespace mean this pool, like `gpt-4o`. Where two pools claim one, the older has it. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._:@-]*[A-Za-z0-9])?$")))]
    pub aliases: Vec<String>,
    /// How far a call goes from one member to the next.
    #[serde(default)]
    pub failover: Failover,
    /// When a key that fails is left alone for a while: counted for each key and model by itself.
    #[serde(default)]
    pub breaker: Breaker,
    /// How much all callers together may ask this pool for. Over it callers get a 429 that names the limit and says when to come back; the calls of Tasks wait, up to `failover.deadline`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// The same for each caller by itself: a Task, or a user. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_limits: Option<RateLimits>,
    /// Whether answers are given again to equal requests, for nothing.
    #[serde(default)]
    pub cache: PoolCache,
    /// True stops new calls; those under way end. Default false.
    #[serde(default)]
    pub suspend: bool,
    /// Namespaces whose Agents may name this pool. What is taken back ends with the request under way. Callers with a token of their own need the verb `use` instead. Default: the own namespace.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
}

/// The order in which members of one priority are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// As written.
    #[default]
    Priority,
    /// Drawn by weight.
    Weighted,
    /// By what the request is expected to cost.
    Cheapest,
    /// By how fast they were of late.
    Fastest,
    /// By the requests on their way.
    LeastBusy,
    /// What costs nothing, then the cheapest.
    FreeFirst,
}

/// How far a call goes from one member to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// Most requests to providers for one call. Default 4.
    #[schemars(range(min = 1, max = 16))]
    pub max_hops: i64,
    /// After this long no further one is begun; one under way is bounded by its provider's timeouts. A Task's call waits as long for a member that is left alone for a while, others are refused at once. 1s to 1h. Default 180s.
    pub deadline: GepDuration,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            max_hops: 4,
            deadline: GepDuration::new("180s"),
        }
    }
}

/// When a key that fails is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    /// Share of failures at which it is left alone, in percent. Default 50.
    #[schemars(range(min = 1, max = 100))]
    pub error_percent: i64,
    /// How far back requests count. 1s to 10m. Default 30s.
    pub window: GepDuration,
    /// Fewest requests of a window that say anything. Default 5.
    #[schemars(range(min = 1, max = 1000))]
    pub min_requests: i64,
    /// How long it is left alone; then a single request tries it. Each failure of that one doubles the time, and what the provider asks to wait is the least. 1s to 1h. Default 15s.
    pub cooldown: GepDuration,
    /// Longest such time, unless the provider asks for more. 1s to 1h. Default 120s.
    pub max_cooldown: GepDuration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            error_percent: 50,
            window: GepDuration::new("30s"),
            min_requests: 5,
            cooldown: GepDuration::new("15s"),
            max_cooldown: GepDuration::new("120s"),
        }
    }
}

/// Whether answers are given again to equal requests. Only whole ones are kept: none that failed, was cut or refused, and none of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolCache {
    /// `Exact`: to a request that says the same. `Off`: never. Default Off.
    pub mode: CacheMode,
    /// How long. 1s to 168h. Default 1h.
    pub ttl: GepDuration,
    /// Whether answers that are drawn at random are given again, too: those to requests with a temperature above 0, or with none, for which the vendors take 1. Default false.
    pub sampled: bool,
    /// Who is given each other's answers: those whose calls one `Namespace` pays, all callers of the `Pool`, or one `Requester` by itself (a user, with the Tasks of that user). Default Namespace.
    pub per: CachePer,
}

impl Default for PoolCache {
    fn default() -> Self {
        Self {
            mode: CacheMode::Off,
            ttl: GepDuration::new("1h"),
            sampled: false,
            per: CachePer::Namespace,
        }
    }
}

/// Which requests are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CacheMode {
    /// None.
    #[default]
    Off,
    /// Those that say the same.
    Exact,
}

/// Who is given each other's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CachePer {
    /// All callers of the pool.
    Pool,
    /// Those whose calls one namespace pays.
    #[default]
    Namespace,
    /// One user, with the Tasks of that user.
    Requester,
}

/// One model of one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolMember {
    /// The ModelProvider.
    pub provider: NamespacedRef,
    /// A model that the provider lists.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// Lower is tried first. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i64,
    /// Its share under `Weighted`; 0: only after the others. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: i64,
}

const fn one() -> i64 {
    1
}

/// What is known of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelPoolStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: at least one member can be used and the pool is not suspended. Degraded: a member cannot be used, or an alias belongs to an older pool.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// Number of members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_count: Option<i64>,
    /// Number of members whose provider is Ready and lists the model with a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usable_count: Option<i64>,
    /// State of each member.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
}

/// State of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Name of the provider; of one in another namespace `<namespace>/<name>`.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Whether it can be used.
    pub usable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
