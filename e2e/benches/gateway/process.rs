//! The processes of a run. Each is started here, is known by its own id, and ends with this program.

use crate::objects::RELEASE;
use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take to get ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is measured.
pub struct Process {
    child: Child,
    name: &'static str,
}

/// Says in the first line of the output where this process listens.
#[allow(clippy::print_stdout, reason = "it is how the parent learns the ports")]
pub fn say(ports: &[u16]) {
    println!("{}", json!(ports));
}

impl Process {
    /// Its id.
    pub fn pid(&self) -> Result<u32> {
        let name = self.name;
        self.child
            .id()
            .with_context(|| format!("{name} has ended; see its log in the run's folder"))
    }

    /// Ends it, and waits for that.
    pub async fn end(mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("failed to end {}", self.name))
    }

    /// Starts this program again in another role, and gives the ports that it says.
    pub async fn role(
        folder: &Path,
        name: &'static str,
        role: serde_json::Value,
    ) -> Result<(Self, Vec<u16>)> {
        let mut child = Command::new("/proc/self/exe")
            .env(oarmaster_e2e::bench::CONFIG, role.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log(folder, name)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let output = child.stdout.take().context("a pipe is missing")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .with_context(|| format!("{name} does not say where it listens"))??
            .with_context(|| format!("{name} ended at once; see {name}.log"))?;
        let ports = serde_json::from_str(&line).with_context(|| format!("{name} said {line}"))?;
        Ok((Self { child, name }, ports))
    }
}

fn log(folder: &Path, name: &str) -> Result<Stdio> {
    let path = folder.join(format!("{name}.log"));
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    Ok(file.into())
}

/// Ports that were free a moment ago.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener); // all at once, so that they differ
    }
    Ok(ports)
}

/// A gateway of its own.
pub struct Gateway {
    /// Its process.
    pub process: Process,
    /// Port of the data listener.
    pub data: u16,
    /// Port of the admin listener.
    pub admin: u16,
    /// Time from its start until it was ready.
    pub took: Duration,
}

impl Gateway {
    /// Starts the program of the image with an empty store, and waits until it is ready.
    pub async fn start(
        programs: &Path,
        folder: &Path,
        api: u16,
        name: &'static str,
    ) -> Result<Self> {
        let config = folder.join("kubeconfig");
        let server = format!("http://127.0.0.1:{api}");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": server}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        std::fs::write(&config, text.to_string())?;
        let store = folder.join(format!("{name}-data"));
        std::fs::create_dir_all(&store)?;
        let [data, read, admin, plain] = free()?;
        let local = |port: u16| format!("127.0.0.1:{port}");
        let mut command = Command::new(programs.join("oarmaster-gateway"));
        command
            .env("KUBECONFIG", &config)
            .env("SSL_CERT_FILE", folder.join("ca.crt"))
            .env_remove("SSL_CERT_DIR")
            .args(["--data-addr", &local(data)])
            .args(["--read-addr", &local(read)])
            .args(["--admin-addr", &local(admin)])
            .args(["--metrics-addr", &local(plain)])
            .args(["--namespace", RELEASE])
            .args(["--private-endpoints", "127.0.0.1"])
            .arg("--data-dir")
            .arg(&store)
            .stdin(Stdio::null())
            .stdout(log(folder, name)?)
            .stderr(log(folder, name)?)
            .kill_on_drop(true);
        let begun = Instant::now();
        let child = command.spawn().context("failed to start the gateway")?;
        let mut process = Process { child, name };
        let url = format!("http://127.0.0.1:{plain}/readyz");
        ready(&mut process, &url, Duration::from_millis(1)).await?;
        let took = begun.elapsed();
        Ok(Self {
            process,
            data,
            admin,
            took,
        })
    }
}

/// LiteLLM's proxy, one worker, without a database; TLS on both sides.
pub async fn litellm(
    programs: &Path,
    folder: &Path,
    mock: u16,
) -> Result<(Process, u16, Duration)> {
    let [port] = free()?;
    let base = format!("https://127.0.0.1:{mock}/plain/v1");
    let params = json!({"model": "openai/m", "api_base": base, "api_key": "sk-bench-key-0"});
    let steady = json!({"model": "openai/m", "api_base": format!("https://127.0.0.1:{mock}/steady/v1"), "api_key": "sk-bench-key-0"});
    let config = json!({
        "model_list": [
            {"model_name": "team/plain", "litellm_params": params},
            {"model_name": "team/steady", "litellm_params": steady},
        ],
        "general_settings": {"master_key": LITELLM_KEY},
        "litellm_settings": {"num_retries": 0},
    });
    let file = folder.join("litellm.yaml");
    std::fs::write(&file, config.to_string())?;
    let path = |name: &str| -> PathBuf { folder.join(name) };
    let begun = Instant::now();
    let child = Command::new(programs.join("litellm"))
        .arg("--config")
        .arg(&file)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--num_workers", "1", "--telemetry", "False"])
        .arg("--ssl_keyfile_path")
        .arg(path("tls.key"))
        .arg("--ssl_certfile_path")
        .arg(path("tls.crt"))
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("SSL_CERT_FILE", path("ca.crt"))
        .stdin(Stdio::null())
        .stdout(log(folder, "litellm")?)
        .stderr(log(folder, "litellm")?)
        .kill_on_drop(true)
        .spawn()
        .context("failed to start LiteLLM")?;
    let mut process = Process {
        child,
        name: "litellm",
    };
    let url = format!("https://127.0.0.1:{port}/health/liveliness");
    ready(&mut process, &url, Duration::from_millis(20)).await?;
    Ok((process, port, begun.elapsed()))
}

/// LiteLLM's master key.
pub const LITELLM_KEY: &str = "sk-bench-master-key";

async fn ready(process: &mut Process, url: &str, each: Duration) -> Result<()> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .danger_accept_invalid_certs(true)
        .build()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = http.get(url).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = process.child.try_wait()? {
            let name = process.name;
            bail!("{name} ended with {status}; see {name}.log in the run's folder");
        }
        if Instant::now() > deadline {
            bail!(
                "{} is not ready after {PATIENCE:?}; see its log in the run's folder",
                process.name
            );
        }
        tokio::time::sleep(each).await;
    }
}
