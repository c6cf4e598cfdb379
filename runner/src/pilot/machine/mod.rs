//! Every decision of an attempt, as a pure function: [`Machine::step`] takes what happened and says what to write down and what to do
//! next. No clock, no network. Records are durable before the next action begins, so the order of the journal is the order here.

mod check;
mod end;
mod fold;
mod isolation;
mod judge;
mod repeat;
mod replay;
mod request;
mod restart;
mod save;
mod serve;
mod turn;
mod window;

#[cfg(test)]
mod tests;

use super::answer::{Answer, Call};
use super::patch::Edit;
use super::repository::{self, Step as Fetch};
use super::show;
use super::tools::Tool;
pub use fold::Before;
use fold::Left;
use judge::Best;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Assignment, File, Placed, RunTarget, Sandbox, Target};
use oarmaster_protocol::exec::{Bytes, FailedCode, Request, Response, Run};
use oarmaster_protocol::journal::{Artifact, Blob, Body, Failure, Outcome};
use oarmaster_protocol::probe::NetworkFindings;
use oarmaster_protocol::request::Answer as Reply;
use oarmaster_protocol::text::shorten;
use oarmaster_protocol::tool::{Offer, ToolAnswer, ToolCall};
use repeat::Repeats;
use request::{Asked, TakenOver};
use save::Layers;
pub use save::{Save, Saved};
use serde_json::Value;
use std::collections::VecDeque;
use window::Window;

/// Restarts of the sandbox that an attempt survives.
pub const MAX_RESTARTS: u32 = 5;
/// Unusable answers in a row that an attempt survives, plus one.
pub const MAX_UNUSABLE: u32 = 3;

/// What the model is told when the sandbox's container was restarted under it.
const RESTARTED: &str = "The sandbox was restarted before the call ended, most likely because it used more memory than the container has. Its processes are lost, and files in /tmp may be; the files of the workspace are still there.";

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The assignment is read and the sandbox, if there is one, is connected.
    Begin,
    /// The gateway answered a model call.
    Answered(Value),
    /// The gateway refused a model call.
    ModelFailed {
        /// Code of the gateway's error.
        code: String,
        /// Its text.
        message: String,
    },
    /// The tools of the agent's MCP servers were found, as far as they are there.
    Tools(Offer),
    /// The gateway carried a tool call out, or could not.
    Served(ToolAnswer),
    /// The operator answered a request.
    Replied(Reply),
    /// It did not, for as long as an attempt waits.
    NoReply,
    /// exec answered.
    Exec(Response),
    /// exec was lost in the middle of a request, and is back with its processes gone.
    ExecRestarted,
    /// exec was lost before it could see this request, and is back: nothing of the request was done.
    ExecReplaced(Request),
    /// exec was lost and did not come back.
    ExecGone,
    /// The pod's NetworkPolicy was proven, or could not be.
    Network(NetworkFindings),
    /// An artifact was dealt with.
    Kept(Kept),
    /// The workspace was made what it was at the last checkpoint, or could not be.
    Restored(Result<(), String>),
    /// A checkpoint that was to be taken is, or could not be.
    Saved(Saved),
}

/// How keeping an artifact ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// It is in the store.
    Stored {
        /// The artifact.
        artifact: Artifact,
        /// What was left out of it.
        skipped: Vec<String>,
    },
    /// Nothing matched.
    Nothing {
        /// What would have matched but is not a regular file.
        skipped: Vec<String>,
    },
    /// It is larger than its bound.
    TooLarge(String),
    /// It could not be collected or stored.
    Failed(String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Ask the model under the next call number.
    Model(Value),
    /// Ask the model under a number that was used: the call may be running still.
    Again {
        /// The number.
        call: u64,
        /// The body that it was asked with.
        body: Value,
    },
    /// Ask the gateway for the tools of the agent's MCP servers.
    Tools,
    /// Have the gateway carry out a tool call.
    Serve {
        /// Name of the tool.
        name: String,
        /// The call.
        call: ToolCall,
        /// It must not be made twice.
        once: bool,
    },
    /// Ask exec.
    Exec(Request),
    /// Take a checkpoint of the workspace.
    Save(Save),
    /// Make the workspace what it was, from the layers of its checkpoints.
    Restore(Vec<Blob>),
    /// Put an artifact of another Task into the workspace, through exec.
    Place(Placed),
    /// Wait for the answer to a request, a minute at most.
    Await {
        /// Id of the request.
        id: String,
    },
    /// Wait for the proof of the pod's NetworkPolicy.
    Network,
    /// Collect an artifact through exec and store it.
    Collect {
        /// Name of the artifact.
        name: String,
        /// Glob in the workspace.
        pattern: String,
    },
    /// Store an artifact.
    Store {
        /// Name of the artifact.
        name: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Hand in the result. Nothing follows.
    Finish(Outcome),
}

/// Records to append, then what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Durable before `next` begins.
    pub records: Vec<Body>,
    /// The action whose end is the next event.
    pub next: Next,
}

/// What is awaited.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Starting,
    /// The isolation probe; what it was made for comes after it.
    Probing(After),
    /// The proof of the NetworkPolicy, before this.
    Holding(Box<Held>),
    /// Repository number i is being fetched.
    Fetching(usize, Fetch),
    /// File number i is being written; the repositories count first, then artifacts of other Tasks.
    Placing(usize),
    /// The workspace of the attempt before is being put there.
    Restoring,
    /// The model.
    Asking {
        /// Whether the call is a repetition of one in doubt.
        again: bool,
    },
    /// A call to the model that an attempt before has made.
    Attaching,
    /// The tools of MCP servers.
    Learning,
    /// A tool call.
    Calling(Call),
    /// A tool call that the gateway carries out.
    Serving(Call),
    /// A checkpoint of the workspace that this call hands on.
    Handing(Call),
    /// The answer to a request.
    Awaiting(Box<Asked>),
    /// The files that another agent left.
    TakingOver(Box<TakenOver>),
    /// The file that this call is to apply a diff to.
    Editing(Call, Edit),
    /// The program of a `run`.
    Running,
    /// The check of this output.
    Checking(Value),
    /// Artifacts, then this outcome.
    Keeping(Outcome),
    /// A checkpoint of what this Task leaves, then this outcome.
    Leaving(Outcome),
    Ended,
}

/// A request that runs code, held until the NetworkPolicy is proven.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    phase: Phase,
    request: Request,
}

/// What a probe was made for.
#[derive(Clone, Debug, PartialEq)]
enum After {
    /// The attempt begins, or goes on, with repository or file number i.
    Place(usize),
    /// The attempt goes on where another stopped.
    Restore,
    /// The sandbox was restarted while these were put into it.
    TakeOver(Box<TakenOver>),
    /// The sandbox was restarted in this call.
    Call(Call),
    /// The sandbox was restarted in the check of this output.
    Check(Value),
    /// The sandbox was restarted before this began.
    Again(Box<Held>),
}

/// An artifact still to be kept.
#[derive(Clone, Debug, PartialEq)]
enum ToKeep {
    Pattern { name: String, pattern: String },
    Bytes { name: String, bytes: Vec<u8> },
}

/// The state of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    assignment: Assignment,
    /// Bounds as the model is told them; those of a sandbox that is not there are 0.
    sandbox: Sandbox,
    phase: Phase,
    messages: Vec<Value>,
    /// What the last probe of the sandbox found.
    findings: Vec<String>,
    network: Option<NetworkFindings>,
    queue: VecDeque<Call>,
    repeats: Repeats,
    turns: u32,
    tool_calls: u32,
    /// Numbers below it are those of approvals that were asked for before the Task began anew.
    asks_from: u32,
    unusable: u32,
    rounds: u32,
    /// What is taken if no round is accepted.
    best: Option<Best>,
    restarts: u32,
    exec_gone: bool,
    to_keep: VecDeque<ToKeep>,
    artifacts: Vec<Artifact>,
    layers: Layers,
    window: Window,
    /// The tools of MCP servers, once they are known.
    offer: Option<Offer>,
    /// Number of the last message of its tree that the model was shown.
    heard: u64,
    /// That of the call which has just ended.
    newly: Option<u64>,
    /// Where this attempt goes on; absent where it began, and once it has gone on.
    left: Option<Left>,
    /// What the transcript says at the beginning, of what this attempt begins with.
    begins: Option<String>,
    /// What the model is to be told of the attempt before, once it is its turn to be told.
    seam: Option<String>,
    /// Records of the step that is being made.
    records: Vec<Body>,
}

impl Machine {
    /// The state before anything happened.
    #[must_use]
    pub fn new(assignment: Assignment) -> Self {
        let sandbox = assignment.sandbox.clone().unwrap_or_default();
        Self {
            messages: turn::first_messages(&assignment),
            assignment,
            sandbox,
            phase: Phase::Starting,
            findings: Vec::new(),
            network: None,
            queue: VecDeque::new(),
            repeats: Repeats::default(),
            turns: 0,
            tool_calls: 0,
            asks_from: 0,
            unusable: 0,
            rounds: 0,
            best: None,
            restarts: 0,
            exec_gone: false,
            to_keep: VecDeque::new(),
            artifacts: Vec::new(),
            layers: Layers::default(),
            window: Window::default(),
            offer: None,
            heard: 0,
            newly: None,
            left: None,
            begins: None,
            seam: None,
            records: Vec::new(),
        }
    }

    /// One step. An event that does not fit ends the attempt as `Internal`: it is a defect, and must not loop.
    #[must_use]
    pub fn step(mut self, event: Event) -> (Self, Step) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        let next = self.decide(phase, event);
        let records = std::mem::take(&mut self.records);
        (self, Step { records, next })
    }

    fn decide(&mut self, phase: Phase, event: Event) -> Next {
        match (phase, event) {
            (Phase::Ended, _) => {
                self.finish_now(FailureClass::Internal, "an event came after the end")
            }
            (Phase::Starting, Event::Begin) => {
                self.begin_again();
                if self.left.as_ref().is_some_and(Left::is_over) {
                    self.go_on()
                } else if !self.has_sandbox() {
                    self.start()
                } else if self.layers.is_empty() {
                    self.probe(After::Place(0))
                } else {
                    self.probe(After::Restore)
                }
            }
            (Phase::Probing(after), Event::Exec(response)) => self.probed(after, response),
            (Phase::Holding(held), Event::Network(found)) => self.policed(*held, found),
            (Phase::Fetching(index, step), Event::Exec(response)) => {
                self.fetched(index, step, &response)
            }
            (Phase::Placing(index), Event::Exec(response)) => self.placed(index, response),
            (Phase::Restoring, Event::Restored(restored)) => self.restored(restored),
            (Phase::Asking { .. } | Phase::Attaching, Event::Answered(response)) => {
                self.measure(&response);
                self.answered(&response)
            }
            (Phase::Attaching, Event::ModelFailed { code, message }) => {
                self.not_attached(&code, &message)
            }
            (Phase::Asking { again }, Event::ModelFailed { code, message }) => {
                self.model_failed(again, &code, &message)
            }
            (Phase::Calling(call), Event::Exec(response)) => {
                let (ok, text) = show::show(&response, &self.sandbox);
                self.call_ended(&call, ok, text)
            }
            (Phase::Learning, Event::Tools(offer)) => self.learnt(offer),
            (Phase::Serving(call), Event::Served(answer)) => self.served(&call, answer),
            (Phase::Handing(call), Event::Saved(saved)) => self.handed_on(call, saved),
            (Phase::TakingOver(taken), Event::Restored(restored)) => {
                self.took_over(*taken, restored)
            }
            (Phase::TakingOver(taken), Event::Saved(saved)) => self.kept_over(*taken, saved),
            (Phase::Awaiting(asked), Event::Replied(answer)) => self.replied(*asked, &answer),
            (Phase::Awaiting(asked), Event::NoReply) => self.park(*asked),
            (Phase::Editing(call, edit), Event::Exec(response)) => {
                self.edited(call, &edit, &response)
            }
            (Phase::Running, Event::Exec(response)) => self.ran(response),
            (Phase::Checking(output), Event::Exec(response)) => self.checked(output, &response),
            (Phase::Keeping(outcome), Event::Kept(kept)) => self.kept(outcome, kept),
            (Phase::Leaving(outcome), Event::Saved(saved)) => {
                self.kept_what_it_leaves(outcome, saved)
            }
            (phase, Event::ExecRestarted) => self.restarted(phase),
            (phase, Event::ExecReplaced(request)) => self.replaced(phase, request),
            (phase, Event::ExecGone) => self.gone(&phase),
            (_, _) => self.finish_now(
                FailureClass::Internal,
                "an event came that nothing waited for",
            ),
        }
    }

    fn has_sandbox(&self) -> bool {
        self.assignment.sandbox.is_some() && !self.exec_gone
    }

    fn exec(&mut self, phase: Phase, request: Request) -> Next {
        if self.holds(&phase) {
            self.phase = Phase::Holding(Box::new(Held { phase, request }));
            return Next::Network;
        }
        self.phase = phase;
        Next::Exec(request)
    }

    /// Repositories come first, then artifacts of other Tasks: files may be put into both.
    fn place(&mut self, index: usize) -> Next {
        if index < self.assignment.repositories.len() {
            return self.fetch(index, Fetch::Init);
        }
        if let Some(placed) = self.artifact(index).cloned() {
            self.phase = Phase::Placing(index);
            return Next::Place(placed);
        }
        let Some(file) = self.file(index) else {
            return self.start();
        };
        let request = Request::Write {
            path: file.path.clone(),
            content: Bytes(file.content.clone().into_bytes()),
        };
        self.exec(Phase::Placing(index), request)
    }

    fn artifact(&self, index: usize) -> Option<&Placed> {
        let placed = index.checked_sub(self.assignment.repositories.len())?;
        self.assignment.placed.get(placed)
    }

    fn file(&self, index: usize) -> Option<&File> {
        let before = self.assignment.repositories.len() + self.assignment.placed.len();
        self.assignment.files.get(index.checked_sub(before)?)
    }

    fn fetch(&mut self, index: usize, step: Fetch) -> Next {
        let Some(found) = self.assignment.repositories.get(index) else {
            return self.place(index);
        };
        let run = repository::run(found, step, &self.sandbox);
        self.exec(Phase::Fetching(index, step), Request::Run(run))
    }

    fn fetched(&mut self, index: usize, step: Fetch, response: &Response) -> Next {
        let Some(found) = self.assignment.repositories.get(index) else {
            return self.place(index);
        };
        let problem = match response {
            Response::Ran(ran) => repository::problem(found, step, ran, &self.sandbox),
            Response::Failed(failed) => Some(repository::not_run(found, failed)),
            _ => Some((
                FailureClass::Internal,
                "exec did not answer the fetching of a repository".to_owned(),
            )),
        };
        if let Some((class, message)) = problem {
            return self.finish_now(class, &message);
        }
        if let Some(step) = step.next() {
            return self.fetch(index, step);
        }
        if let Response::Ran(ran) = response {
            let note = repository::note(found, ran);
            self.note(note);
        }
        self.place(index + 1)
    }

    fn placed(&mut self, index: usize, response: Response) -> Next {
        match response {
            Response::Done => self.place(index + 1),
            Response::Failed(failed) => {
                let class = match failed.code {
                    FailedCode::Io => FailureClass::StartFailed,
                    _ => FailureClass::InvalidInput,
                };
                let what = match (self.artifact(index), self.file(index)) {
                    (Some(placed), _) => format!(
                        "artifact {} of Task {} at `{}`",
                        placed.name, placed.task.name, placed.path
                    ),
                    (None, file) => format!("`{}`", file.map_or("", |file| &file.path)),
                };
                self.finish_now(
                    class,
                    &format!("files: {what} could not be placed: {}", failed.message),
                )
            }
            _ => self.finish_now(
                FailureClass::Internal,
                "exec did not answer the placing of a file",
            ),
        }
    }

    /// The target, once the workspace is ready.
    fn start(&mut self) -> Next {
        let needs_sandbox = match &self.assignment.target {
            Target::Run(_) => true,
            Target::Workflow(_) => false,
            Target::Agent(agent) => {
                agent
                    .tools
                    .iter()
                    .any(|name| Tool::from_name(name).is_some())
                    || self
                        .assignment
                        .accept
                        .as_ref()
                        .is_some_and(|accept| !accept.command.is_empty())
                    || self.assignment.handed.is_some()
                    || !self.assignment.workspace.is_plain()
                    || !self.assignment.placed.is_empty()
                    || !self.assignment.files.is_empty()
                    || !self.assignment.repositories.is_empty()
            }
        };
        if needs_sandbox && !self.has_sandbox() {
            return self.finish_now(
                FailureClass::Internal,
                "the attempt needs a sandbox and was given none",
            );
        }
        match &self.assignment.target {
            Target::Agent(_) if self.has_to_learn() => self.learn_tools(),
            Target::Agent(_) => self.go_on(),
            // The gateway lets nobody claim one.
            Target::Workflow(_) => {
                self.finish_now(FailureClass::Internal, "a workflow has no pilot")
            }
            Target::Run(RunTarget { program, env }) => {
                let run = Run {
                    program: program.clone(),
                    env: env.clone(),
                    timeout_ms: None,
                    disk_bytes: None,
                };
                self.exec(Phase::Running, Request::Run(run))
            }
        }
    }
}

/// A failure with a message of at most 1,024 characters.
fn failure(class: FailureClass, message: &str) -> Failure {
    Failure {
        class,
        message: shorten(message, 1024),
        waits: None,
    }
}

/// Reads an answer for the machine; apart so that a test can count turns.
fn read(response: &Value, turn: u32) -> Answer {
    Answer::read(response, turn)
}
