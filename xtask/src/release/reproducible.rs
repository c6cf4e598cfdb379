//! Two builds of one source, in other folders and with nothing in common but the crates that cargo fetched, make the same programs byte for byte. So
//! whoever does not trust a released program can build it and compare.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::cmd;
use crate::images::place::Place;
use crate::images::programs::{self, PROGRAMS, Profile};
use crate::release::copy;

/// `cargo xtask release-check reproducible`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only the programs of these images: operator, gateway, runner, webhook
    #[arg(long, value_name = "IMAGE", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(PROGRAMS))]
    only: Vec<String>,
    /// How they are built; what is shipped is `dist`
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
}

/// Programs by name, with the digests of their bytes.
type Digests = BTreeMap<String, String>;

/// Runs the check.
///
/// # Errors
/// Names the programs that differ.
pub fn run(Args { only, profile }: &Args) -> Result<()> {
    let images: Vec<&str> = match only.as_slice() {
        [] => PROGRAMS.to_vec(),
        only => only.iter().map(String::as_str).collect(),
    };
    let folder = tempfile::Builder::new()
        .prefix("oarmaster-twice-")
        .tempdir_in(crate::cache::root()?)
        .context("failed to create a folder")?;
    // Of other lengths, and once with what is built in the sources and once beside them.
    let (one, two) = (folder.path().join("a"), folder.path().join("another/place"));
    let places = [
        (one.clone(), one.join("target")),
        (two, folder.path().join("built-elsewhere")),
    ];
    // Both before anything is built: they are the same whatever changes meanwhile.
    for (sources, _) in &places {
        copy::sources(sources)?;
    }
    let mut built = Vec::new();
    for (sources, target) in places {
        println!("building {} in {}", images.join(", "), sources.display());
        let place = Place::new(sources, target.clone());
        built.push(build(&place, &images, *profile)?);
        // A build of everything takes some gigabytes.
        fs::remove_dir_all(&target)
            .with_context(|| format!("failed to remove {}", target.display()))?;
    }
    let [first, second] = built.as_slice() else {
        anyhow::bail!("there are {} builds, not two", built.len());
    };
    for (name, digest) in first {
        println!("sha256:{digest}  {name}");
    }
    let differ = differ(first, second);
    ensure!(
        differ.is_empty(),
        "two builds differ in {}: a path, a time or an order got into what was built",
        differ.join(", ")
    );
    Ok(())
}

fn build(place: &Place, images: &[&str], profile: Profile) -> Result<Digests> {
    let arch = programs::here()?;
    let mut command = place.cargo("build", profile, arch)?;
    command.args(["--quiet", "--bins"]);
    for image in images {
        command.arg("--package").arg(format!("oarmaster-{image}"));
    }
    cmd::pass(&mut command)?;
    digests(&place.programs(profile, arch))
}

/// The programs of a folder.
fn digests(folder: &Path) -> Result<Digests> {
    let mut found = Digests::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("oarmaster-") && path.extension().is_none() && path.is_file() {
            let content =
                fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
            found.insert(name.into_owned(), hex::encode(Sha256::digest(&content)));
        }
    }
    ensure!(
        !found.is_empty(),
        "no program was built in {}",
        folder.display()
    );
    Ok(found)
}

/// The programs that are not in both as the same bytes.
fn differ(first: &Digests, second: &Digests) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = first.keys().chain(second.keys()).collect();
    names
        .into_iter()
        .filter(|name| first.get(*name) != second.get(*name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_differs_or_is_built_once_only_is_named() {
        let of = |programs: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            for (name, content) in programs {
                fs::write(folder.path().join(name), content).unwrap();
            }
            digests(folder.path()).unwrap()
        };
        let first = of(&[
            ("oarmaster-a", "1"),
            ("oarmaster-b", "1"),
            ("oarmaster-a.d", "/a"),
        ]);
        assert_eq!(differ(&first, &first), Vec::<String>::new());
        let second = of(&[
            ("oarmaster-a", "1"),
            ("oarmaster-b", "2"),
            ("oarmaster-a.d", "/b"),
        ]);
        assert_eq!(differ(&first, &second), ["oarmaster-b"]);
        let third = of(&[
            ("oarmaster-a", "1"),
            ("oarmaster-b", "1"),
            ("oarmaster-c", "1"),
        ]);
        assert_eq!(differ(&third, &first), ["oarmaster-c"]);
    }

    #[test]
    fn where_nothing_was_built_nothing_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        digests(folder.path()).unwrap_err();
    }
}
