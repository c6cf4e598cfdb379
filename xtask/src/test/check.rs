//! Everything that is checked without a cluster.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cargo;
use super::report::{Outcome, Report};
use crate::alerts;
use crate::apt;
use crate::cache::{self, checkout};
use crate::cluster;
use crate::cmd;
use crate::images::language;
use crate::tool;

/// The release of cargo-deny that is used.
const DENY: &str = "0.20.2";

pub fn run(report: &mut Report) {
    report.command("formatting", &mut cargo(&["fmt", "--all", "--check"]));
    report.command(
        "lints",
        &mut cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    report.stage("generated files", || {
        cmd::pass(
            cmd::this_program()
                .args(["gen", "--check"])
                .current_dir(checkout()),
        )?;
        Ok(Outcome::Passed)
    });
    report.stage("alert rules", alert_rules);
    report.stage("dependencies", dependencies);
    report.stage("objects as GitOps tools see them", gitops);
    report.stage("redis", redis);
    report.stage("languages", languages);
    let mut tests = cargo(&["test", "--workspace", "--exclude", "oarmaster-e2e"]);
    report.stage("MCP servers", || {
        match servers() {
            Ok(folder) => tests.env("OARMASTER_MCP_SERVERS", folder),
            Err(error) => {
                return Ok(Outcome::Skipped(format!(
                    "tests with MCP servers of others do nothing: {error:#}"
                )));
            }
        };
        Ok(Outcome::Passed)
    });
    report.command("unit tests", &mut tests);
}

/// Recorded objects of every phase, as the health checks for Argo CD and kstatus see them. Go is fetched where there is none: nothing is skipped.
fn gitops() -> Result<Outcome> {
    let mut command = cluster::gitops()?;
    command.current_dir(checkout());
    cmd::pass(command.args(["config/argocd/argocd-cm.yaml", "e2e/fixtures/phases"]))?;
    Ok(Outcome::Passed)
}

/// The MCP servers that the gateway's tests talk to, from the locks beside them.
fn servers() -> Result<PathBuf> {
    let locks = checkout().join("gateway/tests/tools/servers");
    let key = cache::Key::default()
        .add("node", language::NODE.as_bytes())
        .add_files(&locks, |name| name != "server.py")?;
    cache::once(&format!("mcp-servers/{}", key.finish()), |folder| {
        let (javascript, python) = (folder.join("javascript"), folder.join("python"));
        std::fs::create_dir_all(&javascript).context("failed to make a folder")?;
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(locks.join(name), javascript.join(name))
                .with_context(|| format!("failed to copy {name}"))?;
        }
        // What is installed has the digests of the locks, and runs nothing while it is.
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        language::node(folder)?;
        let programs = folder.join("usr/local/bin");
        let mut install = cmd::command(programs.join("node"));
        install.arg(programs.join("npm")).args(npm);
        cmd::pass(install.current_dir(&javascript))?;
        cmd::pass(cmd::command("python3").args(["-m", "venv"]).arg(&python))?;
        let mut pip = cmd::command(python.join("bin/pip"));
        pip.args(["install", "--quiet", "--no-input", "--require-hashes"]);
        pip.args(["--only-binary=:all:", "--requirement"]);
        cmd::pass(pip.arg(locks.join("requirements.txt")))
    })
}

/// The chart's alert rules, where promtool can be built.
fn alert_rules() -> Result<Outcome> {
    if let Err(error) = cluster::promtool() {
        return Ok(Outcome::Skipped(format!(
            "the chart's alert rules are not checked: {error:#}"
        )));
    }
    alerts::check()?;
    Ok(Outcome::Passed)
}

/// The server that the gateway's tests start. Debian's redis-tools have it, and run none by themselves.
fn redis() -> Result<Outcome> {
    let there = ["redis-server", "redis-check-rdb"].into_iter();
    if there.filter_map(cmd::find).next().is_none()
        && let Err(error) = apt::install(&["redis-tools"])
    {
        return Ok(Outcome::Skipped(format!(
            "tests with Redis do nothing: {error:#}"
        )));
    }
    Ok(Outcome::Passed)
}

/// What the sandbox's tests run hostile programs with, beside C and Python, which the project needs anyway.
fn languages() -> Result<Outcome> {
    for (program, package) in [("node", "nodejs"), ("java", "default-jdk-headless")] {
        if cmd::find(program).is_none()
            && let Err(error) = apt::install(&[package])
        {
            return Ok(Outcome::Skipped(format!(
                "tests with {program} do nothing: {error:#}"
            )));
        }
    }
    Ok(Outcome::Passed)
}

/// Bans, licences and sources; advisories where their database can be fetched.
fn dependencies() -> Result<Outcome> {
    let deny = tool::installed("cargo-deny", DENY)?;
    // It looks at the crates of every platform, and a build fetched those of this one only.
    cmd::pass(&mut cargo(&["fetch", "--locked", "--quiet"]))?;
    let run = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command
            .args(["--offline", "check"])
            .args(what)
            .current_dir(checkout());
        command
    };
    cmd::pass(&mut run(&["bans", "licenses", "sources"]))?;
    let mut fetch = Command::new(&deny);
    fetch.args(["fetch", "db"]).current_dir(checkout());
    if cmd::output(&mut fetch).is_err() {
        return Ok(Outcome::Partly(
            "advisories were not checked: their database cannot be fetched from here".to_owned(),
        ));
    }
    cmd::pass(&mut run(&["advisories"]))?;
    Ok(Outcome::Passed)
}
