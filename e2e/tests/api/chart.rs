//! The charts: what they render, refuse and keep.

use crate::support::{cluster, refused};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::command::{Output, Run, built};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::{Cluster, apply};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every value, each set to something else than its default.
const EVERYTHING: &str = r#"
images:
  registry: registry.example.com/oarmaster
  tag: "1.2.3"
  pullPolicy: Always
  pullSecrets: [pull]
  digests: {webhook: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
commonLabels: {team: platform}
podLabels: {team: pods, cost: shared}
podAnnotations: {example.com/scan: "on"}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: system, operator: Exists}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{topologyKey: rack, maxSkew: 2, whenUnsatisfiable: DoNotSchedule}]
priorityClassName: system-cluster-critical
operator:
  replicas: 3
  resources: {requests: {cpu: 1}}
  podLabels: {team: operators}
  podAnnotations: {example.com/scan: "off"}
  nodeSelector: {disk: fast}
  tolerations: [{key: operators, operator: Exists}]
  affinity: {podAntiAffinity: {}}
  topologySpreadConstraints:
  - {topologyKey: room, maxSkew: 1, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}
  - {topologyKey: hall, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}
  priorityClassName: high
webhook: {replicas: 3, resources: {requests: {cpu: 1}}}
pilots: {replicas: 3, slots: 8, resources: {requests: {cpu: 1}}}
gateway:
  resources: {limits: {memory: 2Gi}}
  persistence: {size: 20Gi, storageClassName: fast}
  keySecrets: [openai]
  keyNamespaces: [{name: kube-node-lease, secrets: [a, b]}, {name: kube-public}]
  privateEndpoints: [10.0.0.0/8, ollama.default.svc]
  redis: {secretName: redis}
networkPolicy:
  callers: [{namespaceSelector: {matchLabels: {models: allowed}}}]
  scrapers: [{namespaceSelector: {}, podSelector: {matchLabels: {app: prometheus}}}]
  apiServer: [{ipBlock: {cidr: 192.0.2.1/32}}]
  providers: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]
  nameServers: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
defaultPool: {create: true, members: [{provider: {name: p}, model: m}]}
sandboxClass: {create: true, spec: {images: {allow: ['registry.example.com/*']}}}
monitoring: {rules: {as: ConfigMap, labels: {rules: ours}}, dashboards: {create: true}}
certificates: {renewBefore: "2026-11-21T10:00:00Z", caOverlap: 48h}
sandboxProbe: {internet: "[2001:db8::1]:443"}
cli: {subjects: [{kind: Group, name: developers, apiGroup: rbac.authorization.k8s.io}]}
guards: {jobController: system:kube-controller-manager, garbageCollector: system:kube-controller-manager}
"#;

pub async fn helm(cluster: &Cluster, args: &[&str], values: &str) -> Result<Output> {
    cluster
        .run("helm")
        .dir(checkout())
        .args(args)
        .stdin(values)
        .output()
        .await
}

async fn render(cluster: &Cluster, values: &str) -> Result<String> {
    render_into(cluster, RELEASE, values).await
}

async fn render_into(cluster: &Cluster, namespace: &str, values: &str) -> Result<String> {
    let args = [
        "template",
        "oarmaster",
        "charts/oarmaster",
        "--namespace",
        namespace,
        "--kube-version",
        "1.33.0",
        "--values",
        "-",
    ];
    Ok(helm(cluster, &args, values).await?.success()?.stdout)
}

#[tokio::test]
async fn the_charts_are_lint_free() -> Result<()> {
    let cluster = cluster().await?;
    for values in ["", EVERYTHING] {
        let args = [
            "lint",
            "--strict",
            "--kube-version",
            "1.33.0",
            "charts/oarmaster-crds",
            "charts/oarmaster",
            "--values",
            "-",
        ];
        // The chart of definitions takes no values, and ignores these.
        helm(&cluster, &args, values).await?.success()?;
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_what_the_chart_renders() -> Result<()> {
    let cluster = cluster().await?;
    // The second into another namespace: a StatefulSet that is there does not change its volume.
    for (namespace, values) in [(RELEASE, ""), ("default", EVERYTHING)] {
        let rendered = render_into(&cluster, namespace, values).await?;
        let run = cluster.run("kubectl").stdin(rendered);
        run.args(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--filename=-",
        ])
        .output()
        .await?
        .success()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_value_that_does_not_exist_is_refused() -> Result<()> {
    let cluster = cluster().await?;
    for (value, told) in [
        ("operater.replicas=1", "operater"),
        ("operator.replicas=0", "replicas"),
        ("webhook.replicas=0", "replicas"),
        ("pilots.slots=0", "slots"),
        ("images.pullPolicy=Sometimes", "pullPolicy"),
        ("certificates.renewBefore=yesterday", "renewBefore"),
        ("gateway.keyNamespaces[0].secrets[0]=a", "name"),
        ("defaultPool.create=true", "members"),
        ("gateway.privateEndpoints[0]=a b", "privateEndpoints"),
        ("gateway.cacheSize=-1", "cacheSize"),
        ("gateway.redis.secretName=A", "secretName"),
        ("networkPolicy.callers[0].pods=all", "pods"),
        ("networkPolicy.apiServer[0].ipBlock.except[0]=a", "cidr"),
        ("images.digests.gateway=latest", "sha256"),
        ("images.digests.pilots=sha256:0", "pilots"),
        ("commonLabels.helm\\.sh/chart=mine", "helm.sh/chart"),
        (
            "operator.podLabels.oarmaster\\.dev/sandbox=a",
            "oarmaster.dev/sandbox",
        ),
        ("podAnnotations.a=1", "podAnnotations"),
        ("gateway.affinity.nodes=a", "nodes"),
        ("topologySpreadConstraints[0].topologyKey=zone", "maxSkew"),
        ("pilots.priorityClassName=High", "priorityClassName"),
        ("monitoring.rules.as=Secret", "PrometheusRule"),
        ("monitoring.podMonitors.interval=often", "interval"),
    ] {
        let args = [
            "template",
            "oarmaster",
            "charts/oarmaster",
            "--kube-version",
            "1.33.0",
            "--set",
            value,
        ];
        let output = helm(&cluster, &args, "").await?;
        ensure!(
            output.code != Some(0) && output.stderr.contains(told),
            "{value}: {}",
            output.text()
        );
    }
    Ok(())
}

#[tokio::test]
async fn no_role_has_a_wildcard() -> Result<()> {
    let cluster = cluster().await?;
    let mut rules = 0;
    for values in ["", EVERYTHING] {
        for object in apply::documents(&render(&cluster, values).await?)? {
            for rule in object.data["rules"].as_array().into_iter().flatten() {
                rules += 1;
                ensure!(
                    !rule.to_string().contains('*'),
                    "{:?}: {rule}",
                    object.metadata.name
                );
            }
        }
    }
    ensure!(rules > 30, "only {rules} rules were found");
    Ok(())
}

/// The containers of the chart and what each is started with.
fn containers(rendered: &str) -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for object in apply::documents(rendered)? {
        let pod = &object.data["spec"]["template"]["spec"];
        for container in pod["containers"].as_array().into_iter().flatten() {
            all.push((
                container["name"].as_str().unwrap_or_default().to_owned(),
                json!({"pod": pod, "container": container}),
            ));
        }
    }
    ensure!(all.len() == 4, "{} containers", all.len());
    Ok(all)
}

#[tokio::test]
async fn every_flag_that_the_chart_sets_exists() -> Result<()> {
    let cluster = cluster().await?;
    for (name, parts) in containers(&render(&cluster, EVERYTHING).await?)? {
        // The shared pilots are a command of the runner.
        let (program, command): (_, &[&str]) = match name.as_str() {
            "pilots" => ("oarmaster-runner".to_owned(), &["pilots", "--help"]),
            name => (format!("oarmaster-{name}"), &["--help"]),
        };
        let program = built(&program).await?;
        let help = Run::new(program).args(command).stdout().await?;
        let known: Vec<&str> = help
            .split(|c: char| c.is_whitespace() || c == '=' || c == ',')
            .collect();
        for arg in parts["container"]["args"].as_array().context("no args")? {
            let flag = arg
                .as_str()
                .and_then(|arg| arg.split('=').next())
                .unwrap_or_default();
            ensure!(known.contains(&flag), "{name} has no flag {flag}:\n{help}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn pods_are_restricted_and_get_only_the_tokens_that_they_use() -> Result<()> {
    let cluster = cluster().await?;
    for (name, parts) in containers(&render(&cluster, "").await?)? {
        let (pod, container) = (&parts["pod"], &parts["container"]);
        ensure!(
            pod["automountServiceAccountToken"] == false,
            "{name} mounts the default token"
        );
        ensure!(
            container["securityContext"]["readOnlyRootFilesystem"] == true,
            "{name} may write its root"
        );
        let mut audiences: Vec<&str> = Vec::new();
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            for source in volume["projected"]["sources"]
                .as_array()
                .into_iter()
                .flatten()
            {
                if let Some(token) = source.get("serviceAccountToken") {
                    audiences.push(token["audience"].as_str().unwrap_or("api"));
                }
            }
        }
        let wanted: &[&str] = match name.as_str() {
            "operator" => &["api", "oarmaster-gateway-admin"],
            "webhook" => &[],
            "pilots" => &["oarmaster-gateway"],
            _ => &["api"],
        };
        ensure!(audiences == wanted, "{name} has tokens for {audiences:?}");
        // The API server's own judgement of `restricted`, on a bare pod of the same template.
        let bare =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod});
        crate::support::in_space("restricted", async |space| {
            let mut bare = bare.clone();
            bare["spec"]["serviceAccountName"] = json!("default");
            // The volume that a StatefulSet adds by its claim.
            if let (true, Some(volumes)) =
                (name == "gateway", bare["spec"]["volumes"].as_array_mut())
            {
                volumes.push(json!({"name": "data", "emptyDir": {}}));
            }
            match apply::dry_run(&space.cluster.client, &space.name, &bare.to_string()).await {
                Ok(_) => Ok(()),
                Err(error) => anyhow::bail!("{}", refused(&error)),
            }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn pods_have_what_is_said_of_all_or_of_their_component() -> Result<()> {
    let cluster = cluster().await?;
    let mut seen = 0;
    for object in apply::documents(&render(&cluster, EVERYTHING).await?)? {
        let labels = object.metadata.labels.unwrap_or_default();
        ensure!(
            labels.get("team").is_some_and(|team| team == "platform"),
            "{:?} has no common label",
            object.metadata.name
        );
        let template = &object.data["spec"]["template"];
        if template.is_null() {
            continue;
        }
        seen += 1;
        let (meta, pod) = (&template["metadata"], &template["spec"]);
        let component = &meta["labels"]["app.kubernetes.io/component"];
        let selector = &object.data["spec"]["selector"]["matchLabels"];
        let ours = component == "operator";
        let pick = |own: Value, common: Value| if ours { own } else { common };
        let image = pod["containers"][0]["image"].as_str().unwrap_or_default();
        let by_digest = image.starts_with("registry.example.com/oarmaster/webhook@sha256:9f86");
        ensure!(
            by_digest == (component == "webhook") && (by_digest || image.ends_with(":1.2.3")),
            "{component} has the image {image}"
        );
        for (found, wanted) in [
            (
                &meta["labels"]["team"],
                pick(json!("operators"), json!("pods")),
            ),
            (&meta["labels"]["cost"], json!("shared")),
            (
                &meta["annotations"]["example.com/scan"],
                pick(json!("off"), json!("on")),
            ),
            (
                &pod["priorityClassName"],
                pick(json!("high"), json!("system-cluster-critical")),
            ),
            (
                &pod["nodeSelector"],
                pick(
                    json!({"disk": "fast"}),
                    json!({"kubernetes.io/os": "linux"}),
                ),
            ),
            (
                &pod["tolerations"],
                pick(
                    json!([{"key": "operators", "operator": "Exists"}]),
                    json!([{"key": "system", "operator": "Exists"}]),
                ),
            ),
            (
                &pod["affinity"],
                pick(json!({"podAntiAffinity": {}}), json!({"nodeAffinity": {}})),
            ),
            (
                &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
                pick(json!({"a": "b"}), selector.clone()),
            ),
            (
                &pod["topologySpreadConstraints"][1]["labelSelector"]["matchLabels"],
                pick(selector.clone(), Value::Null),
            ),
            (
                &pod["topologySpreadConstraints"][0]["topologyKey"],
                pick(json!("room"), json!("rack")),
            ),
        ] {
            ensure!(*found == wanted, "{component}: {found} is not {wanted}");
        }
    }
    ensure!(seen == 4, "{seen} workloads");
    Ok(())
}

#[tokio::test]
async fn the_definitions_stay_when_the_release_goes() -> Result<()> {
    let cluster = cluster().await?;
    let args = [
        "template",
        "crds",
        "charts/oarmaster-crds",
        "--kube-version",
        "1.33.0",
    ];
    let rendered = helm(&cluster, &args, "").await?.success()?.stdout;
    ensure!(
        rendered.len() < 1 << 20,
        "the chart renders {} bytes",
        rendered.len()
    );
    let all = apply::documents(&rendered)?;
    ensure!(all.len() == 8, "{} definitions", all.len());
    for object in all {
        let kept = object.metadata.annotations.unwrap_or_default();
        ensure!(
            kept.get("helm.sh/resource-policy")
                .is_some_and(|policy| policy == "keep"),
            "{:?}",
            object.metadata.name
        );
    }
    Ok(())
}

#[tokio::test]
async fn monitoring_is_off_and_watches_what_has_metrics() -> Result<()> {
    let cluster = cluster().await?;
    let of_kind = |objects: &[kube::api::DynamicObject], kind: &str| {
        let found = objects.iter().filter(|object| {
            let types = object.types.as_ref();
            types.is_some_and(|types| types.kind == kind)
        });
        found.cloned().collect::<Vec<_>>()
    };
    let without = apply::documents(&render(&cluster, "").await?)?;
    for kind in ["PodMonitor", "PrometheusRule"] {
        ensure!(of_kind(&without, kind).is_empty(), "{kind}");
    }
    let values = "monitoring: {podMonitors: {create: true, labels: {release: p}}, rules: {as: PrometheusRule}, dashboards: {create: true}}";
    let all = apply::documents(&render(&cluster, values).await?)?;
    ensure!(
        all.len() == without.len() + 5,
        "two monitors, the rules, two dashboards"
    );
    let monitors = of_kind(&all, "PodMonitor");
    ensure!(monitors.len() == 2, "{} monitors", monitors.len());
    for monitor in monitors {
        let labels = monitor.metadata.labels.unwrap_or_default();
        ensure!(labels.get("release").is_some_and(|value| value == "p"));
        let selector = &monitor.data["spec"]["selector"]["matchLabels"];
        let mut watched = all
            .iter()
            .filter(|object| object.data["spec"]["selector"]["matchLabels"] == *selector)
            .filter_map(|object| {
                object.data["spec"]["template"]["spec"]["containers"][0]["ports"].as_array()
            });
        let ports = watched.next().context("no workload has these labels")?;
        ensure!(ports.iter().any(|port| port["name"] == "metrics"));
    }
    let file = std::fs::read_to_string(checkout().join("charts/oarmaster/monitoring/alerts.yaml"))?;
    let file: Value = serde_saphyr::from_str(&file)?;
    ensure!(of_kind(&all, "PrometheusRule")[0].data["spec"] == file);
    Ok(())
}

/// A value in which any white space in a text is one blank: kustomize writes folded texts with other line breaks than it reads.
fn spaced(value: Value) -> Value {
    match value {
        Value::String(text) => json!(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        Value::Array(values) => values.into_iter().map(spaced).collect(),
        Value::Object(fields) => {
            let spaced = fields
                .into_iter()
                .map(|(name, value)| (name, spaced(value)));
            Value::Object(spaced.collect())
        }
        other => other,
    }
}

#[tokio::test]
async fn kustomize_builds_what_the_chart_renders() -> Result<()> {
    let cluster = cluster().await?;
    let objects = |text: &str| -> Result<BTreeMap<String, Value>> {
        let all = apply::documents(text)?.into_iter();
        let named = all.map(|object| {
            let object = spaced(serde_json::to_value(object)?);
            let meta = &object["metadata"];
            let name = format!("{} {} {}", object["kind"], meta["namespace"], meta["name"]);
            Ok((name, object))
        });
        named.collect()
    };
    let folder = checkout().join("config/default");
    let built = cluster
        .kubectl(&["kustomize", &folder.display().to_string()])
        .await?;
    let mut built = objects(&built.success()?.stdout)?;
    // Helm makes it by itself.
    let namespace = built.remove(&format!("\"Namespace\" null {:?}", RELEASE));
    ensure!(namespace.is_some(), "no namespace");
    let rendered = objects(&render(&cluster, "").await?)?;
    ensure!(rendered.len() > 50, "{} objects", rendered.len());
    for (name, object) in &rendered {
        let found = built.remove(name);
        ensure!(
            found.as_ref() == Some(object),
            "{name} differs; run `cargo xtask kustomize`: {found:?}"
        );
    }
    ensure!(
        built.is_empty(),
        "too many; run `cargo xtask kustomize`: {:?}",
        built.keys()
    );
    Ok(())
}

#[tokio::test]
async fn the_notes_say_how_each_definition_is_removed() -> Result<()> {
    let cluster = cluster().await?;
    let notes = async |chart: &str| -> Result<String> {
        let path = format!("charts/{chart}");
        // Client: nothing is written. The notes are the same where the objects belong to another release, as here.
        let args = [
            "install",
            "new",
            &path,
            "--dry-run=client",
            "--take-ownership",
            "--namespace",
            "place",
        ];
        let said = helm(&cluster, &args, "").await?.success()?.stdout;
        let (_, notes) = said.split_once("NOTES:").context("no notes")?;
        Ok(notes.to_owned())
    };
    let definitions = notes("oarmaster-crds").await?;
    let args = [
        "template",
        "crds",
        "charts/oarmaster-crds",
        "--kube-version=1.33.0",
    ];
    let rendered = helm(&cluster, &args, "").await?.success()?.stdout;
    for definition in apply::documents(&rendered)? {
        let name = definition.metadata.name.unwrap_or_default();
        let mut words = definitions.split_whitespace();
        ensure!(
            words.any(|word| word == name),
            "{name} stays: {definitions}"
        );
    }
    let main = notes("oarmaster").await?;
    for told in ["-n place", "helm uninstall new", "delete namespace place"] {
        ensure!(main.contains(told), "{told:?} is missing: {main}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_applies_the_chart_leaves_the_certificates_as_they_are() -> Result<()> {
    let cluster = cluster().await?;
    crate::support::in_space("certificates", async |space| {
        let template = [
            "template",
            "oarmaster",
            "charts/oarmaster",
            "--namespace",
            &space.name,
        ];
        let only = [
            "--kube-version=1.33.0",
            "--show-only=templates/certificates.yaml",
        ];
        let rendered = helm(&cluster, &[&template[..], &only].concat(), "").await?;
        let rendered = rendered.success()?.stdout;
        let apply = async |how: &[&str]| -> Result<()> {
            let args = ["apply", "--filename=-", "--namespace", &space.name];
            let run = cluster.run("kubectl").stdin(rendered.clone());
            run.args(&args).args(how).output().await?.success()?;
            Ok(())
        };
        apply(&[]).await?;
        // As the operator issues: it may patch these Secrets and nothing else.
        let secrets: Api<Secret> = space.api();
        let issued = json!({
            "metadata": {"annotations": {"oarmaster.dev/issued": "5"}},
            "data": {"tls.crt": "Yw==", "tls.key": "aw=="},
        });
        let params = PatchParams::default();
        secrets
            .patch("oarmaster-ca", &params, &Patch::Merge(issued))
            .await?;
        let state = async || -> Result<_> {
            let held = secrets.get("oarmaster-ca").await?;
            let mark = held.metadata.annotations.unwrap_or_default();
            Ok((held.data, mark.get("oarmaster.dev/issued").cloned()))
        };
        let before = state().await?;
        for how in [
            &[][..],
            &["--server-side", "--field-manager=argocd-controller"],
            &[
                "--server-side",
                "--field-manager=argocd-controller",
                "--force-conflicts",
            ],
        ] {
            apply(how).await?;
            let after = state().await?;
            ensure!(after == before, "apply {how:?}: {after:?}");
        }
        Ok(())
    })
    .await
}

/// Rules as `group/resource[names]: verbs`, one per resource.
fn rights(rules: &Value) -> BTreeSet<String> {
    let list = |value: &Value| -> Vec<String> {
        let values = value.as_array().into_iter().flatten();
        let mut texts: Vec<_> = values
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect();
        texts.sort();
        texts
    };
    let mut all = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        let (group, names, verbs) = (
            &rule["apiGroups"][0],
            list(&rule["resourceNames"]),
            list(&rule["verbs"]),
        );
        for resource in list(&rule["resources"]) {
            all.insert(format!("{group}/{resource}{names:?}: {verbs:?}"));
        }
    }
    all
}

/// The rows of a table in controllers/RBAC.md, in the same form.
fn stated(text: &str, heading: &str) -> BTreeSet<String> {
    let split = |cell: &str| -> Vec<String> {
        let mut parts: Vec<_> = cell
            .split(',')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect();
        parts.sort();
        parts
    };
    let mut all = BTreeSet::new();
    let lines = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    for line in lines.filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let group = json!(cells[1].trim_matches('"'));
        // A note in brackets is no name.
        let names = if cells[4].starts_with('(') {
            Vec::new()
        } else {
            split(cells[4])
        };
        for resource in split(cells[2]) {
            all.insert(format!(
                "{group}/{resource}{names:?}: {:?}",
                split(cells[3])
            ));
        }
    }
    all
}

#[tokio::test]
async fn the_operator_has_the_rights_that_its_code_states() -> Result<()> {
    let cluster = cluster().await?;
    let text = std::fs::read_to_string(checkout().join("controllers/RBAC.md"))?;
    let mut seen = 0;
    for object in apply::documents(&render(&cluster, "").await?)? {
        let kind = object.types.as_ref().map(|types| types.kind.as_str());
        let heading = match (kind, object.metadata.name.as_deref()) {
            (Some("ClusterRole"), Some("oarmaster-operator")) => "## cluster",
            (Some("Role"), Some("oarmaster-operator")) => "## release",
            _ => continue,
        };
        seen += 1;
        let (held, stated) = (rights(&object.data["rules"]), stated(&text, heading));
        let difference: Vec<_> = held.symmetric_difference(&stated).collect();
        ensure!(
            !held.is_empty() && difference.is_empty(),
            "{heading}: {difference:#?}"
        );
    }
    ensure!(seen == 2, "{seen} roles of the operator");
    Ok(())
}
