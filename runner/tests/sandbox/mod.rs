//! A supervisor for tests, started as in a pod.
#![allow(dead_code)]

mod cgroups;

use cgroups::Cgroups;
use oarmaster_protocol::assignment::{Program, Sandbox as Bounds};
use oarmaster_protocol::exec::{Bytes, Ran, Request, Response, Run, VERSION};
use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// UID of exec in a pod.
pub const EXEC_UID: u32 = 65533;

pub struct Options {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub max_processes: u32,
    pub path: Option<String>,
    /// The port of a proxy, for a sandbox with egress.
    pub egress_port: Option<u16>,
    pub require_landlock: bool,
    pub require_user_namespace: bool,
    /// As on a kernel without Landlock; in a container only.
    pub without_landlock: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            disk_bytes: 256 << 20,
            max_processes: 256,
            path: None,
            egress_port: None,
            require_landlock: false,
            require_user_namespace: false,
            without_landlock: false,
        }
    }
}

impl Options {
    pub fn bounds(&self) -> Bounds {
        Bounds {
            memory_bytes: self.memory_bytes,
            disk_bytes: self.disk_bytes,
            max_processes: self.max_processes,
            call_timeout_ms: 60_000,
            require_landlock: self.require_landlock,
            require_user_namespace: self.require_user_namespace,
            network_policy_within_ms: None,
            egress: self
                .egress_port
                .iter()
                .map(|_| "registry.test".to_owned())
                .collect(),
            pool: None,
        }
    }
}

/// Directories and the running supervisor. `Drop` ends it.
pub struct Process {
    pub dir: tempfile::TempDir,
    pub child: Child,
    /// Removed after the process.
    cgroups: Option<Cgroups>,
}

impl Process {
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/exec.sock")
    }

    pub fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    /// Starts the supervisor; `wrapper` is a command that it is started by.
    pub fn start(options: &Options, pilot_uid: u32, wrapper: &[&str]) -> Self {
        let wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        Self::start_with(options, pilot_uid, |_| wrapper)
    }

    fn start_with(
        options: &Options,
        pilot_uid: u32,
        wrapper: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let dir = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .unwrap();
        let root = is_root();
        for name in ["run", "workspace", "tmp"] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            if root {
                chown(&path, Some(EXEC_UID), Some(EXEC_UID)).unwrap();
            }
        }
        let wrapper = wrapper(dir.path());
        let child = Self::command(dir.path(), options, pilot_uid, &wrapper)
            .spawn()
            .unwrap();
        Self {
            dir,
            child,
            cgroups: None,
        }
    }

    fn command(dir: &Path, options: &Options, pilot_uid: u32, wrapper: &[String]) -> Command {
        // The build's directory may be closed for other users.
        let binary = dir.join("oarmaster-exec");
        if !binary.exists() {
            // By a process of its own: a child that another test forks meanwhile would hold our open file, and exec of it would fail.
            let copied = Command::new("cp")
                .arg(env!("CARGO_BIN_EXE_oarmaster-exec"))
                .arg(&binary)
                .status()
                .unwrap();
            assert!(copied.success());
        }
        let argv: Vec<String> = wrapper
            .iter()
            .cloned()
            .chain([binary.display().to_string(), "serve".to_owned()])
            .collect();
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .arg("--socket")
            .arg(dir.join("run/exec.sock"))
            .args(["--pilot-uid", &pilot_uid.to_string()])
            .arg("--workspace")
            .arg(dir.join("workspace"))
            .arg("--tmp")
            .arg(dir.join("tmp"))
            .env("SECRET", "not for children")
            .stdin(Stdio::null());
        if let Some(path) = &options.path {
            command.env("PATH", path);
        }
        if is_root() && wrapper.is_empty() {
            command.uid(EXEC_UID).gid(EXEC_UID);
        }
        command
    }

    /// With the capabilities of root, which no child may have; `None` without root.
    pub fn start_with_capabilities(options: &Options) -> Option<Self> {
        is_root().then(|| Self::start(options, own_uid(), &["env"]))
    }

    /// Starts it once more, as kubelet does after its end, once the old one has ended.
    pub fn restart(&mut self, options: &Options) {
        self.child.wait().unwrap();
        self.child = Self::command(self.dir.path(), options, own_uid(), &[])
            .spawn()
            .unwrap();
    }

    pub fn connect(&self) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Sandbox {
    /// Closed first: the supervisor ends with it, also where it is not our child.
    stream: UnixStream,
    process: Process,
}

impl Sandbox {
    pub fn start(options: Options) -> Self {
        let process = Process::start(&options, own_uid(), &[]);
        Self::greet(process, &options)
    }

    /// With a bound on its processes, as kubelet's `podPidsLimit` is one for a pod, but far above those of all tests, which share a user id.
    /// Without root, with what the machine allows.
    pub fn start_with_pids_limit(options: Options) -> Self {
        let uid = EXEC_UID.to_string();
        let wrapper = [&["prlimit", "--nproc=4096"][..], &as_user(&uid)].concat();
        let wrapper = if is_root() { &wrapper[..] } else { &[] };
        let process = Process::start(&options, own_uid(), wrapper);
        Self::greet(process, &options)
    }

    /// In a user namespace of its own, where nobody is known, so that all are nobody; `None` without the right to make one.
    pub fn start_with_users_of_its_own(options: Options) -> Option<Self> {
        const NOBODY: u32 = 65_534;
        let uid = EXEC_UID.to_string();
        let wrapper = [&as_user(&uid)[..], &["unshare", "--user"]].concat();
        let tried = is_root()
            && Command::new(wrapper[0])
                .args(&wrapper[1..])
                .arg("true")
                .status()
                .is_ok_and(|status| status.success());
        if !tried {
            skipped("no user namespace can be made here");
            return None;
        }
        let process = Process::start(&options, NOBODY, &wrapper);
        Some(Self::greet(process, &options))
    }

    /// In a PID namespace of its own, as in a container; `None` without the right to make one.
    pub fn start_as_pid_one(options: Options) -> Option<Self> {
        if !is_root() {
            skipped("only root can make a PID namespace here");
            return None;
        }
        let uid = EXEC_UID.to_string();
        let wrapper = [
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "setpriv",
            "--reuid",
            &uid,
            "--regid",
            &uid,
            "--clear-groups",
        ];
        let process = Process::start(&options, own_uid(), &wrapper);
        Some(Self::greet(process, &options))
    }

    /// As in a pod: PID 1, memory file systems for workspace and temporary files, System V objects of its own, a memory cgroup of the size
    /// that the pod builder gives, a cgroup of the CPU, and a bound on processes as kubelet's `podPidsLimit` is one. `None` where the machine does not let us; under `CI=true` that is a failure.
    pub fn start_in_container(options: Options) -> Option<Self> {
        const SUPERVISOR_BYTES: u64 = 32 << 20;
        const ENTER: &str = r#"
            for entrance in $1; do echo $$ > "$entrance"; done
            workspace="$2"; tmp="$3"; disk="$4"; uid="$5"; before="$6"; shift 6
            export workspace tmp disk uid before
            exec prlimit --nproc=4096 unshare --pid --fork --kill-child --mount-proc --ipc sh -ec '
                for dir in "$workspace" "$tmp"; do mount -t tmpfs -o "size=$disk,mode=1777" tmpfs "$dir"; done
                mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm
                mkdir -p /dev/mqueue && mount -t mqueue mqueue /dev/mqueue
                exec setpriv --reuid "$uid" --regid "$uid" --clear-groups $before "$@"' sh "$@"
        "#;
        let limit = options.memory_bytes + options.disk_bytes + SUPERVISOR_BYTES;
        let cgroups = is_root().then(|| Cgroups::new(limit)).flatten();
        let Some(cgroups) = cgroups else {
            skipped("only root can make a container here, with cgroups");
            return None;
        };
        let process = Process::start_with(&options, own_uid(), |dir| {
            let path = |name: &str| dir.join(name).display().to_string();
            vec![
                "sh".to_owned(),
                "-ec".to_owned(),
                ENTER.to_owned(),
                "sh".to_owned(),
                cgroups.entrances(),
                path("workspace"),
                path("tmp"),
                options.disk_bytes.to_string(),
                EXEC_UID.to_string(),
                if options.without_landlock {
                    compile(dir, "nolandlock")
                } else {
                    String::new()
                },
            ]
        });
        let mut sandbox = Self::greet(process, &options);
        sandbox.process.cgroups = Some(cgroups);
        Some(sandbox)
    }

    /// How often the kernel killed a process of the container for memory.
    pub fn kernel_kills(&self) -> u64 {
        self.process.cgroups.as_ref().unwrap().kills()
    }

    /// Bytes that the container holds.
    pub fn memory_used(&self) -> u64 {
        self.process.cgroups.as_ref().unwrap().used()
    }

    /// A program in C, compiled where the sandbox can run it.
    pub fn compile(&self, name: &str) -> String {
        compile(self.process.dir.path(), name)
    }

    pub fn run(&mut self, argv: &[&str], timeout_ms: Option<u64>) -> Ran {
        let request = Request::Run(Run {
            program: Program::Command(argv.iter().map(|word| (*word).to_owned()).collect()),
            env: [].into(),
            timeout_ms,
            disk_bytes: None,
        });
        match self.ask(&request) {
            Response::Ran(ran) => ran,
            other => panic!("{other:?}"),
        }
    }

    pub fn shell(&mut self, code: &str) -> Ran {
        self.run(&["sh", "-c", code], None)
    }

    /// Runs a program inside the PID namespace of the supervisor and under its user, but not confined.
    pub fn beside(&self, argv: &[&str]) -> std::process::Output {
        let pid = self.pid_one().to_string();
        let uid = EXEC_UID.to_string();
        Command::new("nsenter")
            .args(["--target", &pid, "--pid", "--"])
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .args(as_user(&uid))
            .args(argv)
            .output()
            .unwrap()
    }

    /// The supervisor in a PID namespace of its own, by its id outside.
    fn pid_one(&self) -> u32 {
        *self.descendant_pids().first().unwrap()
    }

    /// The socket that the pilot connected to.
    pub fn socket(&self) -> PathBuf {
        self.process.socket()
    }

    fn greet(process: Process, options: &Options) -> Self {
        let stream = process.connect();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut sandbox = Self { process, stream };
        let hello = sandbox.ask(&Request::Hello {
            version: VERSION,
            sandbox: options.bounds(),
            egress_port: options.egress_port,
        });
        assert!(matches!(hello, Response::Hello { .. }), "{hello:?}");
        sandbox
    }

    pub fn workspace(&self) -> PathBuf {
        self.process.workspace()
    }

    pub fn send(&mut self, request: &Request) {
        self.send_raw(&serde_json::to_vec(request).unwrap());
    }

    fn send_raw(&mut self, body: &[u8]) {
        self.stream
            .write_all(&u32::try_from(body.len()).unwrap().to_be_bytes())
            .unwrap();
        self.stream.write_all(body).unwrap();
    }

    pub fn receive(&mut self) -> Response {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request);
        self.receive()
    }

    pub fn ask_raw(&mut self, body: &[u8]) -> Response {
        self.send_raw(body);
        self.receive()
    }

    pub fn write(&mut self, path: &str, content: &str) {
        let response = self.ask(&Request::Write {
            path: path.into(),
            content: Bytes(content.into()),
        });
        assert_eq!(response, Response::Done);
    }

    pub fn collect(&mut self, pattern: &str, max_bytes: u64) -> (Vec<u8>, Response) {
        self.send(&Request::Collect {
            pattern: pattern.into(),
            max_bytes,
        });
        let mut bytes = Vec::new();
        loop {
            match self.receive() {
                Response::Chunk { content } => bytes.extend(content.0),
                last => return (bytes, last),
            }
        }
    }

    pub fn connect_again(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.process.socket())
    }

    /// Whether a peer with another UID than the pilot's is turned away.
    pub fn refused_for_a_stranger() -> bool {
        let process = Process::start(&Options::default(), own_uid() + 1, &[]);
        let mut stream = process.connect();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        matches!(stream.read(&mut [0]), Ok(0)) && process.socket().exists()
    }

    pub fn descendant_pids(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![self.process.child.id()];
        while let Some(pid) = open.pop() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for task in tasks.flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                for child in children.split_whitespace().map(|pid| pid.parse().unwrap()) {
                    found.push(child);
                    open.push(child);
                }
            }
        }
        found
    }

    pub fn descendants(&self) -> usize {
        self.descendant_pids().len()
    }

    pub fn peak_memory_kib(&self) -> u64 {
        let pid = match &self.process.cgroups {
            Some(_) => self.pid_one(),
            None => self.process.child.id(),
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn wait_for_file(&self, name: &str) {
        wait_for(&self.workspace().join(name));
    }

    pub fn terminate(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.child.wait().unwrap().code()
    }

    /// SIGTERM to the supervisor in its own PID namespace, from outside; returns when it ended.
    pub fn terminate_pid_one(&mut self) {
        let pid = self.pid_one();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.child.wait().unwrap();
    }

    pub fn hang_up(&mut self) -> Option<i32> {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
        self.process.child.wait().unwrap().code()
    }
}

/// The probe's report when it runs unconfined beside a process of its own UID.
pub fn probe_unconfined() -> String {
    probe_unconfined_with(&[])
}

/// The same, with more arguments.
pub fn probe_unconfined_with(arguments: &[&str]) -> String {
    let dir = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/tmp")
        .unwrap();
    let binary = dir.path().join("oarmaster-exec");
    fs::copy(env!("CARGO_BIN_EXE_oarmaster-exec"), &binary).unwrap();
    let as_exec = |mut command: Command| {
        if is_root() {
            command.uid(EXEC_UID).gid(EXEC_UID);
        }
        command
    };
    let mut victim = Command::new("sleep");
    victim.arg("60");
    let mut victim = as_exec(victim).spawn().unwrap();
    let name = format!("oarmaster-test-{}-unconfined", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let mut probe = Command::new(&binary);
    probe.args([
        "probe",
        "--abstract-socket",
        &name,
        "--supervisor",
        &victim.id().to_string(),
        "--socket",
        "/nonexistent",
    ]);
    probe.args(arguments);
    let output = as_exec(probe).output().unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a file to appear.
pub fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{}", path.display());
        std::thread::yield_now();
    }
}

pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn compile(dir: &Path, name: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/hostile/{name}.c"));
    let program = dir.join(name);
    let output = Command::new("cc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(&source)
        .args(["-lpthread", "-lrt"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", source.display());
    program.display().to_string()
}

/// Says that a test did nothing, and fails it where that is not allowed.
#[allow(clippy::print_stderr)]
pub fn skipped(why: &str) {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    assert!(!strict, "{why}");
    eprintln!("SKIPPED: {why}");
}

fn is_root() -> bool {
    own_uid() == 0
}

/// A process that ended, reaped or not.
pub fn is_gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let running = state
            .rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'));
        if !running {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
}

/// What runs a program under a user, and in no group but that of its number.
fn as_user(uid: &str) -> [&str; 6] {
    ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"]
}
