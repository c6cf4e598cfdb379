//! Takes a tier down, also one of which only pieces are left, until nothing
//! reminds of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, unmount};

use crate::cluster::iptables::Whose;
use crate::cluster::layout::{CGROUP, INTERFACE, Layout, NETWORK, Tier};
use crate::cluster::process::{self, Mark, Program};
use crate::cluster::{cgroups, iptables, policy};
use crate::cmd;

/// Folders with fixed paths that containerd, its shims, CNI, the kubelet or
/// Calico make.
const FIXED: [&str; 10] = [
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
    "/opt/containerd",
    "/usr/libexec/kubernetes",
    "/run/calico",
    "/var/lib/calico",
    "/var/log/calico",
];

/// Kernel settings that the kubelet, kube-proxy and the plugins change.
const SYSCTLS: [&str; 7] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
];

/// Those of the fixed folders that are not there now.
pub fn absent_folders() -> Vec<PathBuf> {
    FIXED
        .iter()
        .map(PathBuf::from)
        .filter(|path| !path.exists())
        .collect()
}

/// The settings as they are; a kernel need not have each.
pub fn read_sysctls() -> Vec<(PathBuf, String)> {
    SYSCTLS
        .iter()
        .map(|name| Path::new("/proc/sys").join(name))
        .filter_map(|path| {
            let value = fs::read_to_string(&path).ok()?;
            Some((path, value.trim().to_owned()))
        })
        .collect()
}

/// Whether anything of the tier is left.
pub fn remains(layout: &Layout) -> Result<bool> {
    let interface = Path::new("/sys/class/net").join(INTERFACE);
    Ok(layout.state.exists()
        || (layout.tier == Tier::Node && (interface.exists() || cgroups::exists(CGROUP)?)))
}

/// Removes processes, containers, mounts, addresses, rules, settings, data.
pub fn down(layout: &Layout) -> Result<()> {
    // A record that cannot be read must not keep the rest from going.
    let state = layout.load().unwrap_or_default();
    // The kubelet first: it would start again what is stopped.
    let (kubelet, others): (Vec<Program>, Vec<Program>) = Program::all(layout)?
        .into_iter()
        .partition(|program| program.name() == "kubelet");
    process::stop(&running(&kubelet))?;
    process::stop(&running(&others))?;
    // What a crash left without a pid file, and the containers' shims: every
    // program of ours names a file in our own folder.
    let own = format!("{}/", layout.state.display());
    let left = process::find(|words| {
        let program = words.first().map(String::as_str).unwrap_or_default();
        is_ours(program) && words.iter().skip(1).any(|word| word.contains(&own))
    })?;
    process::stop(&left)?;
    if layout.tier == Tier::Node {
        cgroups::remove(CGROUP)?;
        unmount_below(&layout.state)?;
        network()?;
    }
    if let Some(state) = state {
        for (path, value) in &state.sysctls {
            restore(path, value)?;
        }
        for path in &state.absent {
            remove(path)?;
        }
    }
    if layout.tier == Tier::Node {
        links(Path::new("/var/log/containers"), &layout.state)?;
        leases(Path::new("/var/lib/cni/results"))?;
    }
    remove(&layout.state)
}

fn running(programs: &[Program]) -> Vec<Mark> {
    programs.iter().filter_map(Program::running).collect()
}

/// The programs this tool starts, directly or through containerd; kubectl is
/// somebody's own.
fn is_ours(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "etcd" | "kubelet" | policy::AGENT)
        || name.starts_with("kube-")
        || name.starts_with("containerd")
}

fn unmount_below(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("failed to list mounts")?;
    for path in mount_points(&mounts, folder) {
        unmount(&path, UnmountFlags::DETACH)
            .with_context(|| format!("failed to unmount {}", path.display()))?;
    }
    Ok(())
}

/// Mount points below `folder`, the last mounted first.
fn mount_points(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(folder))
        .collect();
    found.reverse();
    found
}

/// The pods' interfaces went with their namespaces; the node's and the rules
/// stay to be removed.
fn network() -> Result<()> {
    if Path::new("/sys/class/net").join(INTERFACE).exists() {
        cmd::output(cmd::command("ip").args(["link", "delete", INTERFACE]))?;
    }
    iptables::clean(Whose::Cluster)
}

fn restore(path: &Path, value: &str) -> Result<()> {
    let now = fs::read_to_string(path).unwrap_or_default();
    if now.trim() != value {
        fs::write(path, value).with_context(|| format!("failed to restore {}", path.display()))?;
    }
    Ok(())
}

/// Removes links that lead into `target`, in a folder that others may use.
fn links(folder: &Path, target: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|to| to.starts_with(target)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes what CNI keeps of our network where others keep theirs.
fn leases(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with(&format!("{NETWORK}-")) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let folder = path.is_dir() && !path.is_symlink();
    let done = if folder {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_go_in_reverse_and_only_our_own() {
        let info = "22 1 0:21 / /proc rw - proc proc rw\n\
                    30 1 0:9 / /var/lib/own/a rw - tmpfs tmpfs rw\n\
                    31 30 0:9 / /var/lib/own/a/b\\040c rw - tmpfs tmpfs rw\n\
                    32 1 0:9 / /var/lib/own-not rw - tmpfs tmpfs rw\n";
        let found = mount_points(info, Path::new("/var/lib/own"));
        assert_eq!(
            found,
            [Path::new("/var/lib/own/a/b c"), Path::new("/var/lib/own/a")]
        );
    }

    #[test]
    fn only_links_into_our_folder_go() {
        let folder = tempfile::tempdir().unwrap();
        let make = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        };
        make("/own/logs/x", "ours");
        make("/other/logs/x", "theirs");
        links(folder.path(), Path::new("/own")).unwrap();
        assert!(!folder.path().join("ours").is_symlink());
        assert!(folder.path().join("theirs").is_symlink());
    }
}
