//! The image that sandboxed Python runs in, from Debian packages.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt;
use crate::cache::{self, Key};
use crate::cmd;
use crate::images::archive::{self, Image};
use crate::images::{Built, name};

/// The image of Python.
pub const PYTHON: &str = "python";
/// Changes when this file makes another image from the same packages.
const RECIPE: &str = "1";
/// What an agent's tools call; everything else follows from these.
const PACKAGES: [&str; 9] = [
    "base-files",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "python3",
    "sed",
];
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

/// The image `python`, made once for each Debian release and recipe.
pub fn python(tag: &str) -> Result<Built> {
    let release = fs::read("/etc/os-release").context("failed to read /etc/os-release")?;
    let name = name(PYTHON, tag);
    let key = Key::default()
        .add("os-release", &release)
        .add("packages", PACKAGES.join(" ").as_bytes())
        .add("recipe", RECIPE.as_bytes())
        .add("format", archive::FORMAT.as_bytes())
        .add("name", name.as_bytes())
        .finish();
    let folder = cache::once(&format!("images/python-{key}"), |into| {
        eprintln!("making {name} from Debian packages");
        let root = tempfile::tempdir().context("failed to create a temporary folder")?;
        lay(root.path())?;
        let image = Image {
            name: name.clone(),
            cmd: vec!["python3".to_owned()],
            user: "65533:65533".to_owned(),
            env: vec![
                "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
                "LANG=C.UTF-8".to_owned(),
            ],
            workdir: "/workspace".to_owned(),
            ..Image::default()
        };
        archive::write(
            &into.join("python.tar"),
            &image,
            &archive::tree(root.path())?,
        )
    })?;
    Ok(Built {
        short: PYTHON.to_owned(),
        archive: folder.join("python.tar"),
    })
}

/// Fills an empty folder with the image's files.
fn lay(root: &Path) -> Result<()> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    for folder in ["bin", "lib", "sbin"] {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    fs::create_dir_all(root.join("usr/lib64"))?;
    symlink("usr/lib64", root.join("lib64"))?;
    for package in apt::download_all(&PACKAGES)?.files()? {
        unpack(&package, root)?;
    }
    for folder in PRUNED {
        let path = root.join(folder);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("failed to remove {}", path.display()))?;
        }
    }
    for file in cache::files(&root.join("usr/share/doc"))? {
        if file.file_name().is_some_and(|name| name != "copyright") {
            fs::remove_file(&file)
                .with_context(|| format!("failed to remove {}", file.display()))?;
        }
    }
    // Names that a package's installation script would have made.
    for (link, to) in [
        ("python", "python3"),
        ("awk", "mawk"),
        ("which", "which.debianutils"),
    ] {
        let link = root.join("usr/bin").join(link);
        if !link.is_symlink() && !link.exists() {
            symlink(to, &link).with_context(|| format!("failed to link {}", link.display()))?;
        }
    }
    for (folder, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777), ("workspace", 0o777)] {
        let path = root.join(folder);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    precompile(root)
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
fn precompile(root: &Path) -> Result<()> {
    let library = root.join("usr/lib");
    let found = |folder: &Path, wanted: fn(&str) -> bool| -> Result<Option<PathBuf>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if wanted(&entry.file_name().to_string_lossy()) {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    };
    let python = found(&library, |name| name.starts_with("python3."))?
        .context("the packages hold no Python library")?;
    let program = python.file_name().context("a library folder has a name")?;
    let triple = found(&library, |name| name.ends_with("-linux-gnu"))?
        .context("the packages hold no C library")?;
    let loader = found(&triple, |name| name.starts_with("ld-linux"))?
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
    command.arg("-s").arg(root).args(["-p", "/"]).arg(&python);
    cmd::output(&mut command).map(drop)
}
