//! Our own programs, linked without any library of the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::cache::{self, Key};
use crate::cmd;
use crate::images::arch::Arch;
use crate::images::archive::{self, Entry, Image};
use crate::images::place::Place;
use crate::images::{Built, inspect, name};

/// Each program is the image of the same name: package and binary are
/// `oarmaster-<name>`. That of the runner has the supervisor besides.
pub const PROGRAMS: [&str; 4] = ["operator", "gateway", "runner", "webhook"];
/// `nonroot`, as other static images have it.
const USER: &str = "65532:65532";

/// How programs are built: the profiles of the workspace that say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// To look at something, not to be run by others.
    Dev,
    /// For the local cluster and tests, soon.
    Image,
    /// As they are shipped, in several times the time.
    #[default]
    Dist,
}

impl Profile {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Image => "image",
            Self::Dist => "dist",
        }
    }

    /// Where cargo puts what it builds so.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Image | Self::Dist => self.name(),
        }
    }
}

/// Builds the programs, and each one's image where it changed. Each image is held to what is promised of it, also one that was there.
pub fn build(programs: &[&str], tag: &str, profile: Profile, arch: Arch) -> Result<Vec<Built>> {
    let folder = compile_for(programs, profile, arch)?;
    let images = cache::checkout().join("target/images").join(arch.name());
    std::fs::create_dir_all(&images)
        .with_context(|| format!("failed to create {}", images.display()))?;
    let mut built = Vec::new();
    for short in programs {
        let mut binaries = vec![format!("oarmaster-{short}")];
        binaries.extend((*short == "runner").then(|| "oarmaster-exec".to_owned()));
        let path = images.join(format!("{short}.tar"));
        pack(&path, &name(short, tag), &folder, &binaries, arch)?;
        inspect::check(&path, &binaries, arch)?;
        built.push(Built {
            short: (*short).to_owned(),
            arch,
            archive: path,
        });
    }
    Ok(built)
}

/// Writes the image of these programs, the first of which it starts, unless it lies there.
fn pack(path: &Path, name: &str, folder: &Path, binaries: &[String], arch: Arch) -> Result<()> {
    let mut key = Key::default();
    let mut entries = vec![Entry::folder("tmp", 0o1777)];
    for binary in binaries {
        let program = folder.join(binary);
        let content = std::fs::read(&program)
            .with_context(|| format!("failed to read {}", program.display()))?;
        key = key.add("program", &Sha256::digest(&content));
        entries.push(Entry::program(
            &format!("usr/local/bin/{binary}"),
            &program,
        )?);
    }
    let key = key
        .add("name", name.as_bytes())
        .add("format", archive::FORMAT.as_bytes())
        .finish();
    let stamp = path.with_extension("key");
    if path.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(());
    }
    let entrypoint = binaries.first().context("an image has a program")?;
    let image = Image {
        name: name.to_owned(),
        entrypoint: vec![format!("/usr/local/bin/{entrypoint}")],
        user: USER.to_owned(),
        env: vec!["PATH=/usr/local/bin".to_owned()],
        workdir: "/".to_owned(),
        arch,
        ..Image::default()
    };
    archive::write(path, &image, &entries)?;
    std::fs::write(&stamp, key).with_context(|| format!("failed to write {}", stamp.display()))
}

/// Builds the programs for this machine; answers their folder.
pub fn compile(programs: &[&str], profile: Profile) -> Result<PathBuf> {
    compile_for(programs, profile, here()?)
}

/// The same for any.
fn compile_for(programs: &[&str], profile: Profile, arch: Arch) -> Result<PathBuf> {
    here()?;
    arch.prepare()?;
    let place = Place::checkout();
    let mut command = place.cargo("build", profile, arch)?;
    command.arg("--bins");
    for short in programs {
        command.arg("--package").arg(format!("oarmaster-{short}"));
    }
    cmd::pass(&mut command)?;
    Ok(place.programs(profile, arch))
}

/// Cargo for the static target.
pub fn cargo(what: &str, profile: Profile) -> Result<Command> {
    Place::checkout().cargo(what, profile, here()?)
}

/// This machine's architecture.
pub fn here() -> Result<Arch> {
    match std::env::consts::ARCH {
        "x86_64" | "aarch64" => Ok(Arch::default()),
        other => bail!("images are built for x86_64 and aarch64, not for {other}"),
    }
}
