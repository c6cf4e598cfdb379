//! A bill of materials for each program and architecture, in CycloneDX, by cargo-cyclonedx; and a second opinion on it: cargo's own list of what is
//! linked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cache::checkout;
use crate::cmd;
use crate::images::arch::Arch;
use crate::images::programs::PROGRAMS;
use crate::release::copy;
use crate::tool;

/// The release of cargo-cyclonedx that is used.
const CYCLONEDX: &str = "0.5.9";
/// `oar`, which is shipped without an image.
const CLI: &str = "cli";

/// `cargo xtask release-check sbom`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Where the files go; default: target/sbom
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Runs the check.
///
/// # Errors
/// Names what is linked and not in the bill, and what of it has no licence or no digest.
pub fn run(Args { out }: &Args) -> Result<()> {
    let out = out
        .clone()
        .unwrap_or_else(|| checkout().join("target/sbom"));
    fs::create_dir_all(&out).with_context(|| format!("failed to create {}", out.display()))?;
    let mut problems = Vec::new();
    for arch in [Arch::Amd64, Arch::Arm64] {
        // It writes beside each Cargo.toml.
        let sources = tempfile::tempdir().context("failed to create a temporary folder")?;
        copy::sources(sources.path())?;
        write(sources.path(), arch)?;
        // Those of the images are built at once, and so with the features that any of them asks for.
        let mut linked = linked(&PROGRAMS, arch)?;
        linked.extend(self::linked(&[CLI], arch)?);
        for (package, crates) in &linked {
            let folder = package.trim_start_matches("oarmaster-");
            let written = sources
                .path()
                .join(folder)
                .join(format!("{package}.cdx.json"));
            let text = fs::read_to_string(&written)
                .with_context(|| format!("failed to read {}", written.display()))?;
            let text = text.replace(&*sources.path().to_string_lossy(), "/oarmaster");
            let mut bill: Bill = serde_json::from_str(&text)
                .with_context(|| format!("failed to read the bill of {package}"))?;
            bill.keep(crates);
            let of = format!("{package} for {}", arch.name());
            println!("{of}: {} crates", bill.components.len());
            let missing = missing(&bill, crates);
            problems.extend(missing.into_iter().map(|what| format!("{of}: {what}")));
            let file = out.join(format!("{package}-{}.cdx.json", arch.name()));
            fs::write(&file, serde_json::to_vec_pretty(&bill)?)
                .with_context(|| format!("failed to write {}", file.display()))?;
        }
    }
    println!("written to {}", out.display());
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Has cargo-cyclonedx write the bills of all crates, as they are used anywhere in the workspace.
fn write(sources: &Path, arch: Arch) -> Result<()> {
    let mut write = Command::new(tool::installed("cargo-cyclonedx", CYCLONEDX)?);
    write
        .args(["cyclonedx", "--quiet", "--format", "json"])
        .args(["--spec-version", "1.5", "--no-build-deps"])
        .args(["--target", &arch.target(), "--manifest-path"])
        .arg(sources.join("Cargo.toml"))
        // No number and no time of its own: the same sources, the same bill.
        .env("SOURCE_DATE_EPOCH", "0");
    cmd::output(&mut write).map(drop)
}

/// A bill, as far as it is read; the rest stays as it is.
#[derive(Deserialize, Serialize)]
struct Bill {
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
struct Component {
    #[serde(rename = "bom-ref")]
    id: String,
    name: String,
    version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What a component needs.
#[derive(Deserialize, Serialize)]
struct Dependency {
    #[serde(rename = "ref")]
    id: String,
    #[serde(default, rename = "dependsOn", skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
}

impl Bill {
    /// Leaves out what is not linked: features that tests or other programs ask for bring crates in.
    fn keep(&mut self, linked: &BTreeSet<Package>) {
        let (kept, out): (Vec<_>, Vec<_>) = std::mem::take(&mut self.components)
            .into_iter()
            .partition(|found| linked.contains(&(found.name.clone(), found.version.clone())));
        self.components = kept;
        let out: BTreeSet<String> = out.into_iter().map(|found| found.id).collect();
        self.dependencies
            .retain(|dependency| !out.contains(&dependency.id));
        for dependency in &mut self.dependencies {
            dependency.needs.retain(|id| !out.contains(id));
        }
    }
}

/// A crate and its version.
type Package = (String, String);

/// What is linked into each of these programs, by package, if they are built at once.
fn linked(programs: &[&str], arch: Arch) -> Result<BTreeMap<String, BTreeSet<Package>>> {
    let mut tree = cmd::cargo();
    // What stands in several places is listed in each: otherwise it would be missing below all programs but the first.
    tree.args(["tree", "--locked", "--no-dedupe", "--prefix", "none"])
        .args(["--format", "{p}", "--edges", "normal"])
        .args(["--target", &arch.target()]);
    let packages: Vec<_> = programs
        .iter()
        .map(|name| format!("oarmaster-{name}"))
        .collect();
    tree.args(packages.iter().flat_map(|name| ["--package", name]));
    let found = packages_of(&cmd::output(&mut tree)?);
    let missing = packages.iter().find(|name| {
        let crates = found.get(*name);
        crates.is_none_or(BTreeSet::is_empty)
    });
    if let Some(name) = missing {
        anyhow::bail!("cargo does not say what is linked into {name}");
    }
    Ok(found)
}

/// Cargo's lists by their first package, which is not in its own: `name v1.2.3`, and sometimes more, on each line, and an empty line between lists.
fn packages_of(listed: &str) -> BTreeMap<String, BTreeSet<Package>> {
    let mut found = BTreeMap::new();
    for list in listed.split("\n\n") {
        let mut crates = list.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next()?, words.next()?);
            Some((name.to_owned(), version.strip_prefix('v')?.to_owned()))
        });
        if let Some((first, _)) = crates.next() {
            found.insert(first, crates.collect());
        }
    }
    found
}

/// What a bill lacks of what is linked. Crates of ours come from no registry, which would have a digest.
fn missing(bill: &Bill, linked: &BTreeSet<Package>) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, version) in linked {
        let found = bill
            .components
            .iter()
            .find(|component| component.name == *name && component.version == *version);
        match found {
            None => missing.push(format!("{name} {version} is linked and not listed")),
            Some(component) if component.licenses.is_empty() => {
                missing.push(format!("{name} {version} has no licence"));
            }
            Some(component) if component.hashes.is_empty() && !name.starts_with("oarmaster-") => {
                missing.push(format!("{name} {version} has no digest"));
            }
            Some(_) => {}
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bill(components: &[Value]) -> Bill {
        let needs = json!({ "ref": "top", "dependsOn": ["serde 1.0.1", "extra 1.0.0"] });
        let gone = json!({ "ref": "extra 1.0.0", "dependsOn": ["serde 1.0.1"] });
        let bill = json!({ "components": components, "dependencies": [needs, gone], "bomFormat": "CycloneDX" });
        serde_json::from_value(bill).unwrap()
    }

    fn component(name: &str, version: &str, licence: bool, digest: bool) -> Value {
        let mut component = json!({
            "bom-ref": format!("{name} {version}"), "name": name, "version": version, "type": "library",
        });
        let one = json!([{}]);
        if licence {
            component["licenses"] = one.clone();
        }
        if digest {
            component["hashes"] = one;
        }
        component
    }

    #[test]
    fn a_crate_that_is_linked_has_to_be_listed_with_licence_and_digest() {
        let linked = packages_of(
            "oarmaster-x v0.1.0 (/x)\noarmaster-a v0.1.0 (/a)\nserde v1.0.1\nserde_derive v1.0.1 (proc-macro)\nserde v1.0.1\n\n\
             oarmaster-y v0.1.0 (/y)\nring v0.17.8\n",
        );
        let (x, y) = (&linked["oarmaster-x"], &linked["oarmaster-y"]);
        assert_eq!((x.len(), y.len()), (3, 1));
        let found = bill(&[
            component("oarmaster-a", "0.1.0", true, false),
            component("serde", "1.0.1", true, false),
            component("serde_derive", "1.0.1", false, true),
            component("ring", "0.17.9", true, true),
        ]);
        assert_eq!(
            missing(&found, x),
            [
                "serde 1.0.1 has no digest",
                "serde_derive 1.0.1 has no licence"
            ]
        );
        assert_eq!(missing(&found, y), ["ring 0.17.8 is linked and not listed"]);
    }

    #[test]
    fn what_is_not_linked_is_left_out_and_the_rest_stays_as_it_was() {
        let serde = component("serde", "1.0.1", true, true);
        let mut bill = bill(&[serde.clone(), component("extra", "1.0.0", true, true)]);
        bill.keep(&[("serde".to_owned(), "1.0.1".to_owned())].into());
        assert_eq!(
            serde_json::to_value(&bill).unwrap(),
            json!({
                "components": [serde],
                "dependencies": [{ "ref": "top", "dependsOn": ["serde 1.0.1"] }],
                "bomFormat": "CycloneDX",
            })
        );
    }
}
