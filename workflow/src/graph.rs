//! A workflow that was checked: its expressions compiled, and which step needs which.

mod check;
#[cfg(test)]
mod tests;

pub(crate) use check::task;

use crate::expr::{Expression, Reads, Scope, Template};
use oarmaster_crds::WorkflowSpec;
use oarmaster_crds::commands::list;
use oarmaster_crds::kinds::task::Language;
use oarmaster_crds::kinds::workflow::StepSpec;
use oarmaster_crds::validate::Problem;
use std::collections::{BTreeMap, BTreeSet};

/// Most expressions of a workflow: each is kept compiled while a run of it goes on.
const MAX_EXPRESSIONS: usize = 2000;

/// What an expression may ask of a step.
pub const FIELDS: [&str; 6] = [
    "failed",
    "failure",
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
}

/// A step, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it was made of.
    pub spec: StepSpec,
    /// Its parameters.
    pub params: Option<Template>,
    /// Its environment.
    pub env: Option<Template>,
    /// The texts of its files, by index.
    pub contents: BTreeMap<usize, Template>,
    /// Question and what it is about.
    pub question: Option<(Template, Template)>,
    /// Whether it runs.
    pub condition: Option<Expression>,
    /// Steps that end before it begins, by index. Of a step of `finally` others of `finally` alone: the rest has ended then.
    pub needs: BTreeSet<usize>,
    /// Steps that ask for it in their `if`, by index: one of them that runs deals with its failure.
    pub asked_by: BTreeSet<usize>,
    /// Where it stands, like `steps[plan]`.
    pub place: String,
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
        let objects = |run: bool| {
            let params = ("params", params.clone());
            let of_run = ["phase", "failure"].map(|name| (name.to_owned(), true));
            let run = run.then_some(("run", of_run.into()));
            [params].into_iter().chain(run).collect()
        };
        let scope = Scope {
            objects: objects(false),
            names: ["params"].into(),
            steps: spec.steps.iter().map(|step| step.name.clone()).collect(),
            fields: FIELDS.into(),
        };
        let at_last = Scope {
            objects: objects(true),
            names: ["params", "run"].into(),
            steps: all.iter().map(|step| step.name.clone()).collect(),
            fields: FIELDS.into(),
        };
        let mut steps = Vec::with_capacity(all.len());
        for (at, step) in all.iter().enumerate() {
            let (scope, first) = if at < main {
                (&scope, 0)
            } else {
                (&at_last, main)
            };
            let mut work = Work {
                field: field(spec, at),
                scope,
                problems: &mut problems,
                reads: Reads::default(),
            };
            let mut ready = work.step(step);
            let named = work.reads.steps.iter();
            let named = named.filter_map(|name| index.get(name.as_str()).copied());
            let after = step.after.iter();
            let after = after.filter_map(|name| index.get(name.as_str()).copied());
            ready.needs = named.chain(after).filter(|need| *need >= first).collect();
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
                scope: &scope,
                problems: &mut problems,
                reads: Reads::default(),
            };
            work.template("", output)
        });
        let expressions = steps.iter().map(Step::expressions).sum::<usize>()
            + output.as_ref().map_or(0, Template::expressions);
        if expressions > MAX_EXPRESSIONS {
            problems.push(Problem::spec(
                "spec",
                format!("has {expressions} expressions: write at most {MAX_EXPRESSIONS}"),
            ));
        }
        problems.extend(check::cycle(spec, &steps));
        if problems.is_empty() {
            Ok(Self {
                spec: spec.clone(),
                steps,
                main,
                output,
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
    fn expressions(&self) -> usize {
        let question = self.question.iter().flat_map(|(ask, show)| [ask, show]);
        let templates = self.params.iter().chain(&self.env).chain(question);
        let templates = templates.chain(self.contents.values());
        templates.map(Template::expressions).sum::<usize>() + usize::from(self.condition.is_some())
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

/// Compiles what stands at a field.
struct Work<'a> {
    field: String,
    scope: &'a Scope,
    problems: &'a mut Vec<Problem>,
    reads: Reads,
}

impl Work<'_> {
    fn step(&mut self, step: &StepSpec) -> Step {
        self.plain_texts(step);
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
        Step {
            spec: step.clone(),
            params: params.and_then(|params| self.template(".params", &params)),
            env: env.and_then(|run| self.template(".run.env", &serde_json::json!(run.env))),
            contents: contents
                .into_iter()
                .filter_map(|(at, text)| {
                    let field = format!(".files[{at}].content");
                    Some((at, self.template(&field, &serde_json::Value::String(text))?))
                })
                .collect(),
            question: step.approval.as_ref().and_then(|approval| {
                let ask = serde_json::Value::String(approval.ask.clone());
                let ask = self.template(".approval.ask", &ask);
                let show = self.template(".approval.show", &serde_json::json!(approval.show));
                ask.zip(show)
            }),
            condition: step.condition.as_ref().and_then(|condition| {
                match Expression::compile(condition, self.scope) {
                    Ok(expression) => {
                        self.reads.add(expression.reads());
                        Some(expression)
                    }
                    Err(error) => {
                        self.problem(".if", &error.to_string());
                        None
                    }
                }
            }),
            needs: BTreeSet::new(),
            asked_by: BTreeSet::new(),
            place: self
                .field
                .strip_prefix("spec.")
                .unwrap_or(&self.field)
                .to_owned(),
        }
    }

    /// Texts that are taken as they are, and look as if somebody meant an expression.
    fn plain_texts(&mut self, step: &StepSpec) {
        let mut texts: Vec<(&str, &str)> = Vec::new();
        if let Some(agent) = &step.agent {
            texts.extend(agent.name.as_deref().map(|name| (".agent.name", name)));
            let command = agent.command.as_deref();
            texts.extend(command.map(|command| (".agent.command", command)));
        }
        if let Some(workflow) = &step.workflow {
            texts.push((".workflow.name", &workflow.name));
        }
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
            let names = ["${params.", "${steps.", "${run."];
            names.iter().any(|begins| text.contains(begins))
        };
        let wrong: Vec<&str> = texts
            .into_iter()
            .filter(|(_, text)| meant(text))
            .map(|(field, _)| field)
            .collect();
        for field in wrong {
            self.problem(
                field,
                "has an expression, and is taken as it is; a program finds values in run.env",
            );
        }
    }

    fn template(&mut self, under: &str, data: &serde_json::Value) -> Option<Template> {
        match Template::compile(data, self.scope) {
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
