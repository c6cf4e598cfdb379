//! What processes use: CPU by the kernel's own account, and memory.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::time::Instant;

/// User-space's clock ticks per second, the same on every architecture of Linux that we build for.
const TICKS: f64 = 100.0;
/// CPU seconds that a process has used, all threads, user and system.
pub fn cpu(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / TICKS)
}

/// Resident memory of a process in MiB: now, and the most it ever had.
pub fn memory(pid: u32) -> Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} has ended"))?;
    let mib = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .map(|kib| kib / 1024.0)
            .with_context(|| format!("/proc/{pid}/status has no {key}"))
    };
    Ok((mib("VmRSS:")?, mib("VmHWM:")?))
}

/// CPU seconds by process, of the whole machine among them.
#[derive(Clone, Debug)]
pub struct Cpu {
    at: Instant,
    used: BTreeMap<String, f64>,
}

/// What each process used between two looks.
#[derive(Clone, Debug)]
pub struct Share {
    /// Time between the looks in seconds.
    pub wall: f64,
    /// CPU seconds by process; `others` is the rest of the machine.
    pub used: BTreeMap<String, f64>,
}

impl Cpu {
    /// Looks.
    pub fn look(pids: &BTreeMap<String, u32>) -> Result<Self> {
        let mut used = BTreeMap::new();
        for (name, pid) in pids {
            used.insert(name.clone(), cpu(*pid)?);
        }
        let own = std::process::id();
        used.insert("load and stub".to_owned(), cpu(own)?);
        let known: f64 = used.values().sum();
        used.insert("others".to_owned(), machine_cpu()? - known);
        Ok(Self {
            at: Instant::now(),
            used,
        })
    }

    /// What was used since an earlier look.
    pub fn since(&self, before: &Self) -> Share {
        let used = self.used.iter().map(|(name, now)| {
            let then = before.used.get(name).copied().unwrap_or_default();
            (name.clone(), now - then)
        });
        Share {
            wall: (self.at - before.at).as_secs_f64(),
            used: used.collect(),
        }
    }
}

impl Share {
    /// CPU milliseconds of a process for each of `count`.
    pub fn each(&self, name: &str, count: usize) -> f64 {
        let count = u32::try_from(count.max(1)).map_or(1.0, f64::from);
        self.used.get(name).copied().unwrap_or_default() * 1e3 / count
    }

    /// How much of the machine was in use, in percent of all cores.
    pub fn load(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| {
            u32::try_from(cores.get()).map_or(1.0, f64::from)
        });
        100.0 * self.used.values().sum::<f64>() / (self.wall * cores)
    }
}

fn machine_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    // user nice system idle iowait irq softirq steal
    let ticks = line.split_whitespace().skip(1).take(8).enumerate();
    let busy = ticks
        .filter(|(index, _)| !matches!(index, 3 | 4))
        .filter_map(|(_, field)| field.parse::<f64>().ok());
    Ok(busy.sum::<f64>() / TICKS)
}
