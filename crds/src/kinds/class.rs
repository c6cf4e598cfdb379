//! SandboxClass: how and where untrusted code may run. Cluster-scoped, the administrator's.

use super::sandbox::Egress;
use crate::common::{Allowance, conditions_schema};
use crate::duration::GepDuration;
use crate::money::Usd;
use crate::quantity::{Cpu, Size};
use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How and where untrusted code may run, and what an Agent may ask for at most. Owned by the cluster's administrator.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "SandboxClass",
    plural = "sandboxclasses",
    shortname = "oclass",
    category = "oarmaster",
    status = "SandboxClassStatus",
    derive = "PartialEq",
    doc = "How and where untrusted code may run, and what an Agent may ask for at most.",
    printcolumn(
        name = "RUNTIME",
        type_ = "string",
        json_path = ".spec.runtimeClassName"
    ),
    printcolumn(
        name = "LANDLOCK",
        type_ = "integer",
        json_path = ".status.landlock.abi"
    ),
    printcolumn(
        name = "POLICY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"NetworkPolicyEnforced\")].status"
    ),
    printcolumn(name = "PIDS", type_ = "integer", json_path = ".status.pids.limit"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.hostUsers || (self.users.from == 'Fixed' && self.users.pilot <= 65535 && self.users.exec <= 65535)").message("a pod with a user namespace has the user ids up to 65535: with hostUsers false write users of that range, from: Fixed")
)]
pub struct SandboxClassSpec {
    /// RuntimeClass of the pods. Empty: the cluster's default runtime. One that does not exist is a condition, never a silent fallback.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub runtime_class_name: String,
    /// Which images may be used.
    #[serde(default)]
    pub images: ImageRules,
    /// User ids in the pod.
    #[serde(default)]
    pub users: Users,
    /// Whether ids of users in the pod are those of the node. `false`, with users from 1 to 65535, gives each pod a user namespace of its own (Kubernetes' `hostUsers: false`): what gets out of a container is nobody on the node. It takes a node whose kernel, runtime and kubelet can; where they cannot, pods do not start, and where the cluster leaves the field out, the sandbox finds that and ends its Task as IsolationUnproven. Default true.
    #[serde(default = "yes")]
    pub host_users: bool,
    /// What a pod requests beside memory, whose request always equals its limit.
    #[serde(default)]
    pub requests: Requests,
    /// The most that an Agent or a run may ask for.
    #[serde(default)]
    pub maximum: Maximum,
    /// The least that the kernel must offer: `Seccomp`, or `Landlock` (with it, code also cannot write outside its workspace by the kernel's own rule). Default Seccomp.
    #[serde(default)]
    pub minimum_isolation: Isolation,
    /// Whether a pod must prove that its NetworkPolicy is enforced before it runs code, beside the proof of its sandbox, which is always demanded. A pod that cannot within startupTimeout ends its Task as IsolationUnproven. Default false.
    #[serde(default)]
    pub require_network_policy: bool,
    /// Whether Tasks that need no sandbox share pods: an agent without tools of the sandbox and without an output schema, and a Task without files, artifacts or check, runs in the Deployment oarmaster-pilots of the installation, and begins without a pod being started. false: each gets a pod of its own. Default true.
    #[serde(default = "yes")]
    pub shared_pilots: bool,
    /// What agents and runs may ask to reach (`sandbox.egress`). A Task that does needs Landlock of ABI 4 on its node, and proves that its NetworkPolicy is enforced, as with requireNetworkPolicy. Default: nothing.
    #[serde(default)]
    pub egress: Egress,
    /// Budget of a Task where neither Task nor Agent state one. Default usd "1".
    #[serde(default = "default_task_budget")]
    pub default_task_budget: Allowance,
    /// How long a pod may take to start (scheduling, images). Default 5m.
    #[serde(default = "default_startup_timeout")]
    pub startup_timeout: GepDuration,
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// PriorityClass of the pods. Empty: the cluster's default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub priority_class_name: String,
    /// Names of Secrets in the Task's namespace with which images are pulled. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub image_pull_secrets: Vec<String>,
    /// Labels of the pods beside Oarmaster's own, for other systems that read them. None below oarmaster.dev/, and none of the Job controller's. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pod_labels_schema")]
    pub pod_labels: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn pod_labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Labels of the pods beside Oarmaster's own, for other systems that read them. None below oarmaster.dev/, and none of the Job controller's. At most 16.",
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        },
        "x-kubernetes-validations": [
            {
                "rule": "self.all(name, name.size() <= 317 && name.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
                "message": "names of podLabels are like team or example.com/team",
            },
            {
                "rule": "!self.exists(name, name.matches('^((.*[.])?oarmaster[.]dev/.*|batch[.]kubernetes[.]io/.*|job-name|controller-uid)$'))",
                "message": "podLabels below oarmaster.dev/ and those of the Job controller say whose a pod is; leave them out",
            },
        ],
    })
}

/// Which images may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageRules {
    /// Full names of images, without tag and digest. `*` at the end of a part stands for any rest of that part (`ghcr.io/acme/py*`), and a last part that is `*` alone for everything below (`ghcr.io/acme/*`). A registry has no `*`; its port belongs to it. Names of images are made full first: `python` is `docker.io/library/python`. Default: every image of docker.io's library and of docker.io/oarmaster. At most 64.
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 256),
            regex(pattern = r"^[a-z0-9][-a-z0-9.]*(:[0-9]{1,5})?(/([-a-z0-9._]+[*]?|[*]))+$")
        )
    )]
    pub allow: Vec<String>,
    /// Whether an image must be named by digest, `NAME@sha256:...`. Default false.
    pub require_digest: bool,
}

impl Default for ImageRules {
    fn default() -> Self {
        Self {
            allow: vec![
                "docker.io/library/*".to_owned(),
                "docker.io/oarmaster/*".to_owned(),
            ],
            require_digest: false,
        }
    }
}

/// User ids in the pod: two, so that untrusted code cannot touch the agent loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.pilot != self.exec").message("pilot and exec must be different user ids"))]
pub struct Users {
    /// `Fixed`: the ids below. `FromNamespace`: the first two of the range that the Task's namespace has in its annotation `openshift.io/sa.scc.uid-range`, for clusters that give each namespace a range of its own; the ids below then mean nothing. Default Fixed.
    #[serde(default)]
    pub from: UsersFrom,
    /// User id of the agent loop. Default 65532.
    #[serde(default = "default_pilot_user")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub pilot: i64,
    /// User id of untrusted code. Default 65533.
    #[serde(default = "default_exec_user")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub exec: i64,
}

/// Where user ids come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UsersFrom {
    /// From the class.
    #[default]
    Fixed,
    /// From the namespace's range.
    FromNamespace,
}

fn default_pilot_user() -> i64 {
    65_532
}

fn default_exec_user() -> i64 {
    65_533
}

impl Default for Users {
    fn default() -> Self {
        Self {
            from: UsersFrom::default(),
            pilot: default_pilot_user(),
            exec: default_exec_user(),
        }
    }
}

/// What a pod requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// CPU that the sandbox container requests. Default 50m.
    pub cpu: Cpu,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            cpu: Cpu::new("50m"),
        }
    }
}

/// The most that an Agent or a run may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maximum {
    /// CPU. Default 4.
    pub cpu: Cpu,
    /// Memory. Default 4Gi.
    pub memory: Size,
    /// Workspace and /tmp together. Default 8Gi.
    pub disk: Size,
    /// Time of one tool call. Default 1h.
    pub call_timeout: GepDuration,
}

impl Default for Maximum {
    fn default() -> Self {
        Self {
            cpu: Cpu::new("4"),
            memory: Size::new("4Gi"),
            disk: Size::new("8Gi"),
            call_timeout: GepDuration::new("1h"),
        }
    }
}

/// The least that the kernel must offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// System call filter, user ids and namespaces.
    #[default]
    Seccomp,
    /// Landlock as well.
    Landlock,
}

fn default_task_budget() -> Allowance {
    Allowance {
        usd: Some(Usd("1".to_owned())),
        ..Allowance::default()
    }
}

fn default_startup_timeout() -> GepDuration {
    GepDuration::new("5m")
}

impl Default for SandboxClassSpec {
    fn default() -> Self {
        Self {
            runtime_class_name: String::new(),
            images: ImageRules::default(),
            users: Users::default(),
            host_users: true,
            requests: Requests::default(),
            maximum: Maximum::default(),
            minimum_isolation: Isolation::default(),
            require_network_policy: false,
            shared_pilots: true,
            egress: Egress::default(),
            default_task_budget: default_task_budget(),
            startup_timeout: default_startup_timeout(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class_name: String::new(),
            image_pull_secrets: Vec::new(),
            pod_labels: BTreeMap::new(),
        }
    }
}

/// What is known of a class: from a probe in a pod of it, made when the class or Oarmaster itself is new or changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxClassStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The probe that the rest of this status is from. Absent until the first one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeStatus>,
    /// Landlock on the node that was probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landlock: Option<LandlockStatus>,
    /// Limit on processes of a pod, where the probe met one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<PidsStatus>,
    /// Ready, RuntimeClassFound, NetworkPolicyEnforced; EgressPossible where the class allows domains; UserNamespace where it has hostUsers false.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// A probe that ended, with or without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStatus {
    /// Its Job, in the namespace of the installation; it is deleted once its result stands here. The name is made of the class, its generation, its annotation oarmaster.dev/probe and the runner's image: as long as these are the same, nothing is probed again.
    #[schemars(length(max = 63))]
    pub job: String,
    /// The node where it ran. Other nodes may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
}

/// Landlock, as the kernel offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LandlockStatus {
    /// ABI version. 0: the kernel has no Landlock.
    pub abi: i64,
}

/// The limit on processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PidsStatus {
    /// Processes and threads that a container of the pod could start at once.
    pub limit: i64,
}
