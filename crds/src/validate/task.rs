//! Checks of a Task.

use super::{Problem, Rule, bounds, git, goal, handover, sandbox};
use crate::commands::{self, MAX_PARAMS_BYTES};
use crate::kinds::task::{AgentCall, RunSpec, TaskSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest running time of a Task: seven days.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);
/// Longest wait between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(86_400);
/// Most bytes of inline files together; the whole assignment has the same bound.
const MAX_INLINE_BYTES: usize = 1 << 20;

/// Labels of objects that are made from Git or a package, and would be made again after a deletion.
pub const TRACKING_LABELS: [&str; 4] = [
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "app.kubernetes.io/managed-by",
];
/// Annotations of such objects.
pub const TRACKING_ANNOTATIONS: [&str; 2] = [
    "argocd.argoproj.io/tracking-id",
    "meta.helm.sh/release-name",
];

/// What is wrong with a Task. Its metadata is looked at for the marks of Argo CD, Flux and Helm.
#[must_use]
pub fn task(spec: &TaskSpec, metadata: &ObjectMeta) -> Vec<Problem> {
    let mut problems = Vec::new();
    match (&spec.agent, &spec.run, &spec.workflow, &spec.goal) {
        (Some(agent), None, None, None) => {
            which(&mut problems, agent);
            match &agent.command {
                None => params(&mut problems, spec),
                Some(name) => command_params(&mut problems, name, spec),
            }
        }
        (None, None, Some(workflow), None) => {
            goal::workflow(&mut problems, "spec.workflow", workflow);
            params_size(&mut problems, spec);
            only_steps(&mut problems, spec);
        }
        (None, None, None, Some(goal)) => {
            goal::goal(&mut problems, "spec.goal", goal);
            if spec.params.is_some() {
                let text = "are for an agent or a workflow; a goal says all in its text";
                problems.push(Problem::spec("spec.params", text).of(Rule::Params));
            }
            only_steps(&mut problems, spec);
        }
        (None, Some(run), None, None) => {
            if spec.params.is_some() {
                problems.push(
                    Problem::spec(
                        "spec.params",
                        "are for an agent or a workflow; code in run takes its values from run.env",
                    )
                    .of(Rule::Params),
                );
            }
            self::run(&mut problems, run);
            let egress = &run.sandbox.egress;
            problems.extend(git::reachable(&spec.files, "spec.run.sandbox", egress));
        }
        _ => problems.push(Problem::spec(
            "spec",
            "set exactly one of agent (with params), run (with command or code), workflow (with params) or goal",
        )),
    }
    handover::workspace(&mut problems, spec);
    memo(&mut problems, spec);
    files(&mut problems, spec);
    artifacts(&mut problems, spec);
    if let Some(accept) = &spec.accept {
        sandbox::accept(&mut problems, "spec.accept", accept);
    }
    if let Some(budget) = &spec.budget {
        bounds::budget(&mut problems, "spec.budget", budget);
    }
    bounds::duration(
        &mut problems,
        "spec.timeout",
        &spec.timeout,
        Duration::from_secs(1),
        MAX_TIMEOUT,
    );
    retry(&mut problems, spec);
    bounds::number(&mut problems, "spec.priority", spec.priority, -1000, 1000);
    if let Some(queue) = &spec.queue {
        self::queue(&mut problems, queue);
    }
    ttl(&mut problems, spec, metadata);
    if let Some(requester) = &spec.requested_by {
        bounds::text(&mut problems, "spec.requestedBy", requester, 1024);
    }
    problems
}

/// What a run does its steps do.
fn only_steps(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    let files = !spec.files.is_empty() || !spec.artifacts.is_empty();
    if files || spec.accept.is_some() || spec.workspace.is_some() {
        problems.push(Problem::spec(
            "spec",
            "files, artifacts, accept and workspace are for an agent or a run; those of a workflow stand in its steps",
        ));
    }
}

fn params(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    let params = spec.params.iter().flatten();
    let unknown: Vec<&str> = params
        .filter(|(name, _)| *name != "prompt")
        .map(|(name, _)| name.as_str())
        .take(8)
        .collect();
    if !unknown.is_empty() {
        problems.push(
            Problem::spec(
                "spec.params",
                format!(
                    "an agent takes prompt only, unless agent.command names one of its commands; remove {}",
                    unknown.join(", ")
                ),
            )
            .of(Rule::Params),
        );
    }
    match spec.params.as_ref().and_then(|params| params.get("prompt")) {
        Some(Value::String(prompt)) => {
            let mut found = Vec::new();
            bounds::text(&mut found, "spec.params.prompt", prompt, 131_072);
            problems.extend(found.into_iter().map(|problem| problem.of(Rule::Params)));
        }
        Some(_) => {
            problems.push(Problem::spec("spec.params.prompt", "write a text").of(Rule::Params))
        }
        None => problems.push(
            Problem::spec(
                "spec.params.prompt",
                "is missing: write what the agent is to do",
            )
            .of(Rule::Params),
        ),
    }
}

fn which(problems: &mut Vec<Problem>, agent: &AgentCall) {
    match (&agent.name, &agent.select) {
        (Some(name), None) => bounds::text(problems, "spec.agent.name", name, 253),
        (None, Some(select)) => {
            let field = "spec.agent.select.capabilities";
            if select.capabilities.is_empty() {
                problems.push(Problem::spec(field, "write at least one capability"));
            }
            super::agent::capabilities(problems, field, &select.capabilities);
        }
        _ => problems.push(Problem::spec(
            "spec.agent",
            "set exactly one of name (an Agent) or select (what it must be able to do)",
        )),
    }
    if agent.command.is_some() && agent.name.is_none() {
        let text = "goes with name: it is one of that Agent's";
        problems.push(Problem::spec("spec.agent.command", text));
    }
}

/// Whether they fit is seen where the Agent is known; here they are kept from being too large to look at.
fn command_params(problems: &mut Vec<Problem>, name: &str, spec: &TaskSpec) {
    if !commands::is_name(name) {
        problems.push(Problem::spec("spec.agent.command", commands::NAMES));
    }
    params_size(problems, spec);
}

fn params_size(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    let size = spec.params.as_ref().map_or(0, commands::json_bytes);
    if size > MAX_PARAMS_BYTES {
        let text = format!(
            "are {size} bytes of JSON: write at most {MAX_PARAMS_BYTES}, and give long texts as files"
        );
        problems.push(Problem::spec("spec.params", text).of(Rule::Params));
    }
}

fn run(problems: &mut Vec<Problem>, run: &RunSpec) {
    sandbox::sandbox(problems, "spec.run.sandbox", &run.sandbox);
    match (&run.code, run.command.is_empty()) {
        (Some(code), true) => {
            bounds::text(problems, "spec.run.code", code, 131_072);
            if run.language.is_none() {
                problems.push(Problem::spec(
                    "spec.run.language",
                    "is missing: write python, javascript, typescript, java or shell",
                ));
            }
        }
        (None, false) => {
            bounds::argv(problems, "spec.run.command", &run.command);
            if run.language.is_some() {
                problems.push(Problem::spec(
                    "spec.run.language",
                    "goes with code; remove it",
                ));
            }
        }
        _ => problems.push(Problem::spec(
            "spec.run",
            "set exactly one of command (a list of words) or code (with language)",
        )),
    }
    if let Some(pool) = &run.pool {
        bounds::reference(problems, "spec.run.pool", pool);
    }
    if run.env.len() > 64 {
        problems.push(Problem::spec("spec.run.env", "write at most 64 values"));
    }
    for (name, value) in &run.env {
        let named = name.len() <= 128
            && name
                .bytes()
                .next()
                .is_some_and(|byte| !byte.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !named {
            let shown: String = name.chars().take(40).collect();
            problems.push(Problem::spec(
                "spec.run.env",
                format!(
                    "'{shown}' is no name: write letters, digits and underscores, no digit first"
                ),
            ));
        }
        if value.chars().count() > 4096 {
            problems.push(Problem::spec(
                format!("spec.run.env[{name}]"),
                "has more than 4096 characters; give long texts as files",
            ));
        }
        if value.contains('\0') {
            problems.push(Problem::spec(
                format!("spec.run.env[{name}]"),
                "has a NUL character, which no program can be given",
            ));
        }
    }
}

fn files(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    bounds::list(problems, "spec.files", &spec.files, 128);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut bytes = 0usize;
    for (index, file) in spec.files.iter().enumerate() {
        let field = format!("spec.files[{index}]");
        if let Some(message) = git::path_problem(file) {
            problems.push(Problem::spec(format!("{field}.path"), message));
        } else if !seen.insert(&file.path) {
            problems.push(Problem::spec(
                format!("{field}.path"),
                format!("'{}' is there twice", file.path),
            ));
        }
        let sources = [
            file.content.is_some(),
            file.config_map.is_some(),
            file.git.is_some(),
            file.artifact.is_some(),
        ];
        if sources.iter().filter(|set| **set).count() != 1 {
            problems.push(Problem::spec(
                &field,
                "set exactly one of content, configMap, git or artifact",
            ));
        }
        if let Some(source) = &file.artifact {
            handover::artifact(problems, &format!("{field}.artifact"), source);
        }
        if let Some(source) = &file.git {
            git::git(problems, &format!("{field}.git"), source);
        }
        if let Some(content) = &file.content
            && content.chars().count() > 131_072
        {
            problems.push(Problem::spec(
                format!("{field}.content"),
                "has more than 131072 characters",
            ));
        }
        bytes = bytes.saturating_add(file.content.as_ref().map_or(0, String::len));
    }
    git::places(problems, &spec.files);
    handover::count(problems, &spec.files);
    // Those of which files may be a part.
    let directories: BTreeSet<&str> = spec
        .files
        .iter()
        .filter(|file| file.git.is_some() || file.artifact.is_some())
        .map(|file| file.path.as_str())
        .collect();
    seen.retain(|path| !directories.contains(path));
    for path in &seen {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        for parent in parents.filter(|parent| seen.contains(parent)) {
            problems.push(Problem::spec(
                "spec.files",
                format!("'{parent}' cannot be a file and the directory of '{path}'"),
            ));
        }
    }
    if bytes > MAX_INLINE_BYTES {
        problems.push(Problem::spec(
            "spec.files",
            format!("are {bytes} bytes together: write at most {MAX_INLINE_BYTES}"),
        ));
    }
}

fn artifacts(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    bounds::list(problems, "spec.artifacts", &spec.artifacts, 16);
    let mut seen = BTreeSet::new();
    for (index, artifact) in spec.artifacts.iter().enumerate() {
        let field = format!("spec.artifacts[{index}]");
        handover::name(problems, &format!("{field}.name"), &artifact.name);
        if !seen.insert(&artifact.name) {
            problems.push(Problem::spec(
                format!("{field}.name"),
                format!("'{}' is there twice", artifact.name),
            ));
        }
        if let Some(message) = bounds::path_problem(&artifact.path) {
            problems.push(Problem::spec(format!("{field}.path"), message));
        }
    }
}

fn memo(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    let Some(memo) = &spec.memo else {
        return;
    };
    bounds::text(problems, "spec.memo.key", &memo.key, 2048);
    let (least, most) = (Duration::from_secs(1), MAX_TIMEOUT);
    bounds::duration(problems, "spec.memo.ttl", &memo.ttl, least, most);
    if spec.earlier().is_some() || spec.goal.is_some() {
        problems.push(Problem::spec(
            "spec.memo",
            "does not go with continueFrom and replay, which begin with the record of one Task, nor with a goal, whose plans differ",
        ));
    }
}

fn retry(problems: &mut Vec<Problem>, spec: &TaskSpec) {
    bounds::number(problems, "spec.retry.limit", spec.retry.limit, 0, 20);
    bounds::list(problems, "spec.retry.on", &spec.retry.on, 16);
    let backoff = &spec.retry.backoff;
    bounds::number(problems, "spec.retry.backoff.factor", backoff.factor, 1, 10);
    bounds::duration(
        problems,
        "spec.retry.backoff.base",
        &backoff.base,
        Duration::ZERO,
        MAX_BACKOFF,
    );
    bounds::duration(
        problems,
        "spec.retry.backoff.max",
        &backoff.max,
        Duration::ZERO,
        MAX_BACKOFF,
    );
}

/// The name becomes the value of a label.
fn queue(problems: &mut Vec<Problem>, name: &str) {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().last()];
    let fits = name.len() <= 63
        && ends.into_iter().all(|byte| byte.is_some_and(plain))
        && name
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'-' | b'.'));
    if !fits {
        problems.push(Problem::spec(
            "spec.queue",
            "is no name of a LocalQueue: write 1 to 63 lower-case letters, digits, hyphens and dots, the first and last no hyphen or dot",
        ));
    }
}

fn ttl(problems: &mut Vec<Problem>, spec: &TaskSpec, metadata: &ObjectMeta) {
    let Some(ttl) = &spec.ttl_after_finished else {
        return;
    };
    if let Err(error) = ttl.get() {
        problems.push(Problem::spec("spec.ttlAfterFinished", error.to_string()));
    }
    let labels = metadata.labels.iter().flatten();
    let annotations = metadata.annotations.iter().flatten();
    let mark = labels
        .filter(|(name, _)| TRACKING_LABELS.contains(&name.as_str()))
        // Many tools write their own name here; only Helm's means that a package tracks the object.
        .filter(|(name, value)| *name != "app.kubernetes.io/managed-by" || *value == "Helm")
        .chain(annotations.filter(|(name, _)| TRACKING_ANNOTATIONS.contains(&name.as_str())))
        .map(|(name, _)| name.as_str())
        .next();
    if let Some(mark) = mark {
        problems.push(Problem::spec(
            "spec.ttlAfterFinished",
            format!("is refused on an object that Argo CD, Flux or Helm tracks ({mark}): it would be created, and so run, again after each deletion; remove ttlAfterFinished"),
        ));
    }
}
