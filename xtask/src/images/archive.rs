//! Writes and reads docker-archives: one layer, byte for byte the same for the
//! same content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::images::arch::Arch;

/// Changes when this file writes the same content in another way.
pub const FORMAT: &str = "1";

/// What an image says besides its files.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Full name with tag.
    pub name: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// Numeric, so that `runAsNonRoot` can be checked.
    pub user: String,
    pub env: Vec<String>,
    pub workdir: String,
    /// What its programs are built for.
    pub arch: Arch,
}

/// One file of the layer.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Relative to the root.
    path: PathBuf,
    mode: u32,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Folder,
    Link(PathBuf),
    File(PathBuf),
}

impl Entry {
    /// A program, with the folders above it.
    pub fn program(path: &str, from: &Path) -> Result<Self> {
        if !from.is_file() {
            anyhow::bail!("there is no program {}", from.display());
        }
        Ok(Self {
            path: path.into(),
            mode: 0o755,
            kind: Kind::File(from.to_owned()),
        })
    }

    /// A folder.
    pub fn folder(path: &str, mode: u32) -> Self {
        Self {
            path: path.into(),
            mode,
            kind: Kind::Folder,
        }
    }
}

/// Everything below a folder, in order, as files of root.
pub fn tree(root: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?
        {
            let path = entry?.path();
            let found = fs::symlink_metadata(&path)?;
            let kind = if found.is_symlink() {
                Kind::Link(fs::read_link(&path)?)
            } else if found.is_dir() {
                folders.push(path.clone());
                Kind::Folder
            } else {
                Kind::File(path.clone())
            };
            // No set-user-ID program is any use in a sandbox.
            let mode = found.permissions().mode() & 0o1777;
            let path = path.strip_prefix(root)?.to_owned();
            entries.push(Entry { path, mode, kind });
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Writes the image of these files.
pub fn write(out: &Path, image: &Image, entries: &[Entry]) -> Result<()> {
    let mut layer = tempfile::tempfile().context("failed to make a temporary file")?;
    let mut hashed = Hashed {
        inner: &mut layer,
        hash: Sha256::new(),
        length: 0,
    };
    append(&mut hashed, entries)?;
    let (digest, length) = (hex::encode(hashed.hash.finalize()), hashed.length);
    layer.rewind()?;

    let config = serde_json::to_vec(&config(image, &digest))?;
    let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
    let layer_name = format!("{digest}/layer.tar");
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [image.name],
        "Layers": [layer_name],
    }]);

    let file = File::create(out).with_context(|| format!("failed to create {}", out.display()))?;
    let mut archive = tar::Builder::new(file);
    let mut add = |name: &str, length: u64, content: &mut dyn std::io::Read| {
        let mut header = header(0o644, tar::EntryType::Regular);
        header.set_size(length);
        archive.append_data(&mut header, name, content)
    };
    let bytes = serde_json::to_vec(&manifest)?;
    add("manifest.json", bytes.len() as u64, &mut bytes.as_slice())?;
    add(&config_name, config.len() as u64, &mut config.as_slice())?;
    add(&layer_name, length, &mut layer)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

fn config(image: &Image, layer: &str) -> serde_json::Value {
    json!({
        "architecture": image.arch.name(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": image.entrypoint,
            "Cmd": image.cmd,
            "User": image.user,
            "Env": image.env,
            "WorkingDir": image.workdir,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask images" }],
    })
}

fn append(out: impl std::io::Write, entries: &[Entry]) -> Result<()> {
    let mut layer = tar::Builder::new(out);
    let mut folders = std::collections::BTreeSet::new();
    for Entry { path, mode, kind } in entries {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for folder in above
            .into_iter()
            .rev()
            .filter(|f| !f.as_os_str().is_empty())
        {
            if folders.insert(folder.to_owned()) {
                let mut header = header(0o755, tar::EntryType::Directory);
                layer.append_data(&mut header, folder, std::io::empty())?;
            }
        }
        match kind {
            Kind::Folder => {
                if folders.insert(path.clone()) {
                    let mut header = header(*mode, tar::EntryType::Directory);
                    layer.append_data(&mut header, path, std::io::empty())?;
                }
            }
            Kind::Link(to) => {
                let mut header = header(0o777, tar::EntryType::Symlink);
                layer.append_link(&mut header, path, to)?;
            }
            Kind::File(from) => {
                let file = File::open(from)
                    .with_context(|| format!("failed to open {}", from.display()))?;
                let mut header = header(*mode, tar::EntryType::Regular);
                header.set_size(file.metadata()?.len());
                layer.append_data(&mut header, path, file)?;
            }
        }
    }
    layer.finish()?;
    Ok(())
}

fn header(mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

struct Hashed<'a> {
    inner: &'a mut File,
    hash: Sha256,
    length: u64,
}

impl std::io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// What an archive holds.
#[derive(Debug, PartialEq)]
pub struct Content {
    /// The digest of the configuration, which is the image's identity.
    pub config: String,
    pub names: Vec<String>,
}

/// Reads an archive's manifest.
pub fn read(path: &Path) -> Result<Content> {
    let open = || format!("failed to read {}; is it a docker-archive?", path.display());
    let mut archive = tar::Archive::new(File::open(path).with_context(open)?);
    for entry in archive.entries().with_context(open)? {
        let mut entry = entry.with_context(open)?;
        if entry.path()?.as_ref() == Path::new(MANIFEST) {
            let mut text = String::new();
            entry.read_to_string(&mut text).with_context(open)?;
            let images: Vec<Manifest> = serde_json::from_str(&text).with_context(open)?;
            let image = images.into_iter().next().with_context(open)?;
            let config = image.config.rsplit('/').next().unwrap_or_default();
            let config = config.trim_end_matches(".json").to_owned();
            return Ok(Content {
                config,
                names: image.repo_tags,
            });
        }
    }
    anyhow::bail!(
        "{} has no {MANIFEST}; it is not a docker-archive",
        path.display()
    )
}

const MANIFEST: &str = "manifest.json";

/// What a manifest says of one image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    #[serde(default)]
    repo_tags: Vec<String>,
    #[serde(default)]
    layers: Vec<String>,
}

/// All of an archive of one image.
pub struct Whole {
    /// Its configuration, in JSON.
    pub config: Vec<u8>,
    /// Its layers, in order.
    pub layers: Vec<Vec<u8>>,
}

/// Reads a small archive into memory.
pub fn whole(path: &Path) -> Result<Whole> {
    let open = || format!("failed to read {}; is it a docker-archive?", path.display());
    let mut parts = BTreeMap::new();
    for entry in tar::Archive::new(File::open(path).with_context(open)?)
        .entries()
        .with_context(open)?
    {
        let mut entry = entry.with_context(open)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).with_context(open)?;
        parts.insert(entry.path()?.to_string_lossy().into_owned(), content);
    }
    let mut part = |name: &str| {
        let part = parts.remove(name);
        part.with_context(|| format!("{} has no {name}", path.display()))
    };
    let images: Vec<Manifest> = serde_json::from_slice(&part(MANIFEST)?).with_context(open)?;
    let [image] = images.as_slice() else {
        anyhow::bail!("{} has {} images", path.display(), images.len());
    };
    Ok(Whole {
        config: part(&image.config)?,
        layers: image
            .layers
            .iter()
            .map(|name| part(name))
            .collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests;
