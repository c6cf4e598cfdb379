//! The world around an attempt, in memory.

use super::*;
use oarmaster_protocol::journal::{CallUsage, Record};

/// The world around an attempt: what the model says by the number of the call, and a workspace whose every command can be read off.
pub(super) struct World {
    pub(super) assignment: Assignment,
    pub(super) before: Option<Before>,
    pub(super) script: Vec<Value>,
    pub(super) journal: Vec<Record>,
    /// Bodies by call.
    pub(super) asked: BTreeMap<u64, Value>,
    /// Workspaces by digest.
    pub(super) blobs: BTreeMap<String, Vec<String>>,
    /// Commands that were ever run.
    pub(super) ran: Vec<String>,
    /// The last request's messages.
    pub(super) messages: Vec<Value>,
}

fn command(program: &Program) -> String {
    match program {
        Program::Command(words) => words.join(" "),
        Program::Code { code, .. } => code.clone(),
    }
}

impl World {
    pub(super) fn new(assignment: Assignment, script: Vec<Value>) -> Self {
        Self {
            assignment,
            before: None,
            script,
            journal: Vec::new(),
            asked: BTreeMap::new(),
            blobs: BTreeMap::new(),
            ran: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, body: Body) {
        self.journal.push(Record {
            seq: self.journal.len() as u64,
            at_ms: 0,
            attempt: 1,
            body,
        });
    }

    fn keep(&mut self, workspace: &[String], base: bool) -> Saved {
        let base = base || self.blobs.is_empty();
        let digest = format!("sha256:{}", workspace.join(","));
        self.blobs.insert(digest.clone(), workspace.to_vec());
        Saved::Taken {
            base,
            blobs: vec![Blob { digest, size: 1 }],
            skipped: vec![],
        }
    }

    pub(super) fn answer(&mut self, call: u64) -> Event {
        let last = self.script.last().cloned().unwrap();
        let answer = self.script.get(usize::try_from(call).unwrap());
        let answer = answer.cloned().unwrap_or(last);
        let choice = &answer["choices"][0];
        self.write(Body::Answer {
            call,
            hop: 0,
            model: "m".into(),
            message: choice["message"].clone(),
            finish_reason: choice["finish_reason"].as_str().unwrap().into(),
            replaced: 0,
            usage: CallUsage::default(),
        });
        Event::Answered(answer)
    }

    /// Runs an attempt until it ends, or until the journal has so many records: what is written at once is there or not.
    pub(super) fn attempt(&mut self, cut: usize) -> Option<Outcome> {
        let mut machine =
            Machine::resume(self.assignment.clone(), self.before.clone(), &self.journal);
        let mut workspace: Vec<String> = Vec::new();
        let mut event = Event::Begin;
        for _ in 0..500 {
            let (after, step) = machine.step(event);
            machine = after;
            for record in step.records {
                self.write(record);
            }
            if self.journal.len() >= cut {
                return None;
            }
            event = match step.next {
                Next::Model(body) => {
                    let call = self.asked.last_key_value().map_or(0, |(call, _)| call + 1);
                    self.messages = body["messages"].as_array().unwrap().clone();
                    self.asked.insert(call, body);
                    self.write(Body::Open {
                        call,
                        hop: 0,
                        provider: "n/p".into(),
                        model: "m".into(),
                        reason: String::new(),
                        digest: "d".into(),
                        reserved_pico: 0,
                    });
                    if self.journal.len() >= cut {
                        return None;
                    }
                    self.answer(call)
                }
                Next::Again { call, body } => {
                    assert_eq!(self.asked[&call], body, "the same call is the same body");
                    self.answer(call)
                }
                Next::Exec(request) => {
                    let event = match request {
                        Request::Probe => probed(true),
                        Request::Write { path, .. } => {
                            workspace.push(path);
                            Event::Exec(Response::Done)
                        }
                        Request::Run(run) => {
                            workspace.push(command(&run.program));
                            self.ran.push(command(&run.program));
                            // The check accepts the second time that something was run since it was made.
                            let checks = workspace.iter().filter(|word| *word == "check").count();
                            let code = i32::from(command(&run.program) == "check" && checks < 2);
                            Event::Exec(Response::Ran(Ran {
                                exit_code: Some(code),
                                stdout: Output {
                                    head: Bytes(workspace.join(",").into_bytes()),
                                    ..Output::default()
                                },
                                ..Ran::default()
                            }))
                        }
                        other => panic!("{other:?}"),
                    };
                    let Event::Exec(response) = &event else {
                        unreachable!()
                    };
                    if let Some(save) = machine.saves(response) {
                        machine.saved(self.keep(&workspace, save.base));
                    }
                    event
                }
                Next::Await { id } => {
                    let mut answer = Reply::new(true, json!({"score": 0.9, "feedback": id}));
                    let handed = self
                        .journal
                        .iter()
                        .rev()
                        .find_map(|record| match &record.body {
                            Body::Asked { what, .. } => what.handed()?.last().cloned(),
                            _ => None,
                        });
                    if let Some(blob) = handed {
                        let mut files = self.blobs[&blob.digest].clone();
                        files.push("theirs".into());
                        let digest = format!("left of {}", blob.digest);
                        answer.value = json!({"text": "did it"});
                        self.blobs.insert(digest.clone(), files);
                        answer.workspace = Some(Checkpoint::Layer {
                            base: true,
                            blobs: vec![Blob { digest, size: 1 }],
                        });
                    }
                    Event::Replied(answer)
                }
                Next::Save(save) => {
                    assert!(save.base);
                    Event::Saved(self.keep(&workspace, true))
                }
                Next::Restore(blobs) => {
                    workspace = self.blobs[&blobs.last().unwrap().digest].clone();
                    Event::Restored(Ok(()))
                }
                Next::Finish(outcome) => {
                    self.write(Body::Result {
                        outcome: outcome.clone(),
                    });
                    return Some(outcome);
                }
                other => panic!("{other:?}"),
            };
            if self.journal.len() >= cut {
                return None;
            }
        }
        panic!("no end")
    }

    /// Answers of the model in the journal.
    pub(super) fn answers(&self) -> usize {
        let answer = |record: &&Record| matches!(record.body, Body::Answer { .. });
        self.journal.iter().filter(answer).count()
    }

    /// What the model was told at last, but for the seams.
    pub(super) fn told(&self) -> Vec<Value> {
        let seam = |message: &Value| {
            let text = message["content"].as_str().unwrap_or_default();
            text.starts_with("You were interrupted")
        };
        let messages = self.messages.iter().filter(|message| !seam(message));
        messages.cloned().collect()
    }
}

pub(super) fn said(event: Event) -> Value {
    match event {
        Event::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn shell(word: &str) -> Value {
    let arguments = json!({ "command": word }).to_string();
    said(calls(&[("Shell", &arguments)]))
}

pub(super) fn two(first: &str, second: &str) -> Value {
    let arguments = |word: &str| json!({ "command": word }).to_string();
    said(calls(&[
        ("Shell", &arguments(first)),
        ("Shell", &arguments(second)),
    ]))
}

pub(super) fn patient(mut assignment: Assignment) -> Assignment {
    if let Target::Agent(agent) = &mut assignment.target {
        (agent.max_turns, agent.max_tool_calls) = (20, 20);
    }
    assignment
}

/// Answers of all kinds, then one that ends.
pub(super) fn conversation(choices: &[u8]) -> Vec<Value> {
    let answers = choices.iter().enumerate().map(|(at, choice)| match choice {
        0 => shell(&format!("s{at}")),
        1 => two(&format!("a{at}"), &format!("b{at}")),
        2 => said(text("")),
        3 => said(calls(&[("Shell", "{")])),
        4 => shell("the same"),
        _ => said(finish("long", "length")),
    });
    answers.chain([said(text("done"))]).collect()
}
