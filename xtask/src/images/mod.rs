//! Container images without a container engine: static programs on an empty
//! root, and images of languages from Debian packages.

pub mod arch;
pub mod archive;
mod index;
mod inspect;
pub mod language;
pub mod place;
pub mod programs;
mod push;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cluster::{self, Target};
use crate::cmd::Progress;
use crate::images::arch::Arch;
use crate::images::programs::Profile;

/// `cargo xtask images`.
#[derive(clap::Args)]
pub struct Args {
    /// Import the images into the local cluster
    #[arg(long)]
    load: bool,
    /// Copy the images to this registry, for example registry.example.com/team; built to run fast, which takes longer
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
    /// The images' tag
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Only these images: operator, gateway, runner, webhook, python, node, java. The last two are large, and built only when they are named
    #[arg(long, value_name = "IMAGE", value_delimiter = ',')]
    only: Vec<String>,
    /// What to build for; with both, an image is pushed as one for both. Default: this machine's architecture, the only one that images of languages are made for
    #[arg(long, value_enum, value_name = "ARCH", value_delimiter = ',')]
    arch: Vec<Arch>,
}

/// Where the images' names begin, as in the chart's `images.registry`.
const REGISTRY: &str = "docker.io/oarmaster";

/// The image that is built even if nobody names it: what most Tasks of samples and tests run in.
const PYTHON: &str = "python";

/// An image that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The last part of its name.
    pub short: String,
    pub arch: Arch,
    pub archive: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args {
        load,
        push,
        tag,
        only,
        mut arch,
    } = args;
    let here = programs::here()?;
    if arch.is_empty() {
        arch.push(here);
    }
    arch.sort_unstable();
    arch.dedup();
    if load && arch != [here] {
        bail!(
            "the local cluster runs programs for {} only: leave --arch out",
            here.name()
        );
    }
    let names: Vec<&str> = programs::PROGRAMS
        .into_iter()
        .chain(language::RECIPES.each_ref().map(|recipe| recipe.name))
        .collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!(
            "there is no image `{unknown}`; there are {}",
            names.join(", ")
        );
    }
    let profile = match &push {
        Some(_) => Profile::Dist,
        None => Profile::Image,
    };
    let languages = arch == [here];
    if let Some(language) = only
        .iter()
        .find(|name| !languages && !programs::PROGRAMS.contains(&name.as_str()))
    {
        bail!(
            "the image `{language}` is made for this machine's architecture only: leave --arch out"
        );
    }
    let wanted = |name: &str| match only.as_slice() {
        [] if !languages => programs::PROGRAMS.contains(&name),
        [] => name == PYTHON || programs::PROGRAMS.contains(&name),
        only => only.iter().any(|only| only == name),
    };
    let images = build(&tag, profile, &arch, wanted)?;
    if load {
        load_into(&images)?;
    }
    if let Some(registry) = push {
        push::push(&images, registry.trim_end_matches('/'), &tag)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the images that `wanted` accepts.
fn build(
    tag: &str,
    profile: Profile,
    arch: &[Arch],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Built>> {
    let mut progress = Progress::start();
    let programs: Vec<&str> = programs::PROGRAMS
        .into_iter()
        .filter(|name| wanted(name))
        .collect();
    let mut images = Vec::new();
    for arch in arch.iter().filter(|_| !programs.is_empty()) {
        images.extend(programs::build(&programs, tag, profile, *arch)?);
        progress.done(&format!(
            "{} built for {}",
            programs.join(", "),
            arch.name()
        ));
    }
    for recipe in language::RECIPES
        .iter()
        .filter(|recipe| wanted(recipe.name))
    {
        images.push(language::build(recipe, tag)?);
        progress.done(&format!("{} built", recipe.name));
    }
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
