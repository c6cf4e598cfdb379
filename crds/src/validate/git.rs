//! Checks of files that come from git.

use super::{Problem, bounds};
use crate::domain::{Domain, DomainPattern};
use crate::kinds::sandbox::Egress;
use crate::kinds::task::{FileSpec, GitSource};

/// What is wrong with a repository by itself.
pub fn git(problems: &mut Vec<Problem>, field: &str, source: &GitSource) {
    if let Err(what) = host(&source.url) {
        problems.push(Problem::spec(format!("{field}.url"), what));
    }
    if let Some(what) = reference_problem(&source.reference) {
        problems.push(Problem::spec(format!("{field}.ref"), what));
    }
}

/// Repositories whose host is none of the domains that the sandbox may reach. `field` is the path of the sandbox in the object that has it.
#[must_use]
pub fn reachable(files: &[FileSpec], field: &str, egress: &Egress) -> Vec<Problem> {
    let read = egress.domains.iter().map(|text| DomainPattern::parse(text));
    let patterns: Vec<DomainPattern> = read.filter_map(Result::ok).collect();
    let mut problems = Vec::new();
    for (index, file) in files.iter().enumerate() {
        // What is no address is a problem of its own.
        let Some(Ok(host)) = file.git.as_ref().map(|source| host(&source.url)) else {
            continue;
        };
        if !patterns.iter().any(|pattern| pattern.matches(&host)) {
            problems.push(Problem::spec(
                format!("spec.files[{index}].git.url"),
                format!(
                    "{host} is none of the domains that the sandbox may reach: add it to {field}.egress.domains, and to its SandboxClass"
                ),
            ));
        }
    }
    problems
}

/// The host of `https://HOST/PATH`.
fn host(url: &str) -> Result<Domain, String> {
    const FORM: &str = "write it like https://github.com/acme/app.git";
    let rest = url
        .strip_prefix("https://")
        .ok_or_else(|| format!("is not fetched by https: {FORM}"))?;
    if url.chars().count() > 512 {
        return Err("is too long: write at most 512 characters".to_owned());
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(format!(
            "has a name or password, which everybody could read here; repositories that need one cannot be fetched: {FORM}"
        ));
    }
    if authority.contains(':') {
        return Err(format!("has a port; only 443 can be reached: {FORM}"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%+@".contains(&byte);
    if path.trim_matches('/').is_empty() || !path.bytes().all(plain) {
        return Err(format!(
            "has no path, or one with a query, a fragment or other characters: {FORM}"
        ));
    }
    // In its one form, so that what is compared is what is asked for.
    match Domain::parse(authority) {
        Ok(domain) if domain.as_str() == authority => Ok(domain),
        Ok(_) => Err(format!("has a host that is not in lower case: {FORM}")),
        Err(error) => Err(format!("has a host that {error}")),
    }
}

/// A branch, a tag or a commit, and nothing that git reads as a pattern, an option or two names.
fn reference_problem(reference: &str) -> Option<&'static str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@+#=".contains(&byte);
    let good = (1..=255).contains(&reference.len())
        && reference.bytes().all(known)
        && reference.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !reference.ends_with(['/', '.'])
        && !reference.contains("..")
        && !reference.contains("//")
        && !reference.contains("/.");
    (!good).then_some("write a branch, a tag, or a whole commit id: letters, digits and . _ / @ + # = -, at most 255 characters")
}

/// Repositories and files that would be in each other's way: a file may be put into a repository, a repository into nothing. What is in an artifact is not known.
pub fn places(problems: &mut Vec<Problem>, files: &[FileSpec]) {
    let within = |path: &str, above: &str| {
        above == "."
            || path
                .strip_prefix(above)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for (index, file) in files
        .iter()
        .enumerate()
        .filter(|(_, file)| file.git.is_some())
    {
        let others = files
            .iter()
            .enumerate()
            .filter(|(other, file)| *other != index && file.artifact.is_none());
        for (_, other) in others {
            let (path, above) = (&file.path, &other.path);
            if within(path, above) && (other.git.is_some() || path != ".") {
                problems.push(Problem::spec(
                    format!("spec.files[{index}].path"),
                    format!("a repository cannot stand in '{above}', which is a file or a repository itself"),
                ));
                break;
            }
        }
    }
}

/// What is wrong with the path of a file, or of a repository or an artifact, which may be the workspace itself.
pub fn path_problem(file: &FileSpec) -> Option<&'static str> {
    match file.path.as_str() {
        "." if file.git.is_some() || file.artifact.is_some() => None,
        path => bounds::path_problem(path),
    }
}
