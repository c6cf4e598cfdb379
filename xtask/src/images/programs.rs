//! Our own programs, linked without any library of the machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::cache::{self, Key};
use crate::cmd;
use crate::images::archive::{self, Entry, Image};
use crate::images::{Built, name};

/// Each program is the image of the same name: package and binary are
/// `oarmaster-<name>`. That of the runner has the supervisor besides.
pub const PROGRAMS: [&str; 4] = ["operator", "gateway", "runner", "webhook"];
/// `nonroot`, as other static images have it.
const USER: &str = "65532:65532";

/// How programs are built: the profiles of the workspace that say so.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    /// For the local cluster and tests, soon.
    Image,
    /// As they are shipped, in several times the time.
    Dist,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Dist => "dist",
        }
    }
}

/// Builds the programs, and each one's image where it changed.
pub fn build(programs: &[&str], tag: &str, profile: Profile) -> Result<Vec<Built>> {
    let folder = compile(programs, profile)?;
    let images = cache::checkout().join("target/images");
    std::fs::create_dir_all(&images)
        .with_context(|| format!("failed to create {}", images.display()))?;
    programs
        .iter()
        .map(|short| {
            let binary = format!("oarmaster-{short}");
            let mut binaries = vec![binary.clone()];
            binaries.extend((*short == "runner").then(|| "oarmaster-exec".to_owned()));
            let mut key = Key::default();
            let mut entries = vec![Entry::folder("tmp", 0o1777)];
            for binary in &binaries {
                let program = folder.join(binary);
                let content = std::fs::read(&program)
                    .with_context(|| format!("failed to read {}", program.display()))?;
                key = key.add("program", &Sha256::digest(&content));
                let place = format!("usr/local/bin/{binary}");
                entries.push(Entry::program(&place, &program)?);
            }
            let key = key
                .add("name", name(short, tag).as_bytes())
                .add("format", archive::FORMAT.as_bytes())
                .finish();
            let path = images.join(format!("{short}.tar"));
            let stamp = images.join(format!("{short}.key"));
            if path.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
                return Ok(Built {
                    short: (*short).to_owned(),
                    archive: path,
                });
            }
            let image = Image {
                name: name(short, tag),
                entrypoint: vec![format!("/usr/local/bin/{binary}")],
                user: USER.to_owned(),
                env: vec!["PATH=/usr/local/bin".to_owned()],
                workdir: "/".to_owned(),
                ..Image::default()
            };
            archive::write(&path, &image, &entries)?;
            std::fs::write(&stamp, key)
                .with_context(|| format!("failed to write {}", stamp.display()))?;
            Ok(Built {
                short: (*short).to_owned(),
                archive: path,
            })
        })
        .collect()
}

/// Builds the programs; answers their folder.
pub fn compile(programs: &[&str], profile: Profile) -> Result<PathBuf> {
    let mut command = cargo("build", profile)?;
    command.arg("--bins");
    for short in programs {
        command.arg("--package").arg(format!("oarmaster-{short}"));
    }
    cmd::pass(&mut command)?;
    let target_folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| cache::checkout().join("target"), PathBuf::from);
    Ok(target_folder.join(target()?).join(profile.name()))
}

/// Cargo for the static target.
pub fn cargo(what: &str, profile: Profile) -> Result<Command> {
    let mut command = cmd::cargo();
    command
        // With an explicit target, procedural macros keep the usual linking.
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .args([what, "--locked", "--profile", profile.name()])
        .args(["--target", &target()?]);
    Ok(command)
}

fn target() -> Result<String> {
    match std::env::consts::ARCH {
        arch @ ("x86_64" | "aarch64") => Ok(format!("{arch}-unknown-linux-gnu")),
        other => bail!("images are built for x86_64 and aarch64, not for {other}"),
    }
}
