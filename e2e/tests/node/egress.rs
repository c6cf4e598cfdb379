//! Egress in the live pod: code reaches the domain that its class and its run name, through the gateway, and nothing else.

use crate::support::{beside_others, create, ready, run, serving, with_class};
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::conditions;
use oarmaster_e2e::Space;
use oarmaster_e2e::network::enforced;
use oarmaster_e2e::task::{failure, holds};
use serde_json::{Value, json};

/// Where the pod of the mirror listens; its Service has port 80.
const PORT: u16 = 8080;

/// Every line of its output is `<what> <status>`, or `<what> refused`.
const PROGRAM: &str = r#"
import os, socket, urllib.error, urllib.request

def get(name, url):
    try:
        print(name, urllib.request.urlopen(url, timeout=60).read().decode())
    except urllib.error.HTTPError as error:
        print(name, error.code)

def attempt(name, act):
    try:
        act()
        print(name, "was possible")
    except PermissionError:
        print(name, "refused")

mirror = os.environ["MIRROR"]
proxy = int(os.environ["HTTPS_PROXY"].rsplit(":", 1)[1])
get("mirror", f"http://{mirror}/index.html")
get("below", f"http://below.{mirror}/index.html")
get("port", f"http://{mirror}:8080/index.html")
get("another", "http://kubernetes.default.svc.cluster.local/")
get("address", f"http://{os.environ['ADDRESS']}/index.html")
get("private", f"http://{os.environ['PRIVATE']}/index.html")
get("redirect", f"http://{mirror}/away")

def tcp(address, port):
    socket.create_connection((address, port), timeout=5)
attempt("directly", lambda: tcp(os.environ["ADDRESS"], 80))
attempt("api-server", lambda: tcp(os.environ["API_SERVER"], 443))
attempt("loopback", lambda: tcp("127.0.0.1", proxy + 1))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("bind", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).bind(("127.0.0.1", 0)))
print("names", [name for name in os.environ if "TOKEN" in name or "OARMASTER" in name])
"#;

const EXPECTED: &str = "mirror a page\nbelow 403\nport 403\nanother 403\naddress 403\nprivate 502\nredirect 403\n\
directly refused\napi-server refused\nloopback refused\nudp refused\nmptcp refused\nbind refused\nnames []\n";

/// A server of the test's own with one page and one redirect.
const SERVER: &str = r#"
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        away = self.path == "/away"
        self.send_response(302 if away else 200)
        if away:
            self.send_header("Location", "http://another.example.com/")
        self.send_header("Content-Length", "0" if away else "6")
        self.end_headers()
        if not away:
            self.wfile.write(b"a page")

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"#;

/// The mirror, its Service, whose address the installation lists, and a name of the pod's own address, which it does not.
fn mirror() -> [Value; 3] {
    let pod = serving("mirror", PORT, &json!(["python3", "-c", SERVER]));
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "mirror"}, "ports": [{"port": 80, "targetPort": PORT}]},
        })
    };
    let mut pods = service("pods");
    pods["spec"]["clusterIP"] = json!("None");
    [pod, service("mirror"), pods]
}

/// Starts the mirror, and gives the addresses of its Service and of the API server's.
async fn serve(space: &Space) -> Result<(String, String)> {
    create(space, &mirror()).await?;
    ready(space, "mirror").await?;
    let address = "jsonpath={.spec.clusterIP}";
    let of_mirror = ["get", "service", "mirror", "-o", address];
    let of_api = [
        "get",
        "service",
        "kubernetes",
        "-n",
        "default",
        "-o",
        address,
    ];
    let api = space.cluster.kubectl(&of_api).await?.success()?.stdout;
    Ok((space.kubectl(&of_mirror).await?, api))
}

#[tokio::test]
async fn code_reaches_its_domain_and_nothing_else() -> Result<()> {
    beside_others("egress", async |space| {
        let (address, api) = serve(space).await?;
        let domain = format!("mirror.{}.svc.cluster.local", space.name);
        let private = format!("pods.{}.svc.cluster.local", space.name);
        let class = json!({
            "egress": {"domains": [domain, private, "never.example.com"]},
        });
        with_class(space, class, async |_, name| {
            let env = json!({"MIRROR": domain, "PRIVATE": private, "ADDRESS": address.trim(), "API_SERVER": api.trim()});
            let mut work = run(
                "work",
                json!({"language": "python", "code": PROGRAM, "env": env}),
                &json!({}),
            );
            let sandbox = &mut work["spec"]["run"]["sandbox"];
            sandbox["class"] = json!({"name": name});
            sandbox["egress"] = json!({"domains": [domain, private]});
            create(space, &[work]).await?;
            if !enforced() {
                // Landlock keeps code to a port, the NetworkPolicy to a machine: without it nothing runs.
                let done = space.failed("work", "IsolationUnproven").await?;
                let told = failure(&done).1;
                ensure!(told.contains("the sandbox has egress"), "{told}");
                return Ok(());
            }
            let done = space.complete("work").await?;
            ensure!(holds(&done, conditions::ISOLATED), "{done:#?}");
            let output = done.status.and_then(|status| status.output);
            let output = output.context("no output")?;
            ensure!(output["stdoutTail"] == EXPECTED, "{output:#}");
            Ok(())
        })
        .await
    })
    .await
}

/// The image's own git fetches; where there is none, the Task says so before anything of it ran.
#[tokio::test]
async fn a_repository_needs_git_in_the_image() -> Result<()> {
    beside_others("egress-git", async |space| {
        let class = json!({"egress": {"domains": ["never.example.com"]}});
        with_class(space, class, async |_, name| {
            let files = json!([{"path": "app", "git": {"url": "https://never.example.com/app"}}]);
            let mut work = run(
                "work",
                json!({"command": ["true"]}),
                &json!({ "files": files }),
            );
            let sandbox = &mut work["spec"]["run"]["sandbox"];
            sandbox["class"] = json!({"name": name});
            sandbox["egress"] = json!({"domains": ["never.example.com"]});
            create(space, &[work]).await?;
            if !enforced() {
                space.failed("work", "IsolationUnproven").await?;
                return Ok(());
            }
            let done = space.failed("work", "StartFailed").await?;
            let told = failure(&done).1;
            ensure!(
                told.contains(
                    "files: `app` could not be fetched from https://never.example.com/app at HEAD"
                ) && told.contains("choose an image that has it"),
                "{told}"
            );
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn what_the_class_does_not_allow_is_not_begun() -> Result<()> {
    beside_others("egress-refused", async |space| {
        let mut work = run("work", json!({"command": ["true"]}), &json!({}));
        work["spec"]["run"]["sandbox"]["egress"] = json!({"domains": ["pypi.org"]});
        create(space, &[work]).await?;
        let done = space.failed("work", "RefusedByPolicy").await?;
        let told = failure(&done).1;
        ensure!(
            told.contains(
                "pypi.org is not allowed by SandboxClass default, which allows no domain"
            ),
            "{told}"
        );
        Ok(())
    })
    .await
}
