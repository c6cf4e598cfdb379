//! A workflow that was checked: its expressions compiled, and which step needs which.

mod check;
#[cfg(test)]
mod tests;

pub(crate) use check::SELF;
use check::{task, undoing};

use crate::expr::{Expression, Reads, Scope, Template};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oarmaster_crds::commands::list;
use oarmaster_crds::kinds::task::Language;
use oarmaster_crds::kinds::workflow::{MAX_ITEMS, PARALLEL, StepArtifact, StepSpec};
use oarmaster_crds::validate::Problem;
use oarmaster_crds::{TaskSpec, WorkflowSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Most expressions of a workflow: each is kept compiled while a run of it goes on.
const MAX_EXPRESSIONS: usize = 2000;

/// What an expression may ask of a step.
pub const FIELDS: [&str; 7] = [
    "failed",
    "failure",
    "items",
    "output",
    "phase",
    "skipped",
    "succeeded",
];

/// A checked workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// What was checked.
    pub spec: WorkflowSpec,
    /// All steps; those of `finally` come last.
    pub steps: Vec<Step>,
    /// How many of them are not of `finally`.
    pub main: usize,
    /// The output, if the workflow says one.
    pub output: Option<Template>,
    /// What its runs have in common of which only so many go on at once.
    pub concurrency: Option<Template>,
}

/// A step, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it was made of.
    pub spec: StepSpec,
    /// Its Task, if it is one.
    pub pattern: Pattern,
    /// Question and what it is about.
    pub question: Option<(Template, Template)>,
    /// Whether it runs.
    pub condition: Option<Expression>,
    /// The list whose items it does.
    pub over: Option<Template>,
    /// Whether it need not be done again.
    pub until: Option<Expression>,
    /// Until when it waits.
    pub until_when: Option<Template>,
    /// What it waits for until then.
    pub opens: Option<Expression>,
    /// What it gives to what is shared: an object.
    pub share: Option<Template>,
    /// The Task that undoes it.
    pub undo: Option<Pattern>,
    /// What its outcome depends on, where it need not be done again.
    pub memo: Option<Template>,
    /// Steps that end before it begins, by index. Of a step of `finally` others of `finally` alone: the rest has ended then.
    pub needs: BTreeSet<usize>,
    /// Steps that ask for it in their `if`, by index: one of them that runs deals with its failure.
    pub asked_by: BTreeSet<usize>,
    /// Where it stands, like `steps[plan]`.
    pub place: String,
}

/// A Task to which values are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pattern {
    /// The Task, with its texts as they are written.
    pub task: TaskSpec,
    /// Its parameters.
    pub params: Option<Template>,
    /// Its environment.
    pub env: Option<Template>,
    /// The texts of its files, by index.
    pub contents: BTreeMap<usize, Template>,
    /// The step whose workspace it begins with.
    pub workspace: Option<Template>,
    /// What gives the graph that it runs, of a workflow that a model made.
    pub graph: Option<Template>,
    /// What is to be reached, of a goal.
    pub goal: Option<Template>,
    /// Files that are artifacts of other steps, by index.
    pub artifacts: BTreeMap<usize, StepArtifact>,
}

impl Pattern {
    /// Whether its texts name something, like `self`.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let texts = self.params.iter().chain(&self.env);
        let mut texts = texts.chain(&self.workspace).chain(self.contents.values());
        texts.any(|text| text.reads().names.contains(name))
    }
}

impl Graph {
    /// Checks a workflow.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(spec: &WorkflowSpec) -> Result<Self, Vec<Problem>> {
        let mut problems = check::shape(spec);
        if !problems.is_empty() {
            return Err(problems); // names are needed to look further
        }
        let main = spec.steps.len();
        let all: Vec<&StepSpec> = spec.steps.iter().chain(&spec.finally).collect();
        let index: BTreeMap<&str, usize> = all
            .iter()
            .enumerate()
            .map(|(at, step)| (step.name.as_str(), at))
            .collect();
        let params: BTreeMap<String, bool> = list(spec.params.as_ref())
            .iter()
            .map(|param| {
                let stands = param.required || param.default.is_some();
                (param.name.to_owned(), stands)
            })
            .collect();
        let mut scope = Scope {
            objects: [("params", params)].into(),
            names: ["params"].into(),
            steps: spec.steps.iter().map(|step| step.name.clone()).collect(),
            fields: FIELDS.into(),
        };
        let of_params = Scope {
            steps: BTreeSet::new(),
            ..scope.clone()
        };
        if !spec.shared.is_empty() {
            let shared = spec.shared.keys().map(|name| (name.clone(), true));
            scope.add("shared", shared.collect());
        }
        let mut at_last = scope.clone();
        at_last.steps = all.iter().map(|step| step.name.clone()).collect();
        let of_run = ["phase", "failure"].map(|name| (name.to_owned(), true));
        at_last.add("run", of_run.into());
        let mut expressions = 0;
        let mut steps = Vec::with_capacity(all.len());
        for (at, step) in all.iter().enumerate() {
            let (scope, first) = if at < main {
                (&scope, 0)
            } else {
                (&at_last, main)
            };
            let mut work = Work {
                field: field(spec, at),
                scope: scope.clone(),
                problems: &mut problems,
                expressions: &mut expressions,
                reads: Reads::default(),
            };
            let mut ready = work.step(step);
            work.undo(step, &mut ready);
            let named = work.reads.steps.iter();
            let named = named.filter_map(|name| index.get(name.as_str()).copied());
            let after = step.after.iter();
            let after = after.filter_map(|name| index.get(name.as_str()).copied());
            let files = check::sources(step);
            let files = files.filter_map(|name| index.get(name).copied());
            let texts = ready
                .pattern
                .workspace
                .iter()
                .flat_map(|from| from.reads().texts);
            let texts: Vec<usize> = texts
                .filter_map(|name| index.get(name.as_str()).copied())
                .collect();
            let needs = named.chain(after).chain(files).chain(texts);
            ready.needs = needs.filter(|need| *need >= first).collect();
            steps.push(ready);
        }
        let asks: Vec<(usize, usize)> = steps
            .iter()
            .take(main)
            .enumerate()
            .filter_map(|(at, step): (usize, &Step)| Some((at, step.condition.as_ref()?)))
            .flat_map(|(at, condition)| condition.reads().steps.iter().map(move |of| (at, of)))
            .filter_map(|(at, of)| Some((at, *index.get(of.as_str())?)))
            .collect();
        for (at, of) in asks {
            if let Some(step) = steps.get_mut(of) {
                step.asked_by.insert(at);
            }
        }
        let output = spec.output.as_ref().and_then(|output| {
            let mut work = Work {
                field: "spec.output".to_owned(),
                scope: scope.clone(),
                problems: &mut problems,
                expressions: &mut expressions,
                reads: Reads::default(),
            };
            work.template("", output)
        });
        let concurrency = spec.concurrency.as_ref().and_then(|concurrency| {
            let mut work = Work {
                field: "spec.concurrency".to_owned(),
                scope: of_params,
                problems: &mut problems,
                expressions: &mut expressions,
                reads: Reads::default(),
            };
            let key = &concurrency.key;
            if key.contains("${steps.") {
                let text = "knows params alone: no step has begun when a run is to have its place";
                work.problem(".key", text);
                return None;
            }
            work.template(".key", &serde_json::Value::String(key.clone()))
        });
        if expressions > MAX_EXPRESSIONS {
            problems.push(Problem::spec(
                "spec",
                format!("has {expressions} expressions: write at most {MAX_EXPRESSIONS}"),
            ));
        }
        check::files(&mut problems, spec, &mut steps);
        problems.extend(check::cycle(spec, &steps));
        if problems.is_empty() {
            Ok(Self {
                spec: spec.clone(),
                steps,
                main,
                output,
                concurrency,
            })
        } else {
            Err(problems)
        }
    }

    /// The step of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.spec.name == name)
    }

    /// Whether a step says how it is undone.
    #[must_use]
    pub fn can_be_undone(&self) -> bool {
        self.steps.iter().any(|step| step.undo.is_some())
    }

    /// Whether others have artifacts of a step among their files.
    #[must_use]
    pub fn is_placed(&self, name: &str) -> bool {
        let steps = self.steps.iter();
        let mut artifacts = steps.flat_map(|step| step.pattern.artifacts.values());
        artifacts.any(|artifact| artifact.step == name)
    }

    /// Whether a step is of `finally`.
    #[must_use]
    pub fn is_last(&self, name: &str) -> bool {
        self.find(name).is_some_and(|at| at >= self.main)
    }

    /// Whether something is done at its end, for which a part of its budget is kept.
    #[must_use]
    pub fn has_an_end(&self) -> bool {
        self.main < self.steps.len() || self.can_be_undone()
    }

    /// Steps whose output is that of the run, if the workflow says none: no other step needs them.
    pub fn leaves(&self) -> impl Iterator<Item = &str> {
        let needed: BTreeSet<usize> = self
            .steps
            .iter()
            .take(self.main)
            .flat_map(|step| step.needs.iter().copied())
            .collect();
        let steps = self.steps.iter().take(self.main).enumerate();
        steps
            .filter(move |(at, _)| !needed.contains(at))
            .map(|(_, step)| step.spec.name.as_str())
    }
}

impl Step {
    /// Whether it reads what is shared: other steps than those that it needs have a say in that.
    #[must_use]
    pub fn reads_shared(&self) -> bool {
        let question = self.question.iter().flat_map(|(ask, show)| [ask, show]);
        let templates = question.chain(&self.until_when);
        let pattern = &self.pattern;
        let texts = pattern.params.iter().chain(&pattern.env);
        let texts = texts.chain(&pattern.workspace).chain(&pattern.graph);
        let texts = texts.chain(&pattern.goal).chain(pattern.contents.values());
        let names = |reads: &Reads| reads.names.contains("shared");
        let mut all = templates.chain(texts);
        all.any(|template| names(&template.reads()))
            || self
                .condition
                .iter()
                .chain(&self.opens)
                .any(|it| names(it.reads()))
    }

    /// Most of its items that are under way at once.
    #[must_use]
    pub fn parallel(&self) -> usize {
        usize::try_from(self.spec.parallel.unwrap_or(PARALLEL)).map_or(1, |most| most.clamp(1, 100))
    }

    /// Most often that it is done.
    #[must_use]
    pub fn limit(&self) -> i64 {
        self.spec.repeat.as_ref().map_or(1, |repeat| repeat.limit)
    }

    /// How many of its items may fail.
    #[must_use]
    pub fn may_fail(&self, items: usize) -> usize {
        match &self.spec.tolerate {
            None => 0,
            Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or_default(),
            Some(IntOrString::String(text)) => {
                let part = text
                    .strip_suffix('%')
                    .and_then(|part| part.parse::<usize>().ok());
                let part = part.unwrap_or_default().min(100);
                items.min(MAX_ITEMS).saturating_mul(part) / 100
            }
        }
    }
}

/// Where a step stands.
fn field(spec: &WorkflowSpec, at: usize) -> String {
    let (list, step) = match spec.steps.get(at) {
        Some(step) => ("steps", Some(step)),
        None => ("finally", spec.finally.get(at - spec.steps.len())),
    };
    let name = step.map_or("", |step| step.name.as_str());
    format!("spec.{list}[{name}]")
}

/// What is known of what a step did, each with whether it is always there.
fn fields(always: bool) -> BTreeMap<String, bool> {
    let fields = FIELDS.into_iter().filter(|field| *field != "items");
    fields.map(|field| (field.to_owned(), always)).collect()
}

/// Compiles what stands at a field.
struct Work<'a> {
    field: String,
    scope: Scope,
    problems: &'a mut Vec<Problem>,
    /// How many there are so far. None beyond the most is compiled: a text of a megabyte has room for half a million.
    expressions: &'a mut usize,
    reads: Reads,
}

impl Work<'_> {
    fn step(&mut self, step: &StepSpec) -> Step {
        self.plain_texts("", step);
        // What is known to all of it is what is there before it begins.
        // A list is the same in each pass, and what is shared is not.
        let all = self.scope.clone();
        self.scope.remove("shared");
        let over = step.for_each.as_ref();
        let over = over.and_then(|over| self.template(".forEach", over));
        self.scope = all;
        let condition = step.condition.as_ref();
        let condition = condition.and_then(|condition| self.expression(".if", condition));
        let outer = self.scope.clone();
        let mut inner = outer.clone();
        if step.for_each.is_some() {
            inner.names.extend(["item", "index"]);
        }
        let mut own = inner.clone();
        if step.repeat.is_some() {
            own.add("self", fields(false));
        }
        self.scope = own;
        let until_when = step.wait.as_ref().and_then(|wait| wait.until.as_ref());
        let until_when = until_when.and_then(|until| {
            let until = serde_json::Value::String(until.clone());
            self.template(".wait.until", &until)
        });
        let opens = step.wait.as_ref().and_then(|wait| wait.condition.as_ref());
        let opens = opens.and_then(|opens| self.expression(".wait.condition", opens));
        if opens
            .as_ref()
            .is_some_and(|it| !it.reads().names.contains("shared"))
        {
            let text = "reads nothing that changes while it waits: only what is shared does, like size(shared.findings) >= 3; use if, or after";
            self.problem(".wait.condition", text);
        }
        let pattern = if step.approval.is_some() || step.wait.is_some() {
            Pattern::default()
        } else {
            self.pattern("", step)
        };
        let memo = step.memo.as_ref();
        let memo = memo.and_then(|memo| {
            let key = serde_json::Value::String(memo.key.clone());
            self.template(".memo.key", &key)
        });
        let question = step.approval.as_ref().and_then(|approval| {
            let ask = serde_json::Value::String(approval.ask.clone());
            let ask = self.template(".approval.ask", &ask);
            let show = self.template(".approval.show", &serde_json::json!(approval.show));
            ask.zip(show)
        });
        // What it did is the same whenever it is looked at, and what is shared is not.
        let mut after = inner;
        after.add("self", fields(true));
        after.remove("shared");
        self.scope = after;
        let until = step.repeat.as_ref();
        let until = until.and_then(|repeat| self.expression(".repeat.until", &repeat.until));
        let share = step.share.as_ref().map(|share| serde_json::json!(share));
        let share = share.and_then(|share| self.template(".share", &share));
        self.scope = outer;
        Step {
            spec: step.clone(),
            pattern,
            question,
            condition,
            over,
            until,
            until_when,
            opens,
            share,
            undo: None,
            memo,
            needs: BTreeSet::new(),
            asked_by: BTreeSet::new(),
            place: self
                .field
                .strip_prefix("spec.")
                .unwrap_or(&self.field)
                .to_owned(),
        }
    }

    /// What undoes a step. When it is needed, everything else has ended: it needs nothing.
    fn undo(&mut self, step: &StepSpec, ready: &mut Step) {
        let Some(undo) = &step.undo else { return };
        let made = undoing(step, undo);
        let reads = std::mem::take(&mut self.reads);
        let outer = self.scope.clone();
        if step.for_each.is_some() {
            self.scope.names.extend(["item", "index"]);
        }
        self.scope.add("self", fields(true));
        self.scope.remove("shared");
        self.plain_texts(".undo", &made);
        ready.undo = Some(self.pattern(".undo", &made));
        self.scope = outer;
        self.reads = reads;
    }

    /// The Task of a step.
    fn pattern(&mut self, under: &str, step: &StepSpec) -> Pattern {
        let params = step.params.as_ref().map(|params| {
            serde_json::Value::Object(
                params
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        });
        let env = step.run.as_ref().filter(|run| !run.env.is_empty());
        let contents = step.files.iter().enumerate();
        let contents: Vec<(usize, String)> = contents
            .filter_map(|(at, file)| Some((at, file.content.clone()?)))
            .collect();
        let at = |name: &str| format!("{under}{name}");
        Pattern {
            task: task(step),
            params: params.and_then(|params| self.template(&at(".params"), &params)),
            env: env.and_then(|run| self.template(&at(".run.env"), &serde_json::json!(run.env))),
            contents: contents
                .into_iter()
                .filter_map(|(nth, text)| {
                    let field = at(&format!(".files[{nth}].content"));
                    Some((
                        nth,
                        self.template(&field, &serde_json::Value::String(text))?,
                    ))
                })
                .collect(),
            workspace: step.workspace.as_ref().and_then(|workspace| {
                let from = serde_json::Value::String(workspace.from.clone());
                self.template(&at(".workspace.from"), &from)
            }),
            graph: step.workflow.as_ref().and_then(|workflow| {
                let from = serde_json::Value::String(workflow.from.clone()?);
                self.template(&at(".workflow.from"), &from)
            }),
            goal: step.goal.as_ref().and_then(|goal| {
                let text = serde_json::Value::String(goal.text.clone());
                self.template(&at(".goal.text"), &text)
            }),
            artifacts: {
                let files = step.files.iter().enumerate();
                let artifacts = files.filter_map(|(nth, file)| Some((nth, file.artifact.clone()?)));
                artifacts.collect()
            },
        }
    }

    /// Whether what has so many more of them is compiled.
    fn within(&mut self, more: usize) -> bool {
        *self.expressions = self.expressions.saturating_add(more);
        *self.expressions <= MAX_EXPRESSIONS
    }

    fn expression(&mut self, under: &str, text: &str) -> Option<Expression> {
        if !self.within(1) {
            return None;
        }
        match Expression::compile(text, &self.scope) {
            Ok(expression) => {
                self.reads.add(expression.reads());
                Some(expression)
            }
            Err(error) => {
                self.problem(under, &error.to_string());
                None
            }
        }
    }

    /// Texts that are taken as they are, and look as if somebody meant an expression.
    fn plain_texts(&mut self, under: &str, step: &StepSpec) {
        let mut texts: Vec<(&str, &str)> = Vec::new();
        if let Some(agent) = &step.agent {
            texts.extend(agent.name.as_deref().map(|name| (".agent.name", name)));
            let command = agent.command.as_deref();
            texts.extend(command.map(|command| (".agent.command", command)));
        }
        let workflow = step.workflow.as_ref();
        let workflow = workflow.and_then(|workflow| workflow.name.as_deref());
        texts.extend(workflow.map(|name| (".workflow.name", name)));
        let planner = step.goal.as_ref().map(|goal| goal.planner.name.as_str());
        texts.extend(planner.map(|name| (".goal.planner.name", name)));
        if let Some(run) = &step.run {
            texts.push((".run.sandbox.image", &run.sandbox.image));
            texts.extend(
                run.command
                    .iter()
                    .map(|word| (".run.command", word.as_str())),
            );
            // In JavaScript it may be a text of its own.
            if run.language == Some(Language::Shell) {
                texts.extend(run.code.as_deref().map(|code| (".run.code", code)));
            }
        }
        let meant = |text: &str| {
            // No shell takes them as they are.
            let names = [
                "${params.",
                "${steps.",
                "${run.",
                "${item.",
                "${self.",
                "${shared.",
            ];
            names.iter().any(|begins| text.contains(begins))
        };
        let wrong: Vec<&str> = texts
            .into_iter()
            .filter(|(_, text)| meant(text))
            .map(|(field, _)| field)
            .collect();
        for field in wrong {
            self.problem(
                &format!("{under}{field}"),
                "has an expression, and is taken as it is; a program finds values in run.env",
            );
        }
    }

    fn template(&mut self, under: &str, data: &serde_json::Value) -> Option<Template> {
        if !self.within(Template::count(data)) {
            return None;
        }
        match Template::compile(data, &self.scope) {
            Ok(template) => {
                self.reads.add(&template.reads());
                Some(template)
            }
            Err(error) => {
                self.problem(under, &error.to_string());
                None
            }
        }
    }

    fn problem(&mut self, under: &str, text: &str) {
        self.problems
            .push(Problem::spec(format!("{}{under}", self.field), text));
    }
}
