//! Cgroups for one test, of either version: memory with a limit, and a share of the CPU apart from everybody else's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Removed when dropped, once its processes have ended.
pub struct Cgroups {
    /// That of memory.
    dir: PathBuf,
    /// That of the CPU, in version 1, where it is another.
    cpu: Option<PathBuf>,
    is_v2: bool,
}

impl Cgroups {
    /// `None` where the machine has none that we may make.
    pub fn new(limit: u64) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap();
        let v1 = membership
            .lines()
            .find_map(|line| Some(line.split_once(":memory:")?.1));
        let parent = match v1 {
            Some(path) => Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/')),
            // Only the root of version 2 may have both processes and children with a limit.
            None => PathBuf::from("/sys/fs/cgroup"),
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("oarmaster-test-{}-{count}", std::process::id());
        let is_v2 = v1.is_none();
        let cpu = (!is_v2).then(|| Path::new("/sys/fs/cgroup/cpu").join(&name));
        let cgroup = Self {
            dir: parent.join(name),
            cpu,
            is_v2,
        };
        if is_v2 {
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory +cpu"); // most often it is there
        }
        fs::create_dir(&cgroup.dir).ok()?;
        if let Some(cpu) = &cgroup.cpu {
            fs::create_dir(cpu).ok()?;
        }
        let file = cgroup.file("memory.max", "memory.limit_in_bytes");
        fs::write(file, limit.to_string()).ok()?;
        if cgroup.is_v2 {
            fs::write(cgroup.dir.join("memory.oom.group"), "1").ok()?; // as kubelet does
        }
        Some(cgroup)
    }

    fn file(&self, v2: &str, v1: &str) -> PathBuf {
        self.dir.join(if self.is_v2 { v2 } else { v1 })
    }

    /// The files to which a process writes its id to enter, separated by spaces.
    pub fn entrances(&self) -> String {
        let dirs = std::iter::once(&self.dir).chain(&self.cpu);
        let files = dirs.map(|dir| dir.join("cgroup.procs").display().to_string());
        files.collect::<Vec<_>>().join(" ")
    }

    pub fn used(&self) -> u64 {
        let file = self.file("memory.current", "memory.usage_in_bytes");
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }

    pub fn kills(&self) -> u64 {
        let file = self.file("memory.events", "memory.oom_control");
        let text = fs::read_to_string(file).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .unwrap();
        line.parse().unwrap()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // A PID namespace takes a moment to die.
        let deadline = Instant::now() + Duration::from_secs(60);
        for dir in std::iter::once(&self.dir).chain(&self.cpu) {
            while fs::remove_dir(dir).is_err() && Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
    }
}
