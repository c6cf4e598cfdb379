//! Debian packages: small tools are installed, the container runtime is only
//! unpacked into the cache.
//!
//! Installing Debian's containerd would remove another containerd (Docker's
//! conflicts with it) and start a service; unpacked, it touches nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::apt;
use crate::cache::{self, Key};
use crate::cmd;

/// Packages to install, each with a program that shows that it is there.
const TOOLS: [(&str, &str); 5] = [
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("conntrack", "conntrack"),
    ("iproute2", "ip"),
    ("util-linux", "setsid"),
];
/// Packages to unpack.
const RUNTIME: [&str; 4] = [
    "containerd",
    "runc",
    "containernetworking-plugins",
    "libseccomp2",
];

/// Installs those tools that are missing.
pub fn install_tools() -> Result<Vec<&'static str>> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(_, program)| cmd::find(program).is_none())
        .map(|(package, _)| *package)
        .collect();
    if !missing.is_empty() {
        apt::install(&missing)?;
    }
    Ok(missing)
}

/// The container runtime and the network plugins, unpacked.
#[derive(Debug, Clone)]
pub struct Runtime {
    folder: PathBuf,
}

impl Runtime {
    /// Downloads and unpacks the version that the machine's Debian offers.
    pub fn get() -> Result<Self> {
        if let Ok(release) = fs::read("/etc/os-release") {
            // Programs of one Debian release run with that release's libraries.
            let key = Key::default().add("os-release", &release);
            let key = key.add("packages", RUNTIME.join(" ").as_bytes()).finish();
            let folder = cache::once(&format!("debian/runtime-{key}"), unpack_runtime)?;
            return Ok(Self { folder });
        }
        bail!("failed to read /etc/os-release; the local cluster needs Debian or Ubuntu")
    }

    /// Folders for the search path of the runtime's programs.
    pub fn path(&self) -> String {
        let folder = self.folder.display();
        format!("{folder}/usr/bin:{folder}/usr/sbin")
    }

    /// Libraries that came along.
    pub fn libraries(&self) -> Result<String> {
        let mut folders = Vec::new();
        for file in cache::files(&self.folder)? {
            let shared = file
                .file_name()
                .is_some_and(|n| n.to_string_lossy().contains(".so."));
            if let (true, Some(parent)) = (shared, file.parent()) {
                folders.push(parent.display().to_string());
            }
        }
        folders.dedup();
        Ok(folders.join(":"))
    }

    pub fn containerd(&self) -> PathBuf {
        self.folder.join("usr/bin/containerd")
    }

    pub fn ctr(&self) -> PathBuf {
        self.folder.join("usr/bin/ctr")
    }

    /// Debian has it in /usr/sbin, Ubuntu in /usr/sbin or /usr/bin.
    pub fn runc(&self) -> PathBuf {
        let sbin = self.folder.join("usr/sbin/runc");
        if sbin.is_file() {
            sbin
        } else {
            self.folder.join("usr/bin/runc")
        }
    }

    pub fn plugins(&self) -> PathBuf {
        self.folder.join("usr/lib/cni")
    }
}

fn unpack_runtime(into: &Path) -> Result<()> {
    eprintln!("downloading {}", RUNTIME.join(", "));
    let packages = apt::download(&RUNTIME)?;
    for package in packages.files()? {
        let mut command = cmd::command("dpkg-deb");
        cmd::output(command.arg("--extract").arg(&package).arg(into))?;
    }
    Ok(())
}
