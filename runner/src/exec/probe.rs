//! The isolation probe: runs confined exactly as untrusted code does, and tries what such code must not be able to do.
//!
//! Only a refusal counts. An error that comes from behind the door (a wrong argument, an unknown family) means that the door is open.

use super::sys;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Where tokens and certificates are mounted in pods, and our own places.
const SECRET_PLACES: [&str; 5] = [
    "/var/run/secrets",
    "/run/secrets",
    "/var/run/oarmaster",
    "/run/oarmaster",
    "/etc/kubernetes",
];

/// Files of the supervisor's process that hold its memory, environment or descriptors.
const PROCESS_FILES: [&str; 8] = [
    "mem", "environ", "maps", "auxv", "syscall", "stack", "io", "pagemap",
];
const PROCESS_LINKS: [&str; 4] = ["exe", "cwd", "root", "fd"];
/// Files that change a process when they are written to. (Everybody may open `timerslack_ns`; who may write is asked later.)
const PROCESS_SETTINGS: [&str; 7] = [
    "mem",
    "oom_score_adj",
    "coredump_filter",
    "comm",
    "sched",
    "autogroup",
    "clear_refs",
];

/// Arguments of the hidden subcommand `probe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The process that must not be reachable, then its threads.
    #[arg(long, required = true)]
    supervisor: Vec<u32>,
    /// The pilot's socket, which must be gone.
    #[arg(long)]
    socket: PathBuf,
    /// Whether Landlock must hold.
    #[arg(long)]
    landlock: bool,
    /// The only port that may be connected to.
    #[arg(long)]
    egress_port: Option<u16>,
}

/// What the supervisor reads.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// What was refused, in groups.
    pub(super) refused: Vec<String>,
    /// What was not.
    pub(super) open: Vec<String>,
}

/// Tries everything and prints a [`Report`] as JSON.
pub fn probe(args: &Args) -> ExitCode {
    let report = run(args);
    let written = serde_json::to_vec(&report)
        .map_err(io::Error::from)
        .and_then(|bytes| io::stdout().write_all(&bytes));
    if written.is_err() || !report.open.is_empty() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Report {
    let mut report = Report::default();
    let supervisor = args.supervisor.first().copied().unwrap_or(1);
    report.group("token and socket paths", secrets(&args.socket));
    report.group("the supervisor's process", process(supervisor));
    report.group("other processes", others(supervisor));
    report.group("inherited descriptors", descriptors());
    report.group("privileges", privileges());
    if args.landlock {
        report.group("writing outside the workspace", writing());
    }
    if let Some(port) = args.egress_port {
        report.group("ports", ports(port));
    }
    // Last, since those that succeed change this process.
    let egress = args.egress_port.is_some();
    report.group("system calls", system_calls(&args.supervisor, egress));
    report
}

impl Report {
    fn group(&mut self, name: &str, (tried, open): (usize, Vec<String>)) {
        if open.is_empty() {
            self.refused
                .push(format!("{name}: {tried} tried, all refused"));
        } else {
            self.open
                .extend(open.into_iter().map(|what| format!("{name}: {what}")));
        }
    }
}

type Tried = (usize, Vec<String>);

fn system_calls(supervisor: &[u32], egress: bool) -> Tried {
    let attempts = sys::attempts(supervisor, egress);
    let mut open: Vec<String> = attempts
        .iter()
        .filter_map(|attempt| match attempt.make() {
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => None,
            Err(errno) => Some(format!("{} reached the kernel ({errno})", attempt.name)),
            Ok(()) => Some(format!("{} was possible", attempt.name)),
        })
        .collect();
    // What must stay possible: a filter that refuses everything would break programs in ways that look like their own faults.
    if UnixStream::pair().is_err() || UnixDatagram::unbound().is_err() {
        open.push("unix sockets are refused, which programs need".to_owned());
    }
    (attempts.len(), open)
}

/// Of TCP, one port may be connected to, and nothing listened on. Landlock refuses before anything leaves: at once, wherever it would go to.
fn ports(allowed: u16) -> Tried {
    const PLACES: [IpAddr; 4] = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        // For documentation: nobody has them.
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    ];
    const PATIENCE: Duration = Duration::from_millis(200);
    let others = [
        1, 22, 53, 80, 443, 6443, 8443, 8444, 8445, 9090, 10_250, 65_535,
    ]
    .into_iter()
    .chain([allowed.saturating_sub(1), allowed.saturating_add(1)])
    .filter(|port| *port != allowed);
    let mut open = Vec::new();
    let mut tried = 1;
    for port in others {
        for place in PLACES {
            tried += 1;
            let to = SocketAddr::new(place, port);
            if !is_refusal(TcpStream::connect_timeout(&to, PATIENCE)) {
                open.push(format!("{to} is not refused at once"));
            }
        }
    }
    for port in [0, 80, 8080, allowed] {
        for place in [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ] {
            tried += 1;
            let at = SocketAddr::new(place, port);
            if !is_refusal(TcpListener::bind(at)) {
                open.push(format!("{at} can be listened on"));
            }
        }
    }
    let proxy = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), allowed);
    if let Err(error) = TcpStream::connect_timeout(&proxy, PATIENCE * 10) {
        open.push(format!("the proxy's port cannot be connected to ({error})"));
    }
    (tried, open)
}

/// Whether the kernel said no by rule. One without IPv6 has no door to close.
fn is_refusal<T>(result: io::Result<T>) -> bool {
    let errno = result.err().and_then(|error| error.raw_os_error());
    errno.is_some_and(|errno| {
        matches!(
            Errno::from_raw(errno),
            Errno::EACCES | Errno::EPERM | Errno::EAFNOSUPPORT
        )
    })
}

fn secrets(socket: &Path) -> Tried {
    let mut open = Vec::new();
    let mut tried = 0;
    for place in SECRET_PLACES {
        readable(Path::new(place), 0, &mut tried, &mut open);
    }
    tried += 1;
    if UnixStream::connect(socket).is_ok() {
        open.push(format!("{} can be connected to", socket.display()));
    }
    (tried, open)
}

fn readable(path: &Path, depth: usize, tried: &mut usize, open: &mut Vec<String>) {
    *tried += 1;
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten().take(100) {
            if depth < 6 {
                readable(&entry.path(), depth + 1, tried, open);
            }
        }
    } else if path.is_file() && fs::File::open(path).is_ok() {
        open.push(format!("{} can be read", path.display()));
    }
}

fn process(pid: u32) -> Tried {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let mut open = Vec::new();
    for name in PROCESS_FILES {
        // The permission is checked at open for some and at read for others; an empty read of an open file gives nothing away.
        match fs::File::open(dir.join(name))
            .and_then(|mut file| io::Read::read(&mut file, &mut [0; 64]))
        {
            Ok(count) if count > 0 => open.push(format!("/proc/{pid}/{name} can be read")),
            _ => {}
        }
    }
    for name in PROCESS_SETTINGS {
        let opened = fs::OpenOptions::new().write(true).open(dir.join(name));
        if opened.is_ok() {
            open.push(format!("/proc/{pid}/{name} can be opened for writing"));
        }
    }
    for name in PROCESS_LINKS {
        let path = dir.join(name);
        if fs::read_link(&path).is_ok() || fs::read_dir(&path).is_ok() {
            open.push(format!("/proc/{pid}/{name} can be read"));
        }
    }
    let tried = PROCESS_FILES.len() + PROCESS_SETTINGS.len() + PROCESS_LINKS.len();
    (tried, open)
}

/// In a PID namespace of its own the probe sees the supervisor and itself, nobody else.
fn others(supervisor: u32) -> Tried {
    if supervisor != 1 {
        return (0, Vec::new());
    }
    let own = std::process::id().to_string();
    let seen: Vec<String> = fs::read_dir("/proc")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect()
        })
        .unwrap_or_default();
    let open = seen
        .iter()
        .filter(|name| {
            name.bytes().all(|byte| byte.is_ascii_digit()) && *name != "1" && **name != own
        })
        .map(|pid| format!("process {pid} can be seen"))
        .collect();
    (1, open)
}

fn descriptors() -> Tried {
    let listing = fs::read_dir("/proc/self/fd").map(|entries| {
        entries
            .flatten()
            .filter_map(|entry| {
                let fd: i32 = entry.file_name().to_str()?.parse().ok()?;
                let target = fs::read_link(entry.path()).ok()?;
                // The listing itself is a descriptor while it is read.
                let is_listing = target.starts_with("/proc") && target.ends_with("fd");
                (fd > 2 && !is_listing).then(|| format!("descriptor {fd} ({})", target.display()))
            })
            .collect()
    });
    (
        1,
        listing.unwrap_or_else(|error| vec![format!("/proc/self/fd: {error}")]),
    )
}

fn privileges() -> Tried {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let wanted = [
        ("CapInh:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("CapEff:", "0000000000000000"),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ];
    let open = wanted
        .iter()
        .filter(|(name, wanted)| value(name) != Some(wanted))
        .map(|(name, wanted)| {
            format!(
                "{name} is {}, not {wanted}",
                value(name).unwrap_or("unknown")
            )
        })
        .collect();
    (wanted.len(), open)
}

fn writing() -> Tried {
    let places = [
        "/",
        "/etc",
        "/run",
        "/run/oarmaster",
        "/var",
        "/var/tmp",
        "/usr",
        "/home",
        "/dev/mqueue",
    ];
    let open = places
        .iter()
        .filter_map(|place| {
            let path = Path::new(place).join(format!(".oarmaster-probe-{}", std::process::id()));
            let made = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path);
            made.ok().map(|_| {
                let _ = fs::remove_file(&path); // a probe leaves nothing, if it can
                format!("a file can be made in {place}")
            })
        })
        .collect();
    (places.len(), open)
}
