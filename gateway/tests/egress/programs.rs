//! curl, pip, npm and git, as they are.

use crate::support::{Scene, run};
use std::fs;
use std::path::Path;

#[tokio::test]
async fn curl_reaches_its_domains_by_https_and_http() {
    let scene = Scene::start().await;
    fs::write(scene.path("www/hello"), "hello over there\n").unwrap();
    let (code, said) = scene.curl(&["https://registry.test/hello"]).await;
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "hello over there\n200 200")
    );
    let (code, said) = scene.curl(&["http://a.hosted.test/hello"]).await;
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "hello over there\n000 200")
    );
    assert_eq!(
        scene.seen.requests(),
        ["registry.test /hello", "a.hosted.test /hello"]
    );
    let headers = scene.seen.headers();
    for of_the_way in [
        "proxy-connection",
        "connection",
        "via",
        "x-forwarded-for",
        "authorization",
    ] {
        assert!(!headers.contains_key(of_the_way), "{headers:?}");
    }
}

#[tokio::test]
async fn bodies_go_both_ways() {
    let scene = Scene::start().await;
    let large = vec![b'x'; 3 << 20];
    fs::write(scene.path("large"), &large).unwrap();
    for url in ["https://registry.test/echo", "http://registry.test/echo"] {
        for how in ["--data-binary", "-T"] {
            let file = if how == "-T" { "large" } else { "@large" };
            let arguments = [how, file, "-o", "back", "-H", "Expect: 100-continue", url];
            let (code, said) = scene.curl(&arguments).await;
            assert_eq!(code, Some(0), "{how} {url}: {said}");
            assert!(
                fs::read(scene.path("back")).unwrap() == large,
                "{how} {url}"
            );
        }
    }
}

#[tokio::test]
async fn curl_reaches_nothing_else() {
    let scene = Scene::start().await;
    for (url, expected) in [
        ("https://evil.test/", "403 000"),
        ("https://sub.registry.test/", "403 000"),
        ("https://hosted.test/", "403 000"),
        ("https://registry.test:8443/", "403 000"),
        ("https://registry.test:80/", "403 000"),
        ("https://127.0.0.1/", "403 000"),
        ("https://[::1]/", "403 000"),
        ("https://2130706433/", "403 000"),
        ("https://kubernetes.default.svc/", "403 000"),
        ("http://evil.test/", "000 403"),
        ("http://registry.test:8080/", "000 403"),
        ("http://registry.test:443/", "000 403"),
        ("http://169.254.169.254/latest/meta-data/", "000 403"),
        ("http://localhost:9090/metrics", "000 403"),
    ] {
        let (_, said) = scene.curl(&[url]).await;
        assert!(said.contains(expected), "{url}: {said}");
    }
    let (_, told) = scene.curl(&["http://evil.test/"]).await;
    assert!(
        told.starts_with("evil.test cannot be reached from this sandbox, which has egress to registry.test, *.hosted.test\n"),
        "{told}"
    );
    // A redirect is another request.
    let (_, said) = scene.curl(&["-L", "http://registry.test/away"]).await;
    assert!(said.ends_with("000 403"), "{said}");
    assert_eq!(scene.seen.requests(), ["registry.test /away"]);
}

/// The server has a certificate for both names and would answer for either.
#[tokio::test]
async fn a_tunnel_is_for_its_own_name() {
    let scene = Scene::start().await;
    let elsewhere = [
        "--connect-to",
        "evil.test:443:registry.test:443",
        "https://evil.test/",
    ];
    let (code, said) = scene.curl(&elsewhere).await;
    assert_ne!(code, Some(0));
    assert!(
        said.contains("200 000"),
        "the tunnel was opened and ended: {said}"
    );
    assert_eq!(scene.seen.requests(), [""; 0]);
}

#[tokio::test]
async fn pip_installs_from_its_index() {
    let scene = Scene::start().await;
    let index = scene.path("www/simple/demo-tool");
    fs::create_dir_all(&index).unwrap();
    let wheel = "demo_tool-1.0-py3-none-any.whl";
    make_wheel(&index.join(wheel)).await;
    fs::write(
        index.join("index.html"),
        format!("<a href=\"{wheel}\">{wheel}</a>"),
    )
    .unwrap();
    let install = [
        "python3",
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--target",
        "site",
        "--index-url",
        "https://registry.test/simple/",
        "demo-tool",
    ];
    let (code, said) = scene.program(&install).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        fs::read_to_string(scene.path("site/demo_tool.py")).unwrap(),
        "ANSWER = 42\n"
    );
    let elsewhere: Vec<&str> = install
        .iter()
        .map(|word| {
            word.strip_prefix("https://registry")
                .map_or(*word, |_| "https://evil.test/simple/")
        })
        .chain(["--retries", "1"])
        .collect();
    let (code, said) = scene.program(&elsewhere).await;
    assert_ne!(code, Some(0));
    assert!(said.contains("403 Forbidden"), "{said}");
}

/// The least that pip takes for a wheel.
async fn make_wheel(path: &Path) {
    let code = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("demo_tool.py", "ANSWER = 42\n")
    wheel.writestr("demo_tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo-tool\nVersion: 1.0\n")
    wheel.writestr("demo_tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("demo_tool-1.0.dist-info/RECORD", "demo_tool.py,,\ndemo_tool-1.0.dist-info/METADATA,,\ndemo_tool-1.0.dist-info/WHEEL,,\ndemo_tool-1.0.dist-info/RECORD,,\n")
"#;
    let path = path.display().to_string();
    let (code, said) = run(&["python3", "-c", code, &path], Path::new("/"), &[]).await;
    assert_eq!(code, Some(0), "{said}");
}

/// npm asks by https through CONNECT, and by http with whole URLs.
#[tokio::test]
#[allow(clippy::print_stderr)] // a test that did nothing says so
async fn npm_installs_from_its_registry() {
    let npm = run(&["sh", "-c", "command -v npm"], Path::new("/"), &[]).await;
    if npm.0 != Some(0) {
        eprintln!("SKIPPED: there is no npm");
        return;
    }
    let scene = Scene::start().await;
    fs::create_dir(scene.path("package")).unwrap();
    let package = r#"{"name": "demo-tool", "version": "1.0.0", "main": "index.js"}"#;
    fs::write(scene.path("package/package.json"), package).unwrap();
    fs::write(scene.path("package/index.js"), "module.exports = 42;\n").unwrap();
    let tar = ["tar", "czf", "www/demo-tool-1.0.0.tgz", "package"];
    let (code, said) = scene.program(&tar).await;
    assert_eq!(code, Some(0), "{said}");
    for scheme in ["https", "http"] {
        let about = format!(
            r#"{{"name": "demo-tool", "dist-tags": {{"latest": "1.0.0"}}, "versions": {{"1.0.0": {{"name": "demo-tool", "version": "1.0.0", "dist": {{"tarball": "{scheme}://registry.test/demo-tool-1.0.0.tgz"}}}}}}}}"#
        );
        fs::write(scene.path("www/demo-tool"), about).unwrap();
        let (registry, prefix) = (
            format!("{scheme}://registry.test/"),
            format!("app-{scheme}"),
        );
        let install = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--cache",
            &format!("cache-{scheme}"),
            "--registry",
            &registry,
            "--prefix",
            &prefix,
            "demo-tool",
        ];
        let (code, said) = scene.program(&install).await;
        assert_eq!(code, Some(0), "{said}");
        let installed = scene.path(&prefix).join("node_modules/demo-tool/index.js");
        assert_eq!(
            fs::read_to_string(installed).unwrap(),
            "module.exports = 42;\n"
        );
    }
}

#[tokio::test]
async fn git_clones_from_its_server() {
    let scene = Scene::start().await;
    fs::create_dir(scene.path("work")).unwrap();
    fs::write(scene.path("work/README"), "cloned\n").unwrap();
    let code = "set -e; cd work; git init -q; git add .; git -c user.name=t -c user.email=t@t.test commit -qm first; cd ..; git clone -q --bare work www/repo.git; cd www/repo.git; git update-server-info";
    let (code, said) = scene.program(&["sh", "-c", code]).await;
    assert_eq!(code, Some(0), "{said}");
    let clone = [
        "git",
        "clone",
        "-q",
        "https://registry.test/repo.git",
        "clone",
    ];
    let (code, said) = scene.program(&clone).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        fs::read_to_string(scene.path("clone/README")).unwrap(),
        "cloned\n"
    );
    let elsewhere = ["git", "clone", "-q", "https://evil.test/repo.git", "other"];
    let (code, said) = scene.program(&elsewhere).await;
    assert_ne!(code, Some(0));
    assert!(said.contains("403"), "{said}");
}
