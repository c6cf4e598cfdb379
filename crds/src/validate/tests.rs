use super::image::{Image, pattern_problem};
use super::{Problem, Rule};
use crate::kinds::budget::BudgetSpec;
use crate::kinds::class::SandboxClassSpec;
use crate::kinds::task::TaskSpec;
use crate::{AgentSpec, ModelPoolSpec, ModelProviderSpec, Size};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The fields with a problem.
fn fields(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect()
}

fn with(mut base: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(key);
        } else {
            base[key] = value.clone();
        }
    }
    base
}

fn task(changes: Value) -> Vec<Problem> {
    let base = json!({ "agent": { "name": "a" }, "params": { "prompt": "p" } });
    let spec: TaskSpec = parse(with(base, changes));
    super::task(&spec, &ObjectMeta::default())
}

fn run(changes: Value) -> Vec<Problem> {
    task(
        json!({ "agent": null, "params": null, "run": with(json!({ "command": ["true"] }), changes) }),
    )
}

#[test]
fn names_of_images_are_read_as_container_runtimes_do() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (text, full) in [
        ("python", "docker.io/library/python:latest".to_owned()),
        ("python:3.12", "docker.io/library/python:3.12".to_owned()),
        ("acme/tool:1", "docker.io/acme/tool:1".to_owned()),
        (
            "docker.io/python",
            "docker.io/library/python:latest".to_owned(),
        ),
        ("index.docker.io/acme/x:1", "docker.io/acme/x:1".to_owned()),
        ("ghcr.io/acme/tool", "ghcr.io/acme/tool:latest".to_owned()),
        ("localhost/x", "localhost/x:latest".to_owned()),
        (
            "reg.example.com:5000/a/b/c:1.2",
            "reg.example.com:5000/a/b/c:1.2".to_owned(),
        ),
        ("REG.example.com/x", "reg.example.com/x:latest".to_owned()),
        (
            &format!("python@{digest}"),
            format!("docker.io/library/python@{digest}"),
        ),
        (
            &format!("ghcr.io/a/b:1@{digest}"),
            format!("ghcr.io/a/b:1@{digest}"),
        ),
    ] {
        assert_eq!(Image::parse(text).unwrap().to_string(), full, "{text}");
    }
}

#[test]
fn what_is_no_image_name_is_refused() {
    for text in [
        "",
        ":1",
        "a:",
        "a@sha256:12",
        "a@md5:1",
        "Python",
        "a//b",
        "a/",
        "/a",
        "a b",
        "http://x/y",
        "a:b:c",
        "ghcr.io/",
        "x@",
        "-a",
        "a/../b",
        "é",
    ] {
        assert!(Image::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn patterns_match_segments_and_everything_below_a_last_star() {
    let matches = |image: &str, pattern: &str| {
        Image::parse(image)
            .unwrap()
            .matches_any(&[pattern.to_owned()])
    };
    for (image, pattern, expected) in [
        ("python:3.12", "docker.io/library/*", true),
        ("python:3.12", "docker.io/library/python", true),
        ("python:3.12", "docker.io/library/py*", true),
        ("python:3.12", "docker.io/library/python:3.*", true),
        ("python:2.7", "docker.io/library/python:3.*", false),
        ("python", "docker.io/library/python:3", false),
        ("evil/python", "docker.io/library/*", false),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/*", true),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/**", true),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/*/c", false),
        ("ghcr.io/acme/a/c", "ghcr.io/acme/*/c", true),
        ("ghcr.io/acmeevil/x", "ghcr.io/acme/*", false),
        ("ghcr.io.evil.com/acme/x", "ghcr.io/acme/*", false),
        (
            "docker.io.evil.com/library/python",
            "docker.io/library/*",
            false,
        ),
        ("reg.example.com:5000/x", "reg.example.com/*", false),
        ("reg.example.com:5000/x", "reg.example.com:5000/*", true),
        ("a.example.com/x", "*.example.com/*", true),
        ("anything.example.com/x/y", "*/*", true),
        ("ghcr.io/acme", "ghcr.io/acme/*", false),
    ] {
        assert_eq!(matches(image, pattern), expected, "{image} by {pattern}");
    }
}

#[test]
fn a_pattern_must_name_a_registry() {
    for pattern in [
        "python",
        "library/*",
        "*",
        "",
        "docker.io",
        "ghcr.io/x@sha256:1",
    ] {
        assert!(pattern_problem(pattern).is_some(), "{pattern:?}");
    }
    for pattern in ["docker.io/library/*", "*/**", "localhost/x", "reg:5000/x"] {
        assert!(pattern_problem(pattern).is_none(), "{pattern:?}");
    }
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(super::class(&SandboxClassSpec::default()), []);
    let agent: AgentSpec = parse(json!({ "instructions": "x" }));
    assert_eq!(super::agent(&agent), []);
    assert_eq!(
        super::within_class("s", &agent.sandbox, "default", &SandboxClassSpec::default()),
        []
    );
    assert_eq!(task(json!({})), []);
    assert_eq!(run(json!({})), []);
}

#[test]
fn a_task_is_an_agent_or_a_run() {
    assert_eq!(
        fields(&task(json!({ "agent": null, "params": null }))),
        ["spec"]
    );
    assert_eq!(
        fields(&task(json!({ "run": { "command": ["x"] } }))),
        ["spec"]
    );
    assert!(
        run(json!({ "command": null }))
            .iter()
            .any(|problem| problem.field == "spec.run")
    );
    assert_eq!(
        fields(&run(json!({ "code": "x", "language": "python" }))),
        ["spec.run"]
    );
    assert_eq!(
        fields(&run(json!({ "command": null, "code": "x" }))),
        ["spec.run.language"]
    );
    assert_eq!(
        fields(&run(json!({ "command": ["a", "b\u{0}"] }))),
        ["spec.run.command[1]"]
    );
    assert_eq!(
        fields(&run(json!({ "env": { "1A": "x", "B": "\u{0}" } }))),
        ["spec.run.env", "spec.run.env[B]"]
    );
}

#[test]
fn params_are_the_prompt_and_nothing_else() {
    for params in [
        json!({}),
        json!({ "prompt": "" }),
        json!({ "prompt": " \n" }),
        json!({ "prompt": 7 }),
        json!({ "prompt": "x", "y": 1 }),
        json!({ "prompt": "x".repeat(131_073) }),
    ] {
        let problems = task(json!({ "params": params }));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].rule, Rule::Params);
    }
    assert_eq!(
        task(json!({ "params": { "prompt": "é".repeat(131_072) } })),
        []
    );
}

#[test]
fn paths_stay_inside_the_workspace() {
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        "a/.",
        "a/",
        "a\u{0}b",
        "a\\b",
    ] {
        assert_eq!(
            fields(&task(json!({ "files": [{ "path": path, "content": "" }] }))),
            ["spec.files[0].path"],
            "{path:?}"
        );
        assert_eq!(
            fields(&task(
                json!({ "artifacts": [{ "name": "a", "path": path }] })
            )),
            ["spec.artifacts[0].path"],
            "{path:?}"
        );
    }
    assert_eq!(
        task(json!({ "files": [{ "path": "..a/b.c/…", "content": "" }] })),
        []
    );
}

#[test]
fn a_file_is_there_once_and_is_no_directory() {
    let file = |path: &str| json!({ "path": path, "content": "" });
    assert_eq!(
        fields(&task(json!({ "files": [file("a"), file("a")] }))),
        ["spec.files[1].path"]
    );
    assert_eq!(
        fields(&task(json!({ "files": [file("a/b/c"), file("a/b")] }))),
        ["spec.files"]
    );
    assert_eq!(task(json!({ "files": [file("a/b"), file("a/bc")] })), []);
    assert_eq!(
        fields(&task(json!({ "files": [{ "path": "a" }] }))),
        ["spec.files[0]"]
    );
    let big = json!({ "path": "a", "content": "x".repeat((1 << 20) + 1) });
    assert_eq!(fields(&task(json!({ "files": [big] }))), ["spec.files"]);
}

#[test]
fn times_and_numbers_have_bounds() {
    for (changes, field) in [
        (json!({ "timeout": "0s" }), "spec.timeout"),
        (json!({ "timeout": "169h" }), "spec.timeout"),
        (json!({ "timeout": "soon" }), "spec.timeout"),
        (json!({ "retry": { "limit": -1 } }), "spec.retry.limit"),
        (json!({ "retry": { "limit": 21 } }), "spec.retry.limit"),
        (
            json!({ "retry": { "backoff": { "factor": 0 } } }),
            "spec.retry.backoff.factor",
        ),
        (
            json!({ "retry": { "backoff": { "max": "25h" } } }),
            "spec.retry.backoff.max",
        ),
        (json!({ "budget": {} }), "spec.budget"),
        (json!({ "budget": { "usd": "-1" } }), "spec.budget.usd"),
        (json!({ "budget": { "tokens": 0 } }), "spec.budget.tokens"),
        (
            json!({ "accept": { "check": { "command": [] } } }),
            "spec.accept.check.command",
        ),
        (
            json!({ "accept": { "check": { "command": ["x"], "exitCode": 256 } } }),
            "spec.accept.check.exitCode",
        ),
        (
            json!({ "accept": { "check": { "command": ["x"] }, "rounds": 0 } }),
            "spec.accept.rounds",
        ),
        (json!({ "ttlAfterFinished": "x" }), "spec.ttlAfterFinished"),
        (json!({ "requestedBy": "" }), "spec.requestedBy"),
        (
            json!({ "artifacts": [{ "name": "A", "path": "a" }] }),
            "spec.artifacts[0].name",
        ),
        (
            json!({ "artifacts": [{ "name": "a", "path": "a" }, { "name": "a", "path": "b" }] }),
            "spec.artifacts[1].name",
        ),
    ] {
        assert_eq!(fields(&task(changes.clone())), [field], "{changes}");
    }
}

#[test]
fn a_ttl_is_refused_on_what_git_or_a_package_would_make_again() {
    let spec: TaskSpec = parse(
        json!({ "agent": { "name": "a" }, "params": { "prompt": "p" }, "ttlAfterFinished": "1h" }),
    );
    let labelled = |name: &str, value: &str| ObjectMeta {
        labels: Some([(name.to_owned(), value.to_owned())].into()),
        ..ObjectMeta::default()
    };
    for (name, value, refused) in [
        ("argocd.argoproj.io/instance", "x", true),
        ("kustomize.toolkit.fluxcd.io/name", "x", true),
        ("helm.toolkit.fluxcd.io/name", "x", true),
        ("app.kubernetes.io/managed-by", "Helm", true),
        ("app.kubernetes.io/managed-by", "me", false),
        ("team", "x", false),
    ] {
        assert_eq!(
            !super::task(&spec, &labelled(name, value)).is_empty(),
            refused,
            "{name}={value}"
        );
    }
    for name in super::TRACKING_ANNOTATIONS {
        let metadata = ObjectMeta {
            annotations: Some([(name.to_owned(), "x".to_owned())].into()),
            ..ObjectMeta::default()
        };
        let problems = super::task(&spec, &metadata);
        assert_eq!(fields(&problems), ["spec.ttlAfterFinished"]);
        assert!(problems[0].message.contains(name));
        let kept = TaskSpec {
            ttl_after_finished: None,
            ..spec.clone()
        };
        assert_eq!(super::task(&kept, &metadata), []);
    }
}

#[test]
fn a_sandbox_is_held_to_its_class() {
    let agent: AgentSpec = parse(
        json!({ "instructions": "x", "sandbox": { "image": "evil.io/x", "cpu": "5", "memory": "5Gi", "disk": "9Gi", "callTimeout": "2h" } }),
    );
    let mut class = SandboxClassSpec::default();
    let problems = super::within_class("spec.sandbox", &agent.sandbox, "default", &class);
    assert_eq!(
        fields(&problems),
        [
            "spec.sandbox.image",
            "spec.sandbox.cpu",
            "spec.sandbox.memory",
            "spec.sandbox.disk",
            "spec.sandbox.callTimeout"
        ]
    );
    assert!(
        problems
            .iter()
            .all(|problem| problem.rule == Rule::Class && problem.message.contains("default"))
    );
    class.images.require_digest = true;
    let agent: AgentSpec = parse(json!({ "instructions": "x" }));
    let problems = super::within_class("s", &agent.sandbox, "strict", &class);
    assert!(problems[0].message.contains("digest"), "{problems:?}");
}

#[test]
fn an_agent_is_checked_beyond_its_schema() {
    let agent = |changes: Value| {
        super::agent(&parse::<AgentSpec>(with(
            json!({ "instructions": "x" }),
            changes,
        )))
    };
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "not": inner }));
    for (changes, field) in [
        (json!({ "instructions": " " }), "spec.instructions"),
        (
            json!({ "model": { "temperature": "2.1" } }),
            "spec.model.temperature",
        ),
        (
            json!({ "model": { "temperature": "warm" } }),
            "spec.model.temperature",
        ),
        (
            json!({ "model": { "maxOutputTokens": 0 } }),
            "spec.model.maxOutputTokens",
        ),
        (
            json!({ "tools": [{ "builtin": "Shell" }, { "builtin": "Shell" }] }),
            "spec.tools[1]",
        ),
        (
            json!({ "sandbox": { "image": "A B" } }),
            "spec.sandbox.image",
        ),
        (
            json!({ "sandbox": { "memory": "1Mi" } }),
            "spec.sandbox.memory",
        ),
        (json!({ "sandbox": { "cpu": "0" } }), "spec.sandbox.cpu"),
        (
            json!({ "sandbox": { "callTimeout": "1ms" } }),
            "spec.sandbox.callTimeout",
        ),
        (
            json!({ "output": { "schema": true } }),
            "spec.output.schema",
        ),
        (
            json!({ "output": { "schema": { "$ref": "https://x/y" } } }),
            "spec.output.schema.$ref",
        ),
        (
            json!({ "output": { "schema": { "description": "x".repeat(33_000) } } }),
            "spec.output.schema",
        ),
        (
            json!({ "output": { "schema": deep } }),
            "spec.output.schema",
        ),
        (json!({ "limits": { "turns": 0 } }), "spec.limits.turns"),
        (
            json!({ "limits": { "toolCalls": 10_001 } }),
            "spec.limits.toolCalls",
        ),
    ] {
        assert_eq!(fields(&agent(changes.clone())), [field], "{changes}");
    }
    for temperature in ["0", "0.2", "1.9999", "2", "2.0"] {
        assert_eq!(
            agent(json!({ "model": { "temperature": temperature } })),
            []
        );
    }
    assert_eq!(
        agent(json!({ "output": { "schema": { "$ref": "#/$defs/a" } } })),
        []
    );
}

#[test]
fn a_class_is_checked_beyond_its_schema() {
    let class = |change: fn(&mut SandboxClassSpec)| {
        let mut spec = SandboxClassSpec::default();
        change(&mut spec);
        super::class(&spec)
            .into_iter()
            .map(|problem| problem.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        class(|spec| spec.users.exec = spec.users.pilot),
        ["spec.users"]
    );
    assert_eq!(class(|spec| spec.users.exec = 0), ["spec.users.exec"]);
    assert_eq!(
        class(|spec| spec.images.allow = vec!["python".to_owned()]),
        ["spec.images.allow[0]"]
    );
    assert_eq!(
        class(|spec| spec.maximum.memory = Size::new("huge")),
        ["spec.maximum.memory"]
    );
    assert_eq!(
        class(|spec| spec.maximum.cpu = crate::quantity::Cpu::new("10m")),
        ["spec.requests.cpu"]
    );
    assert_eq!(
        class(|spec| spec.startup_timeout = crate::GepDuration::new("0s")),
        ["spec.startupTimeout"]
    );
    assert_eq!(
        class(|spec| spec.default_task_budget = crate::Allowance::default()),
        ["spec.defaultTaskBudget"]
    );
}

#[test]
fn a_budget_is_checked_beyond_its_schema() {
    let budget = |changes: Value| {
        let base = json!({ "window": "Day", "usd": "10" });
        super::budget(&parse::<BudgetSpec>(with(base, changes)))
    };
    assert_eq!(budget(json!({})), []);
    assert_eq!(fields(&budget(json!({ "usd": "1e3" }))), ["spec.usd"]);
    assert_eq!(
        fields(&budget(json!({ "warnAt": [0] }))),
        ["spec.warnAt[0]"]
    );
    assert_eq!(
        fields(&budget(json!({ "warnAt": [5, 5] }))),
        ["spec.warnAt[1]"]
    );
    let pool = json!({ "name": "", "namespace": "team" });
    assert_eq!(
        fields(&budget(json!({ "pools": [pool] }))),
        ["spec.pools[0].name"]
    );
    for each in [
        json!({ "key": "a", "operator": "In" }),
        json!({ "key": "a", "operator": "Exists", "values": ["b"] }),
    ] {
        let namespaces = json!({ "matchExpressions": [each] });
        assert_eq!(
            fields(&budget(json!({ "namespaces": namespaces }))),
            ["spec.namespaces.matchExpressions[0]"]
        );
    }
}

#[test]
fn a_selector_chooses_as_those_of_kubernetes_do() {
    let labels = [("team", "a"), ("env", "prod")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = std::collections::BTreeMap::from(labels);
    let each = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
    for (selector, chosen) in [
        (json!({}), true),
        (json!({ "matchLabels": { "team": "a" } }), true),
        (
            json!({ "matchLabels": { "team": "a", "env": "dev" } }),
            false,
        ),
        (json!({ "matchLabels": { "other": "" } }), false),
        (each("team", "In", &["b", "a"]), true),
        (each("other", "In", &["a"]), false),
        (each("team", "NotIn", &["a"]), false),
        (each("other", "NotIn", &["a"]), true),
        (each("team", "Exists", &[]), true),
        (each("other", "Exists", &[]), false),
        (each("team", "DoesNotExist", &[]), false),
        (each("other", "DoesNotExist", &[]), true),
        (
            with(
                each("team", "Exists", &[]),
                json!({ "matchLabels": { "team": "b" } }),
            ),
            false,
        ),
    ] {
        let found = parse::<crate::common::Selector>(selector.clone()).chooses(&labels);
        assert_eq!(found, chosen, "{selector}");
    }
}

#[test]
fn a_pool_lists_each_member_once() {
    let pool = |members: Value| super::pool(&parse::<ModelPoolSpec>(json!({ "members": members })));
    let member = json!({ "provider": { "name": "p" }, "model": "m" });
    assert_eq!(pool(json!([member])), []);
    assert_eq!(fields(&pool(json!([]))), ["spec.members"]);
    assert_eq!(fields(&pool(json!([member, member]))), ["spec.members[1]"]);
}

#[test]
fn a_provider_is_checked_beyond_its_schema() {
    let provider = |spec: Value| super::provider(&parse::<ModelProviderSpec>(spec));
    let model =
        json!({ "name": "m", "pricing": { "inputPerMillion": "1", "outputPerMillion": "2" } });
    let open = |changes: Value| {
        provider(with(
            json!({ "type": "OpenAICompatible", "endpoint": "https://api.example.com/v1", "models": [model] }),
            changes,
        ))
    };
    let scripted = |rule: Value| {
        provider(json!({ "type": "Scripted", "models": [model], "script": { "rules": [rule] } }))
    };
    assert_eq!(open(json!({})), []);
    for endpoint in [
        "",
        "ftp://x",
        "https://",
        "https:///v1",
        "https://u@x/v1",
        "https://x/v1?k=1",
        "https://x /v1",
        "https://x/\n",
    ] {
        assert_eq!(
            fields(&open(json!({ "endpoint": endpoint }))),
            ["spec.endpoint"],
            "{endpoint:?}"
        );
    }
    assert_eq!(
        fields(&open(json!({ "endpoint": null }))),
        ["spec.endpoint"]
    );
    assert_eq!(
        fields(&open(json!({ "models": [model, model] }))),
        ["spec.models[1].name"]
    );
    assert_eq!(fields(&open(json!({ "models": [] }))), ["spec.models"]);
    assert_eq!(
        fields(&open(json!({ "timeouts": { "connect": "0s" } }))),
        ["spec.timeouts.connect"]
    );
    let dear =
        json!({ "name": "m", "pricing": { "inputPerMillion": "1e9", "outputPerMillion": "2" } });
    assert_eq!(
        fields(&open(json!({ "models": [dear] }))),
        ["spec.models[0].pricing.inputPerMillion"]
    );
    assert_eq!(scripted(json!({ "reply": { "text": "x" } })), []);
    assert_eq!(
        fields(&scripted(json!({ "when": { "last": "(" }, "reply": {} }))),
        ["spec.script.rules[0].when.last"]
    );
    assert_eq!(
        fields(&scripted(
            json!({ "when": { "prompt": "(a{1000}){1000}" }, "reply": {} })
        )),
        ["spec.script.rules[0].when.prompt"]
    );
    assert_eq!(
        fields(&scripted(json!({ "reply": { "delay": "2h" } }))),
        ["spec.script.rules[0].reply.delay"]
    );
    assert_eq!(
        fields(&provider(json!({ "type": "Scripted", "models": [model] }))),
        ["spec.script"]
    );
}

#[test]
fn a_summary_is_bounded() {
    let problem = Problem {
        field: "f".to_owned(),
        message: "m".to_owned(),
        rule: Rule::Spec,
    };
    assert_eq!(super::summary(&vec![problem.clone(); 2]), "f: m; f: m");
    assert!(super::summary(&vec![problem; 9]).ends_with("and 4 more"));
}
