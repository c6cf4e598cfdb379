//! What a kubelet does for a sandbox pod, as far as pilot and exec can tell: runs the programs of its containers with the arguments that
//! the Job gives them, restarts the sidecar, tells the API server, and kills everything when the pod is deleted.

use super::process::{Daemon, Process};
use crate::gateway::token_of;
use crate::proxy::{Identity, Proxy, Rule, Switch, Upstream};
use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use oarmaster_crds::names;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// UID of exec, where this process may choose it.
const EXEC_UID: u32 = 65533;

/// An attempt: namespace and name of the Task, and the number.
pub type Attempt = (String, String, u32);

/// What the pods need from outside.
pub struct Settings {
    /// A client that may do what a kubelet may.
    pub client: Client,
    /// The pilot's program.
    pub runner: PathBuf,
    /// The supervisor's.
    pub exec: PathBuf,
    /// Directory for the pods' volumes, open to every user.
    pub dir: PathBuf,
    /// The gateway's certificate, for the proxy in front of it.
    pub identity: Identity,
    /// The gateway's data listener.
    pub gateway: Upstream,
}

/// The stub.
pub struct Kubelet {
    inner: Arc<Inner>,
    watch: AbortHandle,
}

struct Inner {
    settings: Settings,
    namespaces: Mutex<HashSet<String>>,
    rules: Mutex<HashMap<Attempt, Arc<Rule>>>,
    sandboxes: watch::Sender<HashMap<Attempt, Arc<Sandbox>>>,
    pods: Mutex<HashMap<String, JoinHandle<Result<()>>>>,
    failed: Mutex<Vec<String>>,
}

/// The processes and the files of a pod.
pub struct Sandbox {
    /// The agent loop.
    pub pilot: Process,
    /// The sidecar, if there is one.
    pub exec: Option<Daemon>,
    /// The pod's volumes.
    pub dir: PathBuf,
}

impl Kubelet {
    /// Takes the sandbox pods of the namespaces that it is given.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let inner = Arc::new(Inner {
            settings,
            namespaces: Mutex::default(),
            rules: Mutex::default(),
            sandboxes: watch::Sender::new(HashMap::new()),
            pods: Mutex::default(),
            failed: Mutex::default(),
        });
        let watching = Arc::clone(&inner);
        let watch = tokio::spawn(async move { watching.follow().await });
        Self {
            inner,
            watch: watch.abort_handle(),
        }
    }

    /// The pods of this namespace are ours. To be said before there are any.
    pub fn take(&self, namespace: &str) {
        lock(&self.inner.namespaces).insert(namespace.to_owned());
    }

    /// The requests of this attempt's pilot to the gateway are under this rule. To be said before the attempt begins.
    pub fn rule(&self, attempt: Attempt, rule: &Arc<Rule>) {
        lock(&self.inner.rules).insert(attempt, Arc::clone(rule));
    }

    /// The pod of an attempt, once it was started.
    ///
    /// # Errors
    /// When it is not within a minute.
    pub async fn sandbox(&self, attempt: &Attempt) -> Result<Arc<Sandbox>> {
        let mut sandboxes = self.inner.sandboxes.subscribe();
        let found = sandboxes.wait_for(|held| held.contains_key(attempt));
        let found = tokio::time::timeout(Duration::from_secs(60), found)
            .await
            .with_context(|| format!("no pod of {attempt:?} was started"))??;
        found.get(attempt).cloned().context("the pod is gone")
    }

    /// What it could not do.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        lock(&self.inner.failed).clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.watch.abort();
        for (_, pod) in lock(&self.inner.pods).drain() {
            pod.abort();
        }
        self.inner.sandboxes.send_modify(HashMap::clear);
    }
}

impl Inner {
    async fn follow(self: Arc<Self>) {
        let all: Api<Pod> = Api::all(self.settings.client.clone());
        let labels = format!("{}=true,{}", names::SANDBOX_LABEL, names::TASK_UID_LABEL);
        let config = Config::default().labels(&labels);
        let mut events = watcher(all, config).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                    if pod.metadata.deletion_timestamp.is_some() {
                        self.end(&pod);
                    } else {
                        self.begin(pod);
                    }
                }
                Ok(Event::Delete(pod)) => self.end(&pod),
                // The watcher starts again by itself.
                Ok(Event::Init | Event::InitDone) | Err(_) => {}
            }
        }
    }

    fn begin(self: &Arc<Self>, pod: Pod) {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let uid = pod.uid().unwrap_or_default();
        let mut pods = lock(&self.pods);
        let ours = lock(&self.namespaces).contains(&pod.namespace().unwrap_or_default());
        if !ours || phase != Some("Pending") || pods.contains_key(&uid) {
            return;
        }
        let (inner, name) = (Arc::clone(self), pod.name_any());
        let running = tokio::spawn(async move {
            let ended = inner.run(&pod).await;
            if let Err(error) = &ended {
                lock(&inner.failed).push(format!("{name}: {error:#}"));
            }
            ended
        });
        pods.insert(uid, running);
    }

    /// The entry stays: the pod is not begun again.
    fn end(&self, pod: &Pod) {
        if let Some(running) = lock(&self.pods).get(&pod.uid().unwrap_or_default()) {
            running.abort();
        }
        if let Ok(attempt) = attempt(pod) {
            self.sandboxes
                .send_modify(|held| drop(held.remove(&attempt)));
        }
    }

    async fn run(&self, pod: &Pod) -> Result<()> {
        let attempt = attempt(pod)?;
        let rule = lock(&self.rules).get(&attempt).cloned();
        let gateway = Proxy::start(
            &self.settings.identity,
            TcpListener::bind(("127.0.0.1", 0)).await?,
            self.settings.gateway.clone(),
            Switch::new(rule.unwrap_or_else(Rule::idle)),
        )?;
        let dir = self.settings.dir.join(pod.uid().unwrap_or_default());
        volumes(&dir)?;
        std::fs::write(dir.join("token"), self.token(pod).await?)?;
        let spec = pod.spec.as_ref().context("a pod without spec")?;
        let mut init = spec.init_containers.iter().flatten();
        let exec = init
            .find(|container| container.name == names::EXEC_CONTAINER)
            .map(|_| exec(&self.settings.exec, &dir));
        let sandbox = Arc::new(Sandbox {
            pilot: Process::default(),
            exec,
            dir: dir.clone(),
        });
        self.sandboxes
            .send_modify(|held| drop(held.insert(attempt, Arc::clone(&sandbox))));

        let main = spec
            .containers
            .first()
            .context("a pod without containers")?;
        let mut command = pilot(&self.settings.runner, main, &dir, &gateway.url)?;
        let started = Timestamp::now();
        let running = json!({"running": {"startedAt": whole(started)}});
        self.tell(pod, "Running", &running).await?;
        let status = sandbox.pilot.run(&mut command).await?;
        let code = code(status);
        let ended = json!({"terminated": {
            "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
            "startedAt": whole(started), "finishedAt": whole(Timestamp::now()),
        }});
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        self.tell(pod, phase, &ended).await
    }

    async fn tell(&self, pod: &Pod, phase: &str, state: &Value) -> Result<()> {
        let api: Api<Pod> = self.api(pod);
        let status = json!({"status": {"phase": phase, "containerStatuses": [{
            "name": names::PILOT_CONTAINER, "image": "none", "imageID": "", "restartCount": 0,
            "ready": phase == "Running", "started": phase == "Running", "state": state,
        }]}});
        let (name, params) = (pod.name_any(), PatchParams::default());
        match api
            .patch_status(&name, &params, &Patch::Merge(status))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()), // deleted meanwhile
            Err(error) => Err(error).context("failed to tell a pod's status"),
        }
    }

    /// The token of the projected volume.
    async fn token(&self, pod: &Pod) -> Result<String> {
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone());
        token_of(
            &self.settings.client,
            &pod.namespace().unwrap_or_default(),
            &account.unwrap_or_default(),
            Some(oarmaster_protocol::AUDIENCE),
            Some(pod),
        )
        .await
    }

    fn api<K>(&self, pod: &Pod) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        let namespace = pod.namespace().unwrap_or_default();
        Api::namespaced(self.settings.client.clone(), &namespace)
    }
}

fn attempt(pod: &Pod) -> Result<Attempt> {
    let task = pod.annotations().get(names::TASK_ANNOTATION).cloned();
    let number = pod
        .labels()
        .get(names::ATTEMPT_LABEL)
        .context("no attempt")?;
    Ok((
        pod.namespace().unwrap_or_default(),
        task.context("a pod of no Task")?,
        number.parse()?,
    ))
}

/// Directories for the volumes of a pod, fresh.
fn volumes(dir: &Path) -> Result<()> {
    for name in ["", "run", "workspace", "tmp"] {
        let path = dir.join(name);
        std::fs::create_dir(&path).with_context(|| format!("failed to make {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        if !name.is_empty() && is_root() {
            chown(&path, Some(EXEC_UID), Some(EXEC_UID))?;
        }
    }
    Ok(())
}

fn exec(program: &Path, dir: &Path) -> Daemon {
    let (program, dir) = (program.to_owned(), dir.to_owned());
    Daemon::start(move || {
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .arg("--socket")
            .arg(dir.join("run/exec.sock"))
            .args(["--pilot-uid", &nix::unistd::geteuid().to_string()])
            .arg("--workspace")
            .arg(dir.join("workspace"))
            .arg("--tmp")
            .arg(dir.join("tmp"))
            .current_dir(dir.join("workspace"))
            .stdin(Stdio::null());
        if is_root() {
            command.uid(EXEC_UID).gid(EXEC_UID);
        }
        logged(&mut command, &dir.join("exec.log"));
        command
    })
}

/// The pilot with the Job's own arguments and environment; only where things are differs.
fn pilot(runner: &Path, container: &Container, dir: &Path, gateway: &str) -> Result<Command> {
    let mut args = container.args.clone().unwrap_or_default();
    for (flag, value) in [
        ("--gateway", gateway.to_owned()),
        ("--token-file", dir.join("token").display().to_string()),
        (
            "--exec-socket",
            dir.join("run/exec.sock").display().to_string(),
        ),
    ] {
        let at = args.iter().position(|arg| arg == flag);
        match at.and_then(|at| args.get_mut(at + 1)) {
            Some(held) => *held = value,
            None if flag == "--exec-socket" => {}
            None => bail!("the pilot is not told {flag}"),
        }
    }
    // A process of this machine has no network of a pod that it could prove; the node tier does.
    if let Some(at) = args.iter().position(|arg| arg == "--must-not-reach") {
        args.drain(at..=at + 1);
    }
    let mut command = Command::new(runner);
    command.args(args).stdin(Stdio::null());
    for variable in container.env.iter().flatten() {
        command.env(&variable.name, variable.value.clone().unwrap_or_default());
    }
    logged(&mut command, &dir.join("pilot.log"));
    Ok(command)
}

/// Both streams into a file; without it, nowhere.
pub(super) fn logged(command: &mut Command, path: &Path) {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    if let Ok(out) = file
        && let Ok(err) = out.try_clone()
    {
        command.stdout(out).stderr(err);
    }
}

fn code(status: ExitStatus) -> i32 {
    let signal = status.signal().map_or(1, |signal| 128 + signal);
    status.code().unwrap_or(signal)
}

/// The API stores times to the second.
fn whole(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
