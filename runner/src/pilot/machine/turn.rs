//! The conversation with the model: questions, tool calls, answers that cannot be used.

use super::super::answer::{Answer, Call, json_of};
use super::super::asks::AskTool;
use super::super::patch::Edit;
use super::super::show;
use super::super::tools::Tool;
use super::repeat::Verdict;
use super::serve::Serve;
use super::{MAX_UNUSABLE, Machine, Next, Phase, read};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{AgentTarget, Assignment, Target};
use oarmaster_protocol::exec::{Request, Response};
use oarmaster_protocol::journal::{About, Body};
use oarmaster_protocol::request::Ask;
use oarmaster_protocol::text::shorten;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Largest arguments of a tool call; a record has at most 4 MiB, and names and escapes need room.
const MAX_ARGUMENTS: usize = 2 << 20;
/// Characters of a model's own broken text that an observation repeats.
const QUOTED_CHARS: usize = 500;

/// What the model is told of a call that it has made often enough.
const REPEATED: &str = "This call was not run: you made it before with the same arguments, and it had the same result each time, with no change to the workspace in between. Use the result that you have, change something first, or try another way. If you make this call again without a change, the task ends as failed.";

/// Instructions and prompt.
pub(super) fn first_messages(assignment: &Assignment) -> Vec<Value> {
    let Target::Agent(agent) = &assignment.target else {
        return Vec::new();
    };
    let mut system = agent.instructions.clone();
    if let Some(schema) = &agent.output_schema {
        system.push_str(
            "\n\nYour final answer must be JSON that matches the following JSON Schema, without any other text:\n",
        );
        system.push_str(&schema.to_string());
    }
    vec![
        json!({"role": "system", "content": system}),
        json!({"role": "user", "content": agent.prompt}),
    ]
}

impl Machine {
    pub(super) fn agent(&self) -> Option<&AgentTarget> {
        match &self.assignment.target {
            Target::Agent(agent) => Some(agent),
            Target::Run(_) | Target::Workflow(_) => None,
        }
    }

    pub(super) fn tools(&self) -> Vec<Tool> {
        let names = self
            .agent()
            .map(|agent| agent.tools.as_slice())
            .unwrap_or_default();
        names
            .iter()
            .filter_map(|name| Tool::from_name(name))
            .collect()
    }

    /// Asks the model, if it may be asked once more.
    pub(super) fn ask(&mut self) -> Next {
        let Some(agent) = self.agent() else {
            return self.finish_now(FailureClass::Internal, "a run has no model to ask");
        };
        let max = agent.max_turns;
        if self.turns >= max {
            return self.fail(
                FailureClass::LimitReached,
                &format!("the agent used all its {max} turns (limits.turns) without an answer that was accepted"),
            );
        }
        self.turns += 1;
        self.tell_the_seam();
        if let Err(problem) = self.fit_the_window() {
            return self.fail(FailureClass::LimitReached, &problem);
        }
        self.phase = Phase::Asking { again: false };
        Next::Model(self.request())
    }

    pub(super) fn request(&self) -> Value {
        let mut body = self.head();
        body.insert("messages".to_owned(), json!(self.messages));
        Value::Object(body)
    }

    /// What is the same in every call to the model.
    pub(super) fn head(&self) -> Map<String, Value> {
        let Some(agent) = self.agent() else {
            return Map::new();
        };
        let mut body = Map::from_iter([
            ("model".to_owned(), json!(agent.model)),
            ("max_tokens".to_owned(), json!(agent.max_output_tokens)),
        ]);
        let temperature = agent
            .temperature
            .as_ref()
            .and_then(|text| text.parse::<f64>().ok());
        if let Some(temperature) = temperature {
            body.insert("temperature".to_owned(), json!(temperature));
        }
        let tools = self.definitions();
        if !tools.is_empty() {
            body.insert("tools".to_owned(), json!(tools));
        }
        body
    }

    pub(super) fn model_failed(&mut self, again: bool, code: &str, message: &str) -> Next {
        let class = match code {
            "in_doubt" if !again => {
                // The answer is lost with the gateway that was to give it; the call is booked and asked once more.
                self.phase = Phase::Asking { again: true };
                return Next::Model(self.request());
            }
            "context_length_exceeded" => return self.too_long(message),
            "window_exceeded" => return self.wait_for_budget(message),
            "budget_exceeded" => FailureClass::BudgetExceeded,
            "unbounded_cost" | "unknown_price" | "forbidden" => FailureClass::RefusedByPolicy,
            "invalid_request" => FailureClass::InvalidInput,
            // The conversation has outgrown what the gateway takes.
            "too_large" => FailureClass::LimitReached,
            "in_doubt" | "model_unavailable" | "rate_limited" | "not_found" => {
                FailureClass::ModelUnavailable
            }
            _ => FailureClass::Internal,
        };
        self.fail(class, message)
    }

    pub(super) fn answered(&mut self, response: &Value) -> Next {
        let answer = read(response, self.turns);
        let refused = answer.refusal.clone().filter(|_| answer.calls.is_empty());
        if let Some(refusal) = refused {
            return self.fail(
                FailureClass::ModelRefusal,
                &format!("the model refused: {refusal}"),
            );
        }
        if answer.finish_reason == "content_filter" {
            return self.fail(
                FailureClass::ModelRefusal,
                "the model's answer was withheld by the provider's content filter",
            );
        }
        if !answer.calls.is_empty() {
            return self.called(answer);
        }
        if answer.finish_reason == "length" {
            let max = self.agent().map_or(0, |agent| agent.max_output_tokens);
            // A model that only thought has said nothing; some providers take no message without text.
            if !answer.text.trim().is_empty() {
                self.messages.push(answer.message());
            }
            return self.unusable(format!(
                "Your answer was cut off at {max} output tokens. Answer more briefly, or write long content in several steps."
            ));
        }
        if answer.text.trim().is_empty() {
            return self.unusable(
                "Your answer was empty. Call a tool, or give your final answer as text.".to_owned(),
            );
        }
        self.final_answer(&answer)
    }

    /// Takes tool calls in; at least one that can be carried out makes the answer a usable one.
    fn called(&mut self, answer: Answer) -> Next {
        self.messages.push(answer.message());
        let problems: Vec<String> = answer
            .calls
            .iter()
            .filter_map(|call| self.possible(call).err())
            .collect();
        let all_broken = problems.len() == answer.calls.len();
        self.unusable = if all_broken { self.unusable + 1 } else { 0 };
        self.queue.extend(answer.calls);
        if self.unusable >= MAX_UNUSABLE {
            return self.give_up(problems.first().map_or("", String::as_str));
        }
        self.next_call()
    }

    /// What a call means, or what is wrong with it.
    pub(super) fn possible(&self, call: &Call) -> Result<Planned, String> {
        let asks = AskTool::from_name(&call.name).filter(|tool| self.ask_tools().contains(tool));
        let work = match asks {
            Some(_) => checked(call).map(|()| None)?,
            None => Some(self.planned(call)?),
        };
        match (self.asks(call)?, work) {
            (Some(ask), _) => Ok(Planned::Ask(ask)),
            (None, Some(work)) => Ok(Planned::Do(work)),
            (None, None) => Err(format!("{} cannot be called now.", call.name)),
        }
    }

    /// The work that a call means, or what is wrong with it.
    pub(super) fn planned(&self, call: &Call) -> Result<Work, String> {
        if let Some(serve) = self.serves(call)? {
            return Ok(Work::Serve(serve));
        }
        let tool = Tool::from_name(&call.name).filter(|tool| self.tools().contains(tool));
        let Some(tool) = tool else {
            return Err(match self.tool_names().join(", ") {
                none if none.is_empty() => format!(
                    "There is no tool `{}`, and no other. Give your final answer as text.",
                    quoted(&call.name)
                ),
                some => format!(
                    "There is no tool `{}`. The tools are: {some}.",
                    quoted(&call.name)
                ),
            });
        };
        checked(call)?;
        tool.request(&call.arguments).map(Work::Exec)
    }

    /// The next tool call that was asked for, or the model.
    pub(super) fn next_call(&mut self) -> Next {
        while let Some(call) = self.queue.pop_front() {
            let max = self.agent().map_or(0, |agent| agent.max_tool_calls);
            if self.tool_calls >= max {
                return self.fail(
                    FailureClass::LimitReached,
                    &format!("the agent used all its {max} tool calls (limits.toolCalls)"),
                );
            }
            let planned = self.possible(&call);
            let verdict = match &planned {
                Ok(_) => self.repeats.judge(&call, self.turns),
                Err(_) => Verdict::Run, // it cannot be, which is told below
            };
            if verdict == Verdict::Stop {
                return self.fail(
                    FailureClass::ToolFailed,
                    &format!(
                        "the agent called `{}` again and again with the same arguments and the same result, after it was told that nothing changes; it was stopped",
                        quoted(&call.name)
                    ),
                );
            }
            self.tool_calls += 1;
            self.intend(&call);
            match planned {
                Ok(_) if verdict == Verdict::Hint => {
                    self.observe(&call, false, REPEATED.to_owned());
                }
                Ok(Planned::Do(work)) => return self.carry_out(call, work),
                Ok(Planned::Ask(ask)) => return self.ask_for(call, ask),
                Err(problem) => self.observe(&call, false, problem),
            }
        }
        self.ask()
    }

    /// Writes down that a call is about to be carried out.
    pub(super) fn intend(&mut self, call: &Call) {
        self.records.push(Body::ToolIntent {
            id: call.id.clone(),
            tool: quoted(&call.name),
            arguments: recorded(&call.arguments),
        });
    }

    /// Hands a call to whoever carries it out.
    pub(super) fn carry_out(&mut self, call: Call, work: Work) -> Next {
        let request = match work {
            Work::Exec(request) => request,
            Work::Serve(serve) => return self.hand_over(call, serve),
        };
        let edit = Tool::from_name(&call.name).and_then(|tool| tool.edit(&call.arguments));
        let phase = match edit {
            Some(edit) => Phase::Editing(call, edit),
            None => Phase::Calling(call),
        };
        self.exec(phase, request)
    }

    /// The file that a diff is for was read, or could not be: all of its hunks fit, or nothing is written.
    pub(super) fn edited(&mut self, call: Call, edit: &Edit, response: &Response) -> Next {
        let written = match response {
            Response::Content {
                content,
                next_line,
                cut,
                ..
            } => edit.write(&content.0, next_line.is_none() && !cut),
            Response::Failed(failed) => Err(failed.message.clone()),
            _ => Err("the sandbox gave an answer that does not fit".to_owned()),
        };
        match written {
            Ok(request) => self.exec(Phase::Calling(call), request),
            Err(problem) => self.call_ended(&call, false, problem),
        }
    }

    /// A call that was carried out, or asked for, has ended.
    pub(super) fn call_ended(&mut self, call: &Call, ok: bool, text: String) -> Next {
        let may_change = self.may_change(call);
        let text = noted(call, text);
        self.repeats.ran(call, may_change, &text);
        self.result(call, ok, text);
        self.next_call()
    }

    /// The end of a tool call that nothing carried out, for the journal and for the model.
    pub(super) fn observe(&mut self, call: &Call, ok: bool, text: String) {
        self.result(call, ok, noted(call, text));
    }

    /// What the model sees of a call's end.
    pub(super) fn show_result(&mut self, call: &Call, text: &str) {
        self.messages
            .push(json!({"role": "tool", "tool_call_id": call.id, "content": text}));
    }

    fn result(&mut self, call: &Call, ok: bool, text: String) {
        self.show_result(call, &text);
        self.records.push(Body::ToolResult {
            id: call.id.clone(),
            tool: quoted(&call.name),
            ok,
            text,
            checkpoint: self.layers.taken(),
            heard: self.newly.take(),
        });
    }

    /// Says something to the model, then asks it.
    pub(super) fn say(&mut self, about: About, text: String) -> Next {
        self.tell(about, text);
        self.ask()
    }

    pub(super) fn tell(&mut self, about: About, text: String) {
        self.messages.push(json!({"role": "user", "content": text}));
        self.records.push(Body::Observation { about, text });
    }

    /// An answer that cannot be used is told to the model, a few times in a row.
    pub(super) fn unusable(&mut self, problem: String) -> Next {
        self.unusable += 1;
        if self.unusable >= MAX_UNUSABLE {
            return self.give_up(&problem);
        }
        self.say(About::Repair, problem)
    }

    fn give_up(&mut self, problem: &str) -> Next {
        self.fail(
            FailureClass::ModelOutputInvalid,
            &format!("the model gave {MAX_UNUSABLE} answers in a row that cannot be used; it was last told: {problem}"),
        )
    }

    fn final_answer(&mut self, answer: &Answer) -> Next {
        self.messages.push(answer.message());
        let output = match self.output_of(&answer.text) {
            Ok((output, replaced)) => {
                if let Some(what) = show::replaced_halves("output", replaced) {
                    self.note(what);
                }
                output
            }
            Err(Mismatch::Schema(problem)) => {
                return self.fail(
                    FailureClass::InvalidInput,
                    &format!("the agent's output.schema is not usable: {problem}"),
                );
            }
            Err(Mismatch::Answer(problem)) => return self.unusable(problem),
        };
        self.unusable = 0;
        if too_large(&output) {
            return self.output_too_large(answer);
        }
        self.accept(output)
    }

    /// The output that a final answer is, and how many U+FFFD in it stand for half a surrogate pair.
    pub(super) fn output_of(&self, text: &str) -> Result<(Value, u64), Mismatch> {
        match self.agent().and_then(|agent| agent.output_schema.as_ref()) {
            None => Ok((json!({"text": text}), 0)),
            Some(schema) => matching(schema, text),
        }
    }
}

/// What a tool call means.
pub(super) enum Planned {
    /// This work.
    Do(Work),
    /// This of the operator, and perhaps work after it.
    Ask(Ask),
}

/// Work that a tool call is.
pub(super) enum Work {
    /// This of exec.
    Exec(Request),
    /// The same call of the gateway.
    Serve(Serve),
}

impl Work {
    /// The same, not to be done again, whatever becomes of it.
    pub(super) fn once(self) -> Self {
        match self {
            Self::Serve(serve) => Self::Serve(Serve {
                once: true,
                ..serve
            }),
            Self::Exec(request) => Self::Exec(request),
        }
    }
}

/// Whether the arguments of a call can be read.
pub(super) fn checked(call: &Call) -> Result<(), String> {
    if size_of(&call.arguments) > MAX_ARGUMENTS {
        return Err(format!(
            "The arguments of {} are too large. Write large files in parts.",
            call.name
        ));
    }
    if !call.is_json {
        let text = call.arguments.as_str().unwrap_or_default();
        return Err(format!(
            "The arguments of {} are not valid JSON, perhaps because the answer was cut off. Send one JSON object. Yours began with: {}",
            call.name,
            quoted(text)
        ));
    }
    Ok(())
}

pub(super) enum Mismatch {
    /// The schema itself is broken.
    Schema(String),
    /// What the model is told.
    Answer(String),
}

/// The output, and how many U+FFFD in it stand for half a surrogate pair.
fn matching(schema: &Value, text: &str) -> Result<(Value, u64), Mismatch> {
    let validator = jsonschema::validator_for(schema)
        .map_err(|error| Mismatch::Schema(quoted(&error.to_string())))?;
    let (value, replaced) = json_of(text).map_err(|error| {
        Mismatch::Answer(format!(
            "Your answer must be JSON and nothing else, but it cannot be parsed: {error}. Answer again."
        ))
    })?;
    let problems: BTreeSet<String> = validator
        .iter_errors(&value)
        .take(5)
        .map(|error| quoted(&format!("{} (at `{}`)", error, error.instance_path())))
        .collect();
    if problems.is_empty() {
        return Ok((value, replaced));
    }
    let problems = problems.into_iter().collect::<Vec<_>>().join("; ");
    Err(Mismatch::Answer(format!(
        "Your answer does not match the JSON Schema it must match: {problems}. Answer again."
    )))
}

pub(super) fn too_large(output: &Value) -> bool {
    serde_json::to_vec(output).map_or(true, |bytes| {
        bytes.len() > oarmaster_protocol::journal::MAX_OUTPUT_BYTES
    })
}

fn size_of(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// The result of a call, with what was replaced in its arguments.
fn noted(call: &Call, mut text: String) -> String {
    if let Some(what) = show::replaced_halves("arguments", call.replaced) {
        text.push_str(&format!("\n[{what}]"));
    }
    text
}

/// Arguments for the journal. What is too large for a record is also too large to be carried out.
fn recorded(arguments: &Value) -> Value {
    if size_of(arguments) <= MAX_ARGUMENTS {
        return arguments.clone();
    }
    Value::String(quoted(&arguments.to_string()))
}

fn quoted(text: &str) -> String {
    shorten(text, QUOTED_CHARS)
}
