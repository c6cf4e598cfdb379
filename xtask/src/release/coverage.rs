//! How many lines of each crate the tests without a cluster run, counted by LLVM through cargo-llvm-cov.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::cache::checkout;
use crate::cmd;
use crate::tool;

/// The release of cargo-llvm-cov that is used.
const LLVM_COV: &str = "0.9.1";
/// How many of a hundred lines have to be run.
const GOAL: u64 = 90;
/// Not counted: tests on clusters, and what developers run.
const LEFT_OUT: [&str; 2] = ["oarmaster-e2e", "xtask"];

/// `cargo xtask release-check coverage`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only these crates, like oarmaster-prices; what is found is then printed, and not written to docs/coverage.md
    #[arg(long = "package", value_name = "CRATE", value_delimiter = ',')]
    packages: Vec<String>,
}

/// Runs the check.
///
/// # Errors
/// Names the crates below the goal.
pub fn run(Args { packages }: &Args) -> Result<()> {
    let program = tool::installed("cargo-llvm-cov", LLVM_COV)?;
    // In the toolchain that the sources are built with.
    let mut add = cmd::command("rustup");
    add.args(["component", "add", "llvm-tools"]);
    cmd::output(add.current_dir(checkout())).context("LLVM's tools are missing")?;
    let members = members()?;
    if let Some(unknown) = packages.iter().find(|name| !members.contains_key(*name)) {
        anyhow::bail!(
            "there is no crate `{unknown}`; there are {}",
            names(&members)
        );
    }
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let report = folder.path().join("coverage.json");
    let mut command = cmd::command(&program);
    // As cargo calls it.
    command.args(["llvm-cov", "test", "--locked", "--no-cfg-coverage"]);
    if packages.is_empty() {
        command.arg("--workspace");
        command.args(LEFT_OUT.iter().flat_map(|name| ["--exclude", name]));
    }
    command.args(packages.iter().flat_map(|name| ["--package", name]));
    command
        .args(["--json", "--summary-only", "--output-path"])
        .arg(&report);
    cmd::pass(command.current_dir(checkout()))?;
    let text = fs::read_to_string(&report).context("failed to read the report")?;
    let report: Report = serde_json::from_str(&text).context("failed to read the report")?;
    let wanted: BTreeMap<_, _> = members
        .into_iter()
        .filter(|(name, _)| packages.is_empty() || packages.contains(name))
        .collect();
    let rows = rows(&report, &checkout(), &wanted);
    let table = table(&rows);
    print!("{table}");
    if packages.is_empty() {
        let text = format!("{HEAD}{table}");
        fs::write(checkout().join("docs/coverage.md"), text)
            .context("failed to write docs/coverage.md")?;
    }
    let short: Vec<_> = rows.iter().filter(|row| !row.enough()).collect();
    let short: Vec<_> = short.iter().map(|row| row.name.as_str()).collect();
    ensure!(
        short.is_empty(),
        "tests run less than {GOAL} % of the lines of {}",
        short.join(", ")
    );
    Ok(())
}

const HEAD: &str = "\
# Coverage

Lines that the tests without a cluster run, by crate, counted by `cargo xtask release-check coverage`, which writes this page. Tests themselves are not counted. \
The goal is 90 %.

";

/// The crates that are counted, with their folders in the checkout.
fn members() -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: std::path::PathBuf,
    }
    let mut command = cmd::cargo();
    command.args(["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let said: Metadata = serde_json::from_str(&cmd::output(&mut command)?)?;
    Ok(said
        .packages
        .into_iter()
        .filter(|package| !LEFT_OUT.contains(&package.name.as_str()))
        .filter_map(|package| {
            let folder = package
                .manifest_path
                .parent()?
                .strip_prefix(checkout())
                .ok()?;
            Some((package.name, folder.to_string_lossy().into_owned()))
        })
        .collect())
}

fn names(members: &BTreeMap<String, String>) -> String {
    members.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// What is read of llvm-cov's report.
#[derive(Deserialize)]
struct Report {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<Of>,
}

#[derive(Deserialize)]
struct Of {
    filename: String,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

#[derive(Deserialize)]
struct Lines {
    count: u64,
    covered: u64,
}

/// A crate's lines, and those that were run.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    lines: u64,
    covered: u64,
}

impl Row {
    /// A crate of no lines has none that are not run; one that is not in the report at all was not measured.
    const fn enough(&self) -> bool {
        self.lines > 0 && self.covered * 100 >= self.lines * GOAL
    }
}

/// The sums of each crate.
fn rows(report: &Report, checkout: &Path, members: &BTreeMap<String, String>) -> Vec<Row> {
    let files: Vec<_> = report.data.iter().flat_map(|data| &data.files).collect();
    let of = |name: &String, folder: &String| {
        let root = checkout.join(folder).join("src");
        let (mut lines, mut covered) = (0, 0);
        let mut seen = BTreeSet::new();
        for file in &files {
            let Ok(path) = Path::new(&file.filename).strip_prefix(&root) else {
                continue;
            };
            if is_test(path) || !seen.insert(path) {
                continue;
            }
            lines += file.summary.lines.count;
            covered += file.summary.lines.covered;
        }
        Row {
            name: name.clone(),
            lines,
            covered,
        }
    };
    members
        .iter()
        .map(|(name, folder)| of(name, folder))
        .collect()
}

/// Files of tests beside what they test: `tests.rs`, `x_tests.rs`, and what lies in a folder of one of these names. Test modules within a file are
/// counted with it.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        let name = part.trim_end_matches(".rs");
        name == "tests" || name == "testing" || name.ends_with("_tests")
    })
}

fn table(rows: &[Row]) -> String {
    let mut text = "| crate | lines | run | of a hundred | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let Row {
            name,
            lines,
            covered,
        } = row;
        // One digit behind the point, rounded down: nothing is shown better than it is.
        let tenths = (covered * 1000).checked_div(*lines).unwrap_or_default();
        let verdict = if row.enough() { "ok" } else { "short" };
        let percent = format!("{}.{}", tenths / 10, tenths % 10);
        text += &format!("| {name} | {lines} | {covered} | {percent} | {verdict} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_up_by_crate_and_tests_are_not_counted() {
        let file = |name: &str, count: u64, covered: u64| {
            let lines = serde_json::json!({ "count": count, "covered": covered });
            serde_json::json!({ "filename": name, "summary": { "lines": lines } })
        };
        let report = serde_json::json!({ "data": [{ "files": [
            file("/o/store/src/lib.rs", 100, 80),
            file("/o/store/src/log/mod.rs", 900, 819),
            file("/o/store/src/log/tests.rs", 1000, 1000),
            file("/o/store/src/tests/audit.rs", 1000, 1000),
            file("/o/store/src/a_tests.rs", 1000, 1000),
            file("/o/prices/src/lib.rs", 10, 9),
            file("/elsewhere/src/lib.rs", 10, 0),
        ] }] });
        let report: Report = serde_json::from_value(report).unwrap();
        let members = ["prices", "serve", "store"];
        let members = members.map(|name| (format!("oarmaster-{name}"), name.to_owned()));
        let rows = rows(&report, Path::new("/o"), &members.into());
        assert_eq!(
            table(&rows),
            "| crate | lines | run | of a hundred | |\n\
             |---|---|---|---|---|\n\
             | oarmaster-prices | 10 | 9 | 90.0 | ok |\n\
             | oarmaster-serve | 0 | 0 | 0.0 | short |\n\
             | oarmaster-store | 1000 | 899 | 89.9 | short |\n"
        );
    }
}
