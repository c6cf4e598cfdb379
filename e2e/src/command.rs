//! Programs that a test runs: bounded in time, their output captured.

use crate::installed::AS_IS;
use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;
use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

/// A program to run.
pub struct Run {
    command: Command,
    name: String,
    deadline: Duration,
    stdin: Option<Vec<u8>>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Output {
    /// Exit code; absent after a signal.
    pub code: Option<i32>,
    /// Standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    name: String,
}

impl Run {
    /// A program, looked up on the PATH. Its deadline is two minutes.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.kill_on_drop(true);
        Self {
            name: program.as_ref().to_string_lossy().into_owned(),
            command,
            deadline: Duration::from_secs(120),
            stdin: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: &[S]) -> Self {
        for arg in args {
            self.name.push(' ');
            self.name.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg.as_ref());
        }
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, path: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Gives it a text to read.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Sets when it is given up.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or its deadline passes. A non-zero exit code is no error.
    pub async fn output(self) -> Result<Output> {
        let Self {
            mut command,
            name,
            deadline,
            stdin,
        } = self;
        command.stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("failed to start `{name}`"))?;
        let feed = child.stdin.take().zip(stdin);
        let feed = async {
            if let Some((mut pipe, text)) = feed {
                // A program that ends before it has read all is judged by its exit code.
                drop(pipe.write_all(&text).await);
            }
        };
        let done = async { tokio::join!(feed, child.wait_with_output()).1 };
        match tokio::time::timeout(deadline, done).await {
            Err(_) => bail!("`{name}` did not end within {deadline:?}"),
            Ok(ended) => {
                let ended = ended.with_context(|| format!("failed to wait for `{name}`"))?;
                Ok(Output {
                    code: ended.status.code(),
                    stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
                    name,
                })
            }
        }
    }

    /// Runs it to its end and takes its standard output.
    ///
    /// # Errors
    /// As [`Run::output`], and when its exit code is not 0.
    pub async fn stdout(self) -> Result<String> {
        Ok(self.output().await?.success()?.stdout)
    }
}

impl Output {
    /// Both streams, for a person.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "`{}` ended with {:?}\n{}{}",
            self.name, self.code, self.stdout, self.stderr
        )
    }

    /// This output, if the exit code is 0.
    ///
    /// # Errors
    /// When it is another one; the error has both streams.
    pub fn success(self) -> Result<Self> {
        if self.code != Some(0) {
            bail!("{}", self.text());
        }
        Ok(self)
    }
}

/// The `cargo` that runs the test, in the checkout. It does not see what cargo told the test about its package: build scripts look at such
/// variables (ring's does), and everything above them would be built anew.
fn cargo(args: &[&str]) -> Run {
    let mut run = Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let of_a_package =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_a_package) {
            run.command.env_remove(name);
        }
    }
    run.args(args)
        .dir(crate::cluster::checkout())
        .within(Duration::from_secs(1800))
}

/// A developer's command of this checkout.
#[must_use]
pub fn xtask(args: &[&str]) -> Run {
    cargo(&["run", "--quiet", "--package", "xtask", "--"]).args(args)
}

/// A program of this checkout, built once for all tests of a run.
///
/// # Errors
/// When it cannot be built.
pub async fn built(name: &str) -> Result<PathBuf> {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_try_init(async || {
        if std::env::var_os(AS_IS).is_none() {
            // All of the workspace: with the features, and thus the crates, of the tests.
            let build = ["build", "--quiet", "--workspace", "--bins"];
            cargo(&build).stdout().await?;
        }
        anyhow::Ok(())
    })
    .await?;
    // target/debug/deps/<this test>
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("no target directory")?;
    Ok(folder.join(name))
}

/// A program that runs until it is dropped.
pub struct Service {
    _child: Child,
    _reader: JoinHandle<()>,
}

impl Run {
    /// Starts it and waits until a line of its output contains `ready`.
    ///
    /// # Errors
    /// When it cannot be started, ends first, or its deadline passes; the error has what it said.
    pub async fn serve(self, ready: &str) -> Result<Service> {
        let Self {
            mut command,
            name,
            deadline,
            stdin: _,
        } = self;
        // One pipe for both streams, in the order of the lines.
        let (reader, writer) = std::io::pipe()?;
        command.stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command
            .spawn()
            .with_context(|| format!("failed to start `{name}`"))?;
        drop(command); // and its copies of the writing end
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        // Reads on to the end, so that a full pipe never stops the program.
        let reading = tokio::task::spawn_blocking(move || {
            for line in std::io::BufReader::new(reader).lines() {
                let Ok(line) = line else { return };
                drop(said.send(line)); // nobody listens once it is ready
            }
        });
        let mut lines = String::new();
        let waited = tokio::time::timeout(deadline, async {
            while let Some(line) = heard.recv().await {
                lines.push_str(&line);
                lines.push('\n');
                if line.contains(ready) {
                    return true;
                }
            }
            false
        });
        match waited.await {
            Ok(true) => Ok(Service {
                _child: child,
                _reader: reading,
            }),
            Ok(false) => bail!("`{name}` ended before it said {ready:?}:\n{lines}"),
            Err(_) => bail!("`{name}` did not say {ready:?} within {deadline:?}:\n{lines}"),
        }
    }
}
