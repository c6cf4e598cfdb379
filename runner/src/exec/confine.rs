//! The step between fork and the user's program: this binary runs once more, gives up everything, and becomes the program.
//!
//! A re-exec instead of code between fork and exec: it needs no `unsafe`, may allocate, and inherits nothing of the supervisor's
//! memory. Its standard input is a pipe to the supervisor that closes when the program starts, or carries why it did not.

use super::{filter, landlock, sys};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::Mode;
use nix::unistd::dup2_stdin;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Arguments of the hidden subcommand `confine`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Working directory, writable.
    #[arg(long)]
    workspace: PathBuf,
    /// Directory for temporary files, writable.
    #[arg(long)]
    tmp: PathBuf,
    /// Largest file in bytes.
    #[arg(long)]
    file_size: u64,
    /// The process that the program must not touch, and its threads.
    #[arg(long)]
    supervisor: Vec<u32>,
    /// Fails where the kernel has no Landlock.
    #[arg(long)]
    require_landlock: bool,
    /// The only port that the program may connect to; without it there is no network at all.
    #[arg(long)]
    egress_port: Option<u16>,
    /// Variable of the program's environment, `NAME=value`. Not our own environment: that would act on us before we are confined.
    #[arg(long, allow_hyphen_values = true)]
    env: Vec<OsString>,
    /// argv of the program.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// What the supervisor reads when the program did not start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// Whether everything was given up and only the start itself failed.
    pub(super) confined: bool,
    /// Error number of the start.
    pub(super) errno: i32,
    /// What failed.
    pub(super) message: String,
}

/// Gives up everything and becomes the program. Returns only when that failed.
pub fn confine(args: &Args) -> ExitCode {
    let Ok(pipe) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let report = match give_up(args) {
        Ok(()) => start(args),
        Err(error) => Report {
            confined: false,
            errno: 0,
            message: chain(&*error),
        },
    };
    let _ = tell(pipe, &report); // the supervisor also sees that nothing ran
    ExitCode::FAILURE
}

fn tell(pipe: OwnedFd, report: &Report) -> std::io::Result<()> {
    File::from(pipe).write_all(&serde_json::to_vec(report)?)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

fn give_up(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let Args {
        workspace,
        tmp,
        file_size,
        supervisor,
        require_landlock,
        egress_port,
        env: _,
        program: _,
    } = args;
    // Every descriptor of ours is closed at exec anyway, and the probe looks; a runtime may not know the call.
    match sys::close_on_exec_from(3) {
        Ok(()) | Err(Errno::ENOSYS | Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    dup2_stdin(File::open("/dev/null")?)?;
    nix::unistd::setsid()?;
    std::env::set_current_dir(workspace)?;
    nix::sys::stat::umask(Mode::S_IWGRP | Mode::S_IWOTH);
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_NOFILE, 1024, 1024)?;
    setrlimit(Resource::RLIMIT_FSIZE, *file_size, *file_size)?;
    // The container's CPU quota is one for both, and the supervisor must get to stop the program.
    sys::lowest_priority()?;
    // Only beside PID 1: elsewhere everybody on the machine would come first.
    if supervisor.contains(&1) {
        sys::idle_only()?;
    }
    SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // Where the kernel picks a victim inside the container, it shall be this process and not the supervisor. Some sandboxes refuse
    // the write; the supervisor's own watch does not need it.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    nix::sys::prctl::set_no_new_privs()?;
    let abi = sys::landlock_abi();
    if egress_port.is_some() && abi < landlock::WITH_TCP {
        return Err(format!(
            "egress and the pool of a run need Landlock of ABI {} or newer, and this kernel has {abi} (0: none)",
            landlock::WITH_TCP
        )
        .into());
    }
    let enforced = landlock::apply(workspace, tmp, *egress_port)?;
    if *require_landlock && !enforced {
        return Err("this kernel has no Landlock, which the sandbox class demands".into());
    }
    filter::apply(supervisor, egress_port.is_some())?;
    Ok(())
}

fn start(args: &Args) -> Report {
    let [name, arguments @ ..] = args.program.as_slice() else {
        return Report {
            confined: true,
            errno: libc::EINVAL,
            message: "no program".to_owned(),
        };
    };
    let env = args.env.iter().filter_map(|variable| {
        let bytes = variable.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        let (name, value) = bytes.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        Some((OsStr::from_bytes(name), OsStr::from_bytes(value)))
    });
    let error = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(env)
        .exec();
    Report {
        confined: true,
        errno: error.raw_os_error().unwrap_or(0),
        message: error.to_string(),
    }
}
