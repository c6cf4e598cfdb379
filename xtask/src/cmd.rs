//! Running other programs: what they print on failure belongs to the error.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// A command with a search path that also finds system tools: a plain user's
/// PATH on Debian has no sbin.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path());
    command
}

/// The cargo that runs this program, in the checkout. It does not see what cargo told this program about its own package: build scripts look
/// at such variables (ring's does), and what they built for a shell would be built anew.
pub fn cargo() -> Command {
    let mut command = self::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::cache::checkout());
    for (name, _) in std::env::vars_os() {
        let of_a_package =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_a_package) {
            command.env_remove(name);
        }
    }
    command
}

/// This program, to be run again. Not by its path: a test run may build it anew, and what lay there is then gone.
pub fn this_program() -> Command {
    Command::new("/proc/self/exe")
}

fn search_path() -> String {
    let inherited = std::env::var("PATH").unwrap_or_default();
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    if inherited.is_empty() {
        system.to_owned()
    } else {
        format!("{inherited}:{system}")
    }
}

/// Where a program lies, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    search_path()
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| PathBuf::from(folder).join(program))
        .find(|path| path.is_file())
}

/// Runs to the end and answers what was printed; the error holds the rest.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run `{shown}`"))?;
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        let stdout = String::from_utf8_lossy(&done.stdout);
        let said = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        bail!("`{shown}` failed ({}): {}", done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Like [`output`], with `input` on standard input.
pub fn output_with(command: &mut Command, input: &str) -> Result<String> {
    use std::io::{Seek as _, Write as _};
    // A file, not a pipe: nobody has to write while somebody else reads.
    let mut file = tempfile::tempfile().context("failed to make a temporary file")?;
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    let shown = show(command);
    let done = command
        .stdin(Stdio::from(file))
        .output()
        .with_context(|| format!("failed to run `{shown}`"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        bail!("`{shown}` failed ({}): {said}", done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs to the end with our own output streams.
pub fn pass(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("failed to run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Like [`pass`], and answers what was printed.
pub fn tee(command: &mut Command) -> Result<String> {
    use std::io::{BufRead as _, BufReader};
    let shown = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to run `{shown}`"))?;
    let mut text = String::new();
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines())
    {
        let line = line.with_context(|| format!("failed to read what `{shown}` says"))?;
        println!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    let status = child
        .wait()
        .with_context(|| format!("failed to wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(text)
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    let line = words.join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or(&line)),
        None => line,
    }
}

/// Prints each finished step with the time it took.
pub struct Progress(());

/// When the program began, and its last step: steps of steps are on one clock.
static CLOCK: LazyLock<Mutex<(Instant, Instant)>> = LazyLock::new(|| {
    let now = Instant::now();
    Mutex::new((now, now))
});

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        LazyLock::force(&CLOCK);
        Self(())
    }

    /// Says that a step is done.
    pub fn done(&mut self, step: &str) {
        let now = Instant::now();
        let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, last) = *clock;
        let took = now.duration_since(last).as_secs_f64();
        let total = now.duration_since(started).as_secs_f64();
        println!("{total:7.1}s (+{took:.1}s)  {step}");
        clock.1 = now;
    }
}
