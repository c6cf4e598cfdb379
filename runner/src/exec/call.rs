//! One call: a confined program from its start to the death of everything it started, watched all the while.

use super::cgroup::Cgroup;
use super::confine::Report;
use super::output::Stream;
use super::proxy;
use super::watch::Watch;
use super::workspace::Workspace;
use super::{leftovers, procs};
use crate::languages::{LANGUAGES, Language, STRIP_TYPES};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use oarmaster_protocol::assignment::{Program, Sandbox};
use oarmaster_protocol::exec::{Failed, FailedCode, Ran, Run, Stopped};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where programs are looked for when the image's environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The exit code of a node that does not know one of its options.
const INVALID_ARGUMENT: i32 = 9;

/// Everything that calls have in common.
pub(super) struct Caller {
    sandbox: Sandbox,
    workspace: PathBuf,
    tmp: PathBuf,
    /// Directories that calls can write to.
    places: [PathBuf; 3],
    path: String,
    /// The pilot's port, where the sandbox has egress or a pool.
    egress_port: Option<u16>,
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
    pub(super) fn new(
        sandbox: Sandbox,
        egress_port: Option<u16>,
        workspace: &Path,
        tmp: &Path,
    ) -> io::Result<Self> {
        let mut ended = SigSet::empty();
        ended.add(Signal::SIGCHLD);
        Ok(Self {
            sandbox,
            workspace: workspace.to_path_buf(),
            tmp: tmp.to_path_buf(),
            places: [workspace.into(), tmp.into(), "/dev/shm".into()],
            path: std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned()),
            egress_port,
            ended: SignalFd::with_flags(&ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            cgroup: Cgroup::own(),
        })
    }

    /// The pilot's port, where the sandbox has egress or a pool.
    pub(super) const fn egress_port(&self) -> Option<u16> {
        self.egress_port
    }

    /// Size of the workspace and /tmp together, in bytes.
    pub(super) const fn disk_bytes(&self) -> u64 {
        self.sandbox.disk_bytes
    }

    /// Whether the sandbox is to have a user namespace of its own.
    pub(super) const fn requires_user_namespace(&self) -> bool {
        self.sandbox.require_user_namespace
    }

    /// Runs a program to its end.
    pub(super) fn run(&self, workspace: &Workspace, run: &Run) -> Result<Ran, Failed> {
        let ready = self.prepare(workspace, run)?;
        let bound = self.sandbox.call_timeout_ms;
        let timeout = Duration::from_millis(run.timeout_ms.unwrap_or(bound).min(bound));
        let disk = run.disk_bytes.unwrap_or(u64::MAX);
        let bounds = Sandbox {
            disk_bytes: self.sandbox.disk_bytes.min(disk),
            ..self.sandbox.clone()
        };
        let ran = self.start(&ready, timeout, &bounds);
        if let Some(source) = ready.source {
            workspace.remove(source)?;
        }
        match ran {
            Ok(ran) if ready.source.is_some() && refuses_types(&ready, &ran) => Err(start_failed(
                "the sandbox image has a node that does not run typescript, which takes Node.js 22.6 or later; choose an image that has it".to_owned(),
            )),
            ran => ran,
        }
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
        self.start(&ready, Duration::from_secs(20), &self.sandbox)
    }

    fn prepare(&self, workspace: &Workspace, run: &Run) -> Result<Ready, Failed> {
        let env = self.environment(&run.env);
        let (argv, source) = match &run.program {
            Program::Command(argv) => (argv.iter().map(OsString::from).collect::<Vec<_>>(), None),
            Program::Code { language, code } => {
                let language = Language::named(language).map_err(|told| invalid(&told))?;
                let interpreter = self.interpreter(language, &env).ok_or_else(|| {
                    start_failed(format!(
                        "the sandbox image has no {}, which {} code needs; choose an image that has it{}",
                        language.needs(),
                        language.name,
                        instead(&self.languages())
                    ))
                })?;
                let file = language.file;
                workspace.write(file, code.as_bytes())?;
                let words = [interpreter]
                    .into_iter()
                    .chain(language.options.iter().copied());
                (
                    words.chain([file]).map(OsString::from).collect(),
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

    /// The languages that the image has an interpreter for.
    pub(super) fn languages(&self) -> Vec<String> {
        let env = self.environment(&BTreeMap::new());
        LANGUAGES
            .iter()
            .filter(|language| self.interpreter(language, &env).is_some())
            .map(|language| language.name.to_owned())
            .collect()
    }

    fn interpreter(
        &self,
        language: &Language,
        env: &BTreeMap<String, String>,
    ) -> Option<&'static str> {
        let has = |name: &str| self.find(name, env).is_some();
        let mut names = language.interpreters.iter().copied();
        names.find(|name| has(name) && language.beside.is_none_or(has))
    }

    fn environment(&self, extra: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let memory = self.sandbox.memory_bytes;
        let (node, heap) = (node_heap_mib(memory), java_heap_mib(memory));
        let java = self
            .egress_port
            .map(|port| proxy::java(port, &self.sandbox));
        let java = java.unwrap_or_default();
        let own = [
            ("PATH", self.path.as_str()),
            ("HOME", &*self.workspace.to_string_lossy()),
            ("LANG", "C.UTF-8"),
            ("TMPDIR", &*self.tmp.to_string_lossy()),
            // Python takes a module for unchanged when size and second of its change are the same, which an agent's edit easily hits.
            ("PYTHONDONTWRITEBYTECODE", "1"),
            // These runtimes take the container's memory for their own, in which the files are too, and collect no garbage until then.
            ("NODE_OPTIONS", &format!("--max-old-space-size={node}")),
            ("JAVA_TOOL_OPTIONS", &format!("-Xmx{heap}m{java}")),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let port = self
            .egress_port
            .map(|port| proxy::variables(port, &self.sandbox, &self.tmp));
        own.into_iter()
            .chain(port.into_iter().flatten())
            .chain(extra.clone())
            .collect()
    }

    fn find(&self, name: &str, env: &BTreeMap<String, String>) -> Option<PathBuf> {
        let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        std::env::split_paths(path)
            .map(|dir| self.workspace.join(dir).join(name))
            .find(|file| file.is_file())
    }

    fn start(&self, ready: &Ready, timeout: Duration, bounds: &Sandbox) -> Result<Ran, Failed> {
        while procs::reap_one(Some(WaitPidFlag::WNOHANG)).is_some() {} // left by nobody of ours, but PID 1 has to
        let begin = Instant::now();
        let cpu = cpu_of_children();
        let kills = self.cgroup.as_ref().and_then(Cgroup::kills);
        let (mut report, main, mut streams) =
            self.spawn(ready)
                .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::E2BIG) => start_failed(too_large(ready)),
                    _ => io_failed("start a process", &error),
                })?;

        let mut problem = Vec::new();
        let _ = report.read_to_end(&mut problem); // ends when the program starts
        let mut watch = Watch::new(bounds, &self.places, self.cgroup.as_ref());
        let ended = self.watch(main, begin + timeout, &mut watch, &mut streams);
        let killed = procs::kill_all(main);
        let [stdout, stderr] = streams.map(Stream::finish);
        leftovers::remove();
        let (status, mut stopped) =
            ended.map_err(|error| io_failed("watch the program's processes", &error))?;
        let ended = killed.or(status);

        if !problem.is_empty() {
            return Err(self.not_started(&problem, ready));
        }
        if stopped.is_none() && self.cgroup.as_ref().and_then(Cgroup::kills) > kills {
            stopped = Some(Stopped::OutOfMemory);
        }
        let (exit_code, signal) = match ended {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        Ok(Ran {
            exit_code,
            signal,
            stopped,
            stdout,
            stderr,
            cpu_ms: cpu_of_children().saturating_sub(cpu),
            peak_memory: watch.peak_memory,
            peak_processes: watch.peak_tasks,
            duration_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The pipe on which a problem is told, the process, and its two output streams.
    fn spawn(&self, ready: &Ready) -> io::Result<(io::PipeReader, Pid, [Stream; 2])> {
        let (report, report_of_child) = pipe()?;
        let (stdout, stdout_of_child) = pipe()?;
        let (stderr, stderr_of_child) = pipe()?;
        let streams = [Stream::new(stdout)?, Stream::new(stderr)?];
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
        if let Some(port) = self.egress_port {
            command.args(["--egress-port", &port.to_string()]);
        }
        let child = command
            .args(
                ready
                    .env
                    .iter()
                    .flat_map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")]),
            )
            .arg("--")
            .args(&ready.argv)
            .env_clear()
            .stdin(Stdio::from(report_of_child))
            .stdout(stdout_of_child)
            .stderr(stderr_of_child)
            .spawn()?;
        drop(command); // and with it our writing ends
        let main = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        Ok((report, main, streams))
    }

    /// Until the program ends by itself or reaches a bound.
    fn watch(
        &self,
        main: Pid,
        deadline: Instant,
        watch: &mut Watch,
        streams: &mut [Stream; 2],
    ) -> io::Result<(Option<WaitStatus>, Option<Stopped>)> {
        loop {
            while let Some(ended) = procs::reap_one(Some(WaitPidFlag::WNOHANG)) {
                if ended.pid() == Some(main) {
                    return Ok((Some(ended), None));
                }
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok((None, Some(Stopped::Timeout)));
            }
            if now >= watch.next()
                && let Some(stopped) = watch.look()?
            {
                return Ok((None, Some(stopped)));
            }
            self.wait(watch.next().min(deadline), streams)?;
        }
    }

    /// Reads output until a child ends or it is time.
    fn wait(&self, until: Instant, streams: &mut [Stream; 2]) -> io::Result<()> {
        let time = until.saturating_duration_since(Instant::now());
        // Rounded up: less than a millisecond must not be a busy wait.
        let timeout =
            PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            streams
                .iter()
                .filter_map(Stream::source)
                .map(|source| PollFd::new(source, PollFlags::POLLIN)),
        );
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        while let Ok(Some(_)) = self.ended.read_signal() {}
        for stream in streams {
            stream.advance();
        }
        Ok(())
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
            Errno::E2BIG => too_large(ready),
            _ => format!("`{name}` could not be started: {}", report.message),
        };
        start_failed(message)
    }
}

/// Whether this was a node that is too old for TypeScript: it does not know the option, and has run nothing.
fn refuses_types(ready: &Ready, ran: &Ran) -> bool {
    ready.argv.iter().any(|word| word == STRIP_TYPES)
        && ran.exit_code == Some(INVALID_ARGUMENT)
        && ran
            .stderr
            .head
            .0
            .starts_with(format!("node: bad option: {STRIP_TYPES}").as_bytes())
}

/// What else the image can run.
fn instead(languages: &[String]) -> String {
    match languages {
        [] => String::new(),
        some => format!(", or write one of {}, which this one has", some.join(", ")),
    }
}

fn start_failed(message: String) -> Failed {
    Failed {
        code: FailedCode::StartFailed,
        message,
    }
}

fn too_large(ready: &Ready) -> String {
    let name = ready.argv.first().map(|name| name.to_string_lossy());
    format!(
        "`{}` could not be started: its arguments and environment are too large; put the data in a file",
        name.unwrap_or_default()
    )
}

/// Heap of Java in MiB: what is left beside the runtime's own memory, which is a quarter, and 96 MiB at least.
fn java_heap_mib(memory_bytes: u64) -> u64 {
    heap_mib(memory_bytes, (memory_bytes / 4).max(96 << 20))
}

/// Old generation of Node in MiB. V8 goes over that bound while it collects, and has its young generation besides: a program that fills a heap of 384 MiB
/// takes 515, one of 320 takes 430. So it has three eighths for the rest, and 128 MiB at least.
fn node_heap_mib(memory_bytes: u64) -> u64 {
    heap_mib(memory_bytes, (memory_bytes / 8 * 3).max(128 << 20))
}

/// What is left beside so much, but of a small limit no less than half.
fn heap_mib(memory_bytes: u64, beside: u64) -> u64 {
    memory_bytes.saturating_sub(beside).max(memory_bytes / 2) >> 20
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

#[cfg(test)]
mod tests {
    use super::{java_heap_mib, node_heap_mib};

    #[test]
    fn a_heap_leaves_room_beside_it() {
        let java = [(64, 32), (128, 64), (256, 160), (512, 384), (4096, 3072)];
        for (memory, heap) in java {
            assert_eq!(java_heap_mib(memory << 20), heap, "{memory} MiB");
        }
        let node = [(64, 32), (128, 64), (256, 128), (512, 320), (4096, 2560)];
        for (memory, heap) in node {
            assert_eq!(node_heap_mib(memory << 20), heap, "{memory} MiB");
        }
    }
}
