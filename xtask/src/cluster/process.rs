//! Long-running programs: started in their own session, found again by a file
//! with their pid, ended through a pidfd. A pid alone never counts: it must
//! still belong to the process that was started.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cluster::layout::{Layout, write};
use crate::cmd;

/// Closes what a shell can name, and becomes its arguments.
const CLOSE: &str = r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec "$@""#;

/// A process as no other can be: its pid, when it was started, in which boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub pid: i32,
    started: u64,
    boot: String,
}

impl Mark {
    /// The mark of a process that exists now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let started = start_time(&stat)?;
        Some(Self {
            pid,
            started,
            boot: boot.trim().to_owned(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mark = Self {
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        };
        words.next().is_none().then_some(mark)
    }

    /// Whether that process still runs.
    pub fn alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// A handle that keeps meaning this process whatever becomes of its pid.
    fn handle(&self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.alive().then_some(handle)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "{} {} {}", self.pid, self.started, self.boot)
    }
}

/// The start time in a line of /proc/PID/stat; nothing for a process that has
/// ended and waits to be collected. The name before it may hold anything, also
/// spaces and parentheses.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// One program of the cluster.
pub struct Program {
    name: String,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Program {
    /// The program `name` of this tier.
    pub fn new(layout: &Layout, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pid_file: layout.pids().join(name),
            log: layout.logs().join(format!("{name}.log")),
        }
    }

    /// Every program that has a pid file.
    pub fn all(layout: &Layout) -> Result<Vec<Self>> {
        let folder = layout.pids();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to list {}", folder.display()));
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names.iter().map(|name| Self::new(layout, name)).collect())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it in its own session, so that it outlives the terminal.
    pub fn start(&self, program: &Path, args: &[String], env: &[(&str, String)]) -> Result<()> {
        for folder in [self.log.parent(), self.pid_file.parent()]
            .into_iter()
            .flatten()
        {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to create {}", folder.display()))?;
        }
        let log = File::create(&self.log)
            .with_context(|| format!("failed to create {}", self.log.display()))?;
        // setsid(1) becomes the shell, and that the program: the pid stays.
        // What the caller left open is closed: a lock of flock(1), say, would
        // be held for as long as the program runs.
        let mut command = cmd::command("setsid");
        command.args(["sh", "-c", CLOSE, "sh"]).arg(program);
        command.args(args).current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (name, value) in env {
            command.env(name, value);
        }
        let child = Command::spawn(&mut command)
            .with_context(|| format!("failed to start {}", self.name))?;
        let pid = i32::try_from(child.id()).context("a pid fits")?;
        let Some(mark) = Mark::of(pid) else {
            bail!("{} ended at once: {}", self.name, self.last_words());
        };
        write(&self.pid_file, mark.to_string().as_bytes())
    }

    /// The running process, if it runs.
    pub fn running(&self) -> Option<Mark> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        Mark::parse(&text).filter(Mark::alive)
    }

    /// Removes the pid file: the program is no part of the cluster any more.
    pub fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.pid_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", self.pid_file.display()))
            }
            _ => Ok(()),
        }
    }

    /// An error with the end of the log unless it runs.
    pub fn must_run(&self) -> Result<()> {
        if self.running().is_some() {
            return Ok(());
        }
        bail!(
            "{} has ended; the end of {}:\n{}",
            self.name,
            self.log.display(),
            self.last_words()
        )
    }

    fn last_words(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.len().saturating_sub(15);
        lines.into_iter().skip(tail).collect::<Vec<_>>().join("\n")
    }
}

/// Asks all of them to end, and ends those that have not within 2 s.
pub fn stop(marks: &[Mark]) -> Result<()> {
    signal(marks, &[(Signal::TERM, 2), (Signal::KILL, 10)])
}

/// Ends all of them without asking.
pub fn kill(marks: &[Mark]) -> Result<()> {
    signal(marks, &[(Signal::KILL, 10)])
}

/// Sends each signal in turn, with the seconds to wait after it.
fn signal(marks: &[Mark], steps: &[(Signal, u64)]) -> Result<()> {
    let handles: Vec<(&Mark, OwnedFd)> = marks
        .iter()
        .filter_map(|mark| Some((mark, mark.handle()?)))
        .collect();
    for (signal, patience) in steps {
        let deadline = Instant::now() + Duration::from_secs(*patience);
        for (mark, handle) in &handles {
            match pidfd_send_signal(handle, *signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("failed to signal process {}", mark.pid));
                }
            }
        }
        if handles.iter().all(|(_, handle)| ended(handle, deadline)) {
            return Ok(());
        }
    }
    let left: Vec<String> = handles
        .iter()
        .filter(|(_, handle)| !ended(handle, Instant::now()))
        .map(|(mark, _)| mark.pid.to_string())
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    bail!("processes {} do not end", left.join(", "))
}

/// Waits until the process of a pidfd has ended, at most until `deadline`.
fn ended(handle: &OwnedFd, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let mut fds = [PollFd::new(handle, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0)
}

/// Every process whose command line `is_ours` accepts.
pub fn find(is_ours: impl Fn(&[String]) -> bool) -> Result<Vec<Mark>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to list /proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // It may end while we look.
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else {
            continue;
        };
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        if is_ours(&words) {
            found.extend(Mark::of(pid));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str, state: &str, started: u64) -> String {
        let rest = "1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0";
        format!("42 ({name}) {state} {rest} {started} 38808 10444")
    }

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        assert_eq!(start_time(&stat("kubelet", "S", 77)), Some(77));
        assert_eq!(start_time(&stat("a) R 1 (b", "R", 78)), Some(78));
        assert_eq!(start_time(&stat("gone", "Z", 79)), None);
        assert_eq!(start_time("nonsense"), None);
    }

    #[test]
    fn a_pid_file_reads_back_and_garbage_does_not() {
        let own = Mark::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(Mark::parse(&own.to_string()), Some(own.clone()));
        assert!(own.alive());
        for garbage in ["", "12", "12 x boot", "12 3 boot more", "-"] {
            assert_eq!(Mark::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn another_process_under_the_same_pid_does_not_count() {
        let own = Mark::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(
            !Mark {
                started: own.started + 1,
                ..own.clone()
            }
            .alive()
        );
        assert!(
            !Mark {
                boot: "another".to_owned(),
                ..own
            }
            .alive()
        );
    }

    #[test]
    fn a_stopped_process_is_gone() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mark = Mark::of(i32::try_from(child.id()).unwrap()).unwrap();
        stop(std::slice::from_ref(&mark)).unwrap();
        assert!(!mark.alive());
        child.wait().unwrap();
    }
}
