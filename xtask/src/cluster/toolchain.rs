//! Finds a Go that can build the cluster.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::cmd;

/// The oldest Go that helm's module accepts.
const OLDEST: (u32, u32) = (1, 26);

/// A Go toolchain.
#[derive(Debug, Clone)]
pub struct Go {
    pub program: PathBuf,
    pub version: String,
}

/// The first Go on the search path, or in its usual place, that is new enough.
pub fn find() -> Result<Go> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    let mut seen = Vec::new();
    for program in cmd::find("go").into_iter().chain([usual]) {
        if !program.is_file() {
            continue;
        }
        let mut command = cmd::command(&program);
        let version = cmd::output(command.env("GOTOOLCHAIN", "local").arg("version"))?;
        let version = version.trim().to_owned();
        let number = parse(&version).with_context(|| format!("failed to read `{version}`"))?;
        if number >= OLDEST {
            return Ok(Go { program, version });
        }
        seen.push(version);
    }
    let (major, minor) = OLDEST;
    let found = if seen.is_empty() {
        "none is installed".to_owned()
    } else {
        seen.join(", ")
    };
    bail!(
        "Go {major}.{minor} or newer is needed to compile the local cluster; found: {found}. \
         Install it from https://go.dev/dl into /usr/local/go, or set KUBECONFIG to a cluster that runs"
    )
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
