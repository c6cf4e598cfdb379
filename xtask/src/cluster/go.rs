//! Builds the programs that are Go modules, once for each content.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::{self, Key};
use crate::cluster::toolchain;
use crate::cmd;

const KUBERNETES: &str = "v1.34.4";
const HELM: &str = "v3.22.0";
/// Prometheus 3.16, as its module counts.
const PROMETHEUS: &str = "v0.316.0";
/// The names under which the one binary is called.
const PROGRAMS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// A folder of programs and the key of what they were built from.
#[derive(Debug, Clone)]
pub struct Built {
    pub folder: PathBuf,
    pub key: String,
}

impl Built {
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// etcd and Kubernetes, kubectl among it; also `pause`.
pub fn kubernetes() -> Result<Built> {
    let source = cache::checkout().join("e2e/cluster");
    let version = KUBERNETES.trim_start_matches('v');
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or("1"), parts.next().unwrap_or(""));
    let base = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {base}.gitVersion={KUBERNETES} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
    );
    build("kubernetes", &source, &flags, |into, go| {
        compile(go, &source, &flags, ".", &into.join("cluster"))?;
        compile(go, &source, "-s -w", "./pause", &into.join("pause"))?;
        for name in PROGRAMS {
            symlink("cluster", into.join(name)).context("failed to link a program")?;
        }
        Ok(())
    })
}

/// CoreDNS.
pub fn coredns() -> Result<Built> {
    let source = cache::checkout().join("e2e/cluster/coredns");
    build("coredns", &source, "", |into, go| {
        compile(go, &source, "-s -w", ".", &into.join("coredns"))
    })
}

/// Calico's network plugin and its agent, and the definitions of their objects.
pub fn calico() -> Result<Built> {
    let source = cache::checkout().join("e2e/cluster/calico");
    build("calico", &source, "", |into, go| {
        compile(go, &source, "-s -w", ".", &into.join("calico"))?;
        symlink("calico", into.join("felix")).context("failed to link a program")?;
        let mut list = command(go);
        list.current_dir(&source)
            .args(["list", "-m", "-f", "{{.Dir}}"]);
        let module = cmd::output(list.arg("github.com/projectcalico/calico"))?;
        let definitions = Path::new(module.trim()).join("libcalico-go/config/crd");
        fs::create_dir(into.join("crd"))?;
        for file in cache::files(&definitions)? {
            let name = file.file_name().unwrap_or_default();
            // Not copied as it is: files of a module cannot be written to.
            let content =
                fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
            fs::write(into.join("crd").join(name), content)?;
        }
        Ok(())
    })
}

/// What says how Argo CD and kstatus see objects of ours.
pub fn gitops() -> Result<Built> {
    let source = cache::checkout().join("e2e/gitops");
    build("gitops", &source, "", |into, go| {
        compile(go, &source, "-s -w", ".", &into.join("gitops"))
    })
}

/// Helm, which only a person or a test calls.
pub fn helm() -> Result<Built> {
    let version = format!("-s -w -X helm.sh/helm/v3/internal/version.version={HELM}");
    install(
        "helm",
        "helm.sh/helm/v3/cmd/helm",
        HELM,
        &["-ldflags", &version],
    )
}

/// Prometheus' checks of rules, which only a test calls: without the clouds in which Prometheus finds what to watch.
pub fn promtool() -> Result<Built> {
    let package = "github.com/prometheus/prometheus/cmd/promtool";
    let flags = ["-tags", "remove_all_sd", "-ldflags", "-s -w"];
    install("promtool", package, PROMETHEUS, &flags)
}

/// Builds a program that is a module of somebody else's, unless it is there.
fn install(name: &str, package: &str, version: &str, flags: &[&str]) -> Result<Built> {
    let go = toolchain::find()?;
    let key = Key::default()
        .add(name, version.as_bytes())
        .add("go", go.version.as_bytes())
        .finish();
    let folder = cache::once(&format!("go/{name}-{key}"), |into| {
        eprintln!("compiling {name} {version}; this happens once and takes a few minutes");
        let mut command = command(&go);
        command.env("GOBIN", into).args(["install", "-trimpath"]);
        command.args(flags).arg(format!("{package}@{version}"));
        cmd::output(&mut command).map(drop)
    })?;
    Ok(Built { folder, key })
}

/// Builds what the module in `source` says, unless it is there.
fn build(
    name: &str,
    source: &Path,
    flags: &str,
    make: impl FnOnce(&Path, &toolchain::Go) -> Result<()>,
) -> Result<Built> {
    let go = toolchain::find()?;
    let key = Key::default()
        .add("go", go.version.as_bytes())
        .add("flags", flags.as_bytes())
        .add_files(source, is_source)?
        .finish();
    let folder = cache::once(&format!("go/{name}-{key}"), |into| {
        eprintln!("compiling {name}; this happens once and takes a few minutes");
        make(into, &go)
    })?;
    Ok(Built { folder, key })
}

/// Go files and the module's versions, without the modules that lie inside.
fn is_source(path: &Path) -> bool {
    let inside = ["calico", "coredns"]
        .iter()
        .any(|name| path.starts_with(name));
    let go = path.extension().is_some_and(|extension| extension == "go");
    let versions = matches!(path.to_str(), Some("go.mod" | "go.sum"));
    versions || (go && !inside)
}

fn compile(
    go: &toolchain::Go,
    source: &Path,
    flags: &str,
    package: &str,
    out: &Path,
) -> Result<()> {
    let mut command = command(go);
    command
        .current_dir(source)
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"]);
    // Go lists every module that it downloads: shown only when it fails.
    cmd::output(command.arg(flags).arg("-o").arg(out).arg(package)).map(drop)
}

/// Static programs: they run in an empty image, and on any machine that shares
/// the cache.
fn command(go: &toolchain::Go) -> Command {
    let mut command = cmd::command(&go.program);
    command
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env_remove("GOFLAGS");
    command
}
