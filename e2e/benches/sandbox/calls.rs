//! Calls in a sandbox that stands: their time beside the interpreter's own, after one that was stopped at its memory, and what supervisor and pilot take.

use crate::{ms, objects};
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::Space;
use oarmaster_e2e::bench::cpu::memory;
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use oarmaster_e2e::task::Journal;
use oarmaster_protocol::journal::Body;
use std::fs;

/// Small calls. With those that are stopped, and what comes after them, a script has room for no more.
const CALLS: usize = 36;
/// Calls that are stopped at their memory, each with a small one after it.
const STOPPED: usize = 12;
/// What the interpreter takes by itself in there, in milliseconds: median of thirty.
const INTERPRETER: &str = "
import subprocess, sys, time
times = []
for _ in range(30):
    begun = time.monotonic()
    subprocess.run([sys.executable, '-c', 'print(1)'], stdout=subprocess.DEVNULL, check=True)
    times.append(time.monotonic() - begun)
print(sorted(times)[15] * 1000)
";
const MEMORY: &str = "
held = []
while True:
    held.append(bytearray(1 << 20))
";
const HELD: &str = "
import time
time.sleep(600)
";

/// Runs the phase.
pub async fn run(space: &Space, report: &mut Report) -> Result<()> {
    eprintln!("calls");
    // The pilot does not run the same call again and again: each is another one.
    let numbered = |code: &str, number: usize| objects::python(&format!("{code}\n# {number}"));
    let small = |number| numbered("print(1)", number);
    let mut replies = vec![objects::python(INTERPRETER)];
    replies.extend((0..CALLS).map(small));
    for number in 0..STOPPED {
        replies.extend([numbered(MEMORY, number), small(CALLS + number)]);
    }
    objects::agent(space, "caller", &replies).await?;
    objects::task(space, "calls", "caller").await?;
    space.complete("calls").await?;
    let journal = space.journal("calls").await?;
    let calls = calls(&journal);
    let text = |index: usize| journal.result(index).map(|(_, _, text)| text.to_owned());
    ensure!(
        calls.len() == 1 + CALLS + 2 * STOPPED,
        "{} calls",
        calls.len()
    );
    let interpreter = text(0)?;
    let interpreter: f64 = interpreter
        .lines()
        .find_map(|line| line.trim().parse().ok())
        .with_context(|| format!("the interpreter's time is not in {interpreter:?}"))?;
    let took: Vec<f64> = calls
        .iter()
        .skip(1)
        .take(CALLS)
        .map(|call| call.ended - call.begun)
        .collect();
    let mut after = Vec::new();
    for (number, pair) in calls
        .get(1 + CALLS..)
        .unwrap_or_default()
        .chunks(2)
        .enumerate()
    {
        let [stopped, next] = pair else { continue };
        let said = text(1 + CALLS + 2 * number)?;
        ensure!(
            said.to_lowercase().contains("memory"),
            "not stopped: {said}"
        );
        after.push(next.ended - stopped.ended);
    }
    let row = |what: &str, times: &[f64]| {
        let of = |percent| short(percentile(times, percent));
        vec![what.to_owned(), of(50), of(90), of(100)]
    };
    let head = ["ms", "p50", "p90", "max"];
    let rows = [
        vec![
            "the interpreter, `print(1)`, started by a program in there".to_owned(),
            short(interpreter),
            String::new(),
            String::new(),
        ],
        row("`RunCode` of it, recorded before and after", &took),
        row(
            "a call stopped at its memory -> the next one's answer, with the model between them",
            &after,
        ),
    ];
    report.table(&head, &rows);
    let beyond = percentile(&took, 50) - interpreter;
    report.figure("sandbox_call_added_ms_p50", beyond, Goal::Below(60.0));
    let after = percentile(&after, 100);
    report.figure("sandbox_after_oom_ms_max", after, Goal::Below(200.0));
    resident(space, report).await
}

/// A tool call, in milliseconds of the journal's clock.
struct Call {
    begun: f64,
    ended: f64,
}

fn calls(journal: &Journal) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut begun = None;
    for record in &journal.0 {
        match &record.body {
            Body::ToolIntent { .. } => begun = Some(ms(record.at_ms)),
            Body::ToolResult { .. } => calls.extend(begun.take().map(|begun| Call {
                begun,
                ended: ms(record.at_ms),
            })),
            _ => {}
        }
    }
    calls
}

/// What the two processes take while a call runs.
async fn resident(space: &Space, report: &mut Report) -> Result<()> {
    objects::agent(space, "holder", &[objects::python(HELD)]).await?;
    objects::task(space, "held", "holder").await?;
    // Before that there is no journal.
    let began = |task: &Task| {
        let phase = task.status.as_ref().and_then(|status| status.phase);
        phase == Some(Phase::Running)
    };
    space.task_until("held", "it runs", began).await?;
    let reader = space.reader().await?;
    let runs = |body: &Body| matches!(body, Body::ToolIntent { .. });
    reader.until("held", "a tool call", runs).await?;
    let mut rows = Vec::new();
    for (role, goal, figure) in [
        ("exec serve", 4.0, "sandbox_exec_resident_mib"),
        ("runner pilot", 12.0, "sandbox_pilot_resident_mib"),
    ] {
        let pid = process(role)?;
        let (now, most) = memory(pid)?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let own = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .context("smaps_rollup has no Anonymous")?;
        rows.push(vec![
            role.to_owned(),
            short(now),
            short(most),
            short(own / 1024.0),
        ]);
        report.figure(figure, now, Goal::Below(goal));
    }
    let head = [
        "MiB of memory while a call runs",
        "resident",
        "the most it ever had",
        "its own: not of its binary",
    ];
    report.table(&head, &rows);
    space
        .kubectl(&["delete", "tasks.oarmaster.dev", "held", "--wait=false"])
        .await?;
    Ok(())
}

/// The one process on the machine that is this of ours, by the end of its program's name and its first argument.
fn process(role: &str) -> Result<u32> {
    let (name, word) = role.split_once(' ').context("no argument")?;
    let (name, word) = (name.as_bytes(), word.as_bytes());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue; // it has ended
        };
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        if program.ends_with(name) && words.next() == Some(word) {
            found.push(pid);
        }
    }
    match found.as_slice() {
        [pid] => Ok(*pid),
        _ => anyhow::bail!(
            "{} processes are {role}: this part needs the local cluster, and no other Task",
            found.len()
        ),
    }
}
