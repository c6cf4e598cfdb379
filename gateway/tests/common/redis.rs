//! A Redis of this test's own, on a socket in a temporary folder: Debian's, which `cargo xtask test` installs.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server. It keeps nothing on disk.
pub struct Server {
    dir: tempfile::TempDir,
    program: PathBuf,
    process: Child,
}

impl Server {
    #[allow(clippy::print_stderr)] // a test that did nothing says so
    /// Starts one; none where the machine has no Redis, which is a failure under `CI=true`.
    pub fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let Some(program) = program(&dir) else {
            let strict = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
            assert!(!strict, "there is no redis-server: install redis-tools");
            eprintln!("SKIPPED: there is no redis-server: install redis-tools");
            return None;
        };
        let process = launch(&program, &dir);
        Some(Self {
            dir,
            program,
            process,
        })
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Forgets everything.
    pub async fn flush(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let flush = redis::cmd("FLUSHALL");
        flush.exec_async(&mut connection).await.unwrap();
    }

    /// All keys with their times to live in milliseconds.
    pub async fn keys(&self) -> Vec<(String, i64)> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut ask = redis::cmd("KEYS");
        let names: Vec<String> = ask.arg("*").query_async(&mut connection).await.unwrap();
        let mut keys = Vec::new();
        for name in names {
            let mut ask = redis::cmd("PTTL");
            let left = ask.arg(&name).query_async(&mut connection).await.unwrap();
            keys.push((name, left));
        }
        keys
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        self.process = launch(&self.program, &self.dir);
    }

    /// Stops it without ending it.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // also where it is paused
        let _ = self.process.wait();
    }
}

/// The server's program. Debian's redis-tools have it by another name, by which it is another one.
fn program(dir: &tempfile::TempDir) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let find = |name: &str| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    find("redis-server").or_else(|| {
        let link = dir.path().join("redis-server");
        std::os::unix::fs::symlink(find("redis-check-rdb")?, &link).unwrap();
        Some(link)
    })
}

fn launch(program: &PathBuf, dir: &tempfile::TempDir) -> Child {
    let mut process = Command::new(program)
        .args(["--port", "0", "--unixsocket", "socket", "--save", ""])
        .args(["--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(dir.path())
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(dir.path().join("socket")).is_err() {
        assert_eq!(process.try_wait().unwrap(), None, "redis-server has ended");
        assert!(begun.elapsed() < Duration::from_secs(60), "no socket");
        std::thread::sleep(Duration::from_millis(5));
    }
    process
}
