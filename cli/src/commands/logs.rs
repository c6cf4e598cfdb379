//! `oar logs`.

use super::{is_run, name, source};
use crate::args::{Format, Logs};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::follow::{self, Event};
use crate::output;
use crate::transcript::Printer;
use oarmaster_protocol::journal::Record;

pub async fn run(cluster: &Cluster, args: Logs) -> Result<(), Error> {
    let Logs {
        task,
        follow,
        full,
        output,
    } = args;
    let task = cluster.task(&task).await?;
    // As data it is what the gateway keeps of any Task.
    if is_run(&task) && (follow || output.is_none()) {
        let (name, flags) = (name(&task), cluster.flags());
        let what = format!("Task {name} runs a workflow, and has no transcript of its own");
        return Err(Error::input(what).next(format!(
            "Its steps, and their Tasks, which have: oar get {name}{flags}\nTo see them begin and end: oar get --watch {name}{flags}"
        )));
    }
    let taken = source(&task).cloned();
    let follow = follow && taken.is_none();
    let mut task = task;
    if let Some(source) = taken {
        eprintln!(
            "Task {} did nothing itself: it took the outcome of Task {} (spec.memo), whose transcript this is.",
            name(&task),
            source.name
        );
        task.metadata.name = Some(source.name);
        task.metadata.uid = Some(source.uid);
    }
    let mut out = Out {
        format: output,
        printer: Printer::new(full),
        start: None,
    };
    if !follow {
        let read = follow::read(cluster, &task, |record| out.print(&record)).await;
        return match read {
            Err(error) if error.absent => {
                eprintln!(
                    "Nothing has run yet. To wait for it: oar logs -f {}{}",
                    name(&task),
                    cluster.flags()
                );
                Ok(())
            }
            done => done,
        };
    }
    let mut events = follow::follow(cluster, &task);
    while let Some(event) = events.recv().await {
        match event {
            Event::Record(record) => out.print(&record)?,
            Event::Lost(what) => eprintln!("{what}"),
            Event::Blind(error) | Event::End(Some(error)) => return Err(error),
            Event::End(None) => break,
            Event::Task(_) | Event::Gone => {}
        }
    }
    Ok(())
}

struct Out {
    format: Option<Format>,
    printer: Printer,
    start: Option<i64>,
}

impl Out {
    fn print(&mut self, record: &Record) -> Result<(), Error> {
        match self.format {
            Some(Format::Json) => output::line(&output::json_line(record)?),
            Some(Format::Yaml) => {
                output::raw(b"---\n")?;
                output::data(record, Format::Yaml)
            }
            None => {
                let start = *self.start.get_or_insert(record.at_ms);
                let lines = self.printer.lines(record);
                print(&lines, record.at_ms - start)
            }
        }
    }
}

/// Prints lines of a transcript; the first one with the time.
pub fn print(lines: &[String], millis: i64) -> Result<(), Error> {
    let mut lines = lines.iter();
    if let Some(head) = lines.next() {
        output::line(&format!("{:>7.1}s  {head}", millis.max(0) as f64 / 1000.0))?;
    }
    for line in lines {
        output::line(&format!("          {line}"))?;
    }
    Ok(())
}
