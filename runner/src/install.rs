//! Copies this binary to where the sandbox container can run it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why the copy failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to install the supervisor at {}", .target.display())]
pub struct Error {
    target: PathBuf,
    source: io::Error,
}

/// Copies the running binary to `target`, readable and executable by everybody, writable by nobody.
///
/// The copy appears under its name at once and whole, so that a repeated init container never leaves half a file.
///
/// # Errors
/// When the target's directory cannot be written.
pub fn install(target: &Path) -> Result<(), Error> {
    copy(target).map_err(|source| Error {
        target: target.to_path_buf(),
        source,
    })
}

fn copy(target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::copy("/proc/self/exe", &partial)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o555))?;
    fs::rename(&partial, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_twice_and_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("bin/oarmaster-exec");
        install(&target).unwrap();
        install(&target).unwrap();
        let meta = fs::metadata(&target).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o555);
        assert_eq!(meta.len(), fs::metadata("/proc/self/exe").unwrap().len());
    }

    #[test]
    fn says_where_it_failed() {
        let error = install(Path::new("/proc/nothing/exec")).unwrap_err();
        assert!(error.to_string().contains("/proc/nothing/exec"));
    }
}
