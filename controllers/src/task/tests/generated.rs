//! Ten thousand specs through the pod builder. Each is one that the API server takes (by the schemas of the CRDs) and that validation finds
//! nothing wrong with; of each the same must hold, whatever its author wrote.

use super::hardened::assert_hardened;
use super::job::installation;
use super::sim::{Sim, ready_condition};
use crate::task::job::build;
use jsonschema::Validator;
use kube::core::CustomResourceExt;
use oarmaster_crds::kinds::class::UsersFrom;
use oarmaster_crds::{Agent, SandboxClass, Task, validate};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is generated: the spec of a class, of an Agent and of a Task, and what the Task's namespace has.
#[derive(Debug)]
struct Specs {
    class: Value,
    agent: Value,
    task: Value,
    uid_range: Option<String>,
}

/// The schema of a kind's spec, as the API server has it.
fn schema<K: CustomResourceExt>() -> Validator {
    let crd = serde_json::to_value(K::crd()).unwrap();
    let whole = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    jsonschema::validator_for(&whole["properties"]["spec"]).unwrap()
}

/// An object without the fields that were not chosen.
fn object(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A value, or none: the author left the field out.
fn maybe<T: Into<Value> + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<Value>> {
    prop::option::of(value.prop_map(Into::into)).boxed()
}

/// A text from a list, so that little time goes into making it.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    one_of(&["a", "gvisor", "kata-qemu", "system-node-critical", "x.y.z"])
}

/// Texts in which a template or a shell would find something.
fn hostile() -> impl Strategy<Value = String> {
    one_of(&[
        "",
        "plain",
        "$(cat /var/run/oarmaster/token)",
        "${OARMASTER_CA}",
        "\"}],\"hostNetwork\":true,\"x\":[{\"",
        "a: b\nhostPID: true\n",
        "--pilot-uid=0",
        "\u{202e}\u{feff}é\u{7f}",
    ])
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let names = one_of(&["team", "example.com/cost", "sidecar.istio.io/inject", "app"]);
    prop::collection::btree_map(names, one_of(&["", "a", "false", "A.b_c-1"]), 0..4)
}

fn cpu(cores: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    (cores, any::<bool>()).prop_map(|(cores, millis)| {
        // Of either form, where it is within what the form can say.
        if millis && cores < 999 {
            format!("{}m", cores * 1000 + 1)
        } else {
            cores.to_string()
        }
    })
}

fn size(mebibytes: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    (mebibytes, prop::sample::select(&["Mi", "M", "Ki"][..])).prop_map(|(count, unit)| match unit {
        "M" => format!("{}M", count + count / 10 + 1), // not below as many mebibytes
        "Ki" => format!("{}Ki", u64::from(count) << 10),
        unit => format!("{count}{unit}"),
    })
}

fn duration(seconds: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    (seconds, any::<bool>()).prop_map(|(seconds, minutes)| {
        if minutes {
            format!("{}m{}s", seconds / 60, seconds % 60)
        } else {
            format!("{seconds}s")
        }
    })
}

const PATTERNS: [&str; 4] = [
    "docker.io/library/*",
    "ghcr.io/acme/py*",
    "reg.example.com:5000/team-*/tool",
    "localhost/x",
];

fn class() -> impl Strategy<Value = Value> {
    let rules = (
        maybe(any::<bool>()),
        prop::option::of((0i64..1 << 40, 0i64..1 << 40)),
        any::<bool>(),
        maybe(any::<bool>()),
        maybe(any::<bool>()),
        maybe(one_of(&["Seccomp", "Landlock"])),
    );
    let bounds = (
        cpu(40..9000),
        size(40_000..90_000),
        size(40_000..90_000),
        maybe(cpu(1..40)),
        maybe(duration(1..86_400)),
    );
    let place = (
        maybe(name()),
        maybe(name()),
        labels(),
        labels(),
        prop::collection::vec(name(), 0..3),
        prop::collection::vec((one_of(&["NoSchedule", "NoExecute", ""]), hostile()), 0..3),
    );
    (rules, bounds, place).prop_map(|(rules, bounds, place)| {
        let (digest, users, from_namespace, host_users, policy, isolation) = rules;
        let (cpu, memory, disk, requests, startup) = bounds;
        let (runtime, priority, selector, pod_labels, secrets, tolerations) = place;
        // In a user namespace there are few, and they are the class's.
        let own = host_users == Some(json!(false));
        let most = if own { 65_535 } else { i64::from(i32::MAX) };
        let users = users
            .map(|(pilot, exec)| (pilot % most + 1, exec % most + 1))
            .filter(|(pilot, exec)| pilot != exec);
        let from = if from_namespace && !own { "FromNamespace" } else { "Fixed" };
        object([
            ("runtimeClassName", runtime),
            (
                "images",
                Some(object([
                    ("allow", Some(json!(PATTERNS))),
                    ("requireDigest", digest),
                ])),
            ),
            (
                "users",
                Some(object([
                    ("from", Some(json!(from))),
                    ("pilot", users.map(|users| json!(users.0))),
                    ("exec", users.map(|users| json!(users.1))),
                ])),
            ),
            ("hostUsers", host_users),
            ("requests", requests.map(|cpu| json!({ "cpu": cpu }))),
            (
                "maximum",
                Some(json!({ "cpu": cpu, "memory": memory, "disk": disk, "callTimeout": "10h" })),
            ),
            ("minimumIsolation", isolation),
            ("requireNetworkPolicy", policy),
            ("sharedPilots", Some(json!(false))), // it is about pods
            ("egress", Some(json!({ "domains": ["*.example.com"] }))),
            ("startupTimeout", startup),
            ("nodeSelector", Some(json!(selector))),
            (
                "tolerations",
                Some(
                    tolerations
                        .iter()
                        .map(|(effect, key)| json!({ "key": key, "operator": "Exists", "effect": effect }))
                        .collect(),
                ),
            ),
            ("priorityClassName", priority),
            ("imagePullSecrets", Some(json!(secrets))),
            ("podLabels", Some(json!(pod_labels))),
        ])
    })
}

fn image() -> impl Strategy<Value = String> {
    let names = one_of(&[
        "python",
        "docker.io/node",
        "index.docker.io/library/a__b",
        "ghcr.io/acme/py-3",
        "reg.example.com:5000/team-a/tool",
        "localhost/x",
    ]);
    let tags = one_of(&["", ":3.12-slim", ":V1_0", ":latest"]);
    (names, tags, any::<bool>()).prop_map(|(name, tag, digest)| {
        let digest = if digest { DIGEST } else { "" };
        format!("{name}{tag}{digest}")
    })
}

const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn sandbox() -> impl Strategy<Value = Value> {
    (
        image(),
        maybe(cpu(1..40)),
        maybe(size(32..30_000)),
        maybe(size(1..30_000)),
        maybe(duration(1..36_000)),
        any::<bool>(),
    )
        .prop_map(|(image, cpu, memory, disk, timeout, egress)| {
            let egress = egress.then(|| json!({ "domains": ["a.example.com"] }));
            object([
                ("image", Some(json!(image))),
                ("cpu", cpu),
                ("memory", memory),
                ("disk", disk),
                ("callTimeout", timeout),
                ("egress", egress),
            ])
        })
}

fn accept() -> impl Strategy<Value = Value> {
    (hostile(), 0i64..256)
        .prop_map(|(word, code)| json!({ "check": { "command": ["sh", word], "exitCode": code } }))
}

fn agent() -> impl Strategy<Value = Value> {
    let tools = prop::sample::subsequence(vec!["Shell", "RunCode", "ReadFile", "WriteFile"], 0..4);
    (hostile(), tools, sandbox(), maybe(accept())).prop_map(|(text, tools, sandbox, accept)| {
        let tools: Vec<Value> = tools
            .iter()
            .map(|tool| json!({ "builtin": tool }))
            .collect();
        object([
            ("instructions", Some(json!(format!("x{text}")))),
            ("tools", Some(json!(tools))),
            ("sandbox", Some(sandbox)),
            ("accept", accept),
        ])
    })
}

fn run() -> impl Strategy<Value = Value> {
    (sandbox(), hostile(), hostile(), any::<bool>()).prop_map(|(sandbox, text, value, code)| {
        let code_of = code.then(|| json!(format!("x{text}")));
        object([
            ("sandbox", Some(sandbox)),
            ("command", (!code).then(|| json!(["sh", text]))),
            ("code", code_of),
            ("language", code.then(|| json!("shell"))),
            (
                "env",
                Some(json!({ "OARMASTER_CA": value, "PATH": "/evil" })),
            ),
        ])
    })
}

fn task() -> impl Strategy<Value = Value> {
    let files = prop::collection::btree_map(
        one_of(&["a", "b/c.py", ".bashrc", "$(x)", "oarmaster/bin"]),
        hostile(),
        0..3,
    );
    (
        prop::option::of(run()),
        hostile(),
        files,
        any::<bool>(),
        maybe(accept()),
        maybe(duration(1..86_400)),
    )
        .prop_map(|(run, prompt, files, artifacts, accept, timeout)| {
            let agent = run.is_none();
            let files: Vec<Value> = files
                .iter()
                .map(|(path, content)| json!({ "path": path, "content": content }))
                .collect();
            let artifacts = artifacts.then(|| json!([{ "name": "out", "path": "out/**" }]));
            object([
                ("agent", agent.then(|| json!({ "name": "coder" }))),
                (
                    "params",
                    agent.then(|| json!({ "prompt": format!("x{prompt}") })),
                ),
                ("run", run),
                ("files", Some(json!(files))),
                ("artifacts", artifacts),
                ("accept", accept),
                ("timeout", timeout),
            ])
        })
}

fn specs() -> impl Strategy<Value = Specs> {
    let range = one_of(&["1000650000/10000", "1-2", "2147483646/2"]);
    let all = (class(), agent(), task(), range, any::<bool>());
    all.prop_map(|(class, mut agent, mut task, range, fetched)| {
        let of_run = task.pointer("/run/sandbox/egress").is_some();
        let of_agent = task["run"].is_null() && agent.pointer("/sandbox/egress").is_some();
        if fetched && (of_run || of_agent) {
            let git = json!({ "url": "https://a.example.com/x", "ref": "v1" });
            let file = json!({ "path": "repository", "git": git });
            task["files"].as_array_mut().unwrap().push(file);
        }
        if class["images"]["requireDigest"] == json!(true) {
            for at in ["/sandbox/image", "/run/sandbox/image"] {
                for spec in [&mut agent, &mut task] {
                    if let Some(Value::String(image)) = spec.pointer_mut(at)
                        && !image.contains('@')
                    {
                        image.push_str(DIGEST);
                    }
                }
            }
        }
        Specs {
            class,
            agent,
            task,
            uid_range: Some(range),
        }
    })
}

#[test]
fn every_pod_of_ten_thousand_specs_is_hardened() {
    let schemas = [
        schema::<SandboxClass>(),
        schema::<Agent>(),
        schema::<Task>(),
    ];
    let sandboxes = AtomicUsize::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    });
    let held = runner.run(&specs(), |specs| {
        for (schema, spec) in schemas
            .iter()
            .zip([&specs.class, &specs.agent, &specs.task])
        {
            let wrong = schema.validate(spec).err().map(|error| error.to_string());
            prop_assert_eq!(wrong, None);
        }
        let mut sim = Sim::new(specs.task.clone());
        sim.task.spec = serde_json::from_value(specs.task).unwrap();
        sim.agent.as_mut().unwrap().spec = serde_json::from_value(specs.agent).unwrap();
        let class = json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "SandboxClass",
            "metadata": { "name": "default" }, "spec": specs.class,
            "status": { "conditions": ready_condition() },
        });
        let class: SandboxClass = serde_json::from_value(class).unwrap();
        prop_assert_eq!(validate::class(&class.spec), []);
        prop_assert_eq!(validate::agent(&sim.agent.as_ref().unwrap().spec), []);
        prop_assert_eq!(validate::task(&sim.task.spec, &sim.task.metadata), []);
        let spec = class.spec.clone();
        sim.class = Some(class);
        sim.uid_range = specs.uid_range;

        let plan = sim.pass();
        prop_assert!(plan.start.is_some(), "not started: {:?}", sim.task.status);
        let start = plan.start.unwrap();
        if start.resolved.sandbox.is_some() {
            sandboxes.fetch_add(1, Ordering::Relaxed);
        }
        if spec.users.from == UsersFrom::Fixed {
            let users = start.resolved.users;
            prop_assert_eq!(
                (users.pilot, users.exec),
                (spec.users.pilot, spec.users.exec)
            );
        }
        let job = build(&sim.task, &start, &installation(), "sha256:abc");
        assert_hardened(&job, &start);
        Ok(())
    });
    if let Err(failed) = held {
        panic!("{failed}");
    }
    let sandboxes = sandboxes.into_inner();
    assert!(
        (5_000..10_000).contains(&sandboxes),
        "{sandboxes} pods have a sandbox: both kinds are to be looked at"
    );
}
