//! The processes of a call, read from `/proc`, and their end.
//!
//! Every process that a call starts is a descendant of the supervisor, whatever it does: orphans fall to PID 1, or outside a
//! container to the supervisor as subreaper.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, SysconfVar, getpgrp, getpid, sysconf};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

/// What the descendants use together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Their process ids.
    pub(super) pids: BTreeSet<i32>,
    /// Their process groups.
    groups: BTreeSet<i32>,
    /// Processes and threads.
    pub(super) tasks: u32,
    /// Sum of resident memory in bytes; pages that processes share count once per process.
    pub(super) resident: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    group: i32,
    threads: u32,
    pages: u64,
}

/// Fields 4, 5, 20 and 24 of `/proc/PID/stat` (proc_pid_stat(5)); the name in field 2 may contain anything, also parentheses.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some(Stat {
        parent: fields.nth(1)?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        threads: fields.nth(14)?.parse().ok()?,
        pages: fields.nth(3)?.parse().unwrap_or(0),
    })
}

/// How many descendants this process has. Much faster than [`usage`] where it is PID 1, since all others are its own.
pub(super) fn count() -> std::io::Result<u32> {
    if getpid().as_raw() != 1 {
        let found = usage(getpid())?.pids.len();
        return Ok(u32::try_from(found).unwrap_or(u32::MAX));
    }
    let mut count = 0u32;
    for entry in fs::read_dir("/proc")? {
        let is_process = entry?
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit);
        count += u32::from(is_process);
    }
    Ok(count.saturating_sub(1))
}

/// All descendants of `root` and what they use. Processes that end while we look are left out.
pub(super) fn usage(root: Pid) -> std::io::Result<Usage> {
    let mut stats = BTreeMap::new();
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(bytes) = fs::read(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let Some(stat) = parse(&String::from_utf8_lossy(&bytes)) else {
            continue;
        };
        children.entry(stat.parent).or_default().push(pid);
        stats.insert(pid, stat);
    }
    let page = page_size();
    let mut found = Usage::default();
    let mut open = vec![root.as_raw()];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            open.push(child);
            found.pids.insert(child);
            if let Some(stat) = stats.get(&child) {
                found.groups.insert(stat.group);
                found.tasks = found.tasks.saturating_add(stat.threads.max(1));
                found.resident = found
                    .resident
                    .saturating_add(stat.pages.saturating_mul(page));
            }
        }
    }
    Ok(found)
}

/// The ids of the threads of this process, that of the process among them.
pub(super) fn own_threads() -> std::io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(ids)
}

fn page_size() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// Memory of the processes with every shared page divided among its users; much slower than [`usage`], so for the decision only.
/// A process whose map cannot be read counts with its resident memory.
///
/// A process that forks holds the lock on its own map, and gets little time to release it: `None` when there are more than `max_processes`
/// meanwhile.
pub(super) fn proportional(pids: &BTreeSet<i32>, max_processes: u32) -> Option<u64> {
    let mut sum = 0u64;
    for pid in pids {
        let memory = rollup(*pid).or_else(|| resident(*pid)).unwrap_or(0); // 0: it has ended
        sum = sum.saturating_add(memory);
        if count().is_ok_and(|count| count > max_processes) {
            return None;
        }
    }
    Some(sum)
}

fn rollup(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

fn resident(pid: i32) -> Option<u64> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&bytes)).map(|stat| stat.pages.saturating_mul(page_size()))
}

/// Kills every descendant, reaps them, and returns how `main` ended, if it was still to be reaped. Returns when nothing is left.
///
/// PID 1 kills all processes it sees with one call, which no fork can race. Elsewhere the same is done by process group, until the
/// tree is empty.
pub(super) fn kill_all(main: Pid) -> Option<WaitStatus> {
    let me = getpid();
    if me.as_raw() == 1 {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL); // ESRCH: nobody is left
        return reap_all(main);
    }
    let mut status = None;
    loop {
        let found = usage(me).unwrap_or_default();
        kill_found(&found);
        while let Some(ended) = reap_one(Some(WaitPidFlag::WNOHANG)) {
            if ended.pid() == Some(main) {
                status = Some(ended);
            }
        }
        if found.pids.is_empty() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(1)); // the killed need a moment to die
    }
}

/// A group is killed at once, so that a program that forks all the time cannot outrun us. A child that has not yet left our own
/// group is killed by itself.
fn kill_found(found: &Usage) {
    let own = getpgrp().as_raw();
    for group in found
        .groups
        .iter()
        .filter(|group| **group > 1 && **group != own)
    {
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL); // ESRCH: it ended by itself
    }
    for pid in &found.pids {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL); // likewise
    }
}

/// Kills every descendant without reaping, for the way out. Bounded.
pub(super) fn kill_before_exit() {
    let me = getpid();
    if me.as_raw() == 1 {
        return; // the kernel kills a PID namespace with its PID 1
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let found = usage(me).unwrap_or_default();
        kill_found(&found);
        if found.pids.iter().all(|pid| is_zombie(*pid)) {
            return;
        }
    }
}

fn is_zombie(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/stat")).map_or(true, |bytes| {
        String::from_utf8_lossy(&bytes)
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

fn reap_all(main: Pid) -> Option<WaitStatus> {
    let mut status = None;
    while let Some(ended) = reap_one(None) {
        if ended.pid() == Some(main) {
            status = Some(ended);
        }
    }
    status
}

/// One ended child, or `None` when there is none (with `WNOHANG`: none yet).
pub(super) fn reap_one(flags: Option<WaitPidFlag>) -> Option<WaitStatus> {
    loop {
        match waitpid(None, flags) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status) => return Some(status),
            Err(Errno::EINTR) => {}
            Err(_) => return None, // ECHILD: no children
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_fields() {
        let stat = "42 (evil) R 1 1) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 99 1000 250 18446744073709551615";
        assert_eq!(
            parse(stat),
            Some(Stat {
                parent: 7,
                group: 42,
                threads: 3,
                pages: 250
            })
        );
        assert_eq!(parse("42 (short) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_child_is_seen_and_counted() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // A program that has just begun may be counted before any of its memory is.
        let deadline = Instant::now() + Duration::from_secs(60);
        let seen = loop {
            let seen = usage(getpid()).unwrap();
            if seen.resident > 0 || Instant::now() > deadline {
                break seen;
            }
            std::thread::yield_now();
        };
        assert!(seen.pids.contains(&pid));
        assert!(seen.tasks >= 1 && seen.resident > 0);
        assert!(proportional(&BTreeSet::from([pid]), 100) > Some(0));
        assert_eq!(proportional(&BTreeSet::from([pid]), 0), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!usage(getpid()).unwrap().pids.contains(&pid));
    }
}
