//! Task: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use anyhow::Result;
use serde_json::{Value, json};

/// A Task that runs an agent.
pub fn agent() -> Value {
    object(
        "Task",
        json!({"agent": {"name": "coder"}, "params": {"prompt": "Fix it."}}),
    )
}

/// A Task that runs code.
pub fn run() -> Value {
    object("Task", json!({"run": {"command": ["true"]}}))
}

fn a(patch: Value) -> Value {
    with_spec(&agent(), patch)
}

fn r(patch: Value) -> Value {
    with_spec(&run(), patch)
}

/// A Task for an agent that can do this.
fn select(capabilities: Value) -> Value {
    a(json!({"agent": {"name": null, "select": {"capabilities": capabilities}}}))
}

/// As many parameters.
fn many(count: usize) -> Value {
    let named = |index| (format!("p{index}"), json!(index));
    Value::Object((0..count).map(named).collect())
}

fn files(files: Value) -> Value {
    a(json!({ "files": files }))
}

/// A Task with a workflow.
pub fn workflow() -> Value {
    object(
        "Task",
        json!({"workflow": {"name": "fix"}, "params": {"repo": "acme/app", "deep": [1]}}),
    )
}

/// A Task with a goal.
pub fn goal() -> Value {
    object(
        "Task",
        json!({"goal": {
            "text": "Make it pass.", "planner": {"name": "architect"},
            "allow": {"agents": ["coder"]},
            "approvePlan": {"approvers": {"groups": ["leads"]}},
        }}),
    )
}

/// A Task with the spec of a workflow.
pub fn inline() -> Value {
    let step = json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": "x"}});
    object(
        "Task",
        json!({"workflow": {"spec": {"steps": [step]}, "allow": {"agents": ["coder"], "steps": 3}}}),
    )
}

const TARGET: &str = "set exactly one of agent (with params), run (with command or code), workflow (with params) or goal";
const WHICH: &str = "set exactly one of name (an Agent) or select (what it must be able to do)";
const NAMED: &str = "command goes with name: it is one of that Agent's";
const PROMPT: &str = "an agent needs params.prompt: what it is to do; or agent.command with the params of that command";
const COMMAND: &str = "set exactly one of command (a list of words) or code (with language)";
const CONTENT: &str = "set exactly one of content, configMap, git or artifact";
const WORKSPACE: &str = "workspace does not go with continueFrom and replay, which say themselves what the workspace is";
const MEMO: &str = "memo does not go with continueFrom and replay, which begin with the record of one Task, nor with a goal, whose plans differ";
const PARAMS: &str = "params are for an agent or a workflow; code in run takes its values from run.env, and a goal says all in its text";
const PATH: &str = "path must be relative and stay inside the workspace";
const LANGUAGE: &str = "language goes with code: set both, or command";

pub fn cases() -> Vec<Case> {
    let mut all = target();
    all.extend(runs());
    all.extend(workspace());
    all.extend(bounds());
    all
}

fn target() -> Vec<Case> {
    vec![
        taken(
            "the highest priority, in a queue",
            a(json!({"priority": 1000, "queue": "team-a.nightly"})),
        ),
        denied(
            "a higher priority",
            a(json!({"priority": 1001})),
            &["spec.priority"],
        ),
        denied(
            "a lower priority",
            a(json!({"priority": -1001})),
            &["spec.priority"],
        ),
        denied(
            "a queue that is no label",
            a(json!({"queue": "Nightly"})),
            &["spec.queue"],
        ),
        taken("an agent", agent()),
        taken("a run", run()),
        taken("a workflow", workflow()),
        taken("a goal", goal()),
        taken("the spec of a workflow", inline()),
        denied(
            "a workflow by name and its spec",
            with_spec(&inline(), json!({"workflow": {"name": "fix"}})),
            &["set exactly one of name (a Workflow of this namespace) or spec (the spec of one)"],
        ),
        denied(
            "a workflow by name, and what it may name",
            with_spec(
                &workflow(),
                json!({"workflow": {"allow": {"agents": ["coder"]}}}),
            ),
            &["allow goes with spec: it says what that may name"],
        ),
        denied(
            "a goal with parameters",
            with_spec(&goal(), json!({"params": {"a": 1}})),
            &[PARAMS],
        ),
        denied(
            "a goal with a memo",
            with_spec(&goal(), json!({"memo": {"key": "v1", "ttl": "1h"}})),
            &[MEMO],
        ),
        denied(
            "a goal for whose plan nobody is asked",
            with_spec(
                &goal(),
                json!({"goal": {"approvePlan": {"approvers": {"groups": null}}}}),
            ),
            &["name groups, users, or both: those who may decide"],
        ),
        denied(
            "a goal that is rolled back",
            with_spec(&goal(), json!({"state": "RolledBack"})),
            &["state RolledBack is for a workflow"],
        ),
        denied(
            "a workflow with files",
            with_spec(
                &workflow(),
                json!({"files": [{"path": "a", "content": "b"}]}),
            ),
            &[
                "files, artifacts, accept and workspace are for an agent or a run; those of a workflow stand in its steps",
            ],
        ),
        denied(
            "a workflow with a workspace",
            with_spec(&workflow(), json!({"workspace": {"keep": true}})),
            &[
                "files, artifacts, accept and workspace are for an agent or a run; those of a workflow stand in its steps",
            ],
        ),
        denied(
            "a workflow and an agent",
            a(json!({"workflow": {"name": "fix"}})),
            &[TARGET],
        ),
        denied(
            "neither agent nor run",
            object("Task", json!({})),
            &[TARGET],
        ),
        denied(
            "both agent and run",
            a(json!({"run": {"command": ["true"]}})),
            &[TARGET],
        ),
        denied(
            "no spec",
            json!({
                "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "metadata": {"name": "case"},
            }),
            &["spec: Required value"],
        ),
        denied(
            "an agent by its bare name",
            a(json!({"agent": "coder"})),
            &["spec.agent", "must be of type object"],
        ),
        denied(
            "an agent without a name",
            a(json!({"agent": {"name": null}})),
            &[WHICH],
        ),
        taken("a choice of agents", select(json!(["python", "testing"]))),
        denied(
            "a choice and a name",
            a(json!({"agent": {"select": {"capabilities": ["python"]}}})),
            &[WHICH],
        ),
        denied(
            "a choice with a command",
            a(
                json!({"agent": {"name": null, "command": "explain", "select": {"capabilities": ["python"]}}}),
            ),
            &[NAMED],
        ),
        denied(
            "a choice of anything",
            select(json!([])),
            &["spec.agent.select.capabilities", "at least 1"],
        ),
        denied(
            "the same capability twice",
            select(json!(["python", "python"])),
            &["spec.agent.select.capabilities[1]", "Duplicate value"],
        ),
        denied(
            "a capability in words",
            select(json!(["Unit tests"])),
            &["spec.agent.select.capabilities[0]", "should match"],
        ),
        denied(
            "an agent without prompt",
            a(json!({"params": {"prompt": null}})),
            &[PROMPT],
        ),
        denied(
            "an agent without params",
            a(json!({"params": null})),
            &[PROMPT],
        ),
        denied(
            "an empty prompt",
            a(json!({"params": {"prompt": ""}})),
            &["spec.params.prompt", "at least 1"],
        ),
        denied(
            "a run with params",
            r(json!({"params": {"prompt": "x"}})),
            &["params are for an agent or a workflow; code in run takes its values from run.env"],
        ),
        denied(
            "a run that continues a Task",
            r(json!({"continueFrom": {"name": "earlier"}})),
            &["continueFrom is for an agent: code in run has no conversation to go on from"],
        ),
        denied(
            "a run that replays a Task",
            r(json!({"replay": {"task": {"name": "earlier"}}})),
            &["replay is for an agent: code in run has no record to be held against"],
        ),
        denied(
            "a replay that continues a Task",
            a(
                json!({"replay": {"task": {"name": "earlier"}}, "continueFrom": {"name": "earlier"}}),
            ),
            &[
                "set one of replay and continueFrom: a replay begins as the Task that it replays did",
            ],
        ),
        denied(
            "a replay of a part that asks no model after it",
            a(json!({"replay": {"task": {"name": "earlier"}, "until": 3}})),
            &[
                "replay.until says where the model is asked again: it needs replay.mode RecordedThenLive",
            ],
        ),
        denied(
            "an unknown field",
            a(json!({"agnt": {"name": "x"}})),
            &["unknown field \"spec.agnt\""],
        ),
        denied(
            "an unknown field below",
            a(json!({"agent": {"namespace": "x"}})),
            &["unknown field \"spec.agent.namespace\""],
        ),
        taken(
            "a command with what it takes",
            a(json!({
                "agent": {"command": "writeTests"},
                "params": {"prompt": null, "module": "parser", "count": 3, "deep": {"a": [true, null, 1.5]}},
            })),
        ),
        taken(
            "a command that takes nothing",
            a(json!({"agent": {"command": "explain"}, "params": null})),
        ),
        denied(
            "a parameter that an agent does not take, which the schema lets in",
            a(json!({"params": {"prompt": "x", "modul": "y"}})),
            &["spec.params: an agent takes prompt only"],
        ),
        denied(
            "a command with a hyphen",
            a(json!({"agent": {"command": "write-tests"}})),
            &["spec.agent.command", "should match"],
        ),
        denied(
            "a command whose prompt is no text",
            a(json!({"agent": {"command": "writeTests"}, "params": {"prompt": 7}})),
            &["spec.params.prompt", "must be of type string"],
        ),
        denied(
            "many parameters",
            a(json!({"agent": {"command": "writeTests"}, "params": many(65)})),
            &["spec.params", "at most 64"],
        ),
        denied(
            "a number for a text",
            a(json!({"timeout": 20})),
            &["spec.timeout", "must be of type string"],
        ),
        denied(
            "a text for a list",
            a(json!({"files": "x"})),
            &["spec.files", "must be of type array"],
        ),
        denied(
            "a state of a later version",
            a(json!({"state": "Frozen"})),
            &["spec.state", "\"Running\", \"Paused\", \"Cancelled\""],
        ),
        taken(
            "a workflow that is rolled back",
            with_spec(&workflow(), json!({"state": "RolledBack"})),
        ),
        denied(
            "an agent that is rolled back",
            a(json!({"state": "RolledBack"})),
            &[
                "state RolledBack is for a workflow, whose steps say how they are undone; cancel an agent or a run",
            ],
        ),
        denied(
            "an agent that is run anew",
            a(json!({"rerun": {"count": 1}})),
            &["rerun is for a workflow; of an agent or a run create another Task"],
        ),
    ]
}

fn runs() -> Vec<Case> {
    let code = |language: Value, code: Value| {
        r(json!({"run": {"command": null, "code": code, "language": language}}))
    };
    vec![
        taken("Python", code(json!("python"), json!("print(6*7)"))),
        taken(
            "JavaScript",
            code(json!("javascript"), json!("console.log(6*7)")),
        ),
        taken(
            "TypeScript",
            code(json!("typescript"), json!("const n: number = 42")),
        ),
        taken("Java", code(json!("java"), json!("class A {}"))),
        taken("shell", code(json!("shell"), json!("echo $((6*7))"))),
        taken("env", r(json!({"run": {"env": {"N": "7", "_a1": ""}}}))),
        denied(
            "neither command nor code",
            r(json!({"run": {"command": null}})),
            &[COMMAND],
        ),
        denied(
            "both command and code",
            r(json!({"run": {"code": "x", "language": "python"}})),
            &[COMMAND],
        ),
        denied(
            "an empty command",
            r(json!({"run": {"command": []}})),
            &["spec.run.command", "at least 1"],
        ),
        denied(
            "a command as one text",
            r(json!({"run": {"command": "ls -l"}})),
            &["spec.run.command", "must be of type array"],
        ),
        denied(
            "code without language",
            code(Value::Null, json!("x")),
            &[LANGUAGE],
        ),
        denied(
            "a language without code",
            r(json!({"run": {"language": "python"}})),
            &[LANGUAGE],
        ),
        denied(
            "an unknown language",
            code(json!("ruby"), json!("x")),
            &[
                "spec.run.language",
                "\"python\", \"javascript\", \"typescript\", \"java\", \"shell\"",
            ],
        ),
        denied(
            "a name of env with a hyphen",
            r(json!({"run": {"env": {"A-B": "x"}}})),
            &["names of env are letters, digits and underscores, and begin with no digit"],
        ),
        denied(
            "a name of env with a digit first",
            r(json!({"run": {"env": {"1A": "x"}}})),
            &["names of env are letters"],
        ),
        denied(
            "a number in env",
            r(json!({"run": {"env": {"N": 7}}})),
            &["spec.run.env.N", "must be of type string"],
        ),
        denied(
            "no image",
            r(json!({"run": {"sandbox": {"image": ""}}})),
            &["spec.run.sandbox.image", "at least 1"],
        ),
        denied(
            "an image with a blank",
            r(json!({"run": {"sandbox": {"image": "python 3"}}})),
            &["spec.run.sandbox.image", "should match"],
        ),
        denied(
            "a class by its bare name",
            r(json!({"run": {"sandbox": {"class": "default"}}})),
            &["spec.run.sandbox.class", "must be of type object"],
        ),
        denied(
            "half a core as a fraction",
            r(json!({"run": {"sandbox": {"cpu": "0.5"}}})),
            &["spec.run.sandbox.cpu", "should match"],
        ),
        taken(
            "half a core",
            r(json!({"run": {"sandbox": {"cpu": "500m"}}})),
        ),
        denied(
            "a size with a blank",
            r(json!({"run": {"sandbox": {"memory": "1 Gi"}}})),
            &["spec.run.sandbox.memory", "should match"],
        ),
        denied(
            "a size of nothing",
            r(json!({"run": {"sandbox": {"disk": "0"}}})),
            &["spec.run.sandbox.disk", "should match"],
        ),
        taken(
            "a size without suffix",
            r(json!({"run": {"sandbox": {"disk": "268435456"}}})),
        ),
    ]
}

fn workspace() -> Vec<Case> {
    let file = |path: &str| files(json!([{"path": path, "content": "x"}]));
    vec![
        taken(
            "files",
            files(json!([
                {"path": "a.py", "content": "x = 1\n"}, {"path": "b/c.txt", "configMap": {"name": "n", "key": "k"}},
                {"path": "empty", "content": ""},
            ])),
        ),
        denied(
            "a file without content",
            files(json!([{"path": "a"}])),
            &[CONTENT],
        ),
        denied(
            "a file with two contents",
            files(json!([{"path": "a", "content": "x", "configMap": {"name": "n", "key": "k"}}])),
            &[CONTENT],
        ),
        taken(
            "repositories",
            r(json!({
                "run": {"command": ["true"], "sandbox": {"egress": {"domains": ["github.com"]}}},
                "files": [
                    {"path": ".", "git": {"url": "https://github.com/acme/app.git"}},
                    {"path": "a/b.py", "content": "x = 1\n"},
                ],
            })),
        ),
        denied(
            "an artifact with a content",
            files(
                json!([{"path": "a", "content": "x", "artifact": {"task": {"name": "build"}, "name": "out"}}]),
            ),
            &[CONTENT],
        ),
        taken(
            "artifacts of other Tasks",
            files(json!([
                {"path": ".", "artifact": {"task": {"name": "build"}, "name": "src.tar"}},
                {"path": "a/b", "artifact": {"task": {"name": "build"}, "name": "out"}},
            ])),
        ),
        denied(
            "an artifact of no name",
            files(json!([{"path": "a", "artifact": {"task": {"name": "build"}, "name": "Out"}}])),
            &["spec.files[0].artifact.name", "should match"],
        ),
        denied(
            "an artifact of no Task",
            files(json!([{"path": "a", "artifact": {"name": "out"}}])),
            &["spec.files[0].artifact.task: Required value"],
        ),
        taken(
            "a workspace that is begun with and kept",
            r(json!({"workspace": {"from": {"name": "build"}, "keep": true}})),
        ),
        denied(
            "a workspace of nothing",
            a(json!({"workspace": {"keep": false}})),
            &["set from, or keep: true, or both"],
        ),
        denied(
            "a follow-up with a workspace",
            a(json!({"workspace": {"keep": true}, "continueFrom": {"name": "earlier"}})),
            &[WORKSPACE],
        ),
        denied(
            "a replay with a workspace",
            a(json!({"workspace": {"keep": true}, "replay": {"task": {"name": "earlier"}}})),
            &[WORKSPACE],
        ),
        taken(
            "what was done already",
            r(json!({"memo": {"key": "v1", "ttl": "1h"}})),
        ),
        denied(
            "a memo without a key",
            r(json!({"memo": {"ttl": "1h"}})),
            &["spec.memo.key: Required value"],
        ),
        denied(
            "a follow-up with a memo",
            a(json!({"memo": {"key": "v1", "ttl": "1h"}, "continueFrom": {"name": "earlier"}})),
            &[MEMO],
        ),
        denied(
            "a replay with a memo",
            a(json!({"memo": {"key": "v1", "ttl": "1h"}, "replay": {"task": {"name": "earlier"}}})),
            &[MEMO],
        ),
        denied(
            "a repository with a content",
            files(
                json!([{"path": "a", "content": "x", "git": {"url": "https://github.com/acme/app"}}]),
            ),
            &[CONTENT],
        ),
        denied(
            "a repository that is not fetched by https",
            files(json!([{"path": "a", "git": {"url": "http://github.com/acme/app"}}])),
            &["spec.files[0].git.url", "should match"],
        ),
        denied(
            "a repository with a password",
            files(json!([{"path": "a", "git": {"url": "https://me:secret@github.com/acme/app"}}])),
            &["spec.files[0].git.url", "should match"],
        ),
        denied(
            "a repository at another port",
            files(json!([{"path": "a", "git": {"url": "https://github.com:8443/acme/app"}}])),
            &["spec.files[0].git.url", "should match"],
        ),
        denied(
            "a ref that is an option",
            files(
                json!([{"path": "a", "git": {"url": "https://github.com/acme/app", "ref": "--upload-pack=x"}}]),
            ),
            &["spec.files[0].git.ref", "should match"],
        ),
        denied(
            "a ref that is two",
            files(
                json!([{"path": "a", "git": {"url": "https://github.com/acme/app", "ref": "main:main"}}]),
            ),
            &["spec.files[0].git.ref", "should match"],
        ),
        denied("an absolute path", file("/etc/passwd"), &[PATH]),
        denied(
            "a path that leaves the workspace",
            file("a/../../b"),
            &[PATH],
        ),
        denied("a path with an empty part", file("a//b"), &[PATH]),
        taken("a path with two dots in a name", file("a..b")),
        denied(
            "a path with NUL",
            file("a\0b"),
            &["spec.files[0].path", "should match"],
        ),
        denied(
            "a file with NUL",
            files(json!([{"path": "a", "content": "a\0b"}])),
            &["spec.files[0].content", "should match"],
        ),
        denied(
            "the same path twice",
            files(json!([{"path": "a", "content": "1"}, {"path": "a", "content": "2"}])),
            &["spec.files[1]", "Duplicate value"],
        ),
        taken(
            "artifacts",
            a(json!({"artifacts": [{"name": "src", "path": "src/**"}]})),
        ),
        denied(
            "the same artifact twice",
            a(json!({"artifacts": [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}]})),
            &["spec.artifacts[1]", "Duplicate value"],
        ),
        denied(
            "an artifact in capitals",
            a(json!({"artifacts": [{"name": "Src", "path": "src"}]})),
            &["spec.artifacts[0].name", "should match"],
        ),
        taken(
            "a check",
            a(
                json!({"accept": {"check": {"command": ["python", "-m", "unittest"], "exitCode": 5}, "rounds": 10}}),
            ),
        ),
        taken(
            "a judge",
            a(
                json!({"accept": {"judge": {"name": "critic"}, "when": "judge.score >= 0.8", "otherwise": "Best"}}),
            ),
        ),
        denied(
            "nothing that accepts",
            a(json!({"accept": {"rounds": 2}})),
            &["set check, judge, or both"],
        ),
        denied(
            "a judge without a score",
            a(json!({"accept": {"judge": {"name": "critic"}}})),
            &[
                "judge and when go together: the agent that judges, and the score that accepts, like judge.score >= 0.8",
            ],
        ),
        denied(
            "a score that cannot be",
            a(json!({"accept": {"judge": {"name": "critic"}, "when": "judge.score >= 1.1"}})),
            &["spec.accept.when", "should match"],
        ),
        denied(
            "the best without a judge",
            a(json!({"accept": {"check": {"command": ["true"]}, "otherwise": "Best"}})),
            &["otherwise is for judge"],
        ),
        denied(
            "a check without command",
            a(json!({"accept": {"check": {"command": []}}})),
            &["spec.accept.check.command", "at least 1"],
        ),
        denied(
            "an exit code beyond a byte",
            a(json!({"accept": {"check": {"command": ["x"], "exitCode": 256}}})),
            &["spec.accept.check.exitCode", "less than or equal to 255"],
        ),
        denied(
            "no rounds",
            a(json!({"accept": {"check": {"command": ["x"]}, "rounds": 0}})),
            &["spec.accept.rounds", "greater than or equal to 1"],
        ),
    ]
}

fn bounds() -> Vec<Case> {
    let usd = |usd: Value| a(json!({"budget": {"usd": usd}}));
    let timeout = |text: &str| a(json!({ "timeout": text }));
    vec![
        taken("money with 9 decimals", usd(json!("0.000000001"))),
        taken("tokens", a(json!({"budget": {"tokens": 200_000}}))),
        denied(
            "an empty budget",
            a(json!({"budget": {}})),
            &["set usd, tokens, or both"],
        ),
        denied(
            "money as a number",
            usd(json!(0.25)),
            &["spec.budget.usd", "must be of type string"],
        ),
        denied(
            "money with a comma",
            usd(json!("0,25")),
            &["spec.budget.usd", "should match"],
        ),
        denied(
            "money with a sign",
            usd(json!("-1")),
            &["spec.budget.usd", "should match"],
        ),
        denied(
            "money with 10 decimals",
            usd(json!("0.0000000001")),
            &["spec.budget.usd", "should match"],
        ),
        denied(
            "no tokens",
            a(json!({"budget": {"tokens": 0}})),
            &["spec.budget.tokens", "greater than or equal to 1"],
        ),
        taken("an hour and a half", timeout("1h30m")),
        taken("milliseconds", timeout("1500ms")),
        denied(
            "a duration without unit",
            timeout("20"),
            &["spec.timeout", "should match"],
        ),
        denied("days", timeout("1d"), &["spec.timeout", "should match"]),
        denied(
            "a fraction of a minute",
            timeout("1.5m"),
            &["spec.timeout", "should match"],
        ),
        denied(
            "an empty duration",
            timeout(""),
            &["spec.timeout", "should match"],
        ),
        taken(
            "retries",
            a(
                json!({"retry": {"limit": 20, "on": ["NotAccepted", "ToolFailed"], "backoff": {"base": "1s", "factor": 3, "max": "1m"}}}),
            ),
        ),
        denied(
            "too many retries",
            a(json!({"retry": {"limit": 21}})),
            &["spec.retry.limit", "less than or equal to 20"],
        ),
        denied(
            "a retry on cancellation",
            a(json!({"retry": {"on": ["Cancelled"]}})),
            &["spec.retry.on[0]", "Unsupported value"],
        ),
        denied(
            "a factor of nothing",
            a(json!({"retry": {"backoff": {"factor": 0}}})),
            &["spec.retry.backoff.factor", "greater than or equal to 1"],
        ),
        taken("a time to live", a(json!({"ttlAfterFinished": "168h"}))),
        denied(
            "a time to live in weeks",
            a(json!({"ttlAfterFinished": "1w"})),
            &["spec.ttlAfterFinished", "should match"],
        ),
        denied(
            "an empty requester",
            a(json!({"requestedBy": ""})),
            &["spec.requestedBy", "at least 1"],
        ),
        denied(
            "a requester that is no text",
            a(json!({"requestedBy": 7})),
            &["spec.requestedBy", "must be of type string"],
        ),
        denied(
            "a prompt with NUL",
            a(json!({"params": {"prompt": "a\0b"}})),
            &["spec.params.prompt", "should match"],
        ),
        denied(
            "an argument with NUL",
            r(json!({"run": {"command": ["a\0b"]}})),
            &["spec.run.command[0]", "should match"],
        ),
    ]
}

#[tokio::test]
async fn a_task_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("task", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
