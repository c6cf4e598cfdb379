//! Container images without a container engine: static programs on an empty
//! root, and a language image from Debian packages.

pub mod archive;
mod language;
mod programs;
mod push;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cluster::{self, Target};
use crate::cmd::Progress;

/// `cargo xtask images`.
#[derive(clap::Args)]
pub struct Args {
    /// Import the images into the local cluster
    #[arg(long)]
    load: bool,
    /// Copy the images to this registry, for example registry.example.com/team
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
    /// The images' tag
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

/// Where the images' names begin, as in the chart's `images.registry`.
const REGISTRY: &str = "docker.io/oarmaster";

/// An image that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The last part of its name.
    pub short: &'static str,
    pub archive: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { load, push, tag } = args;
    let images = build(&tag)?;
    if load {
        load_into(&images)?;
    }
    if let Some(registry) = push {
        push::push(&images, registry.trim_end_matches('/'), &tag)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds every image.
pub fn build(tag: &str) -> Result<Vec<Built>> {
    let mut progress = Progress::start();
    let mut images = programs::build(tag)?;
    progress.done("operator, gateway and runner are built");
    images.push(language::python(tag)?);
    progress.done("the language image is built");
    for image in &images {
        println!(
            "{REGISTRY}/{}:{tag}  {}",
            image.short,
            image.archive.display()
        );
    }
    Ok(images)
}

/// Imports the images into the local cluster, those that it does not have.
pub fn load_into(images: &[Built]) -> Result<()> {
    if let Target::External(path) = cluster::target()? {
        bail!(
            "KUBECONFIG names another cluster ({}): push the images with `cargo xtask images --push \
             REGISTRY`, or load the archives with that cluster's own tool, for kind `kind load \
             image-archive FILE`",
            path.display()
        );
    }
    let archives: Vec<PathBuf> = images.iter().map(|image| image.archive.clone()).collect();
    let loaded = cluster::load(&archives)?;
    if loaded.is_empty() {
        println!("the cluster has them all");
    }
    for name in loaded {
        println!("loaded {name}");
    }
    Ok(())
}

fn name(short: &str, tag: &str) -> String {
    format!("{REGISTRY}/{short}:{tag}")
}
