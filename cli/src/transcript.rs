//! A transcript for people: the journal's records as indented lines.

use crate::text::{bytes, clean, count, one_line};
use oarmaster_crds::Usd;
use oarmaster_protocol::journal::{Body, CallUsage, Checkpoint, Outcome, Record};
use oarmaster_protocol::message::Message;
use oarmaster_protocol::request::{Ask, Waits};
use oarmaster_protocol::tool::Offer;
use serde_json::Value;

/// Lines that are shown of a long result unless everything is asked for: from its start, and from its end.
const HEAD: usize = 12;
const TAIL: usize = 6;
/// Characters of a line and of an argument that are shown unless everything is asked for.
const LINE: usize = 160;
const ARGUMENT: usize = 72;

/// Turns records into lines, and counts what was used.
#[derive(Debug, Default)]
pub struct Printer {
    full: bool,
    turns: u64,
    tokens: u64,
    pico: u64,
}

impl Printer {
    /// `full`: shorten nothing.
    pub fn new(full: bool) -> Self {
        Self {
            full,
            ..Self::default()
        }
    }

    /// The lines of a record. The first is a headline, the others are indented below it. None: nothing that a person needs.
    pub fn lines(&mut self, record: &Record) -> Vec<String> {
        match &record.body {
            Body::Opened { assignment } if self.full => {
                vec![format!(
                    "attempt {} opened, assignment {assignment}",
                    record.attempt
                )]
            }
            Body::Opened { .. } => vec![format!("attempt {} opened", record.attempt)],
            Body::Claimed { pod, .. } => {
                vec![format!("attempt {} runs in pod {pod}", record.attempt)]
            }
            Body::Open {
                hop,
                provider,
                model,
                ..
            } if self.full || *hop > 0 => vec![format!("asks {provider} for {model} (hop {hop})")],
            Body::Open { .. } => Vec::new(),
            Body::Answer {
                model,
                message,
                finish_reason,
                replaced,
                usage,
                ..
            } => self.answer(model, message, finish_reason, *replaced, *usage),
            Body::CallFailed {
                class,
                message,
                usage,
                ..
            } => {
                self.add(*usage);
                let mut lines = vec![format!("model call failed: {class}{}", self.booked(*usage))];
                self.text(&mut lines, message);
                lines
            }
            Body::Isolation { proven, findings } => self.isolation(*proven, findings),
            Body::Tools { offer } => self.tools(offer),
            Body::ToolIntent {
                tool, arguments, ..
            } => self.intent(tool, arguments),
            Body::ToolResult {
                ok,
                text,
                checkpoint,
                ..
            } => {
                let how = if *ok { "← ok" } else { "← failed" };
                let mut lines = vec![format!("{how}{}", kept(checkpoint.as_ref()))];
                self.text(&mut lines, text);
                lines
            }
            Body::Asked {
                what, checkpoint, ..
            } => self.asked(what, checkpoint.as_ref()),
            Body::Answered {
                ok,
                value,
                workspace,
                ..
            } => {
                let mut lines = vec![
                    if *ok {
                        "answered: granted"
                    } else {
                        "answered: not granted"
                    }
                    .to_owned(),
                ];
                if workspace.is_some() {
                    lines.extend(Some("    with the files that it left".to_owned()));
                }
                self.text(&mut lines, &plain(value));
                lines
            }
            Body::Sent {
                number, message, ..
            } => vec![sent(*number, message)],
            Body::Observation { text, .. } => {
                let mut lines = vec!["told to the model".to_owned()];
                self.text(&mut lines, text);
                lines
            }
            Body::Dropped { texts } => vec![format!(
                "the conversation was shortened: {} texts of earlier tool calls",
                texts.len()
            )],
            Body::Note { text } => {
                let mut lines = vec!["note".to_owned()];
                self.text(&mut lines, text);
                lines
            }
            Body::Check {
                round,
                accepted,
                exit_code,
                text,
                ..
            } => {
                let verdict = if *accepted {
                    "accepted"
                } else {
                    "not accepted"
                };
                let exit = exit_code.map_or_else(
                    || "no exit code".to_owned(),
                    |code| format!("exit code {code}"),
                );
                let mut lines = vec![format!("check {round}: {verdict} ({exit})")];
                self.text(&mut lines, text);
                lines
            }
            Body::Judged {
                round,
                score,
                accepted,
                feedback,
            } => {
                let verdict = if *accepted {
                    "accepted"
                } else {
                    "not accepted"
                };
                let mut lines = vec![format!("judge {round}: {verdict} (score {score})")];
                self.text(&mut lines, feedback);
                lines
            }
            Body::Result { outcome } => vec![ended(record.attempt, outcome)],
            Body::Fenced { reason, .. } => {
                vec![format!(
                    "attempt {} was stopped: {}",
                    record.attempt,
                    one_line(reason, LINE)
                )]
            }
        }
    }

    fn answer(
        &mut self,
        model: &str,
        message: &Value,
        finish: &str,
        replaced: u64,
        usage: CallUsage,
    ) -> Vec<String> {
        self.turns += 1;
        self.add(usage);
        let mut head = format!("turn {}: {model}{}", self.turns, self.booked(usage),);
        // Of a program's stream nobody has read how it ended.
        if !matches!(finish, "" | "stop" | "tool_calls") {
            head.push_str(&format!(", stopped by {}", one_line(finish, 40)));
        }
        if replaced > 0 {
            head.push_str(&format!(
                ", U+FFFD stands for what is no character {replaced} times"
            ));
        }
        let mut lines = vec![head];
        if let Some(text) = message.get("content").and_then(Value::as_str) {
            self.text(&mut lines, text);
        }
        lines
    }

    fn add(&mut self, usage: CallUsage) {
        self.tokens += usage.input_tokens + usage.output_tokens;
        self.pico += usage.cost_pico;
    }

    fn booked(&self, usage: CallUsage) -> String {
        let estimated = if usage.estimated { " (estimated)" } else { "" };
        format!(
            ", {} + {} tokens, ${}{estimated}; so far {} tokens, ${}",
            count(usage.input_tokens),
            count(usage.output_tokens),
            Usd::from_pico(usage.cost_pico),
            count(self.tokens),
            Usd::from_pico(self.pico),
        )
    }

    fn isolation(&self, proven: bool, findings: &[String]) -> Vec<String> {
        let mut lines = vec![if proven {
            format!("sandbox: isolation proven by {} probes", findings.len())
        } else {
            "sandbox: isolation NOT proven, nothing will run".to_owned()
        }];
        if self.full || !proven {
            self.text(&mut lines, &findings.join("\n"));
        }
        lines
    }

    fn intent(&self, tool: &str, arguments: &Value) -> Vec<String> {
        let mut head = format!("→ {}", one_line(tool, LINE));
        let Some(arguments) = arguments.as_object() else {
            head.push_str(&format!(" {}", one_line(&plain(arguments), LINE)));
            return vec![head];
        };
        let mut lines = Vec::new();
        for (name, value) in arguments {
            let value = plain(value);
            if self.full && value.contains('\n') {
                lines.push(format!("    {name}:"));
                lines.extend(clean(&value).lines().map(|line| format!("      {line}")));
            } else {
                let most = if self.full { usize::MAX } else { ARGUMENT };
                head.push_str(&format!(" {name}={}", one_line(&value, most)));
            }
        }
        lines.insert(0, head);
        lines
    }

    fn tools(&self, offer: &Offer) -> Vec<String> {
        let names: Vec<&str> = offer.tools.iter().map(|tool| &*tool.name).collect();
        let most = if self.full { usize::MAX } else { LINE };
        let mut lines = vec![one_line(
            &format!("tools of MCP servers: {}", names.join(", ")),
            most,
        )];
        self.text(&mut lines, &offer.missing.join("\n"));
        lines
    }

    fn asked(&self, what: &Ask, checkpoint: Option<&Checkpoint>) -> Vec<String> {
        let (head, text) = match what {
            Ask::Delegate {
                agent,
                prompt,
                workspace,
            } => {
                let files = if workspace.is_some() {
                    ", with its files"
                } else {
                    ""
                };
                let kept = kept(checkpoint);
                (format!("asks the agent {agent}{files}{kept}"), prompt)
            }
            Ask::Judge { agent, prompt } => (format!("asks the judge {agent}"), prompt),
            Ask::Question { ask, .. } => ("asks people".to_owned(), ask),
            // The call itself stands in its intent, just above.
            Ask::Approval { tool, .. } => return vec![format!("asks for approval of {tool}")],
        };
        let mut lines = vec![one_line(&head, LINE)];
        self.text(&mut lines, text);
        lines
    }

    /// Adds a text, indented, shortened in the middle.
    fn text(&self, lines: &mut Vec<String>, text: &str) {
        let text = clean(text.trim_end());
        let all: Vec<&str> = text.lines().collect();
        let cut = |line: &str| {
            if self.full {
                format!("    {line}")
            } else {
                format!("    {}", one_line(line, LINE))
            }
        };
        if self.full || all.len() <= HEAD + TAIL + 1 {
            lines.extend(all.iter().map(|line| cut(line)));
            return;
        }
        lines.extend(all.iter().take(HEAD).map(|line| cut(line)));
        lines.push(format!("    … {} lines", all.len() - HEAD - TAIL));
        lines.extend(all.iter().skip(all.len() - TAIL).map(|line| cut(line)));
    }
}

/// What it says stands in the call that sent it, just above.
fn sent(number: u64, message: &Message) -> String {
    let to = message.to.as_deref().unwrap_or("all of the run");
    let topic = message.topic.as_ref();
    let topic = topic.map_or_else(String::new, |topic| format!(", about {topic}"));
    one_line(&format!("message {number} to {to}{topic}"), LINE)
}

/// What became of the workspace that a tool call left.
fn kept(checkpoint: Option<&Checkpoint>) -> String {
    match checkpoint {
        None => String::new(),
        Some(Checkpoint::Layer { blobs, .. }) => {
            let size = blobs.iter().map(|blob| blob.size).sum();
            format!(" · workspace kept ({})", bytes(size))
        }
        Some(Checkpoint::Failed { why }) => {
            format!(" · workspace not kept: {}", one_line(why, LINE))
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn ended(attempt: u32, outcome: &Outcome) -> String {
    match &outcome.failure {
        None => format!("attempt {attempt} ended: done"),
        Some(failure) if matches!(failure.waits, Some(Waits::Request { .. })) => format!(
            "attempt {attempt} ended: {}",
            one_line(&failure.message, 1024)
        ),
        Some(failure) => format!(
            "attempt {attempt} ended: {}: {}",
            failure.class,
            one_line(&failure.message, 1024)
        ),
    }
}

#[cfg(test)]
mod tests;
