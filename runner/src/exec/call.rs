//! One call: a confined program from its start to the death of everything it started, watched all the while.

use super::cgroup::Cgroup;
use super::confine::Report;
use super::output::drain;
use super::procs;
use super::workspace::Workspace;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::{Pid, getpid};
use oarmaster_protocol::assignment::{Program, Sandbox};
use oarmaster_protocol::exec::{Failed, FailedCode, Output, Ran, Run, Stopped};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two looks at the processes of a call; a fast allocator fills about 2 GiB/s.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// Where programs are looked for when the image's environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that calls have in common.
pub(super) struct Caller {
    sandbox: Sandbox,
    workspace: PathBuf,
    tmp: PathBuf,
    path: String,
    ended: SignalFd,
    cgroup: Option<Cgroup>,
}

/// argv and environment of a call, ready to start.
struct Ready {
    argv: Vec<OsString>,
    env: BTreeMap<String, String>,
    /// A source file in the workspace, to be removed afterwards.
    source: Option<&'static str>,
}

impl Caller {
    /// SIGCHLD must be blocked in every thread of the process.
    pub(super) fn new(sandbox: Sandbox, workspace: &Path, tmp: &Path) -> io::Result<Self> {
        let mut ended = SigSet::empty();
        ended.add(Signal::SIGCHLD);
        Ok(Self {
            sandbox,
            workspace: workspace.to_path_buf(),
            tmp: tmp.to_path_buf(),
            path: std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned()),
            ended: SignalFd::with_flags(&ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            cgroup: Cgroup::own(),
        })
    }

    /// Runs a program to its end.
    pub(super) fn run(&self, workspace: &Workspace, run: &Run) -> Result<Ran, Failed> {
        let ready = self.prepare(workspace, run)?;
        let bound = self.sandbox.call_timeout_ms;
        let timeout = Duration::from_millis(run.timeout_ms.unwrap_or(bound).min(bound));
        let ran = self.start(&ready, timeout);
        if let Some(source) = ready.source {
            workspace.remove(source)?;
        }
        ran
    }

    /// Runs this binary's own probe exactly as it would run a program.
    pub(super) fn run_self(&self, arguments: &[OsString]) -> Result<Ran, Failed> {
        let own = std::env::current_exe()
            .map_err(|error| io_failed("find the runner's binary", &error))?;
        let ready = Ready {
            argv: std::iter::once(own.into_os_string())
                .chain(arguments.iter().cloned())
                .collect(),
            env: self.environment(&BTreeMap::new()),
            source: None,
        };
        self.start(&ready, Duration::from_secs(20))
    }

    fn prepare(&self, workspace: &Workspace, run: &Run) -> Result<Ready, Failed> {
        let env = self.environment(&run.env);
        let (argv, source) = match &run.program {
            Program::Command(argv) => (argv.iter().map(OsString::from).collect::<Vec<_>>(), None),
            Program::Code { language, code } => {
                let (interpreters, file) = language_of(language)?;
                let interpreter = interpreters
                    .iter()
                    .find(|name| self.find(name, &env).is_some())
                    .ok_or_else(|| Failed {
                        code: FailedCode::StartFailed,
                        message: format!(
                            "the sandbox image has no {}, which {language} code needs; choose an image that has it",
                            interpreters.join(" or ")
                        ),
                    })?;
                workspace.write(file, code.as_bytes())?;
                (
                    vec![OsString::from(interpreter), OsString::from(file)],
                    Some(file),
                )
            }
        };
        let name = argv
            .first()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.is_empty() {
            return Err(invalid("the command is empty"));
        }
        if argv.iter().any(|word| word.as_encoded_bytes().contains(&0))
            || env
                .iter()
                .any(|(key, value)| key.contains(['\0', '=']) || value.contains('\0'))
        {
            return Err(invalid(
                "a command or its environment contains a NUL byte, which no program can be given",
            ));
        }
        if !name.contains('/') && self.find(&name, &env).is_none() {
            return Err(Failed {
                code: FailedCode::StartFailed,
                message: format!("the sandbox image has no program `{name}` on its PATH"),
            });
        }
        Ok(Ready { argv, env, source })
    }

    fn environment(&self, extra: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let own = [
            ("PATH", self.path.as_str()),
            ("HOME", &*self.workspace.to_string_lossy()),
            ("LANG", "C.UTF-8"),
            ("TMPDIR", &*self.tmp.to_string_lossy()),
            // Python takes a module for unchanged when size and second of its change are the same, which an agent's edit easily hits.
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        own.into_iter().chain(extra.clone()).collect()
    }

    fn find(&self, name: &str, env: &BTreeMap<String, String>) -> Option<PathBuf> {
        let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        std::env::split_paths(path)
            .map(|dir| self.workspace.join(dir).join(name))
            .find(|file| file.is_file())
    }

    fn start(&self, ready: &Ready, timeout: Duration) -> Result<Ran, Failed> {
        while procs::reap_one(Some(WaitPidFlag::WNOHANG)).is_some() {} // left by nobody of ours, but PID 1 has to
        let begin = Instant::now();
        let cpu = cpu_of_children();
        let kills = self.cgroup.as_ref().and_then(Cgroup::kills);
        let (mut report, main, outputs) = self
            .spawn(ready)
            .map_err(|error| io_failed("start a process", &error))?;

        let mut problem = Vec::new();
        let _ = report.read_to_end(&mut problem); // ends when the program starts
        let mut watch = Watch::default();
        let ended = self.watch(main, begin + timeout, &mut watch);
        let ended = procs::kill_all(main).or(ended);
        let [stdout, stderr] = outputs.map(|reader| reader.join().unwrap_or_default());
        self.clear_shared_memory();

        if !problem.is_empty() {
            return Err(self.not_started(&problem, ready));
        }
        if watch.stopped.is_none() && self.cgroup.as_ref().and_then(Cgroup::kills) > kills {
            watch.stopped = Some(Stopped::OutOfMemory);
        }
        let (exit_code, signal) = match ended {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        Ok(Ran {
            exit_code,
            signal,
            stopped: watch.stopped,
            stdout,
            stderr,
            cpu_ms: cpu_of_children().saturating_sub(cpu),
            peak_memory: watch.peak_memory,
            peak_processes: watch.peak_tasks,
            duration_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    #[allow(clippy::type_complexity)]
    fn spawn(&self, ready: &Ready) -> io::Result<(io::PipeReader, Pid, [JoinHandle<Output>; 2])> {
        let (report, report_of_child) = pipe()?;
        let (stdout, stdout_of_child) = pipe()?;
        let (stderr, stderr_of_child) = pipe()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("confine")
            .arg("--workspace")
            .arg(&self.workspace)
            .arg("--tmp")
            .arg(&self.tmp)
            .args(["--file-size", &self.sandbox.disk_bytes.to_string()])
            .args(supervisor()?);
        if self.sandbox.require_landlock {
            command.arg("--require-landlock");
        }
        let child = command
            .arg("--")
            .args(&ready.argv)
            .env_clear()
            .envs(&ready.env)
            .stdin(Stdio::from(report_of_child))
            .stdout(stdout_of_child)
            .stderr(stderr_of_child)
            .spawn()?;
        drop(command); // and with it our writing ends
        let readers = [
            std::thread::Builder::new().spawn(move || drain(stdout))?,
            std::thread::Builder::new().spawn(move || drain(stderr))?,
        ];
        let main = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        Ok((report, main, readers))
    }

    /// Until the program ends by itself or reaches a bound.
    fn watch(&self, main: Pid, deadline: Instant, watch: &mut Watch) -> Option<WaitStatus> {
        let me = getpid();
        let mut interval = WATCH_INTERVAL;
        loop {
            while let Some(ended) = procs::reap_one(Some(WaitPidFlag::WNOHANG)) {
                if ended.pid() == Some(main) {
                    return Some(ended);
                }
            }
            let now = Instant::now();
            if now >= deadline {
                watch.stopped = Some(Stopped::Timeout);
                return None;
            }
            if let Ok(usage) = procs::usage(me) {
                watch.stopped = self.judge(&usage, watch);
                if watch.stopped.is_some() {
                    return None;
                }
            }
            // A look at many processes takes long; it must not take more than a fifth of a CPU.
            interval = WATCH_INTERVAL.max(now.elapsed() * 4).min(interval * 2);
            self.wait(interval.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    fn judge(&self, usage: &procs::Usage, watch: &mut Watch) -> Option<Stopped> {
        watch.peak_tasks = watch.peak_tasks.max(usage.tasks);
        if usage.tasks > self.sandbox.max_processes {
            return Some(Stopped::TooManyProcesses);
        }
        let mut memory = usage.resident;
        if memory > self.sandbox.memory_bytes && usage.pids.len() > 1 {
            memory = procs::proportional(&usage.pids);
        }
        watch.peak_memory = watch.peak_memory.max(memory);
        let files: u64 = [&self.workspace, &self.tmp, &PathBuf::from("/dev/shm")]
            .map(|path| tmpfs_bytes(path))
            .iter()
            .sum();
        let all = self
            .sandbox
            .memory_bytes
            .saturating_add(self.sandbox.disk_bytes);
        let backstop = self.cgroup.as_ref().is_some_and(|cgroup| {
            let margin = (cgroup.limit / 50).max(4 << 20);
            cgroup
                .used()
                .is_some_and(|used| used > cgroup.limit.saturating_sub(margin))
        });
        let over =
            memory > self.sandbox.memory_bytes || memory.saturating_add(files) > all || backstop;
        over.then_some(Stopped::OutOfMemory)
    }

    /// Sleeps until a child ends or the time is over.
    fn wait(&self, time: Duration) {
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).is_ok_and(|ready| ready > 0) {
            while let Ok(Some(_)) = self.ended.read_signal() {}
        }
    }

    /// Files in `/dev/shm` outlive their processes and stay charged; the directory is ours alone in a container only.
    fn clear_shared_memory(&self) {
        if getpid().as_raw() != 1 {
            return;
        }
        let Ok(entries) = std::fs::read_dir("/dev/shm") else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(path),
                _ => std::fs::remove_file(path),
            }; // what belongs to others stays
        }
    }

    fn not_started(&self, problem: &[u8], ready: &Ready) -> Failed {
        let report = serde_json::from_slice::<Report>(problem).unwrap_or_else(|_| Report {
            confined: false,
            errno: 0,
            message: "the confinement ended without a word".to_owned(),
        });
        if !report.confined {
            return Failed {
                code: FailedCode::NotConfined,
                message: format!(
                    "nothing was run, since the process could not be confined: {}",
                    report.message
                ),
            };
        }
        let name = ready
            .argv
            .first()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        let exists = self.find(&name, &ready.env).is_some();
        let message = match Errno::from_raw(report.errno) {
            Errno::ENOENT if exists => {
                format!(
                    "`{name}` could not be started: the interpreter or loader that it names is not in the sandbox image"
                )
            }
            Errno::ENOENT => format!("the sandbox image has no program `{name}`"),
            Errno::EACCES => format!(
                "`{name}` could not be started: it is not executable (chmod +x, or name its interpreter)"
            ),
            Errno::E2BIG => format!(
                "`{name}` could not be started: its arguments and environment are too large; put the data in a file"
            ),
            _ => format!("`{name}` could not be started: {}", report.message),
        };
        Failed {
            code: FailedCode::StartFailed,
            message,
        }
    }
}

/// Our process and threads as arguments of `confine` and `probe`, the process first.
pub(super) fn supervisor() -> io::Result<Vec<OsString>> {
    let own = std::process::id();
    let mut ids = procs::own_threads()?;
    ids.sort_by_key(|id| *id != own);
    Ok(ids
        .into_iter()
        .flat_map(|id| ["--supervisor".into(), id.to_string().into()])
        .collect())
}

#[derive(Debug, Default)]
struct Watch {
    stopped: Option<Stopped>,
    peak_memory: u64,
    peak_tasks: u32,
}

/// Interpreters to try, and the name of the source file. It stands in the workspace, so that imports find their neighbours.
fn language_of(language: &str) -> Result<(&'static [&'static str], &'static str), Failed> {
    match language {
        "python" => Ok((&["python3", "python"], ".oarmaster-run.py")),
        "shell" => Ok((&["sh"], ".oarmaster-run.sh")),
        other => Err(invalid(&format!(
            "there is no language `{other}`; use python or shell"
        ))),
    }
}

fn invalid(message: &str) -> Failed {
    Failed {
        code: FailedCode::InvalidRequest,
        message: message.to_owned(),
    }
}

fn io_failed(act: &str, error: &io::Error) -> Failed {
    Failed {
        code: FailedCode::Io,
        message: format!("failed to {act}: {error}"),
    }
}

/// CPU time of all children that were reaped, in milliseconds. One call runs at a time, so a difference belongs to one call.
fn cpu_of_children() -> u64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| {
        [usage.user_time(), usage.system_time()]
            .map(|time| time.tv_sec().unsigned_abs() * 1000 + time.tv_usec().unsigned_abs() / 1000)
            .iter()
            .sum()
    })
}

/// Bytes in a memory file system; 0 for any other, whose files are not memory.
fn tmpfs_bytes(path: &Path) -> u64 {
    statfs(path).map_or(0, |stat| {
        if stat.filesystem_type() != TMPFS_MAGIC {
            return 0;
        }
        let block = u64::try_from(stat.block_size()).unwrap_or(0);
        stat.blocks()
            .saturating_sub(stat.blocks_free())
            .saturating_mul(block)
    })
}
