//! Where programs are built. What is built does not tell where that was: the same sources make the same bytes in any folder (`cargo xtask release-check
//! reproducible`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache;
use crate::cmd;
use crate::images::arch::Arch;
use crate::images::programs::Profile;

/// The folders of a build.
pub struct Place {
    sources: PathBuf,
    target: PathBuf,
}

impl Place {
    /// This checkout, and where cargo puts what it builds of it.
    pub fn checkout() -> Self {
        let sources = cache::checkout();
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| sources.join("target"), |set| sources.join(set));
        Self { sources, target }
    }

    /// Any other.
    pub const fn new(sources: PathBuf, target: PathBuf) -> Self {
        Self { sources, target }
    }

    /// Where programs are when they are built.
    pub fn programs(&self, profile: Profile, arch: Arch) -> PathBuf {
        self.target.join(arch.target()).join(profile.folder())
    }

    /// Cargo for static programs.
    ///
    /// # Errors
    /// Where it is unknown where cargo keeps the sources of crates.
    pub fn cargo(&self, what: &str, profile: Profile, arch: Arch) -> Result<Command> {
        let names = self.names()?;
        let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
        flags.extend(names.iter().map(|to| format!("--remap-path-prefix={to}")));
        let c: Vec<_> = names
            .iter()
            .map(|to| format!("-ffile-prefix-map={to}"))
            .collect();
        let mut command = cmd::cargo();
        command
            .args([what, "--locked", "--profile", profile.name()])
            // With an explicit target, which is set below, procedural macros keep the usual linking.
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env(format!("CFLAGS_{}", arch.variable()), c.join(" "))
            .env("SOURCE_DATE_EPOCH", "0")
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(&self.sources);
        arch.set(&mut command);
        Ok(command)
    }

    /// What paths are called in what is built. Where two fit the later one counts: the last folder may lie in the first.
    fn names(&self) -> Result<[String; 3]> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let crates = set("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cargo")))
            .context("neither CARGO_HOME nor HOME is set")?;
        let name = |folder: &Path, as_what: &str| format!("{}={as_what}", folder.display());
        Ok([
            name(&crates, "/cargo"),
            name(&self.sources, "/oarmaster"),
            name(&self.target, "/target"),
        ])
    }
}
