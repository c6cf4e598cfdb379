//! What programs are built for: this machine, or the other architecture with a cross compiler.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::apt;
use crate::cmd;

/// An architecture of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Arch {
    Amd64,
    Arm64,
}

impl Default for Arch {
    /// This machine's.
    fn default() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }
}

impl Arch {
    /// As images name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As GNU and Rust name it.
    const fn gnu(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Rust's target.
    pub fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.gnu())
    }

    /// Rust's target in names of environment variables.
    pub fn variable(self) -> String {
        self.target().replace('-', "_")
    }

    /// The one that this is not.
    pub const fn other(self) -> Self {
        match self {
            Self::Amd64 => Self::Arm64,
            Self::Arm64 => Self::Amd64,
        }
    }

    /// The emulator of its programs.
    pub fn emulator(self) -> String {
        format!("qemu-{}", self.gnu())
    }

    /// The C compiler that builds for it on this machine, where it is another's.
    fn compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.gnu())
    }

    /// Installs what a build for it needs beside the usual: Rust's library, a C compiler and a C library.
    pub fn prepare(self) -> Result<()> {
        if self == Self::default() {
            return Ok(());
        }
        let mut add = cmd::command("rustup");
        add.args(["target", "add", &self.target()]);
        // The one of rust-toolchain.toml.
        cmd::output(add.current_dir(crate::cache::checkout()))
            .with_context(|| format!("Rust's library for {} is missing", self.name()))?;
        if cmd::find(&self.compiler()).is_none() {
            let gnu = self.gnu().replace('_', "-");
            let compiler = format!("gcc-{gnu}-linux-gnu");
            let library = format!("libc6-dev-{}-cross", self.name());
            apt::install(&[&compiler, &library])?;
        }
        Ok(())
    }

    /// Has cargo build for it, with its own compilers.
    pub fn set(self, cargo: &mut Command) {
        cargo.args(["--target", &self.target()]);
        if self != Self::default() {
            let variable = self.variable();
            let linker = format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase());
            cargo.env(linker, self.compiler());
            cargo.env(format!("CC_{variable}"), self.compiler());
        }
    }
}
