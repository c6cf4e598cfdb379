//! The processes that are measured: ours, which are started here, and the cluster's.

use crate::machine::{self, Clients};
use anyhow::{Context as _, Result, bail};
use oarmaster_e2e::installed::RELEASE;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long a process may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Operator and gateway, running on this machine as the chart would run them.
pub struct Product {
    programs: PathBuf,
    folder: PathBuf,
    ports: Ports,
    operator: Child,
    gateway: Child,
}

struct Ports {
    data: u16,
    read: u16,
    admin: u16,
    gateway_plain: u16,
    operator_plain: u16,
}

impl Product {
    /// Starts both, and waits until the gateway serves.
    pub async fn start(clients: &Clients, programs: &Path, folder: &Path) -> Result<Self> {
        for account in ["oarmaster-operator", "oarmaster-gateway"] {
            let token = token(clients, account, None).await?;
            let config = clients.kubeconfig(&token)?;
            std::fs::write(folder.join(account), config.to_string())?;
        }
        let admin = token(
            clients,
            "oarmaster-operator",
            Some("oarmaster-gateway-admin"),
        )
        .await?;
        std::fs::write(folder.join("admin-token"), admin)?;
        std::fs::create_dir_all(folder.join("ca"))?;
        let ports = Ports::free()?;
        let gateway = gateway(programs, folder, &ports)?;
        let operator = operator(programs, folder, &ports)?;
        let product = Self {
            programs: programs.to_owned(),
            folder: folder.to_owned(),
            ports,
            operator,
            gateway,
        };
        product.ready().await?;
        product.mount_ca(clients).await?;
        Ok(product)
    }

    /// The operator's process.
    pub fn operator(&self) -> Result<u32> {
        self.operator.id().context("the operator has ended")
    }

    /// The gateway's process.
    pub fn gateway(&self) -> Result<u32> {
        self.gateway.id().context("the gateway has ended")
    }

    /// URL of the gateway's data listener.
    pub fn data(&self) -> String {
        format!("https://localhost:{}", self.ports.data)
    }

    /// How many passes the Task controller has made.
    pub async fn passes(&self) -> Result<u32> {
        let url = format!("http://127.0.0.1:{}/metrics", self.ports.operator_plain);
        let text = reqwest::get(&url).await?.text().await?;
        let name = "oarmaster_reconcile_duration_seconds_count{kind=\"Task\"} ";
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|count| count.parse().ok())
            .context("the operator's metrics do not count passes")
    }

    /// Ends the operator and starts another one, which finds everything as it is. Gives the time until its caches are filled.
    pub async fn restart_operator(&mut self) -> Result<Duration> {
        let log = self.folder.join("operator.log");
        let before = filled(&log)?;
        let pid = i32::try_from(self.operator()?)?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGTERM,
        )?;
        self.operator.wait().await?;
        let begun = Instant::now();
        self.operator = operator(&self.programs, &self.folder, &self.ports)?;
        while filled(&log)? == before {
            if begun.elapsed() > PATIENCE * 3 {
                bail!(
                    "the operator did not fill its caches; see {}",
                    log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(begun.elapsed())
    }

    async fn ready(&self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.ports.gateway_plain);
        let http = reqwest::Client::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the gateway is not ready; see the logs in {}",
                    self.folder.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Puts the CA where the operator expects the mounted Secret, as its kubelet would.
    async fn mount_ca(&self, clients: &Clients) -> Result<()> {
        #[derive(Deserialize)]
        struct Secret {
            #[serde(default)]
            data: BTreeMap<String, k8s_openapi::ByteString>,
        }
        let url = format!("/api/v1/namespaces/{RELEASE}/secrets/oarmaster-ca");
        let secret: Secret = machine::ask(&clients.admin, &url).await?;
        for (key, value) in secret.data {
            std::fs::write(self.folder.join("ca").join(key), value.0)?;
        }
        Ok(())
    }
}

/// The end of a process's log, under its name.
pub fn last_words(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.len().saturating_sub(5);
    let said: Vec<&str> = lines.into_iter().skip(tail).collect();
    format!("the end of what {name} said:\n{}", said.join("\n"))
}

/// How often an operator has said that its caches are filled.
fn filled(log: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(log)?;
    Ok(text.matches("caches are filled").count())
}

impl Ports {
    fn free() -> Result<Self> {
        let mut held = Vec::new();
        let mut next = || -> Result<u16> {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let port = listener.local_addr()?.port();
            held.push(listener); // all five at once, so that they differ
            Ok(port)
        };
        Ok(Self {
            data: next()?,
            read: next()?,
            admin: next()?,
            gateway_plain: next()?,
            operator_plain: next()?,
        })
    }
}

fn gateway(programs: &Path, folder: &Path, ports: &Ports) -> Result<Child> {
    let local = |port: u16| format!("127.0.0.1:{port}");
    let mut command = command(programs, folder, "gateway")?;
    command
        .args(["--data-addr", &local(ports.data)])
        .args(["--read-addr", &local(ports.read)])
        .args(["--admin-addr", &local(ports.admin)])
        .args(["--metrics-addr", &local(ports.gateway_plain)])
        .args(["--namespace", RELEASE])
        .arg("--data-dir")
        .arg(folder.join("gateway-data"));
    command.spawn().context("failed to start the gateway")
}

fn operator(programs: &Path, folder: &Path, ports: &Ports) -> Result<Child> {
    let mut command = command(programs, folder, "operator")?;
    command
        .args(["--namespace", RELEASE])
        .args([
            "--gateway-url",
            &format!("https://localhost:{}", ports.admin),
        ])
        .args(["--runner-image", "docker.io/oarmaster/runner:bench"])
        .args([
            "--metrics-addr",
            &format!("127.0.0.1:{}", ports.operator_plain),
        ])
        .args(["--identity", "bench"])
        .arg("--token-file")
        .arg(folder.join("admin-token"))
        .arg("--ca-dir")
        .arg(folder.join("ca"));
    command.spawn().context("failed to start the operator")
}

fn command(programs: &Path, folder: &Path, name: &str) -> Result<Command> {
    let path = folder.join(format!("{name}.log"));
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    let mut command = Command::new(programs.join(format!("oarmaster-{name}")));
    command
        .env("KUBECONFIG", folder.join(format!("oarmaster-{name}")))
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
}

async fn token(clients: &Clients, account: &str, audience: Option<&str>) -> Result<String> {
    let url = format!("/api/v1/namespaces/{RELEASE}/serviceaccounts/{account}/token");
    let audiences: Vec<&str> = audience.into_iter().collect();
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": 24 * 3600}});
    Token::ask(&clients.tokens, &url, &body)
        .await
        .with_context(|| format!("failed to get a token of {account}"))
}

/// The answer to a request for a token.
#[derive(Deserialize)]
pub struct Token {
    status: TokenStatus,
}

#[derive(Deserialize)]
struct TokenStatus {
    token: String,
}

impl Token {
    /// Asks for a token.
    pub async fn ask(
        client: &kube::Client,
        url: &str,
        body: &serde_json::Value,
    ) -> Result<String, kube::Error> {
        let request = http::Request::post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        let answer: Self = client.request(request).await?;
        Ok(answer.status.token)
    }
}
