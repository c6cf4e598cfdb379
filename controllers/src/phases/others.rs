//! The kinds but Task, each as its planner sees it.

use super::{BROKEN, GOES_ON, READY, Recorded, WAITS, recorded};
use crate::class::tests::sim::{Sim, good, open};
use crate::{agent, approval, budget, pool, provider, workflow};
use jiff::{SignedDuration, Timestamp};
use oarmaster_crds::kinds::class::Isolation;
use oarmaster_crds::{
    Agent, Approval, Budget, ModelPool, ModelProvider, SandboxClass, SandboxClassSpec, Task,
    Workflow,
};
use oarmaster_protocol::admin::{
    BudgetCounter, BudgetReport, CircuitHealth, KeyHealth, KeyState, ModelHealth, ProviderHealth,
    Reachable,
};
use oarmaster_protocol::probe::NodeFindings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn all() -> Vec<Recorded> {
    let kinds = [
        providers(),
        pools(),
        budgets(),
        classes(),
        agents(),
        workflows(),
        approvals(),
    ];
    kinds.concat()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_763_730_000).unwrap()
}

/// An object of ours, by its kind and spec.
fn object<K: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let mut object = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "team", "uid": format!("uid-{name}"), "generation": 2},
        "spec": spec,
    });
    if matches!(kind, "Budget" | "SandboxClass") {
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("namespace");
    }
    serde_json::from_value(object).unwrap()
}

fn upstream() -> ModelProvider {
    let spec = json!({
        "type": "OpenAI",
        "keys": [{"name": "main", "secretKeyRef": {"name": "openai", "key": "api-key"}}],
        "models": [{"name": "m"}],
    });
    object("ModelProvider", "p", &spec)
}

/// What came of a pass over a provider of which the gateway says this.
fn seen(mut of: ModelProvider, health: Option<ProviderHealth>) -> ModelProvider {
    let seen = provider::plan::Observed { now: now(), health };
    of.status = provider::plan::plan(&of, &seen).status;
    of
}

fn health(state: KeyState, reachable: Option<bool>) -> ProviderHealth {
    ProviderHealth {
        namespace: "team".to_owned(),
        name: "p".to_owned(),
        generation: 2,
        keys: vec![KeyHealth {
            name: "main".to_owned(),
            state,
            message: "what to do about it".to_owned(),
        }],
        reachable: reachable.map(|ok| Reachable {
            ok,
            message: "connection refused".to_owned(),
        }),
        unusable: None,
        models: vec![ModelHealth {
            name: "m".to_owned(),
            problem: String::new(),
            circuit: CircuitHealth::Closed,
        }],
    }
}

fn with_key(state: KeyState, reachable: Option<bool>) -> ModelProvider {
    seen(upstream(), Some(health(state, reachable)))
}

fn scripted() -> ModelProvider {
    let script = json!({"rules": [{"reply": {"text": "x"}}]});
    let pricing = json!({"inputPerMillion": "0", "outputPerMillion": "0"});
    let models = json!([{"name": "m", "pricing": pricing}]);
    let spec = json!({"type": "Scripted", "models": models, "script": script});
    seen(object("ModelProvider", "p", &spec), None)
}

fn providers() -> Vec<Recorded> {
    let mut private = health(KeyState::Ok, None);
    private.unusable = Some("10.0.0.1 is a private address".to_owned());
    let invalid = json!({"type": "OpenAICompatible", "models": [{"name": "m"}]});
    let invalid: ModelProvider = object("ModelProvider", "p", &invalid);
    let key = |state| with_key(state, None);
    vec![
        recorded("it answers", READY, &with_key(KeyState::Ok, Some(true))),
        recorded(
            "it does not answer",
            READY,
            &with_key(KeyState::Ok, Some(false)),
        ),
        recorded("nothing was sent there", READY, &key(KeyState::Ok)),
        recorded("it has a script", READY, &scripted()),
        recorded(
            "the gateway has not loaded it",
            GOES_ON,
            &seen(upstream(), None),
        ),
        recorded(
            "its Secret is missing",
            GOES_ON,
            &key(KeyState::SecretMissing),
        ),
        recorded(
            "its Secret has no key",
            BROKEN,
            &key(KeyState::SecretInvalid),
        ),
        recorded(
            "its Secret must not be read",
            BROKEN,
            &key(KeyState::SecretForbidden),
        ),
        recorded("its key is refused", BROKEN, &key(KeyState::Invalid)),
        recorded("its account is empty", BROKEN, &key(KeyState::Exhausted)),
        recorded(
            "its address is private",
            BROKEN,
            &seen(upstream(), Some(private)),
        ),
        recorded("its spec is wrong", BROKEN, &seen(invalid, None)),
    ]
}

fn a_pool(spec: &Value, providers: &[(&str, ModelProvider)]) -> ModelPool {
    let mut of: ModelPool = object("ModelPool", "default", spec);
    let providers = providers.iter().map(|(name, provider)| {
        let id = ("team".to_owned(), (*name).to_owned());
        (id, Arc::new(provider.clone()))
    });
    let older = pool::plan::Namesake {
        created: None,
        name: "a".to_owned(),
        aliases: vec!["gpt-4o".to_owned()],
    };
    let seen = pool::plan::Observed {
        now: now(),
        labels: None,
        providers: providers.collect(),
        namesakes: vec![older],
    };
    of.status = pool::plan::plan(&of, &seen).status;
    of
}

fn pools() -> Vec<Recorded> {
    let member = |name: &str| json!({"provider": {"name": name}, "model": "m"});
    let one = json!({"members": [member("p")]});
    let two = json!({"members": [member("p"), member("q")]});
    let suspended = json!({"members": [member("p")], "suspend": true});
    let alias = json!({"members": [member("p")], "aliases": ["gpt-4o"]});
    let (good, refused) = (scripted(), with_key(KeyState::Invalid, None));
    let pending = seen(upstream(), None);
    let none = json!({"members": []});
    vec![
        recorded("it serves", READY, &a_pool(&one, &[("p", good.clone())])),
        recorded(
            "it serves in part",
            READY,
            &a_pool(&two, &[("p", good.clone())]),
        ),
        recorded(
            "its alias is taken",
            READY,
            &a_pool(&alias, &[("p", good.clone())]),
        ),
        recorded("its provider does not exist", GOES_ON, &a_pool(&one, &[])),
        recorded(
            "its provider is not loaded",
            GOES_ON,
            &a_pool(&one, &[("p", pending)]),
        ),
        recorded(
            "its provider cannot be used",
            BROKEN,
            &a_pool(&one, &[("p", refused)]),
        ),
        recorded(
            "it is suspended",
            WAITS,
            &a_pool(&suspended, &[("p", good)]),
        ),
        recorded("its spec is wrong", BROKEN, &a_pool(&none, &[])),
    ]
}

fn a_budget(spec: &Value, exceeded: Option<bool>) -> Budget {
    let mut of: Budget = object("Budget", "day", spec);
    let report = exceeded.map(|exceeded| BudgetReport {
        name: "day".to_owned(),
        generation: 2,
        problem: None,
        limit_pico: 10_000_000_000_000,
        resets_ms: Some(1_763_769_600_000),
        exceeded: u64::from(exceeded),
        counter_count: 1,
        counters: vec![BudgetCounter {
            key: "namespace/team".to_owned(),
            spent_pico: 3_000_000_000_000,
            reserved_pico: 0,
            exceeded,
        }],
    });
    let seen = budget::plan::Observed {
        now: now(),
        report,
        written: None,
    };
    of.status = budget::plan::plan(&of, &seen).ready.status;
    of
}

fn budgets() -> Vec<Recorded> {
    let day = json!({"window": "Day", "usd": "10"});
    let wrong = json!({"window": "Day", "usd": "10", "warnAt": [0]});
    vec![
        recorded("it has room", READY, &a_budget(&day, Some(false))),
        recorded("it is full", READY, &a_budget(&day, Some(true))),
        recorded(
            "the gateway has not loaded it",
            GOES_ON,
            &a_budget(&day, None),
        ),
        recorded("its spec is wrong", BROKEN, &a_budget(&wrong, None)),
    ]
}

/// A class of this spec, before its probe or after one that found this.
fn a_class(
    change: impl FnOnce(&mut SandboxClassSpec),
    found: Option<&NodeFindings>,
) -> SandboxClass {
    let mut spec = SandboxClassSpec::default();
    change(&mut spec);
    let mut sim = Sim::new(spec);
    sim.runtime_class = sim.class.spec.runtime_class_name == "there";
    sim.settle();
    if let Some(found) = found {
        sim.finds(found);
        sim.settle();
    }
    sim.class
}

fn classes() -> Vec<Recorded> {
    let strict = |spec: &mut SandboxClassSpec| {
        spec.require_network_policy = true;
        spec.minimum_isolation = Isolation::Landlock;
    };
    let users = |spec: &mut SandboxClassSpec| spec.host_users = false;
    let egress = |spec: &mut SandboxClassSpec| spec.egress.domains = vec!["pypi.org".to_owned()];
    let runtime = |name: &'static str| {
        move |spec: &mut SandboxClassSpec| spec.runtime_class_name = name.to_owned()
    };
    let old = NodeFindings {
        landlock: 0,
        ..good()
    };
    let unknown = NodeFindings {
        network: None,
        ..good()
    };
    let nodes = NodeFindings {
        user_namespace: false,
        ..good()
    };
    let (good, open) = (good(), open());
    let wrong = |spec: &mut SandboxClassSpec| spec.users.exec = spec.users.pilot;
    vec![
        recorded(
            "its probe was refused everything",
            READY,
            &a_class(strict, Some(&good)),
        ),
        recorded(
            "its probe reached something",
            READY,
            &a_class(|_| {}, Some(&open)),
        ),
        recorded("its users are its own", READY, &a_class(users, Some(&good))),
        recorded(
            "its egress is possible",
            READY,
            &a_class(egress, Some(&good)),
        ),
        recorded(
            "its runtime is there",
            READY,
            &a_class(runtime("there"), Some(&good)),
        ),
        recorded(
            "its runtime does not exist",
            GOES_ON,
            &a_class(runtime("gvisor"), None),
        ),
        recorded("it is probed", GOES_ON, &a_class(strict, None)),
        recorded(
            "its policy is not enforced",
            BROKEN,
            &a_class(strict, Some(&open)),
        ),
        recorded(
            "its policy is not known",
            BROKEN,
            &a_class(strict, Some(&unknown)),
        ),
        recorded(
            "its kernel is too old",
            BROKEN,
            &a_class(strict, Some(&old)),
        ),
        recorded(
            "its users are the node's",
            BROKEN,
            &a_class(users, Some(&nodes)),
        ),
        recorded("its spec is wrong", BROKEN, &a_class(wrong, None)),
    ]
}

fn an_agent(spec: &Value, pool: Option<ModelPool>) -> Agent {
    let mut of: Agent = object("Agent", "coder", spec);
    let seen = agent::plan::Observed {
        now: now(),
        pool: pool.map(Arc::new),
        class: Some(Arc::new(a_class(|_| {}, Some(&good())))),
    };
    of.status = agent::plan::plan(&of, &seen).status;
    of
}

fn agents() -> Vec<Recorded> {
    let member = json!({"members": [{"provider": {"name": "p"}, "model": "m"}]});
    let pool = || Some(a_pool(&member, &[("p", scripted())]));
    let fine = json!({"instructions": "x"});
    let wrong = json!({"instructions": ""});
    let command = json!({"instructions": "x", "commands": [{"name": "a", "prompt": "${b}"}]});
    let image = json!({"image": "ghcr.io/acme/x"});
    let large = json!({"instructions": "x", "tools": [{"builtin": "Shell"}], "sandbox": image});
    let unready = Some(a_pool(&member, &[]));
    vec![
        recorded("it can be run", READY, &an_agent(&fine, pool())),
        recorded("its pool does not exist", GOES_ON, &an_agent(&fine, None)),
        recorded("its pool is not ready", GOES_ON, &an_agent(&fine, unready)),
        recorded("its spec is wrong", BROKEN, &an_agent(&wrong, pool())),
        recorded(
            "a command of it is wrong",
            BROKEN,
            &an_agent(&command, pool()),
        ),
        recorded(
            "its class does not allow it",
            BROKEN,
            &an_agent(&large, pool()),
        ),
    ]
}

fn workflows() -> Vec<Recorded> {
    let workflow = |prompt: &str| {
        let step = json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": prompt}});
        let mut of: Workflow = object("Workflow", "ci", &json!({ "steps": [step] }));
        of.status = workflow::plan::plan(&of, now()).status;
        of
    };
    vec![
        recorded("it can be run", READY, &workflow("x")),
        recorded("an expression of it is wrong", BROKEN, &workflow("${oops}")),
    ]
}

/// An Approval with these decisions, so many seconds after it was asked.
fn an_approval(decision: Option<&str>, seconds: i64, task: Option<&Value>) -> Approval {
    let mut spec = json!({
        "task": {"name": "fix", "uid": "uid-1"}, "requestedBy": "bob", "ask": "Run Shell?",
        "approvers": {"groups": ["leads"], "count": 1},
        "expiresAt": (now() + SignedDuration::from_hours(1)).to_string(),
    });
    if let Some(decision) = decision {
        spec["decisions"] = json!({"alice": {"decision": decision}});
    }
    let mut of: Approval = object("Approval", "fix-shell-1", &spec);
    let task: Option<Task> = task.map(|status| {
        let task = json!({
            "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1"},
            "spec": {"agent": {"name": "coder"}}, "status": status,
        });
        serde_json::from_value(task).unwrap()
    });
    let seen = approval::plan::Observed {
        now: now() + SignedDuration::from_secs(seconds),
        task: task.map(Arc::new),
    };
    of.status = approval::plan::plan(&of, &seen).status;
    of
}

fn approvals() -> Vec<Recorded> {
    let asks = json!({"requests": [
        {"id": "1-0", "kind": "Approval", "name": "fix-shell-1", "uid": "uid-fix-shell-1", "round": 1},
    ]});
    let asked = Some(&asks);
    let approved = an_approval(Some("Approve"), 1, asked);
    let rejected = an_approval(Some("Reject"), 1, asked);
    vec![
        recorded("it waits for a person", WAITS, &an_approval(None, 1, asked)),
        recorded("it is approved", READY, &approved),
        recorded("it is rejected", READY, &rejected),
        recorded("its time is over", READY, &an_approval(None, 3600, asked)),
        recorded("its Task is gone", READY, &an_approval(None, 1, None)),
        recorded(
            "no Task has asked for it",
            GOES_ON,
            &an_approval(None, 1, Some(&json!({}))),
        ),
    ]
}
