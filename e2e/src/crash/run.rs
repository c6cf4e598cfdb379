//! A run of the matrix: a Workflow with steps of each kind, how its parts are played, and how it ended. The Tasks of its agents are those of a
//! process of shared pilots, whose model is played.

use super::Rig;
use super::books;
use super::process::Daemon;
use super::requests::{DEPLOY, RUN, part_of};
use super::scene::{Scene, object};
use crate::mock::{Call, Gate, Reply};
use crate::space::Space;
use crate::task::SOON;
use crate::wait;
use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt};
use oarmaster_crds::{Agent, Approval, SandboxClass, Task, Workflow, conditions, names};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The Agent of all steps.
const AGENT: &str = "shared";
/// The Workflow of the step that is a run itself.
const INNER: &str = "inner";
/// Attempts at once of the pilots.
const SLOTS: u16 = 8;
/// Fields of a run's status that differ between two equal runs.
const TIMES: [&str; 3] = ["since", "finallySince", "runningSince"];

/// Where runs are played.
pub struct Stage<'a> {
    /// The objects that they need, and the model.
    pub scene: Scene<'a>,
    gates: Gates,
    tasks: Uids,
    approvals: Uids,
    _pilots: Daemon,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// The status of its Task, without times and identifiers.
    pub status: Value,
    /// How many Tasks and Approvals each part of it ever had.
    pub made: BTreeMap<String, usize>,
    /// How many requests the provider got for each step.
    pub calls: BTreeMap<String, usize>,
    /// Calls that were booked at their reservation.
    pub estimated: usize,
}

impl<'a> Stage<'a> {
    /// Sets it in a namespace, and takes down what is not of the namespace.
    ///
    /// # Errors
    /// When the API server refuses something of it, the operator does not take it, and those of `play`.
    pub async fn with(
        rig: &'a Rig,
        space: &'a Space,
        play: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        // That of the chart has no shared pilots here.
        let class = object("SandboxClass", &space.name, &json!({"sharedPilots": true}));
        space.create(&class.to_string()).await?;
        let played = async { play(&Self::set(rig, space).await?).await }.await;
        let classes: Api<SandboxClass> = Api::all(space.cluster.client.clone());
        let params = DeleteParams::background();
        let removed = classes.delete(&space.name, &params).await;
        played?;
        removed?;
        Ok(())
    }

    async fn set(rig: &'a Rig, space: &'a Space) -> Result<Self> {
        let gates = Gates::default();
        let answers = gates.clone();
        let scene = Scene::set(rig, space, move |call| answers.answer(call)).await?;
        let agent = json!({
            "instructions": "Do what you are told.", "model": {"maxOutputTokens": 1000},
            "sandbox": {"class": {"name": space.name}},
        });
        for (kind, name, spec) in [("Agent", AGENT, agent), ("Workflow", INNER, inner())] {
            space.create(&object(kind, name, &spec).to_string()).await?;
        }
        let what = "it is ready";
        wait::until(space.api(), AGENT, what, SOON, |agent: &Agent| {
            is_ready(agent.status.as_ref().map(|status| &*status.conditions))
        })
        .await?;
        ready(space, INNER).await?;
        Ok(Self {
            scene,
            gates,
            tasks: Uids::follow(space.api::<Task>()),
            approvals: Uids::follow(space.api::<Approval>()),
            _pilots: rig.pilots(SLOTS).await?,
        })
    }

    /// Plays a run to its end, and gives the UID of its Task. Its Workflow is changed once it has begun, and deleted while people are asked.
    ///
    /// # Errors
    /// When something of it does not happen in time.
    pub async fn play(&self, run: &str) -> Result<String> {
        let (space, me) = (self.scene.space, &self.scene.me);
        let workflow = object("Workflow", run, &spec(me));
        space.create(&workflow.to_string()).await?;
        ready(space, run).await?;
        let task = json!({"workflow": {"name": run}, "params": {"run": run}, "requestedBy": me});
        let task = object("Task", run, &task).to_string();
        let made = space.create(&task).await?;
        let uid = made.first().and_then(ResourceExt::uid);
        let uid = uid.context("a Task without UID")?;
        let begun = |task: &Task| {
            let status = task.status.as_ref();
            status.is_some_and(|status| status.attempt == Some(1))
        };
        space.task_until(run, "it begins", begun).await?;
        let workflows: Api<Workflow> = space.api();
        let params = PatchParams::default();
        workflows
            .patch(run, &params, &Patch::Merge(other()))
            .await?;

        // Both are under way, then one ends after the other.
        let both = |bill: &[Call]| {
            ["left", "right"]
                .iter()
                .all(|step| asked(bill, run, step) > 0)
        };
        let what = "the calls of both steps";
        self.scene.mock.until(what, SOON, both).await?;
        self.gates.of(run, "left").open();
        let left = |task: &Task| {
            let steps = task
                .status
                .as_ref()
                .and_then(|status| status.steps.as_ref());
            steps.is_some_and(|steps| steps.succeeded == ["left"])
        };
        space
            .task_until(run, "its first step has ended", left)
            .await?;
        self.gates.of(run, "right").open();

        let approvals: Api<Approval> = space.api();
        let question = names::approval_name(run, &uid, "ship", "step/ship", 1);
        let waits = |approval: &Approval| {
            let status = approval.status.as_ref();
            status.is_some_and(|status| status.phase.is_some())
        };
        let what = "it waits for people";
        wait::until(approvals.clone(), &question, what, SOON, waits).await?;
        workflows.delete(run, &DeleteParams::default()).await?;
        let decided = json!({"spec": {"decisions": {me: {"decision": "Approve"}}}});
        let decided = Patch::Merge(decided);
        approvals.patch(&question, &params, &decided).await?;
        space.finished(run).await?;
        Ok(uid)
    }

    /// Begins a run of one step with so many items, whose output says of them how many there are and what the first and the last one left.
    ///
    /// # Errors
    /// When the API server refuses it, or the operator does not take it.
    pub async fn items(&self, run: &str, items: i64) -> Result<()> {
        let (space, me) = (self.scene.space, &self.scene.me);
        let all: Vec<i64> = (0..items).collect();
        let fan = json!({"forEach": all, "parallel": 50, "agent": {"name": AGENT}, "params": {"prompt": "${params.run} item${index}"}});
        let last = items - 1;
        let spec = json!({
            "params": params(), "steps": [with(json!({"name": "work"}), &fan)],
            "output": {
                "count": "${size(steps.work.output)}", "first": "${steps.work.output[0].text}",
                "last": format!("${{steps.work.output[{last}].text}}"),
            },
        });
        let workflow = object("Workflow", run, &spec);
        space.create(&workflow.to_string()).await?;
        ready(space, run).await?;
        let task = json!({"workflow": {"name": run}, "params": {"run": run}, "requestedBy": me});
        space
            .create(&object("Task", run, &task).to_string())
            .await?;
        Ok(())
    }

    /// Every Task that was ever seen whose name begins so: UIDs by name.
    #[must_use]
    pub fn tasks_of(&self, prefix: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut seen = self.tasks.seen.borrow().clone();
        seen.retain(|name, _| name.starts_with(prefix));
        seen
    }

    /// How many requests the provider got for each step or item of a run.
    #[must_use]
    pub fn calls_of(&self, run: &str) -> BTreeMap<String, usize> {
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        for call in self.scene.mock.bill() {
            if let Some(step) = step_of(&call, run) {
                *calls.entry(step.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// Waits until the operator that runs now has looked at what there is, and everything that it made was seen.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn looked_at(&self, run: &str) -> Result<()> {
        let canary = format!("canary-{run}");
        self.scene.canary(&canary).await?;
        self.tasks.until(&canary).await
    }

    /// How a run ended, and whether the books of its steps agree.
    ///
    /// # Errors
    /// When they do not, or a call is still open.
    pub async fn ending(&self, run: &str, uid: &str) -> Result<Ending> {
        let task = self.scene.space.api::<Task>().get(run).await?;
        let tasks = self.tasks.of(run);
        let mut made = tasks.clone();
        made.extend(self.approvals.of(run));
        let part = |name: &str| part_of(run, name).unwrap_or_default();

        let mut status = books::comparable(&task)?;
        books::without(&mut status, &TIMES);
        let mut text = status.to_string();
        // A name has the hash of a UID in it. The longer ones first: they begin with others.
        for name in made.keys().rev().filter(|name| *name != run) {
            text = text.replace(&name.replacen(run, "TASK", 1), &part(name));
        }

        let (mut estimated, mut cost) = (0, 0);
        for (name, uids) in &tasks {
            let part = part(name);
            if [RUN, DEPLOY].contains(&part.as_str()) {
                continue;
            }
            let uid = uids.first().context("a Task without UID")?;
            let usage = self.scene.settled(uid, 1).await?;
            let journal = self.scene.reader.transcript(name).await?;
            let step = part.rsplit('/').next().unwrap_or_default();
            let mut bill = self.scene.mock.bill();
            bill.retain(|call| step_of(call, run) == Some(step));
            estimated += books::audit(&journal, &usage, &bill)
                .with_context(|| format!("{part}: {journal:#?}"))?;
            cost += usage.sum.cost_pico;
        }
        let below = self.scene.rig.report(uid, 1).await?.below.sum.cost_pico;
        ensure!(below == cost, "the run has {below}, its steps {cost}");

        let calls = self.calls_of(run);
        Ok(Ending {
            status: serde_json::from_str(&text)?,
            made: made
                .iter()
                .map(|(name, uids)| (part(name), uids.len()))
                .collect(),
            calls,
            estimated,
        })
    }

    /// Deletes what is left of a run, so that an operator which is started again does not look at it.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn remove(&self, run: &str) -> Result<()> {
        let tasks = self.scene.space.api::<Task>();
        tasks.delete(run, &DeleteParams::background()).await?;
        wait::until_gone(tasks, run, SOON).await
    }
}

/// A run that needs a place; two steps at once, of which one fails; one that deals with it, and one that does not run then; people; a run; and `finally`.
fn spec(approver: &str) -> Value {
    let right = json!({"retry": {"limit": 0}});
    let mended = json!({"if": "steps.right.failed"});
    let quiet = json!({"if": "steps.right.succeeded"});
    json!({
        "params": params(),
        "concurrency": {"key": "crash"},
        "steps": [
            step("left", "", &Value::Null), step("right", "", &right),
            step("mended", " ${steps.left.output.text}", &mended), step("quiet", "", &quiet),
            {"name": "ship", "approval": {
                "ask": "Ship ${params.run}?", "show": {"mended": "${steps.mended.output.text}"},
                "approvers": {"users": [approver], "allowRequester": true},
            }},
            {"name": DEPLOY, "workflow": {"name": INNER}, "params": {"run": "${params.run}"}, "after": ["ship"]},
        ],
        "finally": [step("report", " ${run.phase}", &Value::Null)],
        "output": {
            "left": "${steps.left.output.text}", "by": "${steps.ship.output.by}",
            "deployed": "${steps.deploy.output.said}",
        },
    })
}

fn inner() -> Value {
    json!({
        "params": params(), "steps": [step("inner", "", &Value::Null)], "output": {"said": "${steps.inner.output.text}"},
    })
}

/// What the Workflow of a run is made into meanwhile.
fn other() -> Value {
    json!({"spec": {"steps": [step("other", "", &Value::Null)], "finally": [], "output": "another one"}})
}

fn params() -> Value {
    json!({"type": "object", "required": ["run"], "properties": {"run": {"type": "string"}}})
}

/// A step whose agent is asked for the run's name and its own, with these fields.
fn step(name: &str, more: &str, fields: &Value) -> Value {
    let prompt = format!("${{params.run}} {name}{more}");
    with(
        json!({"name": name, "agent": {"name": AGENT}, "params": {"prompt": prompt}}),
        fields,
    )
}

/// An object with the fields of another one.
fn with(mut object: Value, fields: &Value) -> Value {
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields.clone());
    }
    object
}

/// The step that a call of the model is for, if it is one of the run.
fn step_of<'a>(call: &'a Call, run: &str) -> Option<&'a str> {
    let rest = call.prompt().strip_prefix(run)?.strip_prefix(' ')?;
    rest.split(' ').next()
}

fn asked(bill: &[Call], run: &str, step: &str) -> usize {
    let calls = bill.iter().filter_map(|call| step_of(call, run));
    calls.filter(|asked| *asked == step).count()
}

/// What the model says: `left` and `right` hear nothing until they are let.
#[derive(Clone, Default)]
struct Gates(Arc<Mutex<HashMap<String, Gate>>>);

impl Gates {
    fn of(&self, run: &str, step: &str) -> Gate {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(format!("{run} {step}")).or_default().clone()
    }

    fn answer(&self, call: &Call) -> Reply {
        let mut words = call.prompt().split(' ');
        let (run, step) = (words.next().unwrap_or_default(), words.next());
        match step {
            // An agent that says nothing, again and again, has failed.
            Some("right") => Reply::text("").after(&self.of(run, "right")),
            Some("left") => Reply::text("left is done").after(&self.of(run, "left")),
            Some(step) => Reply::text(&format!("{step} is done")),
            None => Reply::fault(400),
        }
    }
}

async fn ready(space: &Space, workflow: &str) -> Result<()> {
    let ready =
        |workflow: &Workflow| is_ready(workflow.status.as_ref().map(|status| &*status.conditions));
    wait::until(space.api(), workflow, "it is ready", SOON, ready)
        .await
        .map(drop)
}

fn is_ready(held: Option<&[Condition]>) -> bool {
    held.is_some_and(|held| conditions::is_true(held, conditions::READY))
}

/// Every object of a kind that was ever seen in a namespace: UIDs by name.
struct Uids {
    seen: Arc<watch::Sender<BTreeMap<String, BTreeSet<String>>>>,
    following: AbortHandle,
}

impl Uids {
    fn follow<K>(api: Api<K>) -> Self
    where
        K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let seen = Arc::new(watch::Sender::default());
        let noted = Arc::clone(&seen);
        let following = tokio::spawn(async move {
            let mut events = watcher(api, Config::default()).boxed();
            while let Some(event) = events.next().await {
                // Errors: the watcher starts again by itself.
                if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
                    noted.send_modify(|seen: &mut BTreeMap<String, BTreeSet<String>>| {
                        seen.entry(name).or_default().insert(uid);
                    });
                }
            }
        });
        Self {
            seen,
            following: following.abort_handle(),
        }
    }

    /// Waits until one of this name was seen.
    async fn until(&self, name: &str) -> Result<()> {
        let mut seen = self.seen.subscribe();
        let found = seen.wait_for(|seen| seen.contains_key(name));
        let found = tokio::time::timeout(SOON, found).await;
        found.with_context(|| format!("{name} was not seen"))??;
        Ok(())
    }

    /// Those of a run.
    fn of(&self, run: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut seen = self.seen.borrow().clone();
        seen.retain(|name, _| part_of(run, name).is_some());
        seen
    }
}

impl Drop for Uids {
    fn drop(&mut self) {
        self.following.abort();
    }
}
