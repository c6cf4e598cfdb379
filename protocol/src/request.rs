//! What a pilot asks for that only the operator can bring about, since a pilot has no rights in Kubernetes: another agent's work, people's
//! leave, people's answers. A request and its answer are records of the Task's journal, so that neither is made twice.

use crate::digest;
use crate::journal::{Blob, Checkpoint};
use crate::text::{visible, visible_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest request, serialised, in bytes. People are shown all of what they approve, and objects are small.
pub const MAX_ASK_BYTES: usize = 64 << 10;
/// Largest arguments, as people are [`shown`] them, in characters: what an Approval takes.
pub const MAX_SHOWN: usize = 128 << 10;
/// Largest answer, serialised, in bytes. An output of another agent has at most [`crate::journal::MAX_OUTPUT_BYTES`].
pub const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Most requests of a Task that are open at once.
pub const MAX_OPEN: usize = 16;
/// Longest time that `GET /task/v1/requests/{id}` is held open.
pub const POLL: Duration = Duration::from_secs(30);
/// How many digits of the digest are in a request's id.
const ID_DIGITS: usize = 20;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Ask {
    /// Another agent's work, as a child Task. The answer is its output.
    Delegate {
        /// Name of the Agent, in the Task's namespace.
        agent: String,
        /// What it is to do.
        prompt: String,
        /// The parts of the layers of the workspace that it begins with, in order; absent where it is handed none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace: Option<Vec<Blob>>,
    },
    /// A judgement by another agent, as a child Task. The answer is its output: `{score, feedback}`.
    Judge {
        /// Name of the Agent, in the Task's namespace.
        agent: String,
        /// What it is to judge.
        prompt: String,
    },
    /// People's leave for exactly this tool call.
    Approval {
        /// Name of the tool.
        tool: String,
        /// Its arguments, all of them.
        arguments: Value,
    },
    /// An answer by people.
    Question {
        /// The question.
        ask: String,
        /// What they are to fill in.
        #[serde(default, skip_serializing_if = "Form::is_empty")]
        form: Form,
    },
}

/// Fields by name, with what can be chosen; any text where there is nothing to choose from.
pub type Form = BTreeMap<String, Vec<String>>;

/// Most fields of a form.
pub const MAX_FIELDS: usize = 8;
/// Most values that a field lets choose from.
pub const MAX_CHOICES: usize = 32;
/// Most characters of a field's name.
pub const MAX_FIELD_NAME: usize = 63;
/// Most characters of a value that can be chosen.
pub const MAX_CHOICE: usize = 256;

/// What is wrong with a form, if something is, as a sentence.
#[must_use]
pub fn form_problem(form: &Form) -> Option<String> {
    let named = |name: &str| {
        let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        !name.is_empty() && name.len() <= MAX_FIELD_NAME && name.chars().all(word)
    };
    let seen = |choice: &String| {
        let letters = choice.chars().count();
        (1..=MAX_CHOICE).contains(&letters) && visible(choice) == *choice
    };
    if form.len() > MAX_FIELDS {
        return Some(format!("A form has at most {MAX_FIELDS} fields."));
    }
    form.iter().find_map(|(name, choices)| {
        if !named(name) {
            return Some(format!(
                "The names of a form's fields have 1 to {MAX_FIELD_NAME} letters of a-z, A-Z, 0-9 and _."
            ));
        }
        let fits = choices.len() <= MAX_CHOICES && choices.iter().all(seen);
        (!fits).then(|| {
            format!(
                "A field of a form has at most {MAX_CHOICES} values to choose from, each with 1 to {MAX_CHOICE} visible characters."
            )
        })
    })
}

impl Ask {
    /// The id of the `number`th request of a Task. Equal only for an equal request, so that an attempt which begins anew and asks the same
    /// is given the answer that there is.
    #[must_use]
    pub fn id(&self, number: u32) -> String {
        let digest = sorted(serde_json::to_value(self).unwrap_or_default()); // texts and JSON: always possible
        let (_, digits) = digest.split_once(':').unwrap_or_default();
        format!("{number}-{}", digits.get(..ID_DIGITS).unwrap_or_default())
    }

    /// Whether it is larger than [`MAX_ASK_BYTES`], or than people can be shown ([`MAX_SHOWN`]).
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |text| text.len());
        let letters = match self {
            Self::Approval { arguments, .. } => shown(arguments).chars().count(),
            Self::Delegate { .. } | Self::Judge { .. } | Self::Question { .. } => 0,
        };
        bytes > MAX_ASK_BYTES || letters > MAX_SHOWN
    }

    /// The parts of the workspace that it hands on, where it does.
    #[must_use]
    pub const fn handed(&self) -> Option<&Vec<Blob>> {
        match self {
            Self::Delegate { workspace, .. } => workspace.as_ref(),
            Self::Judge { .. } | Self::Approval { .. } | Self::Question { .. } => None,
        }
    }

    /// Whether `id` is one that this request may have.
    #[must_use]
    pub fn is_named(&self, id: &str) -> bool {
        number(id).is_some_and(|number| self.id(number) == id)
    }
}

/// Which request of its Task it is, by its id.
#[must_use]
pub fn number(id: &str) -> Option<u32> {
    let (number, _) = id.split_once('-')?;
    number.parse().ok()
}

/// The arguments of a tool call for people who are to approve it: the JSON that they are, with what is not seen (as marks that turn the direction of a text
/// around) as JSON's escapes.
#[must_use]
pub fn shown(arguments: &Value) -> String {
    visible_json(&arguments.to_string()).into_owned()
}

/// Digest of exactly one tool call: what an approval of it is bound to.
#[must_use]
pub fn action(tool: &str, arguments: &Value) -> String {
    sorted(serde_json::json!([tool, arguments]))
}

/// Digest of JSON, whatever the order of its keys.
fn sorted(mut value: Value) -> String {
    value.sort_all_objects();
    digest(value.to_string().as_bytes())
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whether it was granted: the other agent succeeded, people approved.
    pub ok: bool,
    /// What came of it: an output, a decision, or a text that says why not.
    pub value: Value,
    /// What became of the workspace that was handed to the other agent, where that changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Checkpoint>,
}

impl Answer {
    /// An answer with which no files come.
    #[must_use]
    pub const fn new(ok: bool, value: Value) -> Self {
        Self {
            ok,
            value,
            workspace: None,
        }
    }
}

/// An answer as the operator gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// Whether it was granted.
    pub ok: bool,
    /// What came of it.
    pub value: Value,
    /// UID of the child Task that did it, whose files come with its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestState {
    /// Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// A request that has no answer yet, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenRequest {
    /// Its id in the Task.
    pub id: String,
    /// When it was made: the gateway's clock, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What is asked for.
    pub what: Ask,
}

/// What a Task waits for, without a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Waits {
    /// Room in a Budget of the cluster.
    Budget,
    /// The answer to a request.
    Request {
        /// Its id.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_is_that_of_one_request_alone() {
        let ask = |text: &str| Ask::Question {
            ask: text.into(),
            form: Form::new(),
        };
        let id = ask("a").id(3);
        assert!(id.starts_with("3-") && id.len() == 22, "{id}");
        assert!(ask("a").is_named(&id));
        for other in [
            ask("b").id(3),
            "3".into(),
            "3-".into(),
            "x-1".into(),
            format!("{id}0"),
        ] {
            assert!(!ask("a").is_named(&other), "{other}");
        }
        assert_ne!(ask("a").id(4), id);
    }

    #[test]
    fn what_people_cannot_be_shown_is_too_large() {
        let ask = |text: String| Ask::Approval {
            tool: "Shell".into(),
            arguments: json!({ "command": text }),
        };
        assert!(!ask("x".repeat(60 << 10)).is_too_large());
        assert!(ask("x".repeat(64 << 10)).is_too_large());
        // Each is one byte, and six characters when it is written out.
        assert!(!ask("\u{7f}".repeat(20 << 10)).is_too_large());
        assert!(ask("\u{7f}".repeat(22 << 10)).is_too_large());
    }

    #[test]
    fn an_action_is_tool_and_arguments_and_nothing_else() {
        let one = action("Shell", &json!({"command": "ls", "a": 1}));
        assert_eq!(one, action("Shell", &json!({"a": 1, "command": "ls"})));
        assert_ne!(one, action("Shell", &json!({"command": "ls"})));
        assert_ne!(one, action("RunCode", &json!({"command": "ls", "a": 1})));
    }
}
