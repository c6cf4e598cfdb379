//! An API server for measurements: of its own, made anew, with an audit log, and gone afterwards.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cluster::layout::Layout;
use crate::cluster::policy::Policy;
use crate::cluster::process::Program;
use crate::cluster::{down, go, up};
use crate::cmd;

/// The cluster while it runs.
pub struct Measured {
    layout: Layout,
}

/// Starts it, does the work, and removes it however the work ends.
pub fn measured<T>(work: impl FnOnce(&Measured) -> Result<T>) -> Result<T> {
    let cluster = Measured {
        layout: Layout::measured()?,
    };
    down::down(&cluster.layout)?;
    let done = up::up(&cluster.layout, Policy::Ignored).and_then(|()| work(&cluster));
    let removed = down::down(&cluster.layout);
    let done = done?;
    removed?;
    Ok(done)
}

impl Measured {
    /// Folder of the kubeconfigs, one for each user.
    pub fn kubeconfigs(&self) -> PathBuf {
        self.layout.kubeconfigs()
    }

    /// The API server's audit log.
    pub fn audit(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// A folder that goes with the cluster.
    pub fn folder(&self) -> PathBuf {
        self.layout.state.join("work")
    }

    /// The processes.
    pub fn pids(&self) -> Result<BTreeMap<String, i32>> {
        let programs = Program::all(&self.layout)?;
        let running = programs.iter().filter_map(|program| {
            let mark = program.running()?;
            Some((program.name().to_owned(), mark.pid))
        });
        Ok(running.collect())
    }

    /// Helm as the administrator.
    pub fn helm(&self) -> Result<Command> {
        let mut command = cmd::command(go::helm()?.program("helm"));
        command.env("KUBECONFIG", self.layout.kubeconfig());
        Ok(command)
    }
}
