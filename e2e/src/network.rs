//! What a pod's network lets through, tried from this machine inside the pod's network namespace: user code has no sockets to try with, and
//! the pilot's image has no program. These tests need the local cluster of `cargo xtask cluster up`, whose node this machine is.

use crate::command::Run;
use crate::kill;
use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Set to `ignored` where nothing enforces NetworkPolicies, as after `cargo xtask cluster up --no-policy`.
const POLICY: &str = "OARMASTER_E2E_POLICY";

/// How long an attempt waits for an answer. What is dropped never answers, so that a busy machine makes no test fail by this.
const PATIENCE: &str = "3";

/// One attempt per argument: `tcp/ADDRESS/PORT`, or `dns/ADDRESS/PORT` for a question by UDP.
const ATTEMPTS: &str = r#"
import socket, sys, threading
wait = float(sys.argv[1])
question = b"\0\1\1\0\0\1\0\0\0\0\0\0\x0akubernetes\7default\3svc\7cluster\5local\0\0\1\0\1"
def attempt(target):
    kind, address, port = target.split("/")
    try:
        if kind == "tcp":
            socket.create_connection((address, int(port)), wait).close()
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                asked.settimeout(wait)
                asked.connect((address, int(port)))
                asked.send(question)
                asked.recv(512)
        came = "answer"
    except ConnectionRefusedError:
        came = "refusal"
    except TimeoutError:
        came = "nothing"
    except OSError as error:
        came = repr(error)
    sys.stdout.write(f"{target} {came}\n")
threads = [threading.Thread(target=attempt, args=(target,)) for target in sys.argv[2:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"#;

/// Whether the cluster enforces NetworkPolicies.
#[must_use]
pub fn enforced() -> bool {
    std::env::var_os(POLICY).is_none_or(|value| value != "ignored")
}

/// A TCP port.
#[must_use]
pub fn tcp(address: impl Display, port: impl Display) -> String {
    format!("tcp/{address}/{port}")
}

/// A name server, asked by UDP.
#[must_use]
pub fn dns(address: impl Display, port: impl Display) -> String {
    format!("dns/{address}/{port}")
}

/// The network namespace of a pod.
pub struct Network {
    namespace: String,
}

impl Network {
    /// The one in which a container of the pod runs.
    ///
    /// # Errors
    /// When the container does not run on this machine.
    pub fn of(pod: &Pod, container: &str) -> Result<Self> {
        let processes = kill::processes(pod, container)?;
        let first = processes.first().context("no process")?;
        Ok(Self {
            namespace: format!("--net=/proc/{first}/ns/net"),
        })
    }

    /// Runs a program of this machine there.
    #[must_use]
    pub fn run(&self, program: &[&str]) -> Run {
        Run::new("nsenter").args(&[&self.namespace]).args(program)
    }

    /// Which of the targets something came back from: an answer, or the refusal of a port where nobody listens.
    ///
    /// # Errors
    /// When an attempt ends in another way than these, or silence.
    pub async fn reaches(&self, targets: &[String]) -> Result<BTreeMap<String, bool>> {
        let run = self.run(&["python3", "-c", ATTEMPTS, PATIENCE]);
        let told = run.args(targets).stdout().await?;
        let mut reached = BTreeMap::new();
        for line in told.lines() {
            let (target, came) = line.split_once(' ').context("an attempt said nothing")?;
            let back = match came {
                "answer" | "refusal" => true,
                "nothing" => false,
                other => bail!("{target}: {other}"),
            };
            reached.insert(target.to_owned(), back);
        }
        Ok(reached)
    }

    /// Tries until exactly those targets are reached that are `wanted` so: who answers may have started a moment ago.
    ///
    /// # Errors
    /// When one is reached that must not be, or one is not after a minute that must.
    pub async fn expect(&self, wanted: &BTreeMap<String, bool>) -> Result<()> {
        let targets: Vec<String> = wanted.keys().cloned().collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let seen = self.reaches(&targets).await?;
            if seen == *wanted {
                return Ok(());
            }
            let closed = |target: &String| wanted.get(target) == Some(&false);
            let hole = seen.iter().any(|(target, back)| *back && closed(target));
            if hole || Instant::now() > deadline {
                bail!("reached: {seen:#?}\nwanted: {wanted:#?}");
            }
        }
    }
}
