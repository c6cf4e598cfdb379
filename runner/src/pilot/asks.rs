//! The tools that are requests to the operator: what the model is told about them, how its arguments become a request, and what it is
//! shown of the answer.

use oarmaster_protocol::journal::{Blob, Checkpoint};
use oarmaster_protocol::request::{
    Answer, Ask, Form, MAX_CHOICE, MAX_CHOICES, MAX_FIELDS, form_problem,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A tool that is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskTool {
    /// Gives work to another agent.
    Delegate,
    /// Asks people.
    AskHuman,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delegate {
    agent: String,
    prompt: String,
    #[serde(default)]
    files: bool,
}

/// What an agent has to ask with.
#[derive(Clone, Debug, Default)]
pub struct Means {
    /// The agents that it may give work.
    pub agents: Vec<String>,
    /// The parts of the layers of its workspace, in order; absent where it has no sandbox.
    pub workspace: Option<Vec<Blob>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskHuman {
    question: String,
    #[serde(default)]
    form: Form,
}

impl AskTool {
    /// The tool's name in the Agent kind, and for the model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delegate => "Delegate",
            Self::AskHuman => "AskHuman",
        }
    }

    /// The tool of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Delegate, Self::AskHuman];
        all.into_iter().find(|tool| tool.name() == name)
    }

    /// The tool in the form of OpenAI's `tools`, for an agent with these means.
    #[must_use]
    pub fn definition(self, means: &Means) -> Value {
        let description = match self {
            Self::Delegate if means.workspace.is_some() => {
                "Gives a piece of work to another agent, waits until it has ended, and returns its output. The other agent knows nothing of this conversation: say everything that it needs in the prompt. With files: true it begins with a copy of your workspace, and when it has succeeded your workspace is what it left; else it sees none of your files."
            }
            Self::Delegate => {
                "Gives a piece of work to another agent, waits until it has ended, and returns its output. The other agent knows nothing of this conversation, and sees none of your files: say everything that it needs in the prompt."
            }
            Self::AskHuman => {
                "Asks people a question, waits until one of them has answered, and returns the answer. Use it when only a person can know or decide."
            }
        };
        json!({
            "type": "function",
            "function": {"name": self.name(), "description": description, "parameters": self.parameters(means)},
        })
    }

    fn parameters(self, means: &Means) -> Value {
        let (properties, required) = match self {
            Self::Delegate => {
                let agent = json!({"type": "string", "enum": means.agents, "description": "Name of the agent."});
                let prompt = json!({"type": "string", "minLength": 1, "description": "What the agent is to do."});
                let files = json!({"type": "boolean", "description": "Whether it works on your files; false by default."});
                let properties = match means.workspace {
                    Some(_) => json!({"agent": agent, "prompt": prompt, "files": files}),
                    None => json!({"agent": agent, "prompt": prompt}),
                };
                (properties, json!(["agent", "prompt"]))
            }
            Self::AskHuman => (
                json!({
                    "question": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The question."},
                    "form": {
                        "type": "object", "maxProperties": MAX_FIELDS,
                        "additionalProperties": {"type": "array", "maxItems": MAX_CHOICES, "items": {"type": "string", "minLength": 1, "maxLength": MAX_CHOICE}},
                        "description": "What is to be filled in: names of fields, each with the values to choose from, or an empty list for any text. Example: {\"environment\": [\"staging\", \"prod\"], \"reason\": []}",
                    },
                }),
                json!(["question"]),
            ),
        };
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    /// What is asked for.
    ///
    /// # Errors
    /// A sentence that tells the model what is wrong with its arguments.
    pub fn ask(self, arguments: &Value, means: &Means) -> Result<Ask, String> {
        let ask = match self {
            Self::Delegate => {
                let Delegate {
                    agent,
                    prompt,
                    files,
                } = self.read(arguments, means)?;
                if !means.agents.contains(&agent) {
                    return Err(format!(
                        "There is no agent of that name to delegate to. The agents are: {}.",
                        means.agents.join(", ")
                    ));
                }
                if files && means.workspace.is_none() {
                    return Err("You have no files to hand on. Leave files out.".to_owned());
                }
                if prompt.is_empty() {
                    return Err("The prompt is empty. Say what the agent is to do.".to_owned());
                }
                Ask::Delegate {
                    agent,
                    prompt,
                    workspace: means.workspace.clone().filter(|_| files),
                }
            }
            Self::AskHuman => {
                let AskHuman { question, form } = self.read(arguments, means)?;
                if question.is_empty() || question.chars().count() > 4096 {
                    return Err("A question has 1 to 4096 characters.".to_owned());
                }
                if let Some(problem) = form_problem(&form) {
                    return Err(problem);
                }
                Ask::Question {
                    ask: question,
                    form,
                }
            }
        };
        Ok(ask)
    }

    fn read<T: DeserializeOwned>(self, arguments: &Value, means: &Means) -> Result<T, String> {
        T::deserialize(arguments).map_err(|error| {
            format!(
                "The arguments of {} are not usable: {error}. They must match this JSON Schema: {}",
                self.name(),
                self.parameters(means)
            )
        })
    }
}

/// What the model is shown of an answer, and whether the request came to what was wanted.
#[must_use]
pub fn shown(what: &Ask, answer: &Answer) -> (bool, String) {
    let mut text = match what {
        Ask::Delegate { agent, .. } | Ask::Judge { agent, .. } if !answer.ok => {
            format!(
                "The agent {agent} did not succeed: {}",
                plain(&answer.value)
            )
        }
        Ask::Delegate { .. } | Ask::Judge { .. } => plain(&answer.value),
        Ask::Approval { .. } if answer.ok => "The call was approved.".to_owned(),
        Ask::Approval { .. } => format!(
            "This call was not run: {}. Do not make it again in another form; try another way, or say in your answer what was not approved.",
            said(&answer.value)
        ),
        Ask::Question { .. } => said(&answer.value),
    };
    if what.handed().is_some() {
        text.push_str(&match &answer.workspace {
            Some(Checkpoint::Layer { .. }) => "\n[Your files are as it left them.]".to_owned(),
            Some(Checkpoint::Failed { why }) => format!(
                "\n[It changed files, which could not be kept, so that yours are as they were: {why}]"
            ),
            None => "\n[Your files are as they were.]".to_owned(),
        });
    }
    (answer.ok, text)
}

/// An output of an agent: its text where it is nothing else.
fn plain(value: &Value) -> String {
    let only_text = value.as_object().filter(|object| object.len() == 1);
    match (value, only_text.and_then(|object| object.get("text"))) {
        (Value::String(text), _) | (_, Some(Value::String(text))) => text.clone(),
        _ => value.to_string(),
    }
}

/// A decision of people, as the operator writes it: `{decision, by, notes, values}`.
fn said(value: &Value) -> String {
    if let Value::String(text) = value {
        return text.clone();
    }
    let names = |field: &str| {
        let list = value[field].as_array().into_iter().flatten();
        let texts: Vec<&str> = list.filter_map(Value::as_str).collect();
        texts
    };
    let decision = value["decision"].as_str().unwrap_or("no decision");
    let mut text = match decision {
        "Expired" => "nobody decided in time".to_owned(),
        decision => decision.to_owned(),
    };
    let by = names("by");
    if !by.is_empty() {
        text.push_str(&format!(" by {}", by.join(", ")));
    }
    let notes = names("notes");
    if !notes.is_empty() {
        text.push_str(&format!(": {}", notes.join("; ")));
    }
    for (field, value) in value["values"].as_object().into_iter().flatten() {
        text.push_str(&format!(
            "\n{field}: {}",
            value.as_str().unwrap_or_default()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_schemas_that_accept_their_own_examples() {
        let agents = Means {
            agents: vec!["coder".to_owned()],
            workspace: None,
        };
        for (tool, arguments) in [
            (AskTool::Delegate, json!({"agent": "coder", "prompt": "x"})),
            (AskTool::AskHuman, json!({"question": "Which one?"})),
        ] {
            assert_eq!(AskTool::from_name(tool.name()), Some(tool));
            let definition = tool.definition(&agents);
            let schema = jsonschema::validator_for(&definition["function"]["parameters"]).unwrap();
            assert!(schema.is_valid(&arguments), "{tool:?}");
            tool.ask(&arguments, &agents).unwrap();
            for wrong in [json!(null), json!({"fly": 1}), json!({"agent": "coder"})] {
                let told = tool.ask(&wrong, &agents).unwrap_err();
                assert!(told.contains("JSON Schema"), "{told}");
            }
        }
        let asked = |form: Value| {
            AskTool::AskHuman.ask(&json!({"question": "Where?", "form": form}), &agents)
        };
        let form = json!({"environment": ["staging", "prod"], "why": []});
        let Ask::Question { form, .. } = asked(form).unwrap() else {
            panic!()
        };
        assert_eq!(form["environment"], ["staging", "prod"]);
        let many: Form = (0..9)
            .map(|number| (format!("f{number}"), vec![]))
            .collect();
        for (form, wanted) in [
            (json!(many), "at most 8 fields"),
            (json!({"a b": []}), "names of a form's fields"),
            (json!({"a": [""]}), "at most 32 values"),
            (json!({"a": ["x\u{202e}y"]}), "visible characters"),
            (json!({"a": "staging"}), "JSON Schema"),
        ] {
            let told = asked(form).unwrap_err();
            assert!(told.contains(wanted), "{told}");
        }
        let other = json!({"agent": "root", "prompt": "x"});
        let told = AskTool::Delegate.ask(&other, &agents).unwrap_err();
        assert!(told.ends_with("The agents are: coder."), "{told}");
    }

    #[test]
    fn answers_are_shown_as_sentences() {
        let delegate = Ask::Delegate {
            agent: "coder".into(),
            prompt: "x".into(),
            workspace: None,
        };
        let with_files = Ask::Delegate {
            agent: "coder".into(),
            prompt: "x".into(),
            workspace: Some(vec![]),
        };
        let question = Ask::Question {
            ask: "x".into(),
            form: Form::new(),
        };
        let approval = Ask::Approval {
            tool: "Shell".into(),
            arguments: json!({}),
        };
        for (what, ok, value, wanted) in [
            (&delegate, true, json!({"text": "done"}), "done"),
            (&delegate, true, json!({"n": 1}), r#"{"n":1}"#),
            (
                &delegate,
                false,
                json!("Timeout"),
                "The agent coder did not succeed: Timeout",
            ),
            (
                &question,
                true,
                json!({"decision": "Approved", "by": ["alice"], "notes": ["the second"]}),
                "Approved by alice: the second",
            ),
            (
                &question,
                true,
                json!({"decision": "Approved", "by": ["alice"], "notes": [], "values": {"environment": "staging", "why": "it is late"}}),
                "Approved by alice\nenvironment: staging\nwhy: it is late",
            ),
            (
                &approval,
                false,
                json!({"decision": "Expired", "by": [], "notes": []}),
                "This call was not run: nobody decided in time. Do not make it again in another form; try another way, or say in your answer what was not approved.",
            ),
        ] {
            let answer = Answer::new(ok, value);
            assert_eq!(shown(what, &answer), (ok, wanted.to_owned()));
        }
        let left = |workspace| {
            let value = json!({"text": "done"});
            let answer = Answer {
                ok: true,
                value,
                workspace,
            };
            shown(&with_files, &answer).1
        };
        assert_eq!(left(None), "done\n[Your files are as they were.]");
        let layer = Checkpoint::Layer {
            base: true,
            blobs: vec![],
        };
        assert_eq!(left(Some(layer)), "done\n[Your files are as it left them.]");
        let why = "the quota".to_owned();
        let lost = left(Some(Checkpoint::Failed { why }));
        assert!(
            lost.contains("could not be kept") && lost.contains("the quota"),
            "{lost}"
        );
    }

    #[test]
    fn files_are_handed_on_by_whoever_has_some() {
        let blob = Blob {
            digest: "sha256:x".into(),
            size: 1,
        };
        let mut means = Means {
            agents: vec!["coder".into()],
            workspace: Some(vec![blob.clone()]),
        };
        let asked = |means: &Means, files: Value| {
            let arguments = json!({"agent": "coder", "prompt": "x", "files": files});
            let schema = AskTool::Delegate.definition(means)["function"]["parameters"].clone();
            let valid = jsonschema::is_valid(&schema, &arguments);
            (valid, AskTool::Delegate.ask(&arguments, means))
        };
        let workspace = |asked: Result<Ask, String>| match asked {
            Ok(Ask::Delegate { workspace, .. }) => workspace,
            other => panic!("{other:?}"),
        };
        let (valid, with) = asked(&means, json!(true));
        assert_eq!((valid, workspace(with)), (true, Some(vec![blob])));
        let (valid, without) = asked(&means, json!(false));
        assert_eq!((valid, workspace(without)), (true, None));
        means.workspace = None;
        let (valid, refused) = asked(&means, json!(true));
        assert!(!valid && refused.unwrap_err().contains("no files"));
    }
}
