//! Looks at the processes of a call while it runs, and says when a bound is reached: before the kernel would have to, whose own end of a
//! container takes the supervisor with it.

use super::cgroup::Cgroup;
use super::procs;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::getpid;
use oarmaster_protocol::assignment::Sandbox;
use oarmaster_protocol::exec::Stopped;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two looks while every bound is far away.
const CALM: Duration = Duration::from_millis(20);
/// Time between two looks at a bound.
const TIGHT: Duration = Duration::from_millis(1);
/// What a program is taken to fill at most, in bytes per nanosecond: 4 GB/s.
const FILL_RATE: u64 = 4;
/// More new processes and threads than this between two looks are many.
const FORKS: u32 = 4;
/// Kernel memory of a file in a memory file system beside its content (inode and name), in bytes, about.
const INODE_BYTES: u64 = 1 << 10;
/// A volume that is full answers its writer itself, who then knows which write failed; so the bound of all volumes together is a little
/// higher, but within what the container has beside code and files. Bytes.
const MAX_DISK_SLACK: u64 = 16 << 20;

/// What one look sees. Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Processes and threads, now and at the last look.
    tasks: u32,
    tasks_before: u32,
    /// Memory of the processes.
    memory: u64,
    /// Files in memory, and when the call began.
    files: u64,
    files_before: u64,
    /// Use and limit of the container, where they can be read.
    container: Option<(u64, u64)>,
}

impl Seen {
    /// Says which bound of bytes is reached.
    fn judge(&self, bounds: &Sandbox) -> Option<Stopped> {
        if self.memory > bounds.memory_bytes || self.container_room() == Some(0) {
            return Some(Stopped::OutOfMemory);
        }
        // Files stay when a call ends. The next one must be able to remove them, so what was there before stops nobody.
        if self.files > self.files_before && self.disk_room(bounds) == 0 {
            return Some(Stopped::DiskFull);
        }
        None
    }

    /// Bytes until the kernel would act, less a margin.
    fn container_room(&self) -> Option<u64> {
        let (used, limit) = self.container?;
        let margin = (limit / 50).max(4 << 20);
        Some(limit.saturating_sub(margin).saturating_sub(used))
    }

    fn disk_room(&self, bounds: &Sandbox) -> u64 {
        let slack = (bounds.disk_bytes / 16).min(MAX_DISK_SLACK);
        let bound = bounds.disk_bytes.saturating_add(slack);
        bound.saturating_sub(self.files)
    }

    /// When to look again, after a look that took `cost`: before a fast program could go over a bound, but never so often that looking
    /// takes more than a fifth of a CPU. One slow look is not believed at once. A program that forks may be a bomb, which doubles in every
    /// moment.
    fn pause(&self, bounds: &Sandbox, cost: Duration, last: Duration) -> Duration {
        let room = self
            .container_room()
            .unwrap_or(u64::MAX)
            .min(self.disk_room(bounds));
        let forks = self.tasks > self.tasks_before.saturating_add(FORKS);
        Duration::from_nanos(if forks { 0 } else { room / FILL_RATE })
            .clamp(TIGHT, CALM)
            .max(cost.saturating_mul(4))
            .min(last.max(TIGHT).saturating_mul(2))
    }
}

/// The watch over one call.
pub(super) struct Watch<'a> {
    bounds: &'a Sandbox,
    places: &'a [PathBuf],
    cgroup: Option<&'a Cgroup>,
    files_before: u64,
    pause: Duration,
    next: Instant,
    tasks: u32,
    /// Largest memory that was seen, in bytes.
    pub(super) peak_memory: u64,
    /// Most processes and threads that were seen.
    pub(super) peak_tasks: u32,
}

impl<'a> Watch<'a> {
    /// `places` are the directories that the call can write to.
    pub(super) fn new(
        bounds: &'a Sandbox,
        places: &'a [PathBuf],
        cgroup: Option<&'a Cgroup>,
    ) -> Self {
        Self {
            bounds,
            places,
            cgroup,
            files_before: files_in_memory(places),
            pause: CALM,
            next: Instant::now(),
            tasks: 0,
            peak_memory: 0,
            peak_tasks: 0,
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks once; `Some` when a bound is reached.
    pub(super) fn look(&mut self) -> io::Result<Option<Stopped>> {
        let begin = Instant::now();
        let processes = procs::count()?;
        if processes > self.bounds.max_processes {
            return Ok(Some(self.too_many(processes)));
        }
        let usage = procs::usage(getpid())?;
        // Before memory: to measure that of many processes that fork can take seconds.
        if usage.tasks > self.bounds.max_processes {
            return Ok(Some(self.too_many(usage.tasks)));
        }
        let files = files_in_memory(self.places);
        let container = self
            .cgroup
            .and_then(|cgroup| Some((cgroup.used()?, cgroup.limit)));
        let mut memory = usage.resident;
        if memory > self.bounds.memory_bytes && usage.pids.len() > 1 {
            // Pages that processes share were counted for each.
            memory = if let Some((used, _)) = container {
                memory.min(used.saturating_sub(files))
            } else if let Some(shared) = procs::proportional(&usage.pids, self.bounds.max_processes)
            {
                shared
            } else {
                return Ok(Some(self.too_many(procs::count()?)));
            };
        }
        let seen = Seen {
            tasks: usage.tasks,
            tasks_before: std::mem::replace(&mut self.tasks, usage.tasks),
            memory,
            files,
            files_before: self.files_before,
            container,
        };
        self.peak_tasks = self.peak_tasks.max(seen.tasks);
        self.peak_memory = self.peak_memory.max(seen.memory);
        self.pause = seen.pause(self.bounds, begin.elapsed(), self.pause);
        self.next = Instant::now() + self.pause;
        Ok(seen.judge(self.bounds))
    }

    fn too_many(&mut self, tasks: u32) -> Stopped {
        self.peak_tasks = self.peak_tasks.max(tasks);
        Stopped::TooManyProcesses
    }
}

/// Bytes of all files in memory file systems among the places, each file system once. Those of other file systems are not memory.
fn files_in_memory(places: &[PathBuf]) -> u64 {
    let mut counted = BTreeSet::new();
    places
        .iter()
        .filter(|path| path.metadata().is_ok_and(|meta| counted.insert(meta.dev())))
        .map(|path| held(path))
        .fold(0, u64::saturating_add)
}

fn held(path: &Path) -> u64 {
    statfs(path).map_or(0, |stat| {
        if stat.filesystem_type() != TMPFS_MAGIC {
            return 0;
        }
        let block = u64::try_from(stat.block_size()).unwrap_or(0);
        let content = stat
            .blocks()
            .saturating_sub(stat.blocks_free())
            .saturating_mul(block);
        let inodes = stat.files().saturating_sub(stat.files_free());
        content.saturating_add(inodes.saturating_mul(INODE_BYTES))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bounds() -> Sandbox {
        Sandbox {
            memory_bytes: 128 * MIB,
            disk_bytes: 64 * MIB,
            max_processes: 100,
            call_timeout_ms: 1000,
            ..Sandbox::default()
        }
    }

    #[test]
    fn the_first_bound_that_is_reached_is_told() {
        let calm = Seen {
            tasks: 100,
            tasks_before: 0,
            memory: 128 * MIB,
            files: 68 * MIB - 1,
            files_before: 0,
            container: Some((200 * MIB, 224 * MIB)),
        };
        let cases = [
            ("at every bound", calm, None),
            (
                "one byte more",
                Seen {
                    memory: 128 * MIB + 1,
                    ..calm
                },
                Some(Stopped::OutOfMemory),
            ),
            (
                "memory that no process shows",
                Seen {
                    container: Some((221 * MIB, 224 * MIB)),
                    ..calm
                },
                Some(Stopped::OutOfMemory),
            ),
            (
                "files of this call",
                Seen {
                    files: 68 * MIB,
                    ..calm
                },
                Some(Stopped::DiskFull),
            ),
            (
                "files of an earlier call",
                Seen {
                    files: 70 * MIB,
                    files_before: 70 * MIB,
                    ..calm
                },
                None,
            ),
            (
                "a container that cannot be read",
                Seen {
                    container: None,
                    ..calm
                },
                None,
            ),
        ];
        for (name, seen, expected) in cases {
            assert_eq!(seen.judge(&bounds()), expected, "{name}");
        }
    }

    #[test]
    fn looks_are_closer_near_a_bound_and_never_take_the_cpu() {
        let at = |used: u64, files: u64| Seen {
            files,
            container: Some((used * MIB, 1024 * MIB)),
            ..Seen::default()
        };
        let wide = Sandbox {
            disk_bytes: 1024 * MIB,
            ..bounds()
        };
        let quick = Duration::from_micros(100);
        let pause = |seen: Seen, cost, last| seen.pause(&wide, cost, last);
        assert_eq!(pause(at(0, 0), quick, CALM), CALM);
        assert_eq!(pause(at(1003, 0), quick, CALM), TIGHT);
        assert_eq!(pause(at(0, 1040 * MIB), quick, CALM), TIGHT);
        let forking = Seen {
            tasks: 10,
            ..at(0, 0)
        };
        assert_eq!(pause(forking, quick, CALM), TIGHT);
        // 20 MiB are left after the margin: five milliseconds at 4 GB/s.
        let near = pause(at(983, 0), quick, CALM);
        assert!(near > Duration::from_millis(4) && near < Duration::from_millis(6));
        assert_eq!(
            pause(at(1003, 0), Duration::from_millis(3), CALM),
            Duration::from_millis(12)
        );
        assert_eq!(
            pause(at(0, 0), Duration::from_secs(1), TIGHT),
            2 * TIGHT,
            "one slow look"
        );
    }
}
