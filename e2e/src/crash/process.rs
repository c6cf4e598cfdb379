//! Processes that are killed by their own id, and started again.

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::ExitStatus;
use std::sync::Arc;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A process that runs now, or none.
pub struct Process {
    pid: watch::Sender<Option<u32>>,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            pid: watch::Sender::new(None),
        }
    }
}

impl Process {
    /// Runs a program to its end. It is killed when this is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        self.pid.send_replace(child.id());
        let ended = child.wait().await;
        self.pid.send_replace(None);
        Ok(ended?)
    }

    /// SIGKILL; returns when the process is gone, with everything that only it could have done.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<()> {
        let mut running = self.pid.subscribe();
        let pid = (*running.borrow_and_update()).context("the process does not run")?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        running.wait_for(|now| *now != Some(pid)).await?;
        Ok(())
    }
}

/// A program that is started again whenever it ends, as kubelet does; it is killed when this is dropped.
pub struct Daemon {
    process: Arc<Process>,
    starts: Arc<watch::Sender<usize>>,
    keeper: AbortHandle,
}

impl Daemon {
    /// Starts it.
    #[must_use]
    pub fn start(command: impl Fn() -> Command + Send + 'static) -> Self {
        let process = Arc::new(Process::default());
        let starts = Arc::new(watch::Sender::new(0));
        let (running, counted) = (Arc::clone(&process), Arc::clone(&starts));
        let keeper = tokio::spawn(async move {
            loop {
                counted.send_modify(|count| *count += 1);
                // How it ended does not matter: the number of its starts is held to what was done to it.
                drop(running.run(&mut command()).await);
            }
        });
        Self {
            process,
            starts,
            keeper: keeper.abort_handle(),
        }
    }

    /// SIGKILL. It is started again at once.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        *self.process.pid.borrow()
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> usize {
        *self.starts.borrow()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}
