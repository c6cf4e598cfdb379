//! exec: the supervisor of untrusted code, PID 1 of the sandbox container.
//!
//! It runs in the user's image under the same UID as the code that it starts, since a container without capabilities cannot change
//! UIDs. What keeps the code away from it: it is not dumpable, every child is confined before its first instruction
//! ([`confine`](self::confine())), and every process of a call is dead before the call is answered. It holds no secret, has no
//! network, and never trusts what a child says.

mod call;
mod cgroup;
mod collect;
mod confine;
mod filter;
mod landlock;
mod leftovers;
mod output;
mod place;
mod probe;
mod procs;
mod proxy;
mod search;
mod server;
mod snapshot;
mod sys;
mod text;
mod users;
mod walk;
mod watch;
mod workspace;

pub use confine::{Args as ConfineArgs, confine};
pub use probe::{Args as ProbeArgs, probe};
pub use server::{Args, Error, serve};

/// The Landlock ABI of the running kernel; 0 without Landlock.
#[must_use]
pub fn landlock_abi() -> u32 {
    sys::landlock_abi()
}

/// Whether this process has a user namespace of its own, so that ids of users in it are not the node's.
#[must_use]
pub fn has_user_namespace() -> bool {
    users::have_a_namespace()
}

/// Makes this process unreadable for others of its UID: no core dump, no `/proc/PID/mem`, `environ` or `fd`, no ptrace.
///
/// # Errors
/// When the kernel refuses.
pub fn hide() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}
