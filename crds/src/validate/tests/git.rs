use super::{fields, parse};
use crate::TaskSpec;
use crate::kinds::sandbox::Egress;
use crate::validate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

fn task(files: &Value) -> TaskSpec {
    let domains = ["github.com", "*.example.com"];
    parse(json!({
        "run": { "command": ["true"], "sandbox": { "egress": { "domains": domains } } },
        "files": files,
    }))
}

fn problems(files: &Value) -> Vec<String> {
    fields(&validate::task(&task(files), &ObjectMeta::default()))
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn of_url(url: &str) -> Vec<String> {
    problems(&json!([{ "path": "app", "git": { "url": url } }]))
}

#[test]
fn a_repository_is_named_by_https_host_and_path() {
    for url in [
        "https://github.com/acme/app.git",
        "https://github.com/acme/app",
        "https://git.example.com/scm/~me/app%20x.git",
        "https://a.b.example.com/x",
    ] {
        assert_eq!(of_url(url), [""; 0], "{url}");
    }
    for url in [
        "",
        "http://github.com/acme/app",
        "git://github.com/acme/app",
        "ssh://git@github.com/acme/app",
        "git@github.com:acme/app.git",
        "file:///etc",
        "ext::sh -c x",
        "/workspace/other",
        "https://user:secret@github.com/acme/app",
        "https://github.com@evil.example.org/x",
        "https://github.com:8443/acme/app",
        "https://github.com",
        "https://github.com/",
        "https://GitHub.com/acme/app",
        "https://github.com./acme/app",
        "https://10.0.0.1/acme/app",
        "https://[::1]/acme/app",
        "https://localhost/acme/app",
        "https://github.com/acme/app?x=y",
        "https://github.com/acme/app#main",
        "https://github.com/acme/a b",
        "https://github.com/acme/app\n",
        "https://github.com\\@example.org/x",
    ] {
        assert_eq!(of_url(url), ["spec.files[0].git.url"], "{url}");
    }
    let long = format!("https://github.com/{}", "a".repeat(512));
    assert_eq!(of_url(&long), ["spec.files[0].git.url"]);
}

#[test]
fn a_ref_is_a_branch_a_tag_or_a_commit() {
    let of = |reference: &str| {
        problems(
            &json!([{ "path": "app", "git": { "url": "https://github.com/a/b", "ref": reference } }]),
        )
    };
    for reference in [
        "HEAD",
        "main",
        "feature/x-1",
        "v1.2.3+build",
        "refs/tags/v1",
        "pkg@1.0",
        "0123456789012345678901234567890123456789",
    ] {
        assert_eq!(of(reference), [""; 0], "{reference}");
    }
    for reference in [
        "",
        "-x",
        "--upload-pack=sh",
        "+main",
        "main:main",
        "a..b",
        "a//b",
        "a/",
        "a/.b",
        "main~1",
        "main^",
        "x@{1}",
        "a b",
        "refs/heads/*",
        "a\\b",
        "\u{e9}",
    ] {
        assert_eq!(of(reference), ["spec.files[0].git.ref"], "{reference}");
    }
    assert_eq!(of(&"a".repeat(256)), ["spec.files[0].git.ref"]);
}

#[test]
fn the_host_is_one_of_the_sandboxs_domains() {
    let url = "https://gitlab.com/acme/app";
    assert_eq!(of_url(url), ["spec.files[0].git.url"]);
    let spec = task(&json!([{ "path": "app", "git": { "url": url } }]));
    let problem =
        &validate::reachable(&spec.files, "the Agent's spec.sandbox", &Egress::default())[0];
    assert_eq!(
        problem.to_string(),
        "spec.files[0].git.url: gitlab.com is none of the domains that the sandbox may reach: add it to the Agent's spec.sandbox.egress.domains, and to its SandboxClass"
    );
    // `*.example.com` is what is below it.
    assert_eq!(of_url("https://example.com/x"), ["spec.files[0].git.url"]);
}

#[test]
fn repositories_and_files_are_not_in_each_others_way() {
    let of = |paths: &[(&str, bool)]| {
        let files = paths.iter().map(|(path, git)| match git {
            true => json!({ "path": path, "git": { "url": "https://github.com/a/b" } }),
            false => json!({ "path": path, "content": "" }),
        });
        problems(&files.collect())
    };
    for paths in [
        &[(".", true)][..],
        &[(".", true), ("x", false), ("a/b", false)],
        &[("a", true), ("b", true), ("a/x", false), ("c", false)],
        &[("a", true), ("ab", true)],
    ] {
        assert_eq!(of(paths), [""; 0], "{paths:?}");
    }
    for (paths, wrong) in [
        (&[(".", false)][..], "spec.files[0].path"),
        (&[("./a", true)], "spec.files[0].path"),
        (&[("../a", true)], "spec.files[0].path"),
        (&[(".", true), ("a", true)], "spec.files[1].path"),
        (&[("a/b", true), ("a", true)], "spec.files[0].path"),
        (&[("a", false), ("a/b", true)], "spec.files[1].path"),
    ] {
        assert_eq!(of(paths), [wrong], "{paths:?}");
    }
    for file in [
        json!({ "path": "a" }),
        json!({ "path": "a", "content": "", "git": { "url": "https://github.com/a/b" } }),
        json!({ "path": "a", "configMap": { "name": "m", "key": "k" }, "git": { "url": "https://github.com/a/b" } }),
    ] {
        assert_eq!(problems(&json!([file])), ["spec.files[0]"], "{file}");
    }
}
