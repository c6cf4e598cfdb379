//! The assignment of a Task's first attempt: pure.

use super::asked::Asked;
use oarmaster_crds::kinds::agent::{AgentCache, McpTool};
use oarmaster_crds::kinds::class::{Isolation, SandboxClassSpec};
use oarmaster_crds::kinds::sandbox::{AcceptSpec, Otherwise, SandboxSpec};
use oarmaster_crds::kinds::task::{Pinned, ReplayMode, ReplaySpec, RunSpec};
use oarmaster_crds::{Agent, GepDuration, ModelPool, Task, access, validate};
use oarmaster_protocol::assignment::{
    Accept, AgentTarget, ArtifactRule, Assignment, File, Judge, McpServer, Program, Replay,
    Repository, RunTarget, Sandbox, Score, SecretKey, Target, TaskRef, Workspace,
};
use std::collections::BTreeMap;

/// Most processes and threads of one call: enough for a JVM or a parallel build, far below a node's limit per pod.
const MAX_PROCESSES: u32 = 256;

/// How other parts name a Task.
#[must_use]
pub fn task_ref(task: &Task) -> TaskRef {
    TaskRef {
        namespace: task.metadata.namespace.clone().unwrap_or_default(),
        name: task.metadata.name.clone().unwrap_or_default(),
        uid: task.metadata.uid.clone().unwrap_or_default(),
    }
}

/// The files, with those from ConfigMaps. What is not there is added to `missing`.
pub fn files(
    task: &Task,
    config_maps: &BTreeMap<String, Option<BTreeMap<String, String>>>,
    missing: &mut Vec<String>,
) -> Vec<File> {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let mut files = Vec::with_capacity(task.spec.files.len());
    let texts = task.spec.files.iter();
    for file in texts.filter(|file| file.git.is_none() && file.artifact.is_none()) {
        let content = match (&file.content, &file.config_map) {
            (Some(content), _) => content.clone(),
            (None, Some(named)) => {
                let held = config_maps.get(&named.name).and_then(Option::as_ref);
                match held.map(|texts| texts.get(&named.key)) {
                    Some(Some(text)) => text.clone(),
                    Some(None) => {
                        missing.push(format!(
                            "ConfigMap {} in namespace {namespace} has no key {} in data; add it",
                            named.name, named.key
                        ));
                        continue;
                    }
                    None => {
                        missing.push(access::absent(
                            "ConfigMap",
                            (namespace, &named.name),
                            namespace,
                        ));
                        continue;
                    }
                }
            }
            (None, None) => String::new(), // refused by validation
        };
        files.push(File {
            path: file.path.clone(),
            content,
        });
    }
    files
}

/// The files that come from git, which the sandbox fetches itself.
fn repositories(task: &Task) -> Vec<Repository> {
    let files = task.spec.files.iter();
    files
        .filter_map(|file| {
            file.git.as_ref().map(|source| Repository {
                path: file.path.clone(),
                url: source.url.clone(),
                reference: source.reference.clone(),
            })
        })
        .collect()
}

/// An agent and what it is asked.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// What is pinned of it.
    pub pinned: &'a Pinned,
    /// What it is asked.
    pub asked: Asked<'a>,
}

/// What the attempt has to do.
#[must_use]
pub fn build(
    task: &Task,
    work: Option<Work<'_>>,
    pool: Option<&ModelPool>,
    files: Vec<File>,
    sandbox: Option<&SandboxSpec>,
    class: &SandboxClassSpec,
) -> Assignment {
    let accept = task.spec.accept.as_ref().or_else(|| {
        work.as_ref()
            .and_then(|work| work.agent.spec.accept.as_ref())
    });
    let run = task.spec.run.as_ref();
    let programs = pool.filter(|_| run.is_some_and(|run| run.pool.is_some()));
    Assignment {
        task: task_ref(task),
        target: match (work, run) {
            (Some(work), _) => Target::Agent(Box::new(agent_target(work, pool))),
            (None, run) => Target::Run(run.map_or_else(nothing, run_target)),
        },
        continues: None,
        handed: None,
        replay: None,
        workspace: Workspace::default(),
        placed: Vec::new(),
        repositories: repositories(task),
        files,
        artifacts: task
            .spec
            .artifacts
            .iter()
            .map(|artifact| ArtifactRule {
                name: artifact.name.clone(),
                path: artifact.path.clone(),
            })
            .collect(),
        accept: accept.map(|accept| self::accept(accept, run.is_some())),
        sandbox: sandbox.map(|sandbox| limits(sandbox, class, programs)),
    }
}

/// How another Task is replayed.
#[must_use]
pub fn replay(spec: &ReplaySpec) -> Replay {
    Replay {
        live: spec.mode == ReplayMode::RecordedThenLive,
        until: spec.until,
    }
}

/// How the gateway names a pool.
fn named(pool: &ModelPool) -> String {
    format!(
        "{}/{}",
        pool.metadata.namespace.as_deref().unwrap_or_default(),
        pool.metadata.name.as_deref().unwrap_or_default()
    )
}

fn agent_target(work: Work<'_>, pool: Option<&ModelPool>) -> AgentTarget {
    let Work {
        agent,
        pinned,
        asked,
    } = work;
    let spec = &agent.spec;
    AgentTarget {
        pinned: pinned.agent.clone(),
        instructions: spec.instructions.clone(),
        prompt: asked.prompt,
        model: pool.map(named).unwrap_or_default(),
        temperature: spec.model.temperature.clone(),
        max_output_tokens: bounded(spec.model.max_output_tokens),
        no_cache: spec.model.cache == AgentCache::Off,
        tools: spec
            .tools
            .iter()
            .filter_map(|tool| tool.builtin)
            .map(|builtin| builtin.as_str().to_owned())
            .collect(),
        mcp: servers(agent),
        delegates: pinned
            .requests
            .iter()
            .flat_map(|requests| requests.delegates.clone())
            .collect(),
        approvals: spec
            .approvals
            .iter()
            .map(|approval| approval.tool.clone())
            .collect(),
        pages: if spec.reads_pages() {
            spec.sandbox.egress.domains.clone()
        } else {
            Vec::new()
        },
        output_schema: asked.output.map(|output| output.schema.clone()),
        max_turns: bounded(spec.limits.turns),
        max_tool_calls: bounded(spec.limits.tool_calls),
    }
}

/// The MCP servers of an agent, whose keys are in the agent's namespace.
fn servers(agent: &Agent) -> Vec<McpServer> {
    let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
    let servers = agent.spec.tools.iter().filter_map(|tool| tool.mcp.as_ref());
    let server = |mcp: &McpTool| McpServer {
        name: mcp.name.clone(),
        url: mcp.url.clone(),
        key: mcp.secret_key_ref.as_ref().map(|named| SecretKey {
            namespace: namespace.to_owned(),
            name: named.name.clone(),
            key: named.key.clone(),
        }),
        allow: mcp.allow.clone(),
        timeout_ms: millis(&mcp.timeout),
    };
    servers.map(server).collect()
}

fn run_target(run: &RunSpec) -> RunTarget {
    let program = match &run.code {
        Some(code) => Program::Code {
            language: run.language().to_owned(),
            code: code.clone(),
        },
        None => Program::Command(run.command.clone()),
    };
    RunTarget {
        program,
        env: run.env.clone(),
    }
}

/// Unreachable after validation; an empty command starts nothing and fails with a clear message.
fn nothing() -> RunTarget {
    RunTarget {
        program: Program::Command(Vec::new()),
        env: BTreeMap::new(),
    }
}

fn accept(spec: &AcceptSpec, run: bool) -> Accept {
    let check = spec.check.as_ref();
    Accept {
        command: check.map(|check| check.command.clone()).unwrap_or_default(),
        exit_code: check.map_or(0, |check| i32::try_from(check.exit_code).unwrap_or(0)),
        judge: judge(spec),
        best: spec.otherwise == Some(Otherwise::Best),
        // A run does not answer to a red check, so a second round would only repeat it.
        rounds: if run { 1 } else { bounded(spec.rounds) },
    }
}

/// The judge and the score that accepts.
fn judge(spec: &AcceptSpec) -> Option<Judge> {
    let (number, inclusive) = validate::threshold(spec.when.as_deref()?)?;
    Some(Judge {
        agent: spec.judge.as_ref()?.name.clone(),
        score: Score::parse(number)?,
        inclusive,
    })
}

fn limits(
    sandbox: &SandboxSpec,
    class: &SandboxClassSpec,
    programs: Option<&ModelPool>,
) -> Sandbox {
    let egress = sandbox.egress.domains.clone();
    // Landlock keeps a program to one port, not to one machine: where it has one, the other half is the NetworkPolicy's.
    let policy = class.require_network_policy || !egress.is_empty() || programs.is_some();
    Sandbox {
        memory_bytes: sandbox.memory.bytes().unwrap_or_default(),
        disk_bytes: sandbox.disk.bytes().unwrap_or_default(),
        max_processes: MAX_PROCESSES,
        call_timeout_ms: millis(&sandbox.call_timeout),
        require_landlock: class.minimum_isolation == Isolation::Landlock,
        require_user_namespace: !class.host_users,
        network_policy_within_ms: policy.then(|| millis(&class.startup_timeout)),
        egress,
        pool: programs.map(named),
    }
}

/// A validated duration; one that is not is zero.
fn millis(duration: &GepDuration) -> u64 {
    let whole = duration.get().unwrap_or_default().as_millis();
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// A validated number as the protocol's type; the bounds of the schema are far inside it.
fn bounded(value: i64) -> u32 {
    u32::try_from(value.max(1)).unwrap_or(u32::MAX)
}
