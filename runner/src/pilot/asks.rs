//! The tools that are requests to the operator: what the model is told about them, how its arguments become a request, and what it is
//! shown of the answer.

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

    /// The tool in the form of OpenAI's `tools`, where these agents may be named.
    #[must_use]
    pub fn definition(self, agents: &[String]) -> Value {
        let description = match self {
            Self::Delegate => {
                "Gives a piece of work to another agent, waits until it has ended, and returns its output. The other agent knows nothing of this conversation, and sees none of your files: say everything that it needs in the prompt."
            }
            Self::AskHuman => {
                "Asks people a question, waits until one of them has answered, and returns the answer. Use it when only a person can know or decide."
            }
        };
        json!({
            "type": "function",
            "function": {"name": self.name(), "description": description, "parameters": self.parameters(agents)},
        })
    }

    fn parameters(self, agents: &[String]) -> Value {
        let (properties, required) = match self {
            Self::Delegate => (
                json!({
                    "agent": {"type": "string", "enum": agents, "description": "Name of the agent."},
                    "prompt": {"type": "string", "minLength": 1, "description": "What the agent is to do."},
                }),
                json!(["agent", "prompt"]),
            ),
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
    pub fn ask(self, arguments: &Value, agents: &[String]) -> Result<Ask, String> {
        let ask = match self {
            Self::Delegate => {
                let Delegate { agent, prompt } = self.read(arguments, agents)?;
                if !agents.contains(&agent) {
                    return Err(format!(
                        "There is no agent of that name to delegate to. The agents are: {}.",
                        agents.join(", ")
                    ));
                }
                if prompt.is_empty() {
                    return Err("The prompt is empty. Say what the agent is to do.".to_owned());
                }
                Ask::Delegate { agent, prompt }
            }
            Self::AskHuman => {
                let AskHuman { question, form } = self.read(arguments, agents)?;
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

    fn read<T: DeserializeOwned>(self, arguments: &Value, agents: &[String]) -> Result<T, String> {
        T::deserialize(arguments).map_err(|error| {
            format!(
                "The arguments of {} are not usable: {error}. They must match this JSON Schema: {}",
                self.name(),
                self.parameters(agents)
            )
        })
    }
}

/// What the model is shown of an answer, and whether the request came to what was wanted.
#[must_use]
pub fn shown(what: &Ask, answer: &Answer) -> (bool, String) {
    let text = match what {
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
        let agents = ["coder".to_owned()];
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
            let answer = Answer { ok, value };
            assert_eq!(shown(what, &answer), (ok, wanted.to_owned()));
        }
    }
}
