//! One image for several architectures: an OCI layout with an index of what was built for each.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::images::Built;
use crate::images::archive::{self, Whole};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Fills an empty folder with the layout of one image, by name `tag` in it.
///
/// # Errors
/// Where an archive is none of ours, or the disk is full.
pub fn write(folder: &Path, tag: &str, images: &[&Built]) -> Result<()> {
    fs::create_dir_all(folder.join("blobs/sha256"))
        .with_context(|| format!("failed to create a folder in {}", folder.display()))?;
    let mut manifests = Vec::new();
    for image in images {
        let Whole { config, layers } = archive::whole(&image.archive)?;
        let config = blob(folder, CONFIG, &config)?;
        let layers = layers
            .iter()
            .map(|layer| blob(folder, LAYER, layer))
            .collect::<Result<Vec<_>>>()?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
        });
        let mut manifest = blob(folder, MANIFEST, &serde_json::to_vec(&manifest)?)?;
        let platform = json!({ "os": "linux", "architecture": image.arch.name() });
        add(&mut manifest, "platform", platform);
        manifests.push(manifest);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut index = blob(folder, INDEX, &serde_json::to_vec(&index)?)?;
    let name = json!({ "org.opencontainers.image.ref.name": tag });
    add(&mut index, "annotations", name);
    let layout = json!({ "imageLayoutVersion": "1.0.0" });
    let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [index] });
    for (file, content) in [("oci-layout", layout), ("index.json", top)] {
        fs::write(folder.join(file), serde_json::to_vec(&content)?)
            .with_context(|| format!("failed to write {file}"))?;
    }
    Ok(())
}

/// Writes content under its digest; answers its descriptor.
fn blob(folder: &Path, kind: &str, content: &[u8]) -> Result<Value> {
    let digest = hex::encode(Sha256::digest(content));
    let path = folder.join("blobs/sha256").join(&digest);
    fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": content.len() }))
}

fn add(descriptor: &mut Value, name: &str, value: Value) {
    if let Some(fields) = descriptor.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::images::arch::Arch;
    use crate::images::archive::Image;

    fn read(folder: &Path, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().unwrap();
        let digest = digest.strip_prefix("sha256:").unwrap();
        let content = fs::read(folder.join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(hex::encode(Sha256::digest(&content)), digest);
        assert_eq!(descriptor["size"], content.len());
        serde_json::from_slice(&content).unwrap_or_default()
    }

    #[test]
    fn a_node_finds_the_image_of_its_architecture_by_the_name_of_both() {
        let folder = tempfile::tempdir().unwrap();
        let built = [Arch::Amd64, Arch::Arm64].map(|arch| {
            let root = folder.path().join(arch.name());
            fs::create_dir(&root).unwrap();
            fs::write(root.join("program"), arch.name()).unwrap();
            let image = Image {
                name: "docker.io/x/y:1".to_owned(),
                arch,
                ..Image::default()
            };
            let tar = folder.path().join(format!("{}.tar", arch.name()));
            archive::write(&tar, &image, &archive::tree(&root).unwrap()).unwrap();
            Built {
                short: "y".to_owned(),
                arch,
                archive: tar,
            }
        });
        let layout = folder.path().join("layout");
        write(&layout, "1", &built.each_ref()).unwrap();

        let top = fs::read(layout.join("index.json")).unwrap();
        let top: Value = serde_json::from_slice(&top).unwrap();
        let named = &top["manifests"][0];
        assert_eq!(
            named["annotations"]["org.opencontainers.image.ref.name"],
            "1"
        );
        let index = read(&layout, named);
        let mut layers = BTreeSet::new();
        for (at, arch) in ["amd64", "arm64"].into_iter().enumerate() {
            let descriptor = &index["manifests"][at];
            assert_eq!(descriptor["platform"]["architecture"], arch);
            let manifest = read(&layout, descriptor);
            let config = read(&layout, &manifest["config"]);
            assert_eq!(config["architecture"], arch);
            let layer = &manifest["layers"][0];
            read(&layout, layer);
            // An uncompressed layer: its digest is that of what it unpacks to.
            assert_eq!(config["rootfs"]["diff_ids"][0], layer["digest"]);
            layers.insert(layer["digest"].to_string());
        }
        assert_eq!(layers.len(), 2);
    }
}
