//! What is made for a step.

use super::standing::State;
use super::{MAX_ROUNDS, Run, Seen};
use crate::expr::{Failed, Template};
use crate::graph::{Graph, Step, task};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oarmaster_crds::kinds::approval::{Approvers, FormField, OnTimeout};
use oarmaster_crds::kinds::task::{ActiveStep, Phase, RequestKind};
use oarmaster_crds::kinds::workflow::StepSpec;
use oarmaster_crds::{GepDuration, TaskSpec, names, validate};
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

/// Kind and name of what is made for a step of the run of a Task, the `round`th time.
#[must_use]
pub fn object(task: &str, uid: &str, step: &StepSpec, round: i64) -> (RequestKind, String) {
    let path = format!("step/{}", step.name);
    if step.approval.is_some() {
        let name = names::approval_name(task, uid, &step.name, &path, round);
        (RequestKind::Approval, name)
    } else {
        let name = names::child_name(task, uid, &step.name, &path);
        (RequestKind::Task, name)
    }
}

pub(super) fn name_of(seen: &Seen<'_>, step: &StepSpec, round: i64) -> (RequestKind, String) {
    object(seen.task, seen.uid, step, round)
}

/// The names of everything that may have been made for the steps of a run: those of Tasks, and those of Approvals.
#[must_use]
pub fn objects(task: &str, uid: &str, graph: &Graph) -> [BTreeSet<String>; 2] {
    let mut names = [BTreeSet::new(), BTreeSet::new()];
    let [tasks, approvals] = &mut names;
    for step in &graph.steps {
        let rounds = if step.spec.approval.is_some() {
            MAX_ROUNDS
        } else {
            1
        };
        for round in 1..=rounds {
            match object(task, uid, &step.spec, round) {
                (RequestKind::Task, name) => tasks.insert(name),
                (RequestKind::Approval, name) => approvals.insert(name),
            };
        }
    }
    names
}

/// Why an expression has no value, as the class of the step's failure.
pub(super) fn failed(failed: Failed) -> (FailureClass, String) {
    let class = if failed.too_large {
        FailureClass::OutputTooLarge
    } else {
        FailureClass::InvalidInput
    };
    (class, failed.to_string())
}

impl Run<'_> {
    /// Begins a step: its values are taken now, and stay.
    pub(super) fn begin(&mut self, at: usize, round: i64) {
        let Some(step) = self.graph.steps.get(at) else {
            return;
        };
        let (kind, name) = name_of(self.seen, &step.spec, round);
        let phase = match kind {
            RequestKind::Task => Phase::Pending,
            RequestKind::Approval => Phase::Waiting,
        };
        let active = ActiveStep {
            name: step.spec.name.clone(),
            kind,
            object: name.clone(),
            uid: None,
            phase,
            round,
        };
        self.standing.set(at, State::Active(active));
        if let Some(why) = self.seen.refused.get(&step.spec.name) {
            self.standing
                .fail(at, FailureClass::InvalidInput.as_str(), why);
            return;
        }
        match self.what(step) {
            Ok(what) => self.make.push(Make {
                step: step.spec.name.clone(),
                name,
                what,
            }),
            Err((class, why)) => self.standing.fail(at, class.as_str(), &why),
        }
    }

    fn what(&self, step: &Step) -> Result<What, (FailureClass, String)> {
        if let (Some(approval), Some((ask, show))) = (&step.spec.approval, &step.question) {
            let ask = self.value(step, "approval.ask", ask)?;
            if text(&ask).trim().is_empty() {
                return Err(wrong(step, "approval.ask", "is empty"));
            }
            let show = self.value(step, "approval.show", show)?;
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
        let mut made = task(&step.spec);
        if let Some(params) = &step.params {
            let Value::Object(params) = self.value(step, "params", params)? else {
                return Err(wrong(step, "params", "are no object"));
            };
            made.params = Some(params.into_iter().collect());
        }
        if let (Some(env), Some(run)) = (&step.env, &mut made.run) {
            run.env = texts(self.value(step, "run.env", env)?).collect();
        }
        for (at, content) in &step.contents {
            let content = self.value(step, &format!("files[{at}].content"), content)?;
            if let Some(file) = made.files.get_mut(*at) {
                file.content = Some(text(&content));
            }
        }
        // With its values it may be larger, or another thing, than what was checked.
        let problems = validate::task(&made, &ObjectMeta::default());
        if let Some(first) = problems.first() {
            let class = match first.rule {
                validate::Rule::Params => FailureClass::InvalidParams,
                _ => FailureClass::InvalidInput,
            };
            let of_step = |problem: &validate::Problem| {
                let field = problem.field.strip_prefix("spec").unwrap_or_default();
                validate::Problem::spec(format!("{}{field}", step.place), problem.message.clone())
            };
            let problems: Vec<_> = problems.iter().map(of_step).collect();
            let summary = validate::summary(&problems);
            return Err((class, format!("with its values: {summary}")));
        }
        Ok(What::Task(Box::new(made)))
    }

    fn value(
        &self,
        step: &Step,
        field: &str,
        template: &Template,
    ) -> Result<Value, (FailureClass, String)> {
        let values = self.values(&template.reads())?;
        template.evaluate(&values).map_err(|error| {
            let (class, why) = failed(error);
            (class, wrong(step, field, &why).1)
        })
    }
}

fn wrong(step: &Step, field: &str, why: &str) -> (FailureClass, String) {
    let text = format!("{}.{field}: {why}", step.place);
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
