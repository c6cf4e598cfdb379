//! `oar run`.

use super::{decide, is_run, name, params, watch};
use crate::args::Run;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::{files, output, text};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use oarmaster_crds::conditions::{self, READY};
use oarmaster_crds::kinds::approval::{Approvers, OnTimeout};
use oarmaster_crds::kinds::goal::{PLANNED_STEPS, PlanApproval};
use oarmaster_crds::kinds::task::AgentCall;
use oarmaster_crds::{
    Allow, Allowance, GepDuration, GoalSpec, LocalRef, RunWorkflow, Task, TaskSpec, Usd,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an agent is asked when the user gives it files and no words.
const PROMPT: &str = "Do what your instructions say with the files in the workspace.";

pub async fn run(cluster: &Cluster, args: Run) -> Result<(), Error> {
    let Run {
        agent,
        workflow,
        goal,
        planner,
        allow,
        steps,
        approve_plan,
        command,
        params: words,
        files,
        skip_binary,
        name: wanted,
        budget,
        timeout,
        priority,
        queue,
        watch,
        output,
    } = args;
    let budget = budget.map(money).transpose()?;
    let timeout = timeout.map(duration).transpose()?;
    let (target, mut spec) = match (workflow, goal) {
        (_, Some(text)) => {
            let planner = planner.unwrap_or_default();
            let plain = Allow::default();
            let allow = Allow {
                agents: allow,
                steps: steps.unwrap_or(PLANNED_STEPS),
                ..plain
            };
            let spec = of_goal(cluster, text, &planner, allow, approve_plan).await?;
            (planner, spec)
        }
        (Some(name), None) => {
            let spec = of_workflow(cluster, &name, words).await?;
            (name, spec)
        }
        (None, None) => {
            let name = agent.unwrap_or_default();
            let files = files.map(|folder| (folder, skip_binary));
            let spec = of_agent(cluster, &name, command, words, files).await?;
            (name, spec)
        }
    };
    spec.budget = budget;
    spec.priority = priority.unwrap_or_default();
    spec.queue = queue;
    if let Some(timeout) = timeout {
        spec.timeout = timeout;
    }
    let wanted = wanted.unwrap_or_else(|| generated(&target));
    let task = create(cluster, &wanted, spec).await?;
    if let Some(format) = output {
        return output::data(&task, format);
    }
    output::line(&format!(
        "Task {} is created in namespace {}",
        name(&task),
        cluster.namespace
    ))?;
    if watch {
        return watch::watch(cluster, &task).await;
    }
    let (name, flags) = (name(&task), cluster.flags());
    output::line(&if is_run(&task) {
        format!("To see its steps: oar get {name} --watch{flags}")
    } else {
        format!("To see what it does: oar logs -f {name}{flags}")
    })
}

async fn of_workflow(
    cluster: &Cluster,
    name: &str,
    words: Vec<(String, String)>,
) -> Result<TaskSpec, Error> {
    let held = cluster.workflow(name).await?;
    let params = params::of_workflow(&held, words)?;
    let conditions = held.status.as_ref().map(|status| &*status.conditions);
    warn("Workflow", name, conditions.unwrap_or_default());
    Ok(TaskSpec {
        workflow: Some(RunWorkflow::named(name)),
        params: (!params.is_empty()).then_some(params),
        ..TaskSpec::default()
    })
}

/// `approve`: whether whoever calls is asked before a plan runs.
async fn of_goal(
    cluster: &Cluster,
    text: String,
    planner: &str,
    allow: Allow,
    approve: bool,
) -> Result<TaskSpec, Error> {
    if text.trim().is_empty() {
        return Err(Error::input("the goal is empty").next("--goal 'Make the tests pass.'"));
    }
    for name in allow.agents.iter().map(String::as_str).chain([planner]) {
        let held = cluster.agent(name).await?;
        let conditions = held.status.as_ref().map(|status| &*status.conditions);
        warn("Agent", name, conditions.unwrap_or_default());
    }
    let approve_plan = if approve {
        Some(PlanApproval {
            approvers: Approvers {
                users: vec![decide::own_name(cluster).await?],
                groups: Vec::new(),
                count: 1,
                allow_requester: true,
            },
            timeout: GepDuration::new("24h"),
            on_timeout: OnTimeout::Reject,
        })
    } else {
        None
    };
    Ok(TaskSpec {
        goal: Some(GoalSpec {
            text,
            planner: LocalRef::new(planner),
            allow,
            approve_plan,
        }),
        ..TaskSpec::default()
    })
}

/// `files`: a folder, and whether its binary files are left out. What is wrong here is said before the cluster is asked.
async fn of_agent(
    cluster: &Cluster,
    agent: &str,
    command: Option<String>,
    words: Vec<(String, String)>,
    files: Option<(PathBuf, bool)>,
) -> Result<TaskSpec, Error> {
    let mut spec = TaskSpec {
        agent: Some(AgentCall {
            name: Some(agent.to_owned()),
            command: command.clone(),
            ..AgentCall::default()
        }),
        ..TaskSpec::default()
    };
    if command.is_none() {
        spec.params = Some(parameters(words.clone(), files.is_some())?);
    }
    if let Some((folder, skip_binary)) = &files {
        let found = files::read(folder, *skip_binary)?;
        for line in &found.skipped {
            eprintln!("warning: {}", text::clean(line));
        }
        eprintln!(
            "{} files with {} from {}",
            found.files.len(),
            text::bytes(found.bytes),
            folder.display()
        );
        spec.files = found.files;
    }
    let held = cluster.agent(agent).await?;
    let conditions = held.status.as_ref().map(|status| &*status.conditions);
    warn("Agent", agent, conditions.unwrap_or_default());
    if let Some(name) = &command {
        spec.params = Some(params::read(&held, name, words)?);
    }
    Ok(spec)
}

fn parameters(given: Vec<(String, String)>, files: bool) -> Result<BTreeMap<String, Value>, Error> {
    let mut params = BTreeMap::new();
    for (key, value) in given {
        if key != "prompt" {
            return Err(Error::input(format!("an agent takes no parameter '{key}'"))
                .next("It takes prompt: -p prompt='Make the tests pass.'; or name one of its commands with --command, `oar commands` lists them."));
        }
        if params.insert(key, Value::String(value)).is_some() {
            return Err(Error::input("-p prompt is given twice"));
        }
    }
    match params.get("prompt").and_then(Value::as_str) {
        Some(text) if text.trim().is_empty() => {
            return Err(
                Error::input("the prompt is empty").next("-p prompt='Make the tests pass.'")
            );
        }
        Some(text) if text.chars().count() > 131_072 => {
            return Err(Error::input("the prompt has more than 131072 characters")
                .next("Give long texts as files: --files DIR."));
        }
        None if files => {
            params.insert("prompt".to_owned(), Value::String(PROMPT.to_owned()));
        }
        None => {
            return Err(Error::input("the agent needs to know what it is to do")
                .next("Give it words, files, or both: -p prompt='...' --files DIR."));
        }
        Some(_) => {}
    }
    Ok(params)
}

fn money(text: String) -> Result<Allowance, Error> {
    let usd = Usd(text);
    match usd.pico() {
        Ok(_) => Ok(Allowance {
            usd: Some(usd),
            ..Allowance::default()
        }),
        Err(error) => Err(Error::input("--budget cannot be used").source(error)),
    }
}

fn duration(text: String) -> Result<GepDuration, Error> {
    let duration = GepDuration(text);
    match duration.get() {
        Ok(_) => Ok(duration),
        Err(error) => Err(Error::input("--timeout is no duration").source(error)),
    }
}

/// A name that no other Task has: that of what it runs, and six letters.
fn generated(target: &str) -> String {
    let letters = oarmaster_crds::names::base32(uuid::Uuid::new_v4().as_bytes(), 6);
    let target: String = target.chars().take(200).collect();
    format!("{target}-{letters}")
}

/// That something is not Ready is no reason against a Task, which waits for it.
fn warn(kind: &str, name: &str, held: &[Condition]) {
    match conditions::find(held, READY) {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => eprintln!(
            "warning: {kind} {name} is not Ready ({}: {}); the Task waits until it is",
            text::clean(&ready.reason),
            text::clean(&ready.message)
        ),
        None => eprintln!("warning: {kind} {name} is not Ready yet; the Task waits until it is"),
    }
}

async fn create(cluster: &Cluster, wanted: &str, spec: TaskSpec) -> Result<Task, Error> {
    let mut task = Task::new(wanted, spec);
    task.metadata.namespace = Some(cluster.namespace.clone());
    let act = format!("failed to create Task {}/{wanted}", cluster.namespace);
    call(&act, cluster.tasks().create(&PostParams::default(), &task))
        .await
        .map_err(|error| {
            if error.line().contains("already exists") {
                return error.next(format!(
                    "A Task's name is taken once. Choose another --name, or look at that one: oar get {wanted}{}",
                    cluster.flags()
                ));
            }
            error
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_words_get_a_prompt() {
        let params = parameters(Vec::new(), true).unwrap();
        assert_eq!(params["prompt"], PROMPT);
        assert!(parameters(Vec::new(), false).is_err());
    }

    #[test]
    fn parameters_that_nothing_reads_are_refused() {
        let given = vec![("promt".to_owned(), "x".to_owned())];
        assert!(
            parameters(given, true)
                .unwrap_err()
                .line()
                .contains("promt")
        );
    }

    #[test]
    fn a_generated_name_is_a_name() {
        let name = generated("python-fixer");
        assert!(
            name.starts_with("python-fixer-") && name.len() == 19,
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
        assert_ne!(name, generated("python-fixer"));
    }

    #[test]
    fn budget_and_timeout_say_how_they_are_written() {
        assert!(money("0.25".to_owned()).is_ok());
        assert!(money("1e3".to_owned()).unwrap_err().line().contains("0.25"));
        assert!(duration("10m".to_owned()).is_ok());
        assert!(duration("10 minutes".to_owned()).is_err());
    }
}
