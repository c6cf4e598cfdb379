//! The Landlock rules of a child: write in the workspace and in temporary directories, read and run the rest, no TCP but to the port of its
//! egress, no signal or abstract socket out of its own domain. As much of it as the kernel has.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::Path;

/// The newest ABI whose rights we know.
const KNOWN: ABI = ABI::V6;

/// The first ABI that knows TCP. Without it egress to one port would be egress to all.
pub(super) const WITH_TCP: u32 = 4;

/// Places outside the workspace that programs write to. `/dev/shm` carries POSIX semaphores (Python's multiprocessing).
const WRITABLE: [&str; 2] = ["/dev/shm", "/dev/pts"];

/// Devices that programs open for writing.
const DEVICES: [&str; 7] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
];

/// Confines this thread and all it starts. Returns whether the kernel enforces anything.
pub(super) fn apply(
    workspace: &Path,
    temporary: &Path,
    egress_port: Option<u16>,
) -> Result<bool, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    ruleset = allow(ruleset, Path::new("/"), AccessFs::from_read(KNOWN))?;
    for path in [workspace, temporary]
        .into_iter()
        .chain(WRITABLE.map(Path::new))
    {
        ruleset = allow(ruleset, path, AccessFs::from_all(KNOWN))?;
    }
    for path in DEVICES {
        ruleset = allow(ruleset, Path::new(path), AccessFs::from_file(KNOWN))?;
    }
    if let Some(port) = egress_port {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// A path that the image does not have needs no rule.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(fd) => ruleset.add_rule(PathBeneath::new(fd, access)),
        Err(_) => Ok(ruleset),
    }
}
