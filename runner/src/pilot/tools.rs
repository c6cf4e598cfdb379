//! The tools that an agent may have: what the model is told about them, and how its arguments become a request to exec.

use super::patch::Edit;
use crate::languages::{LANGUAGES, Language};
use oarmaster_protocol::assignment::Program;
use oarmaster_protocol::exec::{Bytes, Request, Run};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most bytes of a file in one answer of ReadFile.
const READ_BYTES: u64 = 64 << 10;
const READ_LINES: u64 = 2000;
const LIST_ENTRIES: u32 = 500;
const SEARCH_HITS: u32 = 100;

/// What the model is told of RunCode's languages.
const LANGUAGE: &str = "The sandbox has some of them, and says which when it lacks one. Types of typescript are removed, not checked, so that what needs more than that (enum, namespace) does not run. java is one source file, run by the main method of its first class.";

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Runs source text.
    RunCode,
    /// Runs a shell command.
    Shell,
    /// Reads a text file.
    ReadFile,
    /// Writes a whole file.
    WriteFile,
    /// Replaces one place in a file, or applies a diff to it.
    EditFile,
    /// Lists a directory.
    ListFiles,
    /// Searches in files.
    SearchFiles,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunCode {
    language: String,
    code: String,
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shell {
    command: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    path: String,
    #[serde(default)]
    offset: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFile {
    path: String,
    content: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditFile {
    path: String,
    #[serde(default)]
    old: Option<String>,
    #[serde(default)]
    new: Option<String>,
    #[serde(default)]
    diff: Option<String>,
}

impl EditFile {
    /// The diff, where it is what the call is about: some models send every argument, empty where it is not meant.
    fn diff(&self) -> Option<Edit> {
        let none = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        let diff = self.diff.as_ref().filter(|diff| !diff.is_empty())?;
        (none(&self.old) && none(&self.new)).then(|| Edit {
            path: self.path.clone(),
            diff: diff.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFiles {
    #[serde(default)]
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchFiles {
    pattern: String,
    #[serde(default)]
    path: Option<String>,
}

impl Tool {
    const ALL: [Self; 7] = [
        Self::RunCode,
        Self::Shell,
        Self::ReadFile,
        Self::WriteFile,
        Self::EditFile,
        Self::ListFiles,
        Self::SearchFiles,
    ];

    /// The tool's name in the Agent kind, and for the model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunCode => "RunCode",
            Self::Shell => "Shell",
            Self::ReadFile => "ReadFile",
            Self::WriteFile => "WriteFile",
            Self::EditFile => "EditFile",
            Self::ListFiles => "ListFiles",
            Self::SearchFiles => "SearchFiles",
        }
    }

    /// Whether a call may change the workspace.
    #[must_use]
    pub const fn may_change(self) -> bool {
        match self {
            Self::RunCode | Self::Shell | Self::WriteFile | Self::EditFile => true,
            Self::ReadFile | Self::ListFiles | Self::SearchFiles => false,
        }
    }

    /// The tool of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// What the model is told, where code may reach these domains.
    fn description(self, egress: &[String]) -> String {
        let network = match egress {
            [] => "There is no network.".to_owned(),
            _ => format!(
                "The only network is a proxy, which http_proxy and https_proxy in the environment name. It reaches https and http of these domains and nothing else: {}.",
                egress.join(", ")
            ),
        };
        let fixed = match self {
            Self::RunCode => {
                return format!(
                    "Runs source text in the sandbox and returns exit code, standard output and standard error. The working directory is the workspace. {network} Every process has ended when the result is returned; files in the workspace stay."
                );
            }
            Self::Shell => {
                return format!(
                    "Runs a command with sh in the workspace and returns exit code, standard output and standard error. {network} Background processes are ended when the command returns."
                );
            }
            Self::ReadFile => "Reads a text file in the workspace.",
            Self::WriteFile => {
                "Writes a whole text file in the workspace, with the directories above it. An existing file is replaced."
            }
            Self::EditFile => {
                "Changes a text file in the workspace. Give `old` and `new` to replace one piece of text: `old` must be in the file exactly once, spaces and line ends included. Or give `diff`, which can change several places at once: it is applied if the lines of all its hunks stand in the file as they are, and not at all otherwise."
            }
            Self::ListFiles => {
                "Lists the files and directories of the workspace, or below one of its directories."
            }
            Self::SearchFiles => {
                "Finds lines that match a regular expression in the files of the workspace, or below one of its directories."
            }
        };
        fixed.to_owned()
    }

    fn parameters(self) -> Value {
        let path = json!({"type": "string", "description": "Path relative to the workspace."});
        let dir = json!({"type": "string", "description": "Path relative to the workspace. Without it the whole workspace is meant."});
        let (properties, required) = match self {
            Self::RunCode => (
                json!({
                    "language": {"type": "string", "enum": LANGUAGES.each_ref().map(|language| language.name), "description": LANGUAGE},
                    "code": {"type": "string", "description": "The source text."},
                    "timeoutSeconds": {"type": "integer", "minimum": 1, "description": "Stops the program after this time. The sandbox has a bound of its own."},
                }),
                json!(["language", "code"]),
            ),
            Self::Shell => (
                json!({"command": {"type": "string", "description": "What sh runs."}}),
                json!(["command"]),
            ),
            Self::ReadFile => (
                json!({
                    "path": path,
                    "offset": {"type": "integer", "minimum": 1, "description": "First line, from 1."},
                    "limit": {"type": "integer", "minimum": 1, "description": "Most lines; 2000 by default."},
                }),
                json!(["path"]),
            ),
            Self::WriteFile => (
                json!({"path": path, "content": {"type": "string", "description": "The whole new content."}}),
                json!(["path", "content"]),
            ),
            Self::EditFile => (
                json!({
                    "path": path,
                    "old": {"type": "string", "description": "Text that is in the file exactly once."},
                    "new": {"type": "string", "description": "Text to put in its place."},
                    "diff": {"type": "string", "description": "A unified diff of this one file, in place of old and new. Each hunk begins with @@ -LINE,COUNT +LINE,COUNT @@."},
                }),
                json!(["path"]),
            ),
            Self::ListFiles => (json!({"path": dir}), json!([])),
            Self::SearchFiles => (
                json!({
                    "pattern": {"type": "string", "description": "The regular expression, in RE2's syntax."},
                    "path": dir,
                }),
                json!(["pattern"]),
            ),
        };
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    /// The tool in the form of OpenAI's `tools`, where code may reach these domains.
    #[must_use]
    pub fn definition(self, egress: &[String]) -> Value {
        json!({
            "type": "function",
            "function": {"name": self.name(), "description": self.description(egress), "parameters": self.parameters()},
        })
    }

    /// What exec is asked for.
    ///
    /// # Errors
    /// A sentence that tells the model what is wrong with its arguments.
    pub fn request(self, arguments: &Value) -> Result<Request, String> {
        Ok(match self {
            Self::RunCode => {
                let RunCode {
                    language,
                    code,
                    timeout_seconds,
                } = self.read(arguments)?;
                Language::named(&language)?;
                run(Program::Code { language, code }, timeout_seconds)
            }
            Self::Shell => {
                let Shell { command } = self.read(arguments)?;
                run(
                    Program::Command(vec!["sh".into(), "-c".into(), command]),
                    None,
                )
            }
            Self::ReadFile => {
                let ReadFile {
                    path,
                    offset,
                    limit,
                } = self.read(arguments)?;
                Request::Read {
                    path,
                    first_line: offset.unwrap_or(1).max(1),
                    lines: limit.unwrap_or(READ_LINES),
                    max_bytes: READ_BYTES,
                }
            }
            Self::WriteFile => {
                let WriteFile { path, content } = self.read(arguments)?;
                Request::Write {
                    path,
                    content: Bytes(content.into_bytes()),
                }
            }
            Self::EditFile => {
                let edit: EditFile = self.read(arguments)?;
                match (edit.diff(), edit) {
                    (Some(edit), _) => edit.read(),
                    (
                        None,
                        EditFile {
                            path,
                            old: Some(old),
                            new: Some(new),
                            diff,
                        },
                    ) if diff.as_ref().is_none_or(String::is_empty) => {
                        Request::Edit { path, old, new }
                    }
                    _ => {
                        return Err(format!(
                            "{} takes either `old` and `new`, or `diff`. The arguments must match this JSON Schema: {}",
                            self.name(),
                            self.parameters()
                        ));
                    }
                }
            }
            Self::ListFiles => {
                let ListFiles { path } = self.read(arguments)?;
                Request::List {
                    path: path.unwrap_or_default(),
                    max_entries: LIST_ENTRIES,
                }
            }
            Self::SearchFiles => {
                let SearchFiles { pattern, path } = self.read(arguments)?;
                Request::Search {
                    pattern,
                    path: path.unwrap_or_default(),
                    max_hits: SEARCH_HITS,
                }
            }
        })
    }

    /// The diff that is to be applied to what [`Self::request`] reads, where that is what the call asks for.
    #[must_use]
    pub fn edit(self, arguments: &Value) -> Option<Edit> {
        match self {
            Self::EditFile => EditFile::deserialize(arguments).ok()?.diff(),
            _ => None,
        }
    }

    fn read<T: DeserializeOwned>(self, arguments: &Value) -> Result<T, String> {
        T::deserialize(arguments).map_err(|error| {
            format!(
                "The arguments of {} are not usable: {error}. They must match this JSON Schema: {}",
                self.name(),
                self.parameters()
            )
        })
    }
}

fn run(program: Program, timeout_seconds: Option<u64>) -> Request {
    Request::Run(Run {
        program,
        env: BTreeMap::new(),
        timeout_ms: timeout_seconds.map(|seconds| seconds.max(1).saturating_mul(1000)),
        disk_bytes: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_schemas_that_accept_their_own_examples() {
        let examples = [
            (
                Tool::RunCode,
                json!({"language": "python", "code": "1\u{0}", "timeoutSeconds": 5}),
            ),
            (Tool::Shell, json!({"command": "ls"})),
            (
                Tool::ReadFile,
                json!({"path": "a", "offset": 3, "limit": 1}),
            ),
            (Tool::WriteFile, json!({"path": "a", "content": ""})),
            (Tool::EditFile, json!({"path": "a", "old": "x", "new": ""})),
            (Tool::EditFile, json!({"path": "a", "diff": "@@ -1 +1 @@"})),
            (Tool::ListFiles, json!({})),
            (Tool::SearchFiles, json!({"pattern": "x", "path": "src"})),
        ];
        for (tool, arguments) in examples {
            assert_eq!(Tool::from_name(tool.name()), Some(tool));
            let definition = tool.definition(&[]);
            let schema = &definition["function"]["parameters"];
            assert!(
                jsonschema::validator_for(schema)
                    .unwrap()
                    .is_valid(&arguments),
                "{tool:?}"
            );
            tool.request(&arguments).unwrap();
            let extra = json!({"fly": true});
            assert!(tool.request(&extra).unwrap_err().contains("JSON Schema"));
            for wrong in [
                json!(null),
                json!("text"),
                json!([1]),
                json!({"path": 1, "command": 2}),
            ] {
                assert!(tool.request(&wrong).is_err(), "{tool:?} {wrong}");
            }
        }
        assert_eq!(Tool::from_name("Fly"), None);
    }

    #[test]
    fn an_edit_is_a_replacement_or_a_diff() {
        let edit = |arguments: Value| {
            let request = Tool::EditFile.request(&arguments)?;
            Ok::<_, String>((request, Tool::EditFile.edit(&arguments)))
        };
        let replaced = Request::Edit {
            path: "a".into(),
            old: "x".into(),
            new: String::new(),
        };
        let diff = Edit {
            path: "a".into(),
            diff: "@@".into(),
        };
        for (arguments, wanted) in [
            (
                json!({"path": "a", "old": "x", "new": ""}),
                Some((replaced.clone(), None)),
            ),
            (
                json!({"path": "a", "old": "x", "new": "", "diff": ""}),
                Some((replaced, None)),
            ),
            (
                json!({"path": "a", "diff": "@@"}),
                Some((diff.read(), Some(diff.clone()))),
            ),
            (
                json!({"path": "a", "old": "", "new": null, "diff": "@@"}),
                Some((diff.read(), Some(diff))),
            ),
            (
                json!({"path": "a", "old": "x", "new": "", "diff": "@@"}),
                None,
            ),
            (json!({"path": "a", "old": "x"}), None),
            (json!({"path": "a", "diff": ""}), None),
            (json!({"path": "a"}), None),
        ] {
            match (edit(arguments), wanted) {
                (found, Some(wanted)) => assert_eq!(found, Ok(wanted)),
                (found, None) => {
                    assert!(
                        found
                            .unwrap_err()
                            .contains("either `old` and `new`, or `diff`")
                    );
                }
            }
        }
    }

    #[test]
    fn arguments_become_requests() {
        let request = Tool::RunCode
            .request(&json!({"language": "shell", "code": "ls", "timeoutSeconds": 0}))
            .unwrap();
        let Request::Run(run) = request else { panic!() };
        assert_eq!(run.timeout_ms, Some(1000));
        let named =
            |language: &str| Tool::RunCode.request(&json!({"language": language, "code": ""}));
        for language in &LANGUAGES {
            named(language.name).unwrap();
        }
        assert_eq!(
            named("cobol").unwrap_err(),
            "there is no language `cobol`; use one of python, javascript, typescript, java, shell"
        );
    }
}
