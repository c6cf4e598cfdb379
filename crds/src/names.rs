//! Names that more than one component must agree on: labels, annotations, and the names of children.

/// Label of sandbox pods and their Jobs; guarded by an admission policy. Its value is `true`.
pub const SANDBOX_LABEL: &str = "oarmaster.dev/sandbox";
/// Label of sandbox pods and their Jobs: UID of the Task.
pub const TASK_UID_LABEL: &str = "oarmaster.dev/task-uid";
/// Label of sandbox pods and their Jobs: number of the attempt.
pub const ATTEMPT_LABEL: &str = "oarmaster.dev/attempt";
/// Annotation of sandbox pods and their Jobs: name of the Task (too long for a label).
pub const TASK_ANNOTATION: &str = "oarmaster.dev/task";
/// Label of the pod and Job that probe a SandboxClass: UID of the class. They carry [`SANDBOX_LABEL`] too, so that the sandboxes'
/// NetworkPolicy and guards apply.
pub const CLASS_UID_LABEL: &str = "oarmaster.dev/class-uid";
/// Annotation of the pod and Job that probe a SandboxClass: name of the class.
pub const CLASS_ANNOTATION: &str = "oarmaster.dev/class";
/// Annotation that people set on a SandboxClass to have it probed again: any value that it did not have before.
pub const PROBE_ANNOTATION: &str = "oarmaster.dev/probe";
/// ServiceAccount of the pods that probe a SandboxClass, made by the chart in the namespace of the installation. It has no rights.
pub const PROBE_SERVICE_ACCOUNT: &str = "oarmaster-probe";
/// The one container of such a pod.
pub const PROBE_CONTAINER: &str = "probe";
/// Label of a Task that another one asked for: UID of that one. Guarded by an admission policy, as are those below that such a Task has alone.
pub const PARENT_UID_LABEL: &str = "oarmaster.dev/parent-uid";
/// Label of a Task that no other one asked for, `true`: by it the roots of all trees are listed.
pub const ROOT_LABEL: &str = "oarmaster.dev/root";
/// Label of such a Task: UID of the Task at the root of the tree.
pub const ROOT_UID_LABEL: &str = "oarmaster.dev/root-uid";
/// Label of such a Task: how many Tasks are above it.
pub const DEPTH_LABEL: &str = "oarmaster.dev/depth";
/// Label of a Task of a step: the name of the Workflow. The ledger sums costs up by it. People and other engines may put it on a Task of their own;
/// that of a Task that the operator made stays.
pub const WORKFLOW_LABEL: &str = "oarmaster.dev/workflow";
/// Label of a Task or an Approval of a step: the step's name. Others of its run send messages to a Task by it, so it is guarded as well.
pub const STEP_LABEL: &str = "oarmaster.dev/step";
/// Label of a Task of an item of a step: which one, from 0. Guarded.
pub const ITEM_LABEL: &str = "oarmaster.dev/item";
/// Label of the Task that a planner plans in: the number of the plan, from 1.
pub const PLAN_LABEL: &str = "oarmaster.dev/plan";
/// Label of such a Task that is handed files: id of the request whose files they are. Guarded as they are.
pub const FILES_LABEL: &str = "oarmaster.dev/files-of";
/// Label of the Tasks that end a run, in `finally` or by undoing: they may spend what the run keeps for them.
pub const ENDS_LABEL: &str = "oarmaster.dev/ends-run";
/// Labels that the operator alone sets and changes on Tasks, Approvals, Leases and ControllerRevisions; [`ROOT_LABEL`] besides the webhook, on a new
/// Task. Held by the policy `oarmaster-reserved`. Those of Jobs and pods have policies of their own, which follow from [`SANDBOX_LABEL`].
pub const RESERVED_LABELS: [&str; 10] = [
    PARENT_UID_LABEL,
    ROOT_LABEL,
    ROOT_UID_LABEL,
    DEPTH_LABEL,
    STEP_LABEL,
    ITEM_LABEL,
    PLAN_LABEL,
    FILES_LABEL,
    ENDS_LABEL,
    TASK_UID_LABEL,
];
/// On a ModelPool: when its cache was emptied last. Any change of it has the gateway give no answer again that it kept before.
pub const CACHE_FLUSHED_ANNOTATION: &str = "oarmaster.dev/cache-flushed";
/// Field manager of everything the operator writes.
pub const FIELD_MANAGER: &str = "oarmaster-operator";
/// ServiceAccount of sandbox pods, made by the controller in each namespace that runs Tasks. It has no rights.
pub const SANDBOX_SERVICE_ACCOUNT: &str = "oarmaster-sandbox";
/// NetworkPolicy of sandbox pods, made by the controller in each namespace that runs Tasks.
pub const SANDBOX_POLICY: &str = "oarmaster-sandbox";
/// ConfigMap of the installation's namespace with the limits of namespaces.
pub const LIMITS: &str = "oarmaster-limits";
/// Label of a Job by which Kueue knows its LocalQueue. It is Kueue's, not ours.
pub const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";
/// Name that a reference means when it is absent: the pool `default`, the class `default`.
pub const DEFAULT: &str = "default";
/// Container of a sandbox pod that runs the agent loop.
pub const PILOT_CONTAINER: &str = "pilot";
/// Container (native sidecar) of a sandbox pod that runs untrusted code.
pub const EXEC_CONTAINER: &str = "exec";
/// Init container of a sandbox pod that copies the supervisor in.
pub const INSTALL_CONTAINER: &str = "install";

/// Name of the Job of an attempt: `<task name, 40 characters>-<10 base32 of the Task's UID>-<attempt>`, at most 63 characters for
/// attempts below 10^11. Deterministic, so that a repeated create finds the first one.
#[must_use]
pub fn job_name(task: &str, uid: &str, attempt: u32) -> String {
    let hash = base32(uid.as_bytes(), 10);
    format!("{}-{hash}-{attempt}", shortened(task))
}

/// Name of the Task that is made for a request: `<parent's name, 30 characters>-<agent, 15>-<10 base32 of the parent's UID and the request>`.
#[must_use]
pub fn child_name(parent: &str, uid: &str, agent: &str, request: &str) -> String {
    let hash = base32(format!("{uid}\n{request}").as_bytes(), 10);
    format!("{}-{}-{hash}", part(parent, 30), part(agent, 15))
}

/// Name of the ControllerRevision that keeps the Workflow that a Task runs: `<Task's name, 40 characters>-<10 base32 of the Task's UID>`.
#[must_use]
pub fn revision_name(task: &str, uid: &str) -> String {
    format!("{}-{}", part(task, 40), base32(uid.as_bytes(), 10))
}

/// Name of the Lease that stands for a place among the runs of a Workflow with the same key: `<32 base32 of namespace, Workflow and key>-<which one>`.
#[must_use]
pub fn slot_name(namespace: &str, workflow: &str, key: &str, which: i64) -> String {
    let of = format!("{namespace}\n{workflow}\n{key}");
    format!("{}-{which}", base32(of.as_bytes(), 32))
}

/// Name of the ControllerRevision that keeps a plan of a Task with a goal, from 1: that of a run, and the number.
#[must_use]
pub fn plan_name(task: &str, uid: &str, number: i64) -> String {
    format!("{}-{number}", revision_name(task, uid))
}

/// Name of the Approval that is made for a request, the `round`th time: `<Task's name, 30 characters>-<tool, 12>-<10 base32 of the Task's UID
/// and the request>-<round>`.
#[must_use]
pub fn approval_name(task: &str, uid: &str, tool: &str, request: &str, round: i64) -> String {
    let hash = base32(format!("{uid}\n{request}").as_bytes(), 10);
    // Those of MCP servers have underscores, which no name has.
    let tool = tool.to_ascii_lowercase().replace('_', "-");
    format!("{}-{}-{hash}-{round}", part(task, 30), part(&tool, 12))
}

/// Name of the Job that probes a SandboxClass: `probe-<class name, 40 characters>-<10 base32>`, at most 57 characters. Who changes the
/// class (its generation), asks for a probe (`asked`, the value of [`PROBE_ANNOTATION`]) or installs another runner gets another name.
#[must_use]
pub fn probe_job_name(
    class: &str,
    uid: &str,
    generation: i64,
    asked: &str,
    runner: &str,
) -> String {
    let hash = base32(
        format!("{uid}\n{generation}\n{runner}\n{asked}").as_bytes(),
        10,
    );
    format!("probe-{}-{hash}", shortened(class))
}

/// The first 40 characters of an object's name, as a part of a Job's name, which becomes a label value and a host name: dots would split
/// it.
fn shortened(name: &str) -> String {
    part(name, 40)
}

fn part(name: &str, most: usize) -> String {
    let short: String = name.chars().take(most).collect();
    short.trim_end_matches(['-', '.']).replace('.', "-")
}

/// The first `length` characters of the base32 form (RFC 4648 alphabet, lower case) of the SHA-256 of `input`; at most 51.
#[must_use]
pub fn base32(input: &[u8], length: usize) -> String {
    use sha2::{Digest, Sha256};

    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = Sha256::digest(input);
    let mut bits = 0u32;
    let mut count = 0u32;
    let mut text = String::with_capacity(length);
    for byte in hash {
        if text.len() == length {
            break;
        }
        bits = (bits << 8) | u32::from(byte);
        count += 8;
        while count >= 5 && text.len() < length {
            count -= 5;
            let index = ((bits >> count) & 31) as usize;
            if let Some(&letter) = ALPHABET.get(index) {
                text.push(char::from(letter));
            }
        }
        bits &= (1 << count) - 1;
    }
    text
}

/// Digest of a spec, as in `status.pinned`: `sha256:` and 64 hex digits over its JSON with sorted keys.
///
/// # Errors
/// When the spec cannot be serialised, which no type of this crate does.
pub fn spec_digest<T: serde::Serialize>(spec: &T) -> Result<String, serde_json::Error> {
    Ok(digest(&serde_json::to_vec(&serde_json::to_value(spec)?)?)) // Value sorts its keys
}

/// `sha256:` and the SHA-256 of some bytes in 64 hex digits, as `sha256sum` has them.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write as _;

    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
    }
    text
}

/// Whether a label is one by which a sandbox pod is known: ours, and those by which the Job controller finds its pods.
#[must_use]
pub fn says_whose_a_pod_is(label: &str) -> bool {
    match label.split_once('/') {
        Some(("batch.kubernetes.io", _)) => true,
        Some((domain, _)) => domain
            .strip_suffix(crate::GROUP)
            .is_some_and(|above| above.is_empty() || above.ends_with('.')),
        None => matches!(label, "job-name" | "controller-uid"),
    }
}

/// Whether a text is a label of RFC 1123, as the name of a namespace is.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// Whether a text is a subdomain of RFC 1123, as the names of our objects are.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
/// Between the name of an MCP server and that of its tool.
pub const MCP_SEPARATOR: &str = "__";

/// The name of an MCP server's tool for the model: in the characters that every model's API takes.
#[must_use]
pub fn mcp_tool(server: &str, tool: &str) -> String {
    let letters = tool.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() || letter == '-' => letter,
        _ => '_',
    });
    let mut name = format!("{server}{MCP_SEPARATOR}");
    name.extend(letters);
    name
}
