//! The probe of a SandboxClass: what a pod of the class finds on its node. The controller makes the pod, with the labels of a sandbox,
//! and reads the termination message.

use crate::exec;
use crate::network::{self, prove_beside};
use oarmaster_protocol::probe::NodeFindings;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a policy may take to be in force in a pod that has started.
const SETTLE: Duration = Duration::from_secs(30);
/// Most threads that are tried: more than the limit of any platform's default.
const MOST_THREADS: u32 = 4096;
/// They only wait; what they do not touch costs nothing.
const STACK_BYTES: usize = 64 << 10;

/// Arguments of `probe-node`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address of the gateway's data port, which the sandboxes' NetworkPolicy allows.
    #[arg(long)]
    gateway: SocketAddr,
    /// How long the gateway may take to answer.
    #[arg(long)]
    patience_seconds: u64,
    #[command(flatten)]
    network: network::Args,
    /// Where the findings are written.
    #[arg(long, default_value = "/dev/termination-log")]
    report: PathBuf,
}

/// Why nothing was reported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime could not be started.
    #[error("failed to start the runtime")]
    Runtime(#[source] io::Error),
    /// The report could not be written.
    #[error("failed to write the findings to {}", .path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Looks and reports.
///
/// # Errors
/// When the report cannot be written.
pub fn probe(args: &Args) -> Result<(), Error> {
    let found = look(args, MOST_THREADS).map_err(Error::Runtime)?;
    report(args, &found).map_err(|source| Error::Report {
        path: args.report.clone(),
        source,
    })
}

fn look(args: &Args, most: u32) -> io::Result<NodeFindings> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let network = runtime.block_on(prove_beside(
        args.gateway,
        &args.network.must_not_reach,
        Duration::from_secs(args.patience_seconds),
        SETTLE,
    ));
    Ok(NodeFindings {
        landlock: exec::landlock_abi(),
        processes: processes(most),
        user_namespace: exec::has_user_namespace(),
        network,
    })
}

/// To the kubelet, and for people to the log.
fn report(args: &Args, found: &NodeFindings) -> io::Result<()> {
    let text = serde_json::to_string(found)?;
    std::fs::write(&args.report, &text)?;
    writeln!(io::stdout(), "{text}")
}

/// How many threads this pod may have at once, by starting them; `None` if it may have `most`. A pod's own limit is not in its
/// containers' cgroups, so that there is nothing to read.
fn processes(most: u32) -> Option<u32> {
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let mut waiting = Vec::new();
    let mut limit = None;
    for number in 1..most {
        let gate = Arc::clone(&gate);
        let wait = move || drop(gate.lock());
        match std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(wait)
        {
            Ok(thread) => waiting.push(thread),
            Err(_) => {
                limit = Some(number); // this thread is one of them
                break;
            }
        }
    }
    drop(held);
    for thread in waiting {
        let _ = thread.join(); // it does nothing that could fail
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_met_is_none() {
        assert_eq!(processes(20), None);
    }

    #[test]
    fn the_findings_are_where_the_kubelet_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("termination-log");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let args = Args {
            gateway: listener.local_addr().unwrap(),
            patience_seconds: 60,
            network: network::Args::default(),
            report: path.clone(),
        };
        report(&args, &look(&args, 20).unwrap()).unwrap();
        let found = NodeFindings::read(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(found.landlock, exec::landlock_abi());
        assert_eq!(found.processes, None);
        assert!(!found.network.unwrap().enforced(), "nothing was tried");
    }
}
