//! The Pod Security Standard "restricted", control by control and in the order of its own list
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>, Kubernetes 1.34). Where the standard leaves a choice that we
//! never make, like a safe sysctl, the strict side is held.

use serde_json::{Value, json};

/// Names of the controls that a pod (its template will do) breaks.
pub fn broken(pod: &Value) -> Vec<&'static str> {
    let spec = &pod["spec"];
    let containers: Vec<&Value> = ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| items(&spec[list]))
        .collect();
    let contexts: Vec<&Value> = containers
        .iter()
        .map(|container| &container["securityContext"])
        .collect();
    let own = &spec["securityContext"];
    let everywhere = || std::iter::once(own).chain(contexts.iter().copied());
    let all = |holds: &dyn Fn(&Value) -> bool| everywhere().all(holds);
    let each = |holds: &dyn Fn(&Value) -> bool| contexts.iter().all(|context| holds(context));
    // Of the pod for its containers, unless one says it itself; a pod that says nothing needs it of each.
    let inherited = |name: &str, good: &dyn Fn(&Value) -> bool| {
        everywhere().all(|context| context[name].is_null() || good(&context[name]))
            && (good(&own[name]) || each(&|context| good(&context[name])))
    };

    let baseline = [
        (
            "host process",
            all(&|context| is_off(&context["windowsOptions"]["hostProcess"])),
        ),
        (
            "host namespaces",
            ["hostNetwork", "hostPID", "hostIPC"]
                .iter()
                .all(|name| is_off(&spec[name])),
        ),
        (
            "privileged containers",
            each(&|context| is_off(&context["privileged"])),
        ),
        (
            "host path volumes",
            items(&spec["volumes"]).all(|volume| volume["hostPath"].is_null()),
        ),
        (
            "host ports",
            containers.iter().all(|container| {
                items(&container["ports"]).all(|port| port["hostPort"].as_i64().unwrap_or(0) == 0)
            }),
        ),
        (
            "host probes and lifecycle hooks",
            containers.iter().all(|container| no_host(container)),
        ),
        (
            "apparmor",
            all(&|context| {
                among(
                    &context["appArmorProfile"]["type"],
                    &["RuntimeDefault", "Localhost"],
                )
            }),
        ),
        (
            "selinux",
            all(&|context| {
                let options = &context["seLinuxOptions"];
                among(
                    &options["type"],
                    &[
                        "",
                        "container_t",
                        "container_init_t",
                        "container_kvm_t",
                        "container_engine_t",
                    ],
                ) && among(&options["user"], &[""])
                    && among(&options["role"], &[""])
            }),
        ),
        (
            "proc mount",
            each(&|context| among(&context["procMount"], &["Default"])),
        ),
        ("sysctls", items(&own["sysctls"]).next().is_none()),
    ];
    let restricted = [
        (
            "volume types",
            items(&spec["volumes"]).all(|volume| {
                volume
                    .as_object()
                    .unwrap()
                    .keys()
                    .all(|key| VOLUMES.contains(&key.as_str()) || key == "name")
            }),
        ),
        (
            "privilege escalation",
            each(&|context| context["allowPrivilegeEscalation"] == json!(false)),
        ),
        (
            "running as non-root",
            inherited("runAsNonRoot", &|value| *value == json!(true)),
        ),
        (
            "running as non-root user",
            all(&|context| context["runAsUser"] != json!(0)),
        ),
        (
            "seccomp",
            inherited("seccompProfile", &|value| {
                ["RuntimeDefault", "Localhost"].contains(&value["type"].as_str().unwrap_or(""))
            }),
        ),
        (
            "capabilities",
            each(&|context| {
                let capabilities = &context["capabilities"];
                items(&capabilities["drop"]).any(|name| name == "ALL")
                    && items(&capabilities["add"]).all(|name| name == "NET_BIND_SERVICE")
            }),
        ),
    ];
    baseline
        .into_iter()
        .chain(restricted)
        .filter(|(_, holds)| !holds)
        .map(|(control, _)| control)
        .collect()
}

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn is_off(value: &Value) -> bool {
    value.is_null() || *value == json!(false)
}

fn among(value: &Value, allowed: &[&str]) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| allowed.contains(&text))
}

fn no_host(container: &Value) -> bool {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
    let hooks = ["postStart", "preStop"];
    probes
        .iter()
        .map(|probe| &container[probe])
        .chain(hooks.iter().map(|hook| &container["lifecycle"][hook]))
        .all(|handler| {
            among(&handler["httpGet"]["host"], &[""]) && among(&handler["tcpSocket"]["host"], &[""])
        })
}

/// One change of a pod that has a container `containers/0`, an init container `initContainers/1` and a volume, and what it breaks.
pub fn mutations() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/spec/hostNetwork", json!(true), "host namespaces"),
        ("/spec/hostPID", json!(true), "host namespaces"),
        ("/spec/hostIPC", json!(true), "host namespaces"),
        (
            "/spec/securityContext/windowsOptions",
            json!({"hostProcess": true}),
            "host process",
        ),
        (
            "/spec/containers/0/securityContext/privileged",
            json!(true),
            "privileged containers",
        ),
        (
            "/spec/initContainers/1/securityContext/privileged",
            json!(true),
            "privileged containers",
        ),
        (
            "/spec/containers/0/securityContext/capabilities/add",
            json!(["SYS_ADMIN"]),
            "capabilities",
        ),
        (
            "/spec/initContainers/1/securityContext/capabilities/drop",
            json!(["NET_RAW"]),
            "capabilities",
        ),
        (
            "/spec/containers/0/securityContext/capabilities",
            json!(null),
            "capabilities",
        ),
        (
            "/spec/volumes/0",
            json!({"name": "token", "hostPath": {"path": "/"}}),
            "host path volumes",
        ),
        (
            "/spec/volumes/0",
            json!({"name": "token", "nfs": {"server": "s", "path": "/"}}),
            "volume types",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "hostPort": 1}]),
            "host ports",
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({"httpGet": {"host": "169.254.169.254", "port": 80}}),
            "host probes and lifecycle hooks",
        ),
        (
            "/spec/containers/0/lifecycle",
            json!({"preStop": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}),
            "host probes and lifecycle hooks",
        ),
        (
            "/spec/securityContext/appArmorProfile",
            json!({"type": "Unconfined"}),
            "apparmor",
        ),
        (
            "/spec/containers/0/securityContext/seLinuxOptions",
            json!({"type": "spc_t"}),
            "selinux",
        ),
        (
            "/spec/securityContext/seLinuxOptions",
            json!({"user": "system_u"}),
            "selinux",
        ),
        (
            "/spec/containers/0/securityContext/procMount",
            json!("Unmasked"),
            "proc mount",
        ),
        (
            "/spec/securityContext/sysctls",
            json!([{"name": "kernel.msgmax", "value": "1"}]),
            "sysctls",
        ),
        (
            "/spec/containers/0/securityContext/allowPrivilegeEscalation",
            json!(true),
            "privilege escalation",
        ),
        (
            "/spec/initContainers/1/securityContext/allowPrivilegeEscalation",
            json!(null),
            "privilege escalation",
        ),
        (
            "/spec/initContainers/1/securityContext/runAsNonRoot",
            json!(false),
            "running as non-root",
        ),
        (
            "/spec/initContainers/1/securityContext/runAsUser",
            json!(0),
            "running as non-root user",
        ),
        (
            "/spec/securityContext/runAsUser",
            json!(0),
            "running as non-root user",
        ),
        (
            "/spec/containers/0/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            "seccomp",
        ),
        (
            "/spec/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            "seccomp",
        ),
    ]
}
