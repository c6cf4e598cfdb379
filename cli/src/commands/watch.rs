//! `--watch`: everything that happens to a Task until its end.

use super::{is_complete, is_run, logs, name, phase, steps, what_happened, why};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::follow::{self, Event, is_finished};
use crate::output;
use crate::steps::Changes;
use crate::transcript::Printer;
use oarmaster_crds::Task;
use serde_json::Value;
use std::time::Instant;

pub async fn watch(cluster: &Cluster, task: &Task) -> Result<(), Error> {
    let task_name = name(task).to_owned();
    let mut events = follow::follow(cluster, task);
    let mut screen = Screen {
        start: Instant::now(),
        printer: Printer::new(false),
        said: String::new(),
        changes: Changes::new(cluster.flags()),
    };
    let mut state = Watched {
        task: None,
        read: is_run(task), // it has no transcript
    };
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            done = tokio::signal::ctrl_c() => {
                if let Err(error) = done {
                    return Err(Error::cluster("failed to listen for Ctrl-C").source(error));
                }
                return Err(left(cluster, &task_name));
            }
        };
        match event {
            None => break,
            Some(event) => {
                if screen.show(event, &mut state)? {
                    break;
                }
            }
        }
    }
    end(cluster, &task_name, state.task)
}

fn left(cluster: &Cluster, task: &str) -> Error {
    let flags = cluster.flags();
    Error::interrupted().next(format!(
        "\nTask {task} goes on.\nTo see it again: oar get {task} --watch{flags}\nTo stop it:      oar cancel {task}{flags}"
    ))
}

struct Watched {
    task: Option<Task>,
    read: bool,
}

struct Screen {
    start: Instant,
    printer: Printer,
    said: String,
    changes: Changes,
}

impl Screen {
    /// Shows an event; true when there is nothing more to see.
    fn show(&mut self, event: Event, state: &mut Watched) -> Result<bool, Error> {
        match event {
            Event::Task(task) => {
                // What has become of the steps comes before the end.
                if is_finished(&task) {
                    self.steps(&task)?;
                    self.phase(&task)?;
                } else {
                    self.phase(&task)?;
                    self.steps(&task)?;
                }
                state.task = Some(*task);
            }
            Event::Record(record) => {
                let lines = self.printer.lines(&record);
                logs::print(&lines, self.millis())?;
            }
            Event::Lost(what) => eprintln!("{what}"),
            Event::End(error) => {
                if let Some(error) = error {
                    eprintln!("The transcript cannot be shown; the Task is not touched by that.");
                    error.print();
                }
                state.read = true;
            }
            Event::Gone => return Err(Error::failed("the Task was deleted")),
            Event::Blind(error) => return Err(error),
        }
        Ok(state.read && state.task.as_ref().is_some_and(is_finished))
    }

    fn phase(&mut self, task: &Task) -> Result<(), Error> {
        let mut line = phase(task).to_owned();
        // Of a run that goes on the lines of its steps say it.
        let silent = steps(task).is_some() && !is_finished(task);
        if let Some(why) = why(task).filter(|_| !silent) {
            line.push_str(": ");
            line.push_str(&why);
        }
        if line == self.said {
            return Ok(());
        }
        self.said.clone_from(&line);
        logs::print(&[format!("Task is {line}")], self.millis())
    }

    fn steps(&mut self, task: &Task) -> Result<(), Error> {
        let lines = steps(task).map(|steps| self.changes.lines(steps));
        let millis = self.millis();
        let mut lines = lines.into_iter().flatten();
        lines.try_for_each(|line| logs::print(&[line], millis))
    }

    fn millis(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The outcome, and what to do next.
fn end(cluster: &Cluster, task_name: &str, task: Option<Task>) -> Result<(), Error> {
    let Some(task) = task else {
        return Err(
            Error::cluster(format!("Task {task_name} was lost sight of"))
                .next(format!("oar get {task_name}{}", cluster.flags())),
        );
    };
    let status = task.status.clone().unwrap_or_default();
    let usage = status.usage.unwrap_or_default();
    let flags = cluster.flags();
    output::line("")?;
    if let Some(answer) = status.output.as_ref().and_then(answer) {
        output::line(answer.trim_end())?;
        output::line("")?;
    }
    let sum = format!(
        "{} model calls, {} tokens, ${}",
        usage.calls,
        usage.total_tokens,
        if usage.usd.is_empty() {
            "0"
        } else {
            &usage.usd
        }
    );
    if is_complete(&task) {
        output::line(&format!("Task {task_name} is Complete: {sum}"))?;
        return output::line(&format!("Its answer again: oar result {task_name}{flags}"));
    }
    let why = why(&task).map(|why| format!(": {why}")).unwrap_or_default();
    let next = match status
        .failure
        .as_ref()
        .map(|failure| failure.class.as_str())
    {
        Some("BudgetExceeded") if is_run(&task) => {
            "Raise its spec.budget and spec.rerun.count, and it goes on. "
        }
        Some("BudgetExceeded") => "Run it again with a larger --budget. ",
        Some("Timeout") if is_run(&task) => "Its Workflow's spec.timeouts bound it. ",
        Some("Timeout") => "Run it again with a longer --timeout. ",
        Some("ModelUnavailable") => "What its models say: kubectl get opool,oprov -o wide. ",
        _ => "",
    };
    Err(
        Error::failed(format!("Task {task_name} is {}{why} ({sum})", phase(&task))).next(format!(
            "{next}What happened: {} {task_name}{flags}",
            what_happened(&task, true)
        )),
    )
}

fn answer(output: &Value) -> Option<String> {
    match output.get("text").and_then(Value::as_str) {
        Some(text) => Some(text.to_owned()),
        None => serde_json::to_string_pretty(output).ok(),
    }
}
