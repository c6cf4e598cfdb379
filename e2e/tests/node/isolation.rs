//! What untrusted code can reach, and what the pod it lives in may do.

use crate::support::{agent, beside_others, create, key, mocked, pool, run, task};
use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;
use oarmaster_crds::conditions;
use oarmaster_crds::names::{EXEC_CONTAINER, PILOT_CONTAINER, SANDBOX_SERVICE_ACCOUNT};
use oarmaster_e2e::Cluster;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::{Gate, Mock, Reply};
use oarmaster_e2e::task::{SOON, holds};
use oarmaster_protocol::journal::Body;
use serde_json::json;

/// Every line of its output is `<what> <refused or what came of it>`.
const ATTEMPTS: &str = r#"
import ctypes, errno, glob, os, signal, socket

def attempt(name, act):
    try:
        print(name, "GOT", repr(act())[:80])
    except OSError as error:
        print(name, "refused", errno.errorcode.get(error.errno, error.errno))
    except Exception as error:
        print(name, "ODD", repr(error))

def read(path):
    with open(path, "rb") as file:
        return file.read(64)

for family in ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"]:
    for kind in [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW]:
        attempt(f"{family}/{int(kind)}", lambda: socket.socket(getattr(socket, family), kind))
attempt("dns", lambda: socket.getaddrinfo("kubernetes.default.svc", 443))
for path in ["/var/run/token", "/var/run/secrets", "/run/secrets/kubernetes.io/serviceaccount/token", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc", "/proc/1/fd"]:
    attempt(path, lambda: os.listdir(path) if path.endswith(("secrets", "etc", "fd")) else read(path))
attempt("kill-1", lambda: os.kill(1, signal.SIGKILL))
attempt("write-root", lambda: open("/etc/x", "w"))
attempt("write-supervisor", lambda: open("/oarmaster/bin/oarmaster-exec", "r+b"))
attempt("socket-path", lambda: socket.socket(socket.AF_UNIX).connect("/run/oarmaster/exec.sock"))
attempt("setuid", lambda: os.setuid(0))
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result
attempt("ptrace-1", lambda: call(libc.ptrace(16, 1, 0, 0)))
attempt("unshare", lambda: call(libc.unshare(0x10000000)))
attempt("mount", lambda: call(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)))
others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid(), os.getppid())]
print("others", others)
print("environment", sorted(name for name in os.environ if "TOKEN" in name or "KUBERNETES" in name or "OARMASTER" in name))
left, right = socket.socketpair(socket.AF_UNIX)
left.sendall(b"unix works")
print("control", right.recv(64).decode())
open("file", "w").write("workspace works")
print("control", open("file").read())
"#;

#[tokio::test]
async fn code_reaches_nothing_and_the_pod_is_hardened() -> Result<()> {
    beside_others("isolation", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let mock = Mock::start(&space.cluster, move |call| match call.turn {
            0 => Reply::python(ATTEMPTS),
            _ => Reply::text("done").after(&held),
        })
        .await?;
        create(
            space,
            &[
                key("one"),
                mocked(&mock),
                pool(),
                agent(&["RunCode"]),
                task(&json!({})),
            ],
        )
        .await?;
        mock.until("the second call", SOON, |bill| bill.len() == 2)
            .await?;
        let pod = space
            .api::<Pod>()
            .list(&ListParams::default())
            .await?
            .items
            .pop()
            .context("no pod")?;
        let job = space
            .api::<Job>()
            .list(&ListParams::default())
            .await?
            .items
            .pop()
            .context("no Job")?;
        gate.open();
        hardened(&pod)?;
        assert_eq!(
            job.spec.as_ref().and_then(|spec| spec.backoff_limit),
            Some(0)
        );
        let policy = job
            .spec
            .as_ref()
            .and_then(|spec| spec.pod_replacement_policy.as_deref());
        assert_eq!(policy, Some("Failed"));

        let done = space.complete("work").await?;
        assert!(holds(&done, conditions::ISOLATED), "{done:#?}");
        let journal = space.journal("work").await?;
        let position =
            |wanted: fn(&Body) -> bool| journal.0.iter().position(|record| wanted(&record.body));
        let proven = position(|body| matches!(body, Body::Isolation { proven: true, .. }));
        let first = position(|body| matches!(body, Body::ToolIntent { .. }));
        assert!(
            proven.is_some() && proven < first,
            "proven before the first line ran: {journal:#?}"
        );
        let (_, ok, text) = journal.result(0)?;
        assert!(ok, "{text}");
        for line in text.lines() {
            assert!(
                !line.contains(" GOT ") && !line.contains(" ODD "),
                "{line}\n{text}"
            );
        }
        assert_eq!(
            text.lines()
                .filter(|line| line.contains(" refused "))
                .count(),
            35,
            "{text}"
        );
        assert!(text.contains("others []"), "{text}");
        assert!(text.contains("environment []"), "{text}");
        assert!(text.contains("control unix works"), "{text}");
        assert!(text.contains("control workspace works"), "{text}");
        Ok(())
    })
    .await
}

fn hardened(pod: &Pod) -> Result<()> {
    let spec = pod.spec.as_ref().context("no spec")?;
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.enable_service_links, Some(false));
    assert_eq!(spec.dns_policy.as_deref(), Some("None"));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    assert_eq!(
        spec.service_account_name.as_deref(),
        Some(SANDBOX_SERVICE_ACCOUNT)
    );
    for shared in [
        spec.host_network,
        spec.host_pid,
        spec.host_ipc,
        spec.share_process_namespace,
    ] {
        assert!(!shared.unwrap_or(false), "a namespace is shared");
    }
    for volume in spec.volumes.iter().flatten() {
        let memory = volume
            .empty_dir
            .as_ref()
            .is_some_and(|empty| empty.medium.as_deref() == Some("Memory"));
        let token = volume
            .projected
            .as_ref()
            .and_then(|projected| projected.sources.as_ref())
            .is_some_and(|sources| {
                sources.iter().all(|source| {
                    source
                        .service_account_token
                        .as_ref()
                        .is_some_and(|token| token.audience.as_deref() == Some("oarmaster-gateway"))
                })
            });
        assert!(memory || token, "{volume:#?}");
    }
    let init = spec.init_containers.iter().flatten();
    let mut users = Vec::new();
    for container in init.chain(&spec.containers) {
        let held = container
            .security_context
            .as_ref()
            .context("no securityContext")?;
        assert_eq!(
            held.allow_privilege_escalation,
            Some(false),
            "{}",
            container.name
        );
        assert_eq!(
            held.read_only_root_filesystem,
            Some(true),
            "{}",
            container.name
        );
        let dropped = held.capabilities.as_ref().and_then(|all| all.drop.clone());
        assert_eq!(dropped, Some(vec!["ALL".to_owned()]), "{}", container.name);
        let pod = spec.security_context.clone().unwrap_or_default();
        let seccomp = held
            .seccomp_profile
            .clone()
            .or(pod.seccomp_profile)
            .map(|profile| profile.type_);
        assert_eq!(
            seccomp.as_deref(),
            Some("RuntimeDefault"),
            "{}",
            container.name
        );
        assert_eq!(
            held.run_as_non_root.or(pod.run_as_non_root),
            Some(true),
            "{}",
            container.name
        );
        let user = held.run_as_user.or(pod.run_as_user).context("no user")?;
        assert_ne!(user, 0, "{}", container.name);
        let resources = container.resources.clone().unwrap_or_default();
        let memory = |list: Option<std::collections::BTreeMap<String, _>>| {
            list.and_then(|mut list| list.remove("memory"))
        };
        let limit = memory(resources.limits);
        assert!(
            limit.is_some() && limit == memory(resources.requests),
            "{}",
            container.name
        );
        users.push((container.name.as_str(), user, mounts_token(container)));
    }
    let of = |name: &str| {
        users
            .iter()
            .find(|held| held.0 == name)
            .context("a container is missing")
    };
    let (pilot, exec) = (of(PILOT_CONTAINER)?, of(EXEC_CONTAINER)?);
    assert_ne!(pilot.1, exec.1, "pilot and exec are different users");
    assert!(
        pilot.2 && !exec.2,
        "the token is the pilot's alone: {users:?}"
    );
    Ok(())
}

fn mounts_token(container: &Container) -> bool {
    container
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| mount.name == "token")
}

async fn rights(cluster: &Cluster, namespace: &str, account: &str) -> Result<String> {
    let user = format!("--as=system:serviceaccount:{namespace}:{account}");
    let group = format!("--as-group=system:serviceaccounts:{namespace}");
    let args = [
        "auth",
        "can-i",
        "--list",
        "-n",
        namespace,
        &user,
        &group,
        "--as-group=system:serviceaccounts",
        "--as-group=system:authenticated",
    ];
    let told = cluster.kubectl(&args).await?.success()?.stdout;
    // The rules come in no order.
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

#[tokio::test]
async fn the_sandbox_account_has_no_rights() -> Result<()> {
    beside_others("rights", async |space| {
        create(
            space,
            &[run("work", json!({"command": ["true"]}), &json!({}))],
        )
        .await?;
        space.complete("work").await?;
        let accounts = space
            .kubectl(&[
                "get",
                "serviceaccount",
                SANDBOX_SERVICE_ACCOUNT,
                "-o",
                "name",
            ])
            .await?;
        assert!(accounts.contains(SANDBOX_SERVICE_ACCOUNT), "{accounts}");
        space
            .kubectl(&["create", "serviceaccount", "fresh"])
            .await?;
        let sandbox = rights(&space.cluster, &space.name, SANDBOX_SERVICE_ACCOUNT).await?;
        assert_eq!(sandbox, rights(&space.cluster, &space.name, "fresh").await?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_operator_reads_no_secret() -> Result<()> {
    beside_others("secrets", async |space| {
        space
            .kubectl(&[
                "create",
                "secret",
                "generic",
                "some",
                "--from-literal=key=value",
            ])
            .await?;
        let user = format!("--as=system:serviceaccount:{RELEASE}:oarmaster-operator");
        for place in [space.name.as_str(), RELEASE, "kube-system"] {
            for verb in ["get", "list", "watch"] {
                let asked = space
                    .cluster
                    .kubectl(&["auth", "can-i", verb, "secrets", "-n", place, &user])
                    .await?;
                assert_eq!(asked.stdout.trim(), "no", "{verb} in {place}");
            }
        }
        let got = space
            .cluster
            .kubectl(&["get", "secret", "some", "-n", &space.name, &user])
            .await?;
        assert!(
            got.code != Some(0) && got.stderr.contains("Forbidden"),
            "{}",
            got.text()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_of_the_pod_is_called_as_the_code() -> Result<()> {
    beside_others("names", async |space| {
        let canary = "canary-in-the-code";
        create(
            space,
            &[run(
                "work",
                json!({"language": "shell", "code": format!("echo {canary}")}),
                &json!({}),
            )],
        )
        .await?;
        let pods = space.api::<Pod>();
        let seen = space
            .task_until("work", "its Job", |task| {
                task.status
                    .as_ref()
                    .is_some_and(|status| status.job.is_some())
            })
            .await?;
        let job = seen
            .status
            .and_then(|status| status.job)
            .context("no Job")?
            .name;
        let job = space.api::<Job>().get_opt(&job).await?;
        assert!(
            !serde_json::to_string(&job)?.contains(canary),
            "code is in the Job"
        );
        for pod in pods.list(&ListParams::default()).await? {
            assert!(
                !serde_json::to_string(&pod)?.contains(canary),
                "code is in pod {}",
                pod.name_any()
            );
        }
        space.complete("work").await?;
        Ok(())
    })
    .await
}
