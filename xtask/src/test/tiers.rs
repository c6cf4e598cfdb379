//! Tests against a real API server, and against a real node.
//!
//! `--workspace` selects the same features as the unit tests do: nothing is compiled twice.

use std::fs::File;
use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result, bail};

use super::cargo;
use super::report::{Outcome, Report};
use crate::cache::checkout;
use crate::cluster::{self, Policy, Target};
use crate::cmd;

/// An API server without nodes, which needs no rights on the machine. It is always the local one: the tests fill it with objects.
pub fn api(report: &mut Report) {
    if !api_is_up(report) {
        return;
    }
    report.stage("API tests", || against_api("api", &[]));
    report.stage("crash matrix", || against_api("crash", &[]));
    api_is_down(report);
}

/// The tests against an API server in a process of their own, beside those on a node. What it says is shown when it has ended.
pub fn both(report: &mut Report) {
    // First, and alone: both clusters are made of the same programs.
    let beside = api_is_up(report).then(|| start(&["test", "api"]));
    node(report);
    if let Some(beside) = beside {
        report.stage("API tier, beside the node tier", || {
            println!("what it says comes when it has ended");
            let (mut child, mut said) = beside?;
            let status = child.wait().context("failed to wait for the tests")?;
            said.rewind()?;
            std::io::copy(&mut said, &mut std::io::stdout())?;
            if !status.success() {
                bail!("see above ({status})");
            }
            Ok(Outcome::Passed)
        });
    }
}

/// This program as a process of its own, and what it says.
fn start(args: &[&str]) -> Result<(Child, File)> {
    let said = tempfile::tempfile().context("failed to make a temporary file")?;
    let child = this(args)
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .spawn()
        .context("failed to start the tests")?;
    Ok((child, said))
}

/// Five minutes of what callers and providers may send. The cases begin the same each time, and there are as many as the machine has time for: what a change
/// breaks is found by its own run. Others are tried by [`long`] and by hand.
pub fn fuzz(report: &mut Report) {
    report.stage("fuzzing", || own(&["fuzz", "--for", "5m", "--seed", "5"]));
}

/// The tests that take longer than everybody's patience.
pub fn long(report: &mut Report) {
    report.stage("model of the ledger, in full", || {
        let test = [
            "test",
            "--package",
            "oarmaster-store",
            "--test",
            "protocol",
            "--release",
        ];
        cmd::pass(cargo(&test).env("OARMASTER_MODEL", "full"))?;
        Ok(Outcome::Passed)
    });
    report.stage("failing providers, in full", || {
        let test = ["test", "--package", "oarmaster-gateway", "--test", "faults"];
        cmd::pass(cargo(&test).env("OARMASTER_FAULTS", "full"))?;
        Ok(Outcome::Passed)
    });
    report.stage("killed gateway, in full", || {
        let test = ["test", "--package", "oarmaster-gateway", "--test", "killed"];
        cmd::pass(cargo(&test).env("OARMASTER_KILLS", "full"))?;
        Ok(Outcome::Passed)
    });
    report.stage("what is no longer kept, in full", || {
        let package = ["test", "--package", "oarmaster-store", "--lib", "retention"];
        cmd::pass(cargo(&package).env("OARMASTER_SWEEPS", "full"))?;
        Ok(Outcome::Passed)
    });
    report.stage("fuzzing", || own(&["fuzz", "--for", "10m"]));
    report.stage("a million reviews", || {
        let test = ["test", "--package", "oarmaster-webhook", "--test", "fuzz"];
        cmd::pass(
            cargo(&[&test[..], &["--", "--nocapture"]].concat()).env("OARMASTER_REVIEWS", "full"),
        )?;
        Ok(Outcome::Passed)
    });
    if !api_is_up(report) {
        return;
    }
    report.stage("crash matrix, in full", || {
        against_api("crash", &[("OARMASTER_CRASH", "full")])
    });
    api_is_down(report);
    let up = ["cluster", "up", "--api-only", "--oldest"];
    if report.stage("API server is as the oldest supported", || own(&up)) {
        report.stage("API tests, on the oldest", || against_api("api", &[]));
        api_is_down(report);
    }
}

/// The chaos of the crash tier alone, and what it says.
pub fn chaos(report: &mut Report, settings: &[(&str, String)]) {
    if !api_is_up(report) {
        return;
    }
    report.stage("chaos", || {
        let kubeconfig = kubeconfig(&["cluster", "kubeconfig", "--api-only"])?;
        let test = [
            "test",
            "--workspace",
            "--test",
            "crash",
            "--",
            "chaos::",
            "--nocapture",
        ];
        let settings = settings.iter().map(|(name, value)| (*name, value));
        cmd::pass(
            cargo(&test)
                .env("OARMASTER_API_KUBECONFIG", kubeconfig)
                .envs(settings),
        )?;
        Ok(Outcome::Passed)
    });
    api_is_down(report);
}

fn api_is_up(report: &mut Report) -> bool {
    report.stage("API server is up", || own(&["cluster", "up", "--api-only"]))
}

fn api_is_down(report: &mut Report) {
    report.stage("API server is down", || {
        own(&["cluster", "down", "--api-only"])
    });
}

fn against_api(test: &str, settings: &[(&str, &str)]) -> Result<Outcome> {
    let kubeconfig = kubeconfig(&["cluster", "kubeconfig", "--api-only"])?;
    cmd::pass(
        cargo(&["test", "--workspace", "--test", test])
            .env("OARMASTER_API_KUBECONFIG", kubeconfig)
            .envs(settings.iter().copied()),
    )?;
    Ok(Outcome::Passed)
}

/// A cluster that runs pods: that of KUBECONFIG, else the local one.
pub fn node(report: &mut Report) {
    let (mut found, mut local) = (None, false);
    let up = report.stage("cluster is up", || {
        found = Some(match cluster::target()? {
            Target::Local => {
                local = true;
                cluster::ensure(Policy::Enforced)?
            }
            Target::External(kubeconfig) => kubeconfig,
            Target::None(missing) => {
                return Ok(Outcome::Skipped(format!(
                    "the end-to-end tests: this machine cannot run pods ({missing}); set KUBECONFIG to a cluster"
                )));
            }
        });
        Ok(Outcome::Passed)
    });
    let (true, Some(kubeconfig)) = (up, found) else {
        return;
    };
    report.stage("end-to-end tests", || {
        cmd::pass(
            cargo(&["test", "--workspace", "--test", "node"])
                .env("OARMASTER_E2E_KUBECONFIG", &kubeconfig),
        )?;
        Ok(Outcome::Passed)
    });
    if local {
        report.stage("end-to-end tests without enforcement", || {
            without_enforcement(&kubeconfig)
        });
    }
}

/// The tests about NetworkPolicies again, on the same cluster with what is
/// installed in it, while nothing enforces them: a probe that finds everything
/// refused here too would prove nothing there.
fn without_enforcement(kubeconfig: &Path) -> Result<Outcome> {
    cluster::ensure(Policy::Ignored)?;
    let tested = cmd::pass(
        cargo(&["test", "--workspace", "--test", "node", "--", "enforcement"])
            .env("OARMASTER_E2E_KUBECONFIG", kubeconfig)
            .env("OARMASTER_E2E_POLICY", "ignored")
            .env("OARMASTER_E2E_AS_IS", "1"),
    );
    // After a failure too: the next run finds the cluster as it was.
    cluster::ensure(Policy::Enforced)?;
    tested.map(|()| Outcome::Passed)
}

fn own(args: &[&str]) -> Result<Outcome> {
    cmd::pass(&mut this(args))?;
    Ok(Outcome::Passed)
}

fn kubeconfig(args: &[&str]) -> Result<PathBuf> {
    let path = cmd::output(&mut this(args))?;
    if path.trim().is_empty() {
        bail!("the cluster has no kubeconfig");
    }
    Ok(PathBuf::from(path.trim()))
}

fn this(args: &[&str]) -> Command {
    let mut command = cmd::this_program();
    command.args(args).current_dir(checkout());
    command
}
