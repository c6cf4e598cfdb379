//! Signals to the processes of a container: SIGKILL, as the kernel's out-of-memory killer or a failing node would send it, and SIGSTOP,
//! which is what a paused machine looks like. Kubernetes has no call for this; the processes are found on this machine, which is the node
//! of the local cluster.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

/// Kills every process of a container, and says how many there were.
///
/// # Errors
/// When the container does not run, or none of its processes is on this machine.
pub fn container(pod: &Pod, name: &str) -> Result<usize> {
    signal(pod, name, Signal::SIGKILL)
}

/// Stops every process of a container where it is, until [`thaw`].
///
/// # Errors
/// As [`container`].
pub fn freeze(pod: &Pod, name: &str) -> Result<usize> {
    signal(pod, name, Signal::SIGSTOP)
}

/// Lets a frozen container go on.
///
/// # Errors
/// As [`container`].
pub fn thaw(pod: &Pod, name: &str) -> Result<usize> {
    signal(pod, name, Signal::SIGCONT)
}

fn signal(pod: &Pod, name: &str, signal: Signal) -> Result<usize> {
    let found = processes(pod, name)?;
    for pid in &found {
        match kill(Pid::from_raw(*pid), signal) {
            // The first process of a container takes the others along.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("no {signal} for process {pid} of container {name}"));
            }
        }
    }
    Ok(found.len())
}

/// Every process of a container.
///
/// # Errors
/// When the container does not run, or none of its processes is on this machine.
pub fn processes(pod: &Pod, name: &str) -> Result<Vec<i32>> {
    let status = status(pod, name).with_context(|| format!("no container {name} in the pod"))?;
    let id = status
        .container_id
        .as_deref()
        .and_then(|id| id.split_once("://"))
        .with_context(|| format!("container {name} has not started"))?
        .1;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|text| text.parse::<i32>().ok())
        else {
            continue;
        };
        // A process may end while the list is read.
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if groups.contains(id) {
            found.push(pid);
        }
    }
    if found.is_empty() {
        bail!(
            "no process of container {name} on this machine; these tests need the cluster of `cargo xtask cluster up`"
        );
    }
    Ok(found)
}

/// The status of a container, init containers included.
#[must_use]
pub fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    main.chain(init).find(|held| held.name == name)
}
