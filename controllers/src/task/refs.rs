//! What a Task needs before an attempt can begin, from objects that were looked up: pure.

use super::asked::asked;
use super::assignment::{self, Work};
use super::census;
use super::hire::Hired;
use super::memo;
use super::requests;
use super::sources;
use crate::agent::pool::{Named, of_agent, of_run};
use oarmaster_crds::kinds::agent::Builtin;
use oarmaster_crds::kinds::class::SandboxClassSpec;
use oarmaster_crds::kinds::sandbox::SandboxSpec;
use oarmaster_crds::kinds::task::{Pinned, PinnedRequests, Questions};
use oarmaster_crds::validate::{self, Rule, summary};
use oarmaster_crds::{
    Agent, Allowance, GepDuration, ModelPool, SandboxClass, Task, UserIds, access, conditions,
    names,
};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::assignment::{Assignment, MAX_ASSIGNMENT_BYTES};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was looked up for a Task. `None`: it does not exist (or cannot be read).
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// The Agent that the Task names, or that was chosen for it.
    pub hired: Hired,
    /// The Tasks that it begins with, as far as they are there, by name: the one that it continues or replays, those whose files it has.
    pub awaited: BTreeMap<String, Arc<Task>>,
    /// The pool that the Agent means, or the `run`, if it may.
    pub pool: Option<Arc<ModelPool>>,
    /// The SandboxClass that applies.
    pub class: Option<Arc<SandboxClass>>,
    /// The ConfigMaps that the Task's files name, with their texts.
    pub config_maps: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// The user ids that the Task's namespace may have, where it has a range of them.
    pub uid_range: Option<String>,
}

impl Looked {
    /// A Task that it begins with.
    #[must_use]
    pub fn awaited(&self, name: &str) -> Option<&Task> {
        self.awaited.get(name).map(Arc::as_ref)
    }
}

/// The outcome of resolving.
#[derive(Clone, Debug, PartialEq)]
pub enum Refs {
    /// No attempt is about to begin: nothing was looked up.
    NotLooked,
    /// Something is not there yet. It is waited for.
    Missing(String),
    /// What is there cannot be carried out.
    Refused(FailureClass, String),
    /// An attempt can begin.
    Found(Box<Resolved>),
}

/// Everything that an attempt begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Name of the class.
    pub class_name: String,
    /// The class.
    pub class: SandboxClassSpec,
    /// The pod's user ids.
    pub users: UserIds,
    /// The sandbox beside the pilot, if one is needed.
    pub sandbox: Option<SandboxSpec>,
    /// Whether shared pilots run it: nothing of it needs a pod of its own, and the class allows it. Holding an output against a schema may take any time,
    /// as whoever wrote the schema chose.
    pub shared: bool,
    /// Why this agent was chosen, where one was.
    pub chosen: Option<String>,
    /// What is pinned, of an agent.
    pub pinned: Option<Pinned>,
    /// What the first attempt has to do. Later ones take it over at the gateway.
    pub assignment: Option<Assignment>,
    /// The Task's budget.
    pub budget: TaskBudget,
}

/// The SandboxClass that applies: a `run` names it, an Agent that is looked at does, and later it is what was pinned.
#[must_use]
pub fn class_name<'a>(task: &'a Task, agent: Option<&'a Agent>) -> Option<&'a str> {
    if let Some(run) = &task.spec.run {
        return Some(&run.sandbox.class.name);
    }
    agent
        .map(|agent| agent.spec.sandbox.class.name.as_str())
        .or_else(|| pinned(task).map(|pinned| pinned.class.as_str()))
        .filter(|name| !name.is_empty())
}

/// Whether the next attempt is the Task's first.
#[must_use]
pub fn first(task: &Task) -> bool {
    let status = task.status.as_ref();
    status.and_then(|status| status.attempt).unwrap_or(1) <= 1
        && status.is_none_or(|status| status.next_attempt_at.is_none())
}

fn pinned_agent(task: &Task) -> Option<&str> {
    task.status.as_ref().and_then(census::agent)
}

fn pinned(task: &Task) -> Option<&Pinned> {
    task.status.as_ref()?.pinned.as_ref()
}

/// The Task that the Task continues, or replays, if it is there and has what it takes.
fn earlier<'a>(task: &Task, looked: &'a Looked) -> Result<Option<&'a Task>, Refs> {
    let Some((field, named)) = task.spec.earlier() else {
        return Ok(None);
    };
    let found = sources::ended(task, field, &named.name, looked.awaited(&named.name))?;
    if let Some(source) = memo::source(found) {
        let text = format!(
            "{field}: Task {} has no record to begin with: it took the outcome of Task {} (spec.memo); name that one",
            named.name, source.name
        );
        return Err(Refs::Refused(FailureClass::InvalidInput, text));
    }
    let began = found.status.as_ref().and_then(|status| status.attempt);
    let problem = if found.spec.agent.is_none() {
        Some("ran code without an agent")
    } else if began.is_none() {
        Some("ended before its agent began")
    } else if found.spec.replay.is_some() {
        Some("is a replay")
    } else if task.spec.replay.is_some() && found.spec.earlier().is_some() {
        Some("begins with another Task's record itself")
    } else if task.spec.replay.is_some() && has_others_files(found) {
        Some("begins with another Task's files")
    } else {
        None
    };
    match problem {
        None => Ok(Some(found)),
        Some(problem) => Err(Refs::Refused(
            FailureClass::InvalidInput,
            format!(
                "{field}: Task {} has no record to begin with: it {problem}",
                named.name
            ),
        )),
    }
}

/// Whether a Task begins with the workspace of another one.
fn has_others_files(task: &Task) -> bool {
    let workspace = task.spec.workspace.as_ref();
    requests::handed(task).is_some() || workspace.is_some_and(|it| it.from.is_some())
}

/// What the first attempt begins with.
#[must_use]
pub fn resolve_first(task: &Task, looked: &Looked) -> Refs {
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let mut missing = Vec::new();
    let call = task.spec.agent.as_ref();
    let agent = call.and(looked.hired.agent.as_deref());
    if let (Some(call), None) = (call, agent) {
        missing.push(match &looked.hired.choice {
            Some(Err(nobody)) => nobody.clone(),
            _ => {
                let name = call.name.as_deref().or(pinned_agent(task));
                access::absent("Agent", (namespace, name.unwrap_or_default()), namespace)
            }
        });
    }
    if let Some(agent) = agent {
        if let Some(refused) = agent_refused(agent) {
            return refused;
        }
        let found = looked.pool.as_deref();
        match found {
            Some(_) if task.spec.is_recorded() => {} // it is asked for nothing
            _ => pool(&mut missing, of_agent(agent), found),
        }
    }
    let earlier = match earlier(task, looked) {
        Ok(earlier) => earlier,
        Err(Refs::Missing(what)) => {
            missing.push(what);
            None
        }
        Err(refused) => return refused,
    };
    let sources = match sources::sources(task, looked, &mut missing) {
        Ok(sources) => sources,
        Err(refused) => return refused,
    };
    let asked = match agent.map(|agent| asked(task, agent)) {
        Some(Ok(asked)) => Some(asked),
        Some(Err(Refs::Missing(what))) => {
            missing.push(what);
            None
        }
        Some(Err(refused)) => return refused,
        None => None,
    };
    if let Some(named) = of_run(task) {
        pool(&mut missing, named, looked.pool.as_deref());
    }
    let class_name = class_name(task, agent).unwrap_or(names::DEFAULT).to_owned();
    if agent.is_some() || task.spec.run.is_some() {
        class(&mut missing, &class_name, looked.class.as_deref());
    }
    let files = assignment::files(task, &looked.config_maps, &mut missing);
    let (class, users) = match class_and_users(missing, namespace, looked) {
        Ok(found) => found,
        Err(missing) => return missing,
    };
    if let Some(agent) = agent {
        let egress = &agent.spec.sandbox.egress;
        let problems = validate::reachable(&task.spec.files, "the Agent's spec.sandbox", egress);
        if !problems.is_empty() {
            return Refs::Refused(FailureClass::InvalidInput, summary(&problems));
        }
    }
    let sandbox = wanted_sandbox(task, agent);
    let problems = match (agent, &sandbox) {
        (Some(agent), _) => {
            let (field, runs_code) = ("the Agent's spec.sandbox", sandbox.is_some());
            validate::agent_within_class(field, &agent.spec, runs_code, &class_name, &class.spec)
        }
        (None, Some(sandbox)) => {
            validate::within_class("spec.run.sandbox", sandbox, &class_name, &class.spec)
        }
        (None, None) => Vec::new(),
    };
    if !problems.is_empty() {
        return Refs::Refused(FailureClass::RefusedByPolicy, summary(&problems));
    }
    // Nothing is run in what a record alone is held against.
    let beside = sandbox.clone().filter(|_| !task.spec.is_recorded());
    let own_pod = asked.as_ref().is_some_and(|asked| asked.output.is_some());
    let pinned = match agent.map(|agent| pin(agent, &class_name, beside.clone(), own_pod)) {
        Some(Err(error)) => {
            return Refs::Refused(FailureClass::Internal, error.to_string());
        }
        Some(Ok(pinned)) => Some(pinned),
        None => None,
    };
    let work = agent.zip(asked).zip(pinned.as_ref());
    let work = work.map(|((agent, asked), pinned)| Work {
        agent,
        pinned,
        asked,
    });
    let assignment = assignment::build(
        task,
        work,
        looked.pool.as_deref(),
        files,
        sandbox.as_ref(),
        &class.spec,
    );
    let assignment = Assignment {
        continues: earlier.map(assignment::task_ref),
        handed: requests::handed(task),
        workspace: sources.workspace,
        placed: sources.placed,
        replay: task.spec.replay.as_ref().map(assignment::replay),
        ..assignment
    };
    match serde_json::to_vec(&assignment) {
        Ok(bytes) if bytes.len() > MAX_ASSIGNMENT_BYTES => {
            return Refs::Refused(
                FailureClass::InvalidInput,
                format!(
                    "instructions, prompt and files are {} bytes together: at most {MAX_ASSIGNMENT_BYTES} can be handed to an attempt; take files out, or put them in the image",
                    bytes.len()
                ),
            );
        }
        Ok(_) => {}
        Err(error) => return Refs::Refused(FailureClass::Internal, error.to_string()),
    }
    Refs::Found(Box::new(Resolved {
        budget: budget(task, agent, &class.spec),
        class_name,
        class: class.spec.clone(),
        users,
        shared: beside.is_none() && !own_pod && may_share(task, class),
        sandbox: beside,
        chosen: looked.hired.why().map(str::to_owned),
        pinned,
        assignment: Some(assignment),
    }))
}

/// Whether shared pilots may run it: its class lets them, and it is to wait in no queue of Jobs.
fn may_share(task: &Task, class: &SandboxClass) -> bool {
    class.spec.shared_pilots && task.spec.queue.is_none()
}

/// What a later attempt begins with: what the first one did, under the administrator's rules of today.
#[must_use]
pub fn resolve_again(task: &Task, looked: &Looked) -> Refs {
    let class_name = class_name(task, None).unwrap_or(names::DEFAULT).to_owned();
    let mut missing = Vec::new();
    class(&mut missing, &class_name, looked.class.as_deref());
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let (class, users) = match class_and_users(missing, namespace, looked) {
        Ok(found) => found,
        Err(missing) => return missing,
    };
    let sandbox = match &task.spec.run {
        Some(run) => Some(run.sandbox.clone()),
        None => pinned(task).and_then(|pinned| pinned.sandbox.clone()),
    };
    if let Some(sandbox) = &sandbox {
        let problems = validate::within_class("sandbox", sandbox, &class_name, &class.spec);
        if !problems.is_empty() {
            return Refs::Refused(FailureClass::RefusedByPolicy, summary(&problems));
        }
    }
    Refs::Found(Box::new(Resolved {
        // The gateway knows the budget from the first attempt; only a raise in the Task has an effect there.
        budget: task.spec.budget.as_ref().map(in_pico).unwrap_or_default(),
        class_name,
        class: class.spec.clone(),
        users,
        shared: sandbox.is_none()
            && !pinned(task).is_some_and(|pinned| pinned.own_pod)
            && may_share(task, class),
        sandbox,
        chosen: None,
        pinned: pinned(task).cloned(),
        assignment: None,
    }))
}

fn agent_refused(agent: &Agent) -> Option<Refs> {
    let problems = validate::agent(&agent.spec);
    (!problems.is_empty()).then(|| {
        let name = agent.metadata.name.as_deref().unwrap_or_default();
        Refs::Refused(
            FailureClass::InvalidInput,
            format!("Agent {name}: {}", summary(&problems)),
        )
    })
}

fn pool(missing: &mut Vec<String>, named: Named<'_>, pool: Option<&ModelPool>) {
    let name = &named.pool.name;
    match pool {
        None => missing.push(named.absent()),
        // Its status says so too, but later: a Task that was made in between would start and find its calls refused.
        Some(pool) if pool.spec.suspend => {
            let (name, namespace) = (&pool.metadata.name, &pool.metadata.namespace);
            let name = name.as_deref().unwrap_or_default();
            missing.push(format!(
                "ModelPool {name} is suspended; to take calls again: oar pools resume {name} -n {}",
                namespace.as_deref().unwrap_or_default()
            ));
        }
        Some(pool) => {
            let status = pool.status.clone().unwrap_or_default();
            if !conditions::is_true(&status.conditions, conditions::READY) {
                let why = conditions::find(&status.conditions, conditions::READY)
                    .map_or("it was not looked at yet", |held| held.message.as_str());
                missing.push(format!("ModelPool {name} is not ready: {why}"));
            }
        }
    }
}

fn class(missing: &mut Vec<String>, name: &str, class: Option<&SandboxClass>) {
    match class {
        None => missing.push(access::absent("SandboxClass", ("", name), "")),
        Some(class) => {
            if let Some(why) = crate::class::blocked(class.status.as_ref()) {
                missing.push(format!("SandboxClass {name} is not ready: {why}"));
            }
        }
    }
}

/// The class and the pod's user ids, where nothing else is missing either. What is in the way of the ids is waited for: the namespace is watched.
fn class_and_users<'a>(
    mut missing: Vec<String>,
    namespace: &str,
    looked: &'a Looked,
) -> Result<(&'a SandboxClass, UserIds), Refs> {
    let class = looked.class.as_deref();
    let users = class.and_then(|class| {
        UserIds::of(&class.spec.users, looked.uid_range.as_deref())
            .map_err(|none| missing.push(format!("Namespace {namespace} {none}")))
            .ok()
    });
    class
        .zip(users)
        .filter(|_| missing.is_empty())
        .ok_or_else(|| Refs::Missing(missing.join("; ")))
}

/// A sandbox is needed for sandbox tools, for `run`, and where a workspace, files, artifacts or a check are.
fn wanted_sandbox(task: &Task, agent: Option<&Agent>) -> Option<SandboxSpec> {
    if let Some(run) = &task.spec.run {
        return Some(run.sandbox.clone());
    }
    let agent = agent?;
    let needed = agent.spec.has_sandbox_tools()
        || requests::handed(task).is_some()
        || task.spec.workspace.is_some()
        || !task.spec.files.is_empty()
        || !task.spec.artifacts.is_empty()
        || [&task.spec.accept, &agent.spec.accept]
            .into_iter()
            .flatten()
            .any(|accept| accept.check.is_some());
    needed.then(|| agent.spec.sandbox.clone())
}

fn pin(
    agent: &Agent,
    class: &str,
    sandbox: Option<SandboxSpec>,
    own_pod: bool,
) -> Result<Pinned, serde_json::Error> {
    let name = agent.metadata.name.as_deref().unwrap_or_default();
    Ok(Pinned {
        agent: format!("{name}@{}", names::spec_digest(&agent.spec)?),
        class: class.to_owned(),
        sandbox,
        own_pod,
        requests: requests(agent),
    })
}

/// What an agent may ask for; `None` when it may ask for nothing.
fn requests(agent: &Agent) -> Option<PinnedRequests> {
    let tool = |wanted: Builtin| {
        let mut tools = agent.spec.tools.iter();
        tools.find(|tool| tool.builtin == Some(wanted))
    };
    let delegates = tool(Builtin::Delegate).into_iter();
    let requests = PinnedRequests {
        delegates: delegates
            .flat_map(|tool| &tool.agents)
            .map(|agent| agent.name.clone())
            .collect(),
        judge: agent
            .spec
            .accept
            .as_ref()
            .and_then(|accept| accept.judge.as_ref())
            .map(|judge| judge.name.clone()),
        approvals: agent.spec.approvals.clone(),
        questions: tool(Builtin::AskHuman).and_then(|tool| {
            Some(Questions {
                approvers: tool.approvers.clone()?,
                timeout: tool
                    .timeout
                    .clone()
                    .unwrap_or_else(|| GepDuration::new("24h")),
            })
        }),
    };
    (requests != PinnedRequests::default()).then_some(requests)
}

fn budget(task: &Task, agent: Option<&Agent>, class: &SandboxClassSpec) -> TaskBudget {
    task.spec
        .budget
        .as_ref()
        .or_else(|| agent.and_then(|agent| agent.spec.budget.as_ref()))
        .map_or_else(|| in_pico(&class.default_task_budget), in_pico)
}

/// A budget in the gateway's units. Amounts were validated; one that is not is taken as zero, which spends nothing.
#[must_use]
pub fn in_pico(budget: &Allowance) -> TaskBudget {
    let count = |number| u64::try_from(number).unwrap_or(0);
    TaskBudget {
        pico_usd: budget.usd.as_ref().map(|usd| usd.pico().unwrap_or(0)),
        tokens: budget.tokens.map(count),
        tasks: budget.tasks.map(count),
        depth: budget.depth.map(count),
    }
}

/// The failure class of a broken rule.
#[must_use]
pub fn class_of(rule: Rule) -> FailureClass {
    match rule {
        Rule::Spec | Rule::Command => FailureClass::InvalidInput,
        Rule::Params => FailureClass::InvalidParams,
        Rule::Class => FailureClass::RefusedByPolicy,
    }
}
