//! Finds a Go that can build the cluster, or fetches one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::apt;
use crate::cache;
use crate::cmd;

/// The oldest Go that helm's module accepts.
const OLDEST: (u32, u32) = (1, 26);
/// The version that is fetched where none is new enough.
const FETCHED: &str = "1.26.8";

/// A Go toolchain.
#[derive(Debug, Clone)]
pub struct Go {
    pub program: PathBuf,
    pub version: String,
}

/// The first Go that is new enough: on the search path, in its usual place,
/// or fetched.
pub fn find() -> Result<Go> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    for program in cmd::find("go").into_iter().chain([usual]) {
        if program.is_file() {
            let go = Go::at(program)?;
            if parse(&go.version).with_context(|| format!("failed to read `{}`", go.version))?
                >= OLDEST
            {
                return Ok(go);
            }
        }
    }
    let (major, minor) = OLDEST;
    let folder = cache::once(&format!("go/toolchain-{FETCHED}"), fetch).with_context(|| {
        format!(
            "Go {major}.{minor} or newer is needed to compile the local cluster, and could not be \
             fetched; install it from https://go.dev/dl into /usr/local/go"
        )
    })?;
    Go::at(folder.join("bin/go"))
}

impl Go {
    fn at(program: PathBuf) -> Result<Self> {
        let mut command = cmd::command(&program);
        let version = cmd::output(command.env("GOTOOLCHAIN", "local").arg("version"))?;
        Ok(Self {
            program,
            version: version.trim().to_owned(),
        })
    }
}

/// Fetches the toolchain as every Go since 1.21 does by itself: as a module,
/// checked against Go's checksum database. Debian's own Go, which may be older,
/// is unpacked for that and not installed.
fn fetch(into: &Path) -> Result<()> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("there is no toolchain for {other}"),
    };
    eprintln!("fetching Go {FETCHED}");
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let root = folder.path().join("debian");
    for package in apt::download_all(&["golang-go"])?.files()? {
        let name = package
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("golang-") {
            let mut extract = cmd::command("dpkg-deb");
            cmd::output(extract.arg("--extract").arg(&package).arg(&root))?;
        }
    }
    let libraries = root.join("usr/lib");
    let old = fs::read_dir(&libraries)
        .with_context(|| format!("failed to list {}", libraries.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/go")))
        .find(|program| program.is_file() && !program.is_symlink())
        .context("Debian's package golang-go holds no program go")?;
    let modules = folder.path().join("modules");
    let mut download = cmd::command(old);
    download
        .env("GOPATH", folder.path())
        .env("GOMODCACHE", &modules)
        .env("GOFLAGS", "-modcacherw")
        .env_remove("GOROOT")
        .current_dir(folder.path())
        .args(["mod", "download", "-json"])
        .arg(format!(
            "golang.org/toolchain@v0.0.1-go{FETCHED}.linux-{architecture}"
        ));
    let answer: serde_json::Value = serde_json::from_str(&cmd::output(&mut download)?)
        .context("failed to read what `go mod download` printed")?;
    let fetched = answer
        .get("Dir")
        .and_then(serde_json::Value::as_str)
        .context("`go mod download` named no folder")?;
    // Another file system, maybe: copied, not renamed.
    let mut copy = cmd::command("cp");
    cmd::output(
        copy.args(["--recursive", "--no-target-directory", fetched])
            .arg(into),
    )?;
    // A module holds no file modes.
    for programs in ["bin", "pkg/tool"] {
        for file in cache::files(&into.join(programs))? {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("failed to make {} a program", file.display()))?;
        }
    }
    Ok(())
}

/// Major and minor number in `go version go1.26.8 linux/amd64`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let number = version.split_whitespace().nth(2)?.strip_prefix("go")?;
    let mut parts = number.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts
        .next()?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(parse("go version go1.27rc1 linux/arm64"), Some((1, 27)));
        assert!(parse("go version go1.9.7 linux/amd64") < Some(OLDEST));
        assert_eq!(parse("gccgo"), None);
    }
}
