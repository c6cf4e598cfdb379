//! What is made for a step.

use super::standing::{Standing, unit};
use super::values::{Local, Wrong};
use super::{MAX_ROUNDS, Run, Seen};
use crate::expr::{Failed, Template};
use crate::graph::{Graph, Pattern, SELF, Step};
use crate::made;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use oarmaster_crds::kinds::approval::{Approvers, FormField, OnTimeout};
use oarmaster_crds::kinds::steps::{ActiveStep, StepKind, StepsStatus};
use oarmaster_crds::kinds::task::{ArtifactSource, DesiredState, FileSpec};
use oarmaster_crds::kinds::workflow::{StepArtifact, StepSpec, StepWait};
use oarmaster_crds::{GepDuration, LocalRef, TaskSpec, names, validate};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::text::{shorten, visible};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a question, as the Approval bounds them.
const MAX_ASK: usize = 4096;
/// Characters of one text that a question shows.
const MAX_SHOWN: usize = 16_384;

/// An object that is made for a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Make {
    /// Name of the step.
    pub step: String,
    /// Name of the object.
    pub name: String,
    /// Which of the step's objects it is.
    pub which: Which,
    /// What it is.
    pub what: What,
}

/// What is made for a step.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A Task. Who asked for it is not in it.
    Task(Box<TaskSpec>),
    /// An Approval.
    Approval {
        /// The question.
        ask: String,
        /// What it is about.
        show: BTreeMap<String, String>,
        /// What is filled in.
        form: BTreeMap<String, FormField>,
        /// Who may decide.
        approvers: Approvers,
        /// How long it is waited for.
        timeout: GepDuration,
        /// What happens then.
        on_timeout: OnTimeout,
    },
}

/// Which of the things that are made for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    /// The item of `forEach`.
    pub item: Option<i64>,
    /// How often it is done, from 1.
    pub turn: i64,
    /// How often it is asked, from 1.
    pub round: i64,
    /// Whether it undoes the step.
    pub undo: bool,
    /// By which `rerun.count` it is made; 0 at first.
    pub rerun: i64,
}

impl Which {
    /// What is made first for a step.
    pub const FIRST: Self = Self::item(None);

    /// What is made first for an item.
    #[must_use]
    pub const fn item(item: Option<i64>) -> Self {
        Self {
            item,
            turn: 1,
            round: 1,
            undo: false,
            rerun: 0,
        }
    }
}

/// Kind and name of what is made for a step of the run of a Task.
#[must_use]
pub fn object(task: &str, uid: &str, step: &StepSpec, which: Which) -> (StepKind, String) {
    let mut path = format!("step/{}", step.name);
    if let Some(item) = which.item {
        path.push_str(&format!("/item/{item}"));
    }
    if which.rerun > 0 {
        path.push_str(&format!("/rerun/{}", which.rerun));
    }
    if which.undo {
        path.push_str("/undo");
    } else if which.turn > 1 {
        path.push_str(&format!("/turn/{}", which.turn));
    }
    if step.wait.is_some() {
        (StepKind::Wait, String::new())
    } else if step.approval.is_some() {
        let name = names::approval_name(task, uid, &step.name, &path, which.round);
        (StepKind::Approval, name)
    } else {
        let name = names::child_name(task, uid, &step.name, &path);
        (StepKind::Task, name)
    }
}

pub(super) fn name_of(seen: &Seen<'_>, step: &StepSpec, which: Which) -> (StepKind, String) {
    object(seen.task, seen.uid, step, which)
}

/// The names of everything that is there for the steps of a run, or may be: those of Tasks, and those of Approvals.
#[must_use]
pub fn objects(
    task: &str,
    uid: &str,
    graph: &Graph,
    held: Option<&StepsStatus>,
) -> [BTreeSet<String>; 2] {
    let mut names = [BTreeSet::new(), BTreeSet::new()];
    let [tasks, approvals] = &mut names;
    let nothing = StepsStatus::default();
    let standing = Standing::read(graph, held.unwrap_or(&nothing));
    tasks.extend(standing.undoing.iter().map(|unit| unit.object.clone()));
    for (at, step) in graph.steps.iter().enumerate() {
        let mut add = |which: Which| match object(task, uid, &step.spec, which) {
            (StepKind::Task, name) => tasks.insert(name),
            (StepKind::Approval, name) => approvals.insert(name),
            (StepKind::Wait, _) => false,
        };
        if step.spec.approval.is_some() {
            let first = standing.which(at, None);
            for round in 1..=MAX_ROUNDS {
                add(Which { round, ..first });
            }
            continue;
        }
        let items: Vec<Option<i64>> = match (&step.over, standing.fans.get(&at)) {
            (None, _) => vec![None],
            (Some(_), None) => Vec::new(),
            (Some(_), Some(fan)) => {
                // Some may have been made and not been written down.
                let next = i64::try_from(step.parallel()).unwrap_or(1);
                let last = fan.begun.saturating_add(next).min(fan.items);
                let there = (0..last).filter(|item| !fan.folded.contains(*item));
                there.map(Some).collect()
            }
        };
        let limit = step.limit();
        for item in items {
            let last = standing.last(at, item);
            // One more than is known may have been made.
            for turn in 1..=last.turn.saturating_add(1).min(limit) {
                add(Which { turn, ..last });
            }
            if standing.ending.is_some() && step.undo.is_some() {
                add(Which { undo: true, ..last });
            }
        }
        // Items whose Tasks were let go are undone, too, in their order from the last.
        let fan = standing.fans.get(&at).filter(|fan| !fan.folded.is_empty());
        if let (Some(fan), Some(_), true) = (fan, &step.undo, standing.ending.is_some()) {
            let done = (0..fan.items).rev().filter(|item| fan.succeeded(*item));
            let begun = usize::try_from(standing.undo.begun).unwrap_or_default();
            for item in done.skip(begun).take(step.parallel()) {
                let first = standing.which(at, Some(item));
                add(Which {
                    undo: true,
                    ..first
                });
            }
        }
    }
    names
}

/// Why an expression has no value, as the class of the step's failure.
pub(super) fn failed(failed: Failed) -> Wrong {
    let class = if failed.too_large {
        FailureClass::OutputTooLarge
    } else {
        FailureClass::InvalidInput
    };
    (class, failed.to_string())
}

impl Run<'_> {
    /// Begins something of a step: its values are taken now, and stay.
    pub(super) fn begin_unit(&mut self, at: usize, which: Which) {
        let Some(step) = self.graph.steps.get(at) else {
            return;
        };
        let mut unit = unit(self.seen, step, which);
        if let Some(wait) = &step.spec.wait {
            let due = self.due(step, wait);
            unit.due = due.as_ref().ok().copied().map(Time);
            self.standing.add(at, unit.clone());
            match due {
                Ok(_) => self.look_whether_open(at, step, &unit),
                Err((class, why)) => self.standing.fail(at, class.as_str(), &why),
            }
            return;
        }
        self.standing.add(at, unit.clone());
        // What is not made now is made by a pass that finds nothing under its name.
        if self.seen.wanted == DesiredState::Paused {
            return;
        }
        if let Err((class, why)) = self.make(at, step, &unit) {
            self.standing
                .unit_failed(at, unit.item, class.as_str(), &why);
        }
    }

    /// Until when a step waits, in whole seconds: no less than it says.
    fn due(&mut self, step: &Step, wait: &StepWait) -> Result<Timestamp, Wrong> {
        let until = match (&step.until_when, &wait.for_) {
            (Some(until), _) => {
                let field = "wait.until";
                let value = text(&self.value(&step.place, field, until, &Local::default())?);
                let time = value.trim().parse::<Timestamp>();
                time.map_err(|_| {
                    let text = "gives no time like 2026-12-24T18:00:00Z";
                    wrong(&step.place, field, text)
                })?
            }
            (None, wait) => {
                let wait = wait
                    .as_ref()
                    .and_then(|wait| wait.get().ok())
                    .unwrap_or_default();
                self.seen.now.saturating_add(wait).unwrap_or(self.seen.now)
            }
        };
        let second = until.as_second() + i64::from(until.subsec_nanosecond() > 0);
        Ok(Timestamp::from_second(second).unwrap_or(until))
    }

    /// Has an object made.
    pub(super) fn make(&mut self, at: usize, step: &Step, unit: &ActiveStep) -> Result<(), Wrong> {
        let refused = &self.seen.refused;
        let why = refused
            .get(&unit.object)
            .or_else(|| refused.get(&unit.name));
        if let Some(why) = why {
            return Err((FailureClass::InvalidInput, why.clone()));
        }
        let which = self.standing.which_of(at, unit);
        let what = self.what(at, step, which)?;
        self.make.push(Make {
            step: unit.name.clone(),
            name: unit.object.clone(),
            which,
            what,
        });
        Ok(())
    }

    fn what(&mut self, at: usize, step: &Step, which: Which) -> Result<What, Wrong> {
        let local = self.local(at, which)?;
        if let (Some(approval), Some((ask, show))) = (&step.spec.approval, &step.question) {
            let place = format!("{}.approval", step.place);
            let ask = self.value(&place, "ask", ask, &local)?;
            if text(&ask).trim().is_empty() {
                return Err(wrong(&place, "ask", "is empty"));
            }
            let show = self.value(&place, "show", show, &local)?;
            return Ok(What::Approval {
                ask: shorten(&visible(&text(&ask)), MAX_ASK),
                show: texts(show)
                    .map(|(name, value)| (name, shorten(&visible(&value), MAX_SHOWN)))
                    .collect(),
                form: approval.form.clone(),
                approvers: approval.approvers.clone(),
                timeout: approval.timeout.clone(),
                on_timeout: approval.on_timeout,
            });
        }
        match (&step.undo, which.undo) {
            (Some(undo), true) => {
                let place = format!("{}.undo", step.place);
                let made = self.task(&place, undo, &local)?;
                checked(&place, made)
            }
            _ => {
                let mut made = self.task(&step.place, &step.pattern, &local)?;
                self.begin_with(at, step, which, &local, &mut made)?;
                made.memo = self.memo(step, which, &local)?;
                checked(&step.place, made)
            }
        }
    }

    /// Names the Tasks whose files it begins with.
    fn begin_with(
        &mut self,
        at: usize,
        step: &Step,
        which: Which,
        local: &Local,
        made: &mut TaskSpec,
    ) -> Result<(), Wrong> {
        if let (Some(template), Some(held)) = (&step.pattern.workspace, &mut made.workspace) {
            let field = "workspace.from";
            let name = text(&self.value(&step.place, field, template, local)?);
            let own = name == SELF && step.until.is_some();
            let task = if own {
                let turn = which.turn - 1;
                (turn > 0).then_some((at, Which { turn, ..which }))
            } else {
                let other = self.graph.find(&name);
                let other = other.filter(|other| {
                    self.standing.ran(*other) && !self.standing.fans.contains_key(other)
                });
                other.map(|other| (other, self.standing.last(other, None)))
            };
            let task = task.and_then(|(other, which)| self.task_of(other, which));
            let Some(task) = task else {
                if own {
                    held.from = None; // the first time it begins with nothing
                    return self.place(step, made);
                }
                let shown: String = name.chars().take(32).collect();
                let text = format!(
                    "is {shown}, which left no workspace: it is none of the steps before, was not run, or has no Task of its own"
                );
                return Err(wrong(&step.place, field, &text));
            };
            held.from = Some(LocalRef::new(&task));
        }
        self.place(step, made)
    }

    /// Names the Tasks whose artifacts are among its files.
    fn place(&self, step: &Step, made: &mut TaskSpec) -> Result<(), Wrong> {
        let files = std::mem::take(&mut made.files);
        for (nth, file) in files.into_iter().enumerate() {
            match step.pattern.artifacts.get(&nth) {
                None => made.files.push(file),
                Some(artifact) => made.files.extend(self.kept(step, artifact, &file)?),
            }
        }
        Ok(())
    }

    /// The files that are an artifact of another step: one, or of each item that succeeded one.
    fn kept(
        &self,
        step: &Step,
        artifact: &StepArtifact,
        file: &FileSpec,
    ) -> Result<Vec<FileSpec>, Wrong> {
        let source = self.graph.find(&artifact.step).unwrap_or(usize::MAX);
        let of = |path: String, task: String| FileSpec {
            path,
            artifact: Some(ArtifactSource {
                task: LocalRef::new(&task),
                name: artifact.name.clone(),
            }),
            ..file.clone()
        };
        if let Some(fan) = self.standing.fans.get(&source) {
            let items = (0..fan.items).filter(|item| fan.succeeded(*item));
            let base = match file.path.as_str() {
                "." => String::new(),
                path => format!("{}/", path.trim_end_matches('/')),
            };
            let all = items.filter_map(|item| {
                let task = self.task_of(source, self.standing.last(source, Some(item)))?;
                Some(of(format!("{base}{item}"), task))
            });
            return Ok(all.collect());
        }
        let ran = self.standing.ran(source);
        let task = ran.then(|| self.task_of(source, self.standing.last(source, None)));
        match task.flatten() {
            Some(task) => Ok(vec![of(file.path.clone(), task)]),
            None => {
                let text = format!("has an artifact of {}, which was not run", artifact.step);
                Err(wrong(&step.place, "files", &text))
            }
        }
    }

    /// Name of the Task of a step.
    fn task_of(&self, at: usize, which: Which) -> Option<String> {
        let step = self.graph.steps.get(at)?;
        let (kind, name) = name_of(self.seen, &step.spec, which);
        (kind == StepKind::Task).then_some(name)
    }

    fn task(&mut self, place: &str, pattern: &Pattern, local: &Local) -> Result<TaskSpec, Wrong> {
        let mut made = pattern.task.clone();
        if let Some(params) = &pattern.params {
            let Value::Object(params) = self.value(place, "params", params, local)? else {
                return Err(wrong(place, "params", "are no object"));
            };
            made.params = Some(params.into_iter().collect());
        }
        if let (Some(template), Some(workflow)) = (&pattern.graph, &mut made.workflow) {
            let graph = self.value(place, "workflow.from", template, local)?;
            let allow = workflow.allow.clone().unwrap_or_default();
            let graph = made::checked(&graph, &allow).map_err(|problems| {
                let (_, text) = wrong(place, "workflow.from", &validate::summary(&problems));
                (FailureClass::ModelOutputInvalid, text)
            })?;
            workflow.spec = serde_json::to_value(&graph.spec).ok();
        }
        if let (Some(template), Some(goal)) = (&pattern.goal, &mut made.goal) {
            goal.text = text(&self.value(place, "goal.text", template, local)?);
        }
        if let (Some(env), Some(run)) = (&pattern.env, &mut made.run) {
            run.env = texts(self.value(place, "run.env", env, local)?).collect();
        }
        for (nth, content) in &pattern.contents {
            let content = self.value(place, &format!("files[{nth}].content"), content, local)?;
            if let Some(file) = made.files.get_mut(*nth) {
                file.content = Some(text(&content));
            }
        }
        Ok(made)
    }

    pub(super) fn value(
        &mut self,
        place: &str,
        field: &str,
        template: &Template,
        local: &Local,
    ) -> Result<Value, Wrong> {
        let values = self.values(&template.reads(), local)?;
        template.evaluate(&values).map_err(|error| {
            let (class, why) = failed(error);
            (class, wrong(place, field, &why).1)
        })
    }
}

/// With its values it may be larger, or another thing, than what was checked.
fn checked(place: &str, made: TaskSpec) -> Result<What, Wrong> {
    let problems = validate::task(&made, &ObjectMeta::default());
    let Some(first) = problems.first() else {
        return Ok(What::Task(Box::new(made)));
    };
    let class = match first.rule {
        validate::Rule::Params => FailureClass::InvalidParams,
        _ => FailureClass::InvalidInput,
    };
    let of_step = |problem: &validate::Problem| {
        let field = problem.field.strip_prefix("spec").unwrap_or_default();
        validate::Problem::spec(format!("{place}{field}"), problem.message.clone())
    };
    let problems: Vec<_> = problems.iter().map(of_step).collect();
    let summary = validate::summary(&problems);
    Err((class, format!("with its values: {summary}")))
}

pub(super) fn wrong(place: &str, field: &str, why: &str) -> Wrong {
    let text = format!("{place}.{field}: {why}");
    (FailureClass::InvalidInput, text)
}

/// A value as a text: a text as it is, everything else as JSON, and null as nothing.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn texts(value: Value) -> impl Iterator<Item = (String, String)> {
    let object = match value {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    };
    object.into_iter().map(|(name, value)| (name, text(&value)))
}
