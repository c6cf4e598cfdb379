//! ModelPool: models of providers behind one name.

use crate::common::{LocalRef, conditions_schema};
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
    /// The members, tried by ascending priority, within one priority in this order. 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub members: Vec<PoolMember>,
}

/// One model of one provider in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolMember {
    /// The ModelProvider.
    pub provider: LocalRef,
    /// A model that the provider lists.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// Lower is tried first. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i64,
}

/// What is known of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelPoolStatus {
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: at least one member can be used.
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
    /// Name of the provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Whether it can be used.
    pub usable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
