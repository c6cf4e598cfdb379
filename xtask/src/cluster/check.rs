//! Whether this machine can run containers. Answered within seconds and
//! without changing anything.

use std::fs;
use std::path::Path;

use crate::cluster::policy::Policy;
use crate::cmd;

/// What is missing, and what to do about it; empty if pods can run here, and
/// policies be enforced if they are to be.
pub fn node(policy: Policy) -> Vec<String> {
    let mut missing = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push("the local cluster needs Linux".to_owned());
        return missing;
    }
    if !rustix::process::geteuid().is_root() {
        missing.push("pods need root; run again with sudo or in a virtual machine".to_owned());
        return missing;
    }
    if let Err(error) = namespaces() {
        missing.push(format!(
            "namespaces and mounts are refused ({error:#}); use a virtual machine, or a container \
             that is started as privileged"
        ));
    }
    if let Err(reason) = cgroups(Path::new("/sys/fs/cgroup")) {
        missing.push(reason);
    }
    if let (Policy::Enforced, Err(error)) = (policy, filters()) {
        missing.push(format!(
            "NetworkPolicies cannot be enforced: the kernel refuses address sets or filters \
             ({error:#}); use a virtual machine, or --no-policy"
        ));
    }
    for command in ["apt-get", "dpkg-deb"] {
        if cmd::find(command).is_none() {
            missing.push(format!(
                "there is no {command}; the local cluster needs Debian or Ubuntu"
            ));
        }
    }
    missing
}

/// Tries, in namespaces that end with the command, what a pod needs.
fn namespaces() -> anyhow::Result<String> {
    let act = "mount -t tmpfs none /tmp && mount -t proc none /proc && \
               echo 1 > /proc/sys/net/ipv4/ip_forward";
    let mut command = cmd::command("timeout");
    command.args([
        "4", "unshare", "--mount", "--net", "--pid", "--fork", "--", "sh", "-c", act,
    ]);
    cmd::output(&mut command)
}

/// Tries, in a network that ends with the command, of what the policy agent
/// makes its rules. Where the tools are missing `up` installs them.
fn filters() -> anyhow::Result<()> {
    if cmd::find("iptables").is_none() || cmd::find("ipset").is_none() {
        return Ok(());
    }
    let act = "ipset create probe hash:net && \
               iptables -A FORWARD -m set --match-set probe src -m mark --mark 1 \
               -m conntrack --ctstate NEW -m comment --comment probe -j DROP && \
               iptables -t raw -A PREROUTING -m rpfilter --invert -j DROP";
    let mut command = cmd::command("timeout");
    command.args(["4", "unshare", "--net", "--", "sh", "-c", act]);
    cmd::output(&mut command).map(drop)
}

/// Both layouts are known: one hierarchy, or one for each controller.
fn cgroups(root: &Path) -> Result<(), String> {
    let unified = root.join("cgroup.controllers");
    let wanted = ["cpu", "memory", "pids"];
    let listed = fs::read_to_string(&unified);
    let missing: Vec<&str> = match &listed {
        Ok(listed) => {
            let have: Vec<&str> = listed.split_whitespace().collect();
            wanted
                .into_iter()
                .filter(|name| !have.contains(name))
                .collect()
        }
        Err(_) => wanted
            .into_iter()
            .filter(|name| !root.join(name).is_dir())
            .collect(),
    };
    if !missing.is_empty() {
        return Err(format!(
            "the cgroup controllers {} are not there; boot with them enabled",
            missing.join(", ")
        ));
    }
    let place = if listed.is_ok() {
        root.to_owned()
    } else {
        root.join("memory")
    };
    let probe = place.join(format!("oarmaster-probe-{}", std::process::id()));
    fs::create_dir(&probe)
        .and_then(|()| fs::remove_dir(&probe))
        .map_err(|error| {
            format!(
                "{} is not writable ({error}); use a virtual machine",
                place.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_controllers_are_named() {
        let root = tempfile::tempdir().unwrap();
        for name in ["cpu", "memory"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let reason = cgroups(root.path()).unwrap_err();
        assert!(
            reason.contains("pids") && !reason.contains("cpu,"),
            "{reason}"
        );
        fs::create_dir(root.path().join("pids")).unwrap();
        cgroups(root.path()).unwrap();
    }

    #[test]
    fn one_hierarchy_lists_its_controllers() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("cgroup.controllers"),
            "cpuset cpu io memory\n",
        )
        .unwrap();
        assert!(cgroups(root.path()).unwrap_err().contains("pids"));
        fs::write(root.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        cgroups(root.path()).unwrap();
    }
}
