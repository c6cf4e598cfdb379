//! Looks into the image of a program of ours: it holds static programs and nothing else that could be run, read or written.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use object::LittleEndian;
use object::elf::{DT_NEEDED, EM_AARCH64, EM_X86_64, FileHeader64, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use serde::Deserialize;

use crate::images::arch::Arch;
use crate::images::archive::{self, Whole};

/// Where an image has its programs.
const PROGRAMS: &str = "usr/local/bin";
/// The one folder besides: some libraries want a place for temporary files.
const TMP: &str = "tmp";

/// Holds an image to what is promised of it (docs/releases.md): the programs of these names, static and for this architecture, and an empty `/tmp`;
/// run by a user that is not root.
///
/// # Errors
/// Names everything that is otherwise.
pub fn check(archive: &Path, programs: &[String], arch: Arch) -> Result<()> {
    let problems = problems(archive, programs, arch)
        .with_context(|| format!("failed to look into {}", archive.display()))?;
    ensure!(
        problems.is_empty(),
        "{} is not an image of static programs alone: {}",
        archive.display(),
        problems.join("; ")
    );
    Ok(())
}

fn problems(archive: &Path, programs: &[String], arch: Arch) -> Result<Vec<String>> {
    let Whole { config, layers } = archive::whole(archive)?;
    let mut problems = configuration(&serde_json::from_slice(&config)?, programs, arch);
    let mut missing = programs.to_vec();
    for layer in &layers {
        let mut layer = tar::Archive::new(layer.as_slice());
        for entry in layer.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let (kind, mode) = (entry.header().entry_type(), entry.header().mode()?);
            match kind {
                tar::EntryType::Directory => {
                    if path != Path::new(TMP) && !Path::new(PROGRAMS).starts_with(&path) {
                        problems.push(format!("there is a folder {}", path.display()));
                    }
                }
                tar::EntryType::Regular => {
                    let name = programs
                        .iter()
                        .find(|name| path == Path::new(PROGRAMS).join(name));
                    let Some(name) = name else {
                        problems.push(format!("there is a file {}", path.display()));
                        continue;
                    };
                    missing.retain(|missing| missing != name);
                    if mode != 0o755 {
                        problems.push(format!("{name} has the mode {mode:o}"));
                    }
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    problems.extend(program(&content, arch).map(|why| format!("{name} {why}")));
                }
                kind => problems.push(format!("{} is a {kind:?}", path.display())),
            }
        }
    }
    problems.extend(missing.iter().map(|name| format!("there is no {name}")));
    Ok(problems)
}

/// The parts of an image's configuration that are held to something.
#[derive(Deserialize)]
struct Said {
    architecture: String,
    config: Run,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    user: String,
    #[serde(default)]
    entrypoint: Vec<String>,
}

fn configuration(said: &Said, programs: &[String], arch: Arch) -> Vec<String> {
    let mut problems = Vec::new();
    if said.architecture != arch.name() {
        problems.push(format!(
            "it says that it is for {}, not {}",
            said.architecture,
            arch.name()
        ));
    }
    let Run { user, entrypoint } = &said.config;
    // By number, or the kubelet cannot tell that it is not root.
    let id = user.split(':').next().unwrap_or_default();
    if !id.parse::<u32>().is_ok_and(|id| id > 0) {
        problems.push(format!("its user is `{user}`"));
    }
    let ours = programs
        .iter()
        .any(|name| *entrypoint == [format!("/{PROGRAMS}/{name}")]);
    if !ours {
        problems.push(format!("it starts `{}`", entrypoint.join(" ")));
    }
    problems
}

/// What is wrong with a program; None: it needs nothing but the kernel of this architecture.
fn program(content: &[u8], arch: Arch) -> Option<String> {
    match needs(content, arch) {
        Ok(None) => None,
        Ok(Some(what)) => Some(format!("needs {what}")),
        Err(error) => Some(format!("is no ELF program for {}: {error}", arch.name())),
    }
}

fn needs(content: &[u8], arch: Arch) -> Result<Option<&'static str>> {
    let header = FileHeader64::<LittleEndian>::parse(content)?;
    let endian = header.endian()?;
    let wanted = match arch {
        Arch::Amd64 => EM_X86_64,
        Arch::Arm64 => EM_AARCH64,
    };
    let machine = header.e_machine(endian);
    ensure!(machine == wanted, "its machine has the number {machine}");
    for segment in header.program_headers(endian, content)? {
        if segment.p_type(endian) == PT_INTERP {
            return Ok(Some("a loader"));
        }
        // A program that moves itself to any address has such a segment, too, and names no library in it.
        if segment.p_type(endian) == PT_DYNAMIC {
            let entries = segment.dynamic(endian, content)?.unwrap_or_default();
            if entries.iter().any(|entry| entry.d_tag(endian) == DT_NEEDED) {
                return Ok(Some("libraries"));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
