//! The container's own memory cgroup, version 1 or 2, where it can be read. Only a backstop for what `/proc` does not show (memory
//! files, kernel memory): its limit is to be reached by nobody.

use std::fs;
use std::path::{Path, PathBuf};

/// A memory cgroup with a limit.
#[derive(Debug)]
pub(super) struct Cgroup {
    dir: PathBuf,
    files: &'static Files,
    /// The limit in bytes.
    pub(super) limit: u64,
}

#[derive(Debug)]
struct Files {
    limit: &'static str,
    current: &'static str,
    /// File with the counter of kills, and the names of page cache counters in `memory.stat`.
    events: &'static str,
    cache: [&'static str; 2],
}

const V2: Files = Files {
    limit: "memory.max",
    current: "memory.current",
    events: "memory.events",
    cache: ["inactive_file", "active_file"],
};

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    events: "memory.oom_control",
    cache: ["total_inactive_file", "total_active_file"],
};

/// Version 1 says "no limit" with a number near 2^63.
const UNLIMITED: u64 = 1 << 60;

impl Cgroup {
    /// The cgroup of this process; `None` without a limit or without the right to read it.
    pub(super) fn own() -> Option<Self> {
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::find(Path::new("/sys/fs/cgroup"), &membership)
    }

    /// In a container its own cgroup is the root of the mount; elsewhere `/proc/self/cgroup` names the path below it.
    fn find(mount: &Path, membership: &str) -> Option<Self> {
        let path_of = |controller: &str| {
            membership.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':');
                let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
                let is_it = names.split(',').any(|name| name == controller);
                is_it.then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let v1 = mount.join("memory");
        [
            (&V1, path_of("memory").map(|path| v1.join(path))),
            (&V1, Some(v1.clone())),
            (&V2, path_of("").map(|path| mount.join(path))),
            (&V2, Some(mount.to_path_buf())),
        ]
        .into_iter()
        .filter_map(|(files, dir)| Some((files, dir?)))
        .find_map(|(files, dir)| {
            let limit = number(&dir.join(files.limit))?;
            (limit < UNLIMITED).then_some(Self { dir, files, limit })
        })
    }

    /// Bytes in use that the kernel could not take back: everything but the page cache of files.
    pub(super) fn used(&self) -> Option<u64> {
        let current = number(&self.dir.join(self.files.current))?;
        let stat = fs::read_to_string(self.dir.join("memory.stat")).ok()?;
        let cache = self
            .files
            .cache
            .iter()
            .filter_map(|name| field(&stat, name))
            .sum();
        Some(current.saturating_sub(cache))
    }

    /// How often the kernel killed a process of this cgroup for memory.
    pub(super) fn kills(&self) -> Option<u64> {
        field(
            &fs::read_to_string(self.dir.join(self.files.events)).ok()?,
            "oom_kill",
        )
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).unwrap();
        for (name, content) in files {
            fs::write(dir.join(name), content).unwrap();
        }
    }

    #[test]
    fn version_two_in_a_container() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.stat", "anon 1\ninactive_file 100\nactive_file 50\n"),
                ("memory.events", "oom 4\noom_kill 3\n"),
            ],
        );
        let cgroup = Cgroup::find(root.path(), "0::/\n").unwrap();
        assert_eq!(
            (cgroup.limit, cgroup.used(), cgroup.kills()),
            (1000, Some(750), Some(3))
        );
    }

    #[test]
    fn version_one_below_a_path() {
        let root = tempfile::tempdir().unwrap();
        write(
            &root.path().join("memory/pod/c"),
            &[
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.usage_in_bytes", "900\n"),
                (
                    "memory.stat",
                    "total_inactive_file 100\ntotal_active_file 100\n",
                ),
                (
                    "memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                ),
            ],
        );
        let cgroup = Cgroup::find(root.path(), "4:memory:/pod/c\n0::/\n").unwrap();
        assert_eq!(
            (cgroup.limit, cgroup.used(), cgroup.kills()),
            (1000, Some(700), Some(2))
        );
    }

    #[test]
    fn no_limit_is_no_cgroup() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("memory.max", "max\n")]);
        write(
            &root.path().join("memory"),
            &[("memory.limit_in_bytes", "9223372036854771712\n")],
        );
        assert!(Cgroup::find(root.path(), "4:memory:/\n0::/\n").is_none());
    }
}
