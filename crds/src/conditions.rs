//! The vocabulary of conditions and their reasons, and the one helper that sets them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// True: the object can be used (ready-style kinds). On a Task: it is complete. On an Approval: it is decided.
pub const READY: &str = "Ready";
/// True: every object that this one names exists and is usable.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// True: every Secret that is named was read and holds a key. ModelProvider.
pub const SECRET_RESOLVED: &str = "SecretResolved";
/// True: the endpoint answered when it was last tried. Unknown until it is. ModelProvider.
pub const REACHABLE: &str = "Reachable";
/// True: the object serves, but not with all that it names. The message says what does not. ModelPool.
pub const DEGRADED: &str = "Degraded";
/// True: the RuntimeClass that is named exists, or none is named. SandboxClass.
pub const RUNTIME_CLASS_FOUND: &str = "RuntimeClassFound";
/// True: a pod with the sandboxes' labels reached the gateway and nothing that its NetworkPolicy forbids. Unknown until that was tried, or
/// where it could not be. SandboxClass.
pub const NETWORK_POLICY_ENFORCED: &str = "NetworkPolicyEnforced";
/// True: on the node that was probed Tasks can have the egress that the class allows: its Landlock has ABI 4 or newer, and the NetworkPolicy
/// is enforced. Absent where the class allows none. SandboxClass.
pub const EGRESS_POSSIBLE: &str = "EgressPossible";
/// True: the pod that was probed had a user namespace of its own, as `hostUsers: false` demands. Absent where the class does not demand it.
/// SandboxClass.
pub const USER_NAMESPACE: &str = "UserNamespace";
/// True: the Task is valid, its references are resolved, and it is or was carried out.
pub const ACCEPTED: &str = "Accepted";
/// True: the Task ended otherwise than complete (kstatus reads it as Failed).
pub const STALLED: &str = "Stalled";
/// True: the Task did what it was asked, and its check, if it has one, said so.
pub const COMPLETE: &str = "Complete";
/// True: the Task failed.
pub const FAILED: &str = "Failed";
/// True: the Task ended, in whatever way. `kubectl wait --for=condition=Finished` always ends.
pub const FINISHED: &str = "Finished";
/// True: the Task's budget covers the next call, as far as is known.
pub const BUDGET_AVAILABLE: &str = "BudgetAvailable";
/// True: a counter of the budget has no room: the last call that was asked for did not fit, or nothing is left. Budget.
pub const EXCEEDED: &str = "Exceeded";
/// True: before the first line of untrusted code ran, its sandbox was proven to reach nothing, or with egress nothing but its proxy; where
/// the class demands it, and with egress always, so was the pod's NetworkPolicy. The message says what was tried.
pub const ISOLATED: &str = "Isolated";

/// Reasons of conditions. A reason says why a condition has its status, and is a closed vocabulary beside the failure classes.
pub mod reason {
    /// The object can be used.
    pub const READY: &str = "Ready";
    /// The schema or a rule of validation does not allow the spec. The message names the field.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// A command of the agent cannot be used: its name, its params, its prompt, or an example that they do not take. The message names it.
    pub const INVALID_COMMAND: &str = "InvalidCommand";
    /// The parameters do not fit what the agent, or its command, takes.
    pub const INVALID_PARAMS: &str = "InvalidParams";
    /// Something that is named does not exist or may not be used from here. It is waited for.
    pub const REFS_NOT_RESOLVED: &str = "RefsNotResolved";
    /// Everything that is named is there.
    pub const RESOLVED: &str = "Resolved";
    /// A Secret does not exist.
    pub const SECRET_MISSING: &str = "SecretMissing";
    /// A Secret has no usable key under that name.
    pub const SECRET_INVALID: &str = "SecretInvalid";
    /// The gateway may not read the Secret. The message has the command that grants it.
    pub const SECRET_FORBIDDEN: &str = "SecretForbidden";
    /// The provider refused the key.
    pub const KEY_REFUSED: &str = "KeyRefused";
    /// The accounts behind the keys have no money or quota left, as the provider said. They are tried again within minutes.
    pub const KEY_EXHAUSTED: &str = "KeyExhausted";
    /// Nothing is sent there until its owner or the administrator changes what the message says, like an address that providers may not have.
    pub const UNUSABLE: &str = "Unusable";
    /// The provider needs no key.
    pub const NO_KEYS: &str = "NoKeys";
    /// The endpoint answered.
    pub const ANSWERED: &str = "Answered";
    /// The endpoint did not answer.
    pub const NO_ANSWER: &str = "NoAnswer";
    /// Nothing was sent there yet.
    pub const NOT_TRIED: &str = "NotTried";
    /// The gateway has not told about this object yet.
    pub const GATEWAY_PENDING: &str = "GatewayPending";
    /// `spec.suspend` is true: no new call is taken.
    pub const SUSPENDED: &str = "Suspended";
    /// Everything that is named serves.
    pub const ALL_USABLE: &str = "AllUsable";
    /// A member of the pool cannot be used, or is left alone for a while.
    pub const MEMBER_UNUSABLE: &str = "MemberUnusable";
    /// An older pool of the namespace has the same alias, which means that one.
    pub const ALIAS_TAKEN: &str = "AliasTaken";
    /// No member of the pool can be used.
    pub const NO_USABLE_MEMBER: &str = "NoUsableMember";
    /// No RuntimeClass is named: the cluster's default runtime is used.
    pub const DEFAULT_RUNTIME: &str = "DefaultRuntime";
    /// The RuntimeClass exists.
    pub const FOUND: &str = "Found";
    /// The RuntimeClass does not exist.
    pub const NOT_FOUND: &str = "NotFound";
    /// A pod of the class reached nothing that it must not reach.
    pub const ENFORCED: &str = "Enforced";
    /// A pod of the class reached what it must not reach. The message says what.
    pub const NOT_ENFORCED: &str = "NotEnforced";
    /// The probe of the class is under way.
    pub const PROBING: &str = "Probing";
    /// The probe of the class gave no result. The message says why, and how to have it made again.
    pub const PROBE_FAILED: &str = "ProbeFailed";
    /// The node that was probed has what the class offers.
    pub const POSSIBLE: &str = "Possible";
    /// The class demands Landlock, or a version of it, which the kernel of the node that was probed does not have.
    pub const LANDLOCK_MISSING: &str = "LandlockMissing";
    /// The users of the pod that was probed are nobody on its node.
    pub const OWN_USERS: &str = "OwnUsers";
    /// The users of the pod that was probed are those of its node, though the class demands others.
    pub const NODE_USERS: &str = "NodeUsers";
    /// The SandboxClass does not allow it.
    pub const REFUSED_BY_CLASS: &str = "RefusedByClass";
    /// The Task was taken on.
    pub const ACCEPTED: &str = "Accepted";
    /// The Task waits to be taken on.
    pub const PENDING: &str = "Pending";
    /// The agent runs as many Tasks as its `limits.parallelTasks` allows. The Task waits for its turn.
    pub const AGENT_BUSY: &str = "AgentBusy";
    /// The namespace runs as many Tasks as the installation allows (the chart's `limits`). The Task waits for its turn.
    pub const NAMESPACE_BUSY: &str = "NamespaceBusy";
    /// The Task's Job is suspended in the queue that `spec.queue` names. The Task waits until Kueue lets it run.
    pub const IN_QUEUE: &str = "InQueue";
    /// An attempt is being started.
    pub const STARTING: &str = "Starting";
    /// An attempt runs.
    pub const RUNNING: &str = "Running";
    /// The next attempt waits for its back-off.
    pub const RETRYING: &str = "Retrying";
    /// The Task did what it was asked.
    pub const COMPLETE: &str = "Complete";
    /// The Task failed; `status.failure` tells the class.
    pub const FAILED: &str = "Failed";
    /// Somebody paused the Task: it goes on when `spec.state` is Running again.
    pub const PAUSED: &str = "Paused";
    /// The Task was cancelled.
    pub const CANCELLED: &str = "Cancelled";
    /// What the Task did is undone.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// The budget covers the next call.
    pub const WITHIN_BUDGET: &str = "WithinBudget";
    /// The budget does not cover the next call.
    pub const BUDGET_EXCEEDED: &str = "BudgetExceeded";
    /// A Budget of the cluster does not cover the next call. The Task waits for its reset, or until it is raised.
    pub const WINDOW_EXCEEDED: &str = "WindowExceeded";
    /// The Task waits for people to decide an Approval. The message has the command.
    pub const WAITING_FOR_APPROVAL: &str = "WaitingForApproval";
    /// The Task waits for another one, to which it gave work.
    pub const WAITING_FOR_TASK: &str = "WaitingForTask";
    /// As many runs of the Workflow with the same key go on as may (`concurrency`). The message says which.
    pub const WAITING_FOR_SLOT: &str = "WaitingForSlot";
    /// The steps of the Task that are under way wait for time to pass, or for a condition.
    pub const WAITING_FOR_TIME: &str = "WaitingForTime";
    /// An agent plans how the goal of the Task is reached.
    pub const PLANNING: &str = "Planning";
    /// People can decide the Approval. The message has the command.
    pub const WAITING: &str = "Waiting";
    /// Enough people approved.
    pub const APPROVED: &str = "Approved";
    /// Somebody rejected.
    pub const REJECTED: &str = "Rejected";
    /// The time is over. Of an Approval with `onTimeout: Approve` that approves it.
    pub const TIMED_OUT: &str = "TimedOut";
    /// The Task that asked is over, or gone.
    pub const TASK_ENDED: &str = "TaskEnded";
    /// No Task says that it asked. Nothing comes of it.
    pub const NOT_ASKED: &str = "NotAsked";
    /// Every probe was refused.
    pub const PROVEN: &str = "Proven";
    /// A probe reached something, or could not be made.
    pub const UNPROVEN: &str = "Unproven";
    /// No untrusted code is run.
    pub const NOT_NEEDED: &str = "NotNeeded";
}

/// Sets a condition in a list: keeps the transition time unless the status changes, and always sets `observedGeneration`.
/// Messages are cut at 32,768 bytes, the API's bound.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: Option<bool>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: jiff::Timestamp,
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let mut end = message.len().min(32_768);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = message.get(..end).unwrap_or_default();
    match conditions.iter_mut().find(|held| held.type_ == kind) {
        Some(held) => {
            if held.status != status {
                held.last_transition_time = Time(now);
                status.clone_into(&mut held.status);
            }
            reason.clone_into(&mut held.reason);
            message.clone_into(&mut held.message);
            held.observed_generation = generation;
        }
        None => conditions.push(Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: generation,
            last_transition_time: Time(now),
        }),
    }
}

/// The API stores times to the second; a finer one would differ from what is read back, and be written again and again.
#[must_use]
pub fn whole_second(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Whether a condition is True.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions
        .iter()
        .any(|held| held.type_ == kind && held.status == "True")
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|held| held.type_ == kind)
}
