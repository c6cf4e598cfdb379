//! SIGKILL to the processes of a container, as the kernel's out-of-memory killer or a failing node would send it. Kubernetes has no call
//! for this; the processes are found on this machine, which is the node of the local cluster.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

/// Kills every process of a container, and says how many there were.
///
/// # Errors
/// When the container does not run, or none of its processes is on this machine.
pub fn container(pod: &Pod, name: &str) -> Result<usize> {
    let status = status(pod, name).with_context(|| format!("no container {name} in the pod"))?;
    let id = status
        .container_id
        .as_deref()
        .and_then(|id| id.split_once("://"))
        .with_context(|| format!("container {name} has not started"))?
        .1;
    let mut killed = 0;
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
            kill(Pid::from_raw(pid), Signal::SIGKILL)
                .with_context(|| format!("failed to kill process {pid} of container {name}"))?;
            killed += 1;
        }
    }
    if killed == 0 {
        bail!(
            "no process of container {name} on this machine; these tests need the cluster of `cargo xtask cluster up`"
        );
    }
    Ok(killed)
}

/// The status of a container, init containers included.
#[must_use]
pub fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    main.chain(init).find(|held| held.name == name)
}
