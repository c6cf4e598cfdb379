//! What runs and steps have in common with others, as texts.

use super::make::{Which, failed, wrong};
use super::values::{Local, Wrong};
use super::{Run, make};
use crate::expr::Values;
use crate::graph::{Graph, Step};
use oarmaster_crds::kinds::memo::MemoSpec;
use oarmaster_crds::kinds::steps::StepKind;
use oarmaster_crds::kinds::workflow::StepSpec;
use oarmaster_crds::names;
use serde_json::{Map, Value};

/// Most characters of a run's key: it stands in the status and in messages.
const MAX_KEY: usize = 512;

/// Most characters of a step's key: with what is put before it, it is within what a Task's may have.
const MAX_MEMO: usize = 1024;

/// What a run has in common with others of its Workflow of which only so many go on at once; nothing where they all may.
///
/// # Errors
/// The key has no value.
pub fn slot_key(graph: &Graph, params: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some(key) = &graph.concurrency else {
        return Ok(None);
    };
    let place = |why: &str| format!("concurrency.key: {why}");
    let values = Values {
        names: [("params".to_owned(), Value::Object(params.clone()))].into(),
        ..Values::default()
    };
    let value = key.evaluate(&values);
    let value = value.map_err(|error| place(&failed(error).1))?;
    let key = text(&value).map_err(place)?;
    if key.chars().count() > MAX_KEY {
        return Err(place("gives more than 512 characters"));
    }
    Ok(Some(key))
}

/// A key as a text.
fn text(value: &Value) -> Result<String, &'static str> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err("gives no text: name single values in it, like ${params.repo}"),
    };
    match text.trim().is_empty() {
        true => Err("gives an empty text"),
        false => Ok(text),
    }
}

impl Run<'_> {
    /// What is the same of a step that was done already. What is run anew is done, whatever there was.
    pub(super) fn memo(
        &mut self,
        step: &Step,
        which: Which,
        local: &Local,
    ) -> Result<Option<MemoSpec>, Wrong> {
        let (Some(spec), Some(key)) = (&step.spec.memo, &step.memo) else {
            return Ok(None);
        };
        if which.rerun > 0 {
            return Ok(None);
        }
        let field = "memo.key";
        let value = self.value(&step.place, field, key, local)?;
        let key = text(&value).map_err(|why| wrong(&step.place, field, why))?;
        if key.chars().count() > MAX_MEMO {
            let text = "gives more than 1024 characters; have a step give a digest of it";
            return Err(wrong(&step.place, field, text));
        }
        Ok(Some(MemoSpec {
            key: format!("{}/{key}", written(&step.spec)),
            ttl: spec.ttl.clone(),
        }))
    }

    /// Whether what a step, or an item of it, did last was done by another Task: it is not undone here.
    pub(super) fn was_taken(&self, at: usize, item: Option<i64>) -> bool {
        let Some(step) = self.graph.steps.get(at) else {
            return false;
        };
        let (kind, name) = make::name_of(self.seen, &step.spec, self.standing.last(at, item));
        let found = self.seen.found.get(&name);
        kind == StepKind::Task && found.is_some_and(|found| found.ours && found.taken)
    }
}

/// Digest of what a step does, as it is written: with other words it is another thing, and its values are what the key names.
fn written(step: &StepSpec) -> String {
    let written = StepSpec {
        agent: step.agent.clone(),
        run: step.run.clone(),
        workflow: step.workflow.clone(),
        params: step.params.clone(),
        workspace: step.workspace.clone(),
        files: step.files.clone(),
        artifacts: step.artifacts.clone(),
        accept: step.accept.clone(),
        ..StepSpec::default()
    };
    // The types of the API always serialise.
    names::spec_digest(&written).unwrap_or_default()
}
