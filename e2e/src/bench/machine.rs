//! What this machine is.

use anyhow::Result;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::Instant;

/// What `fdatasync` takes after a write of 4 KiB in a folder, in milliseconds.
pub fn fdatasync(folder: &Path) -> Result<Vec<f64>> {
    let mut file = tempfile::tempfile_in(folder)?;
    let block = [1u8; 4096];
    let mut taken = Vec::new();
    for _ in 0..200 {
        file.rewind()?;
        let begun = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(taken)
}

/// What this machine is, in one line.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let gib = memory
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<f64>().ok())
        .unwrap_or_default()
        / f64::from(1 << 20);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({processor}), {gib:.0} GiB, Linux {}",
        kernel.trim()
    )
}

/// The load averages over 1, 5 and 15 minutes.
pub fn busy() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}
