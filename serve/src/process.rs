//! The process of a server: its logs and the signal to stop.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// rmcp logs what MCP servers say.
const QUIET: [&str; 2] = ["rmcp=off", "sse_stream=off"];

/// Logs as JSON to standard error, as `OARMASTER_LOG` filters them; `info` without it.
pub fn logs() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        // The facts stand in each line; the spans of libraries would repeat them twice.
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter())
        .with_writer(io::stderr)
        .init();
}

/// As `OARMASTER_LOG` says, and never what a library logs that repeats texts of others.
fn filter() -> EnvFilter {
    let filter = EnvFilter::try_from_env("OARMASTER_LOG").unwrap_or_else(|_| "info".into());
    QUIET
        .iter()
        .fold(filter, |filter, quiet| match quiet.parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        })
}

/// Cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be listened for.
pub fn stop() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

/// Keeps the process's memory to itself: no core dump is written of it, and no process of the same user may read or trace it. For servers that
/// hold keys.
///
/// # Errors
/// When the kernel refuses, which it never does.
pub fn keep_memory() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

#[cfg(test)]
#[test]
fn memory_is_kept() {
    keep_memory().unwrap();
    assert!(!nix::sys::prctl::get_dumpable().unwrap());
}
