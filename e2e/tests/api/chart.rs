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
use std::collections::BTreeSet;

/// Every value, each set to something else than its default.
const EVERYTHING: &str = r#"
images: {registry: registry.example.com/oarmaster, tag: "1.2.3", pullPolicy: Always, pullSecrets: [pull]}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: system, operator: Exists}]
operator: {replicas: 3, resources: {requests: {cpu: 1}}}
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
