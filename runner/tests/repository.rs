//! A repository of a real server by git, as a pod has it: fetched in the sandbox, through its one port, the pilot and the gateway.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod gateway;
mod sandbox;

use gateway::{Egress, Gateway, assignment};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{Assignment, File, Program, Repository, RunTarget, Target};
use oarmaster_protocol::journal::{Body, Outcome};
use sandbox::{Options, Process};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const NAME: &str = "git.example.com";

/// git's own server behind TLS. It prints its port.
const SERVER: &str = r#"
import http.server, os, ssl, subprocess, sys

root, certificate, key = sys.argv[1:]

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": root, "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type") or "", "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
        }
        ran = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE)
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        fields.pop("Content-Length", None)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// A repository `team/app` with two commits, a branch and a tag, its server, and an image's git that trusts it.
struct Served {
    dir: tempfile::TempDir,
    server: Child,
    port: u16,
    /// The first commit.
    first: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "a")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "a@example.com")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn serve() -> Served {
    let dir = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/tmp")
        .unwrap();
    let work = dir.path().join("root/team/app");
    fs::create_dir_all(&work).unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    let commit = |text: &str| {
        fs::write(work.join("hello.txt"), text).unwrap();
        git(&work, &["add", "."]);
        git(&work, &["commit", "--quiet", "--message", text]);
        git(&work, &["rev-parse", "HEAD"])
    };
    let first = commit("one");
    git(&work, &["tag", "v1"]);
    commit("two");
    git(&work, &["branch", "feature/x"]);
    commit("three");

    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certificate = dir.path().join("ca.pem");
    fs::write(&certificate, made.cert.pem()).unwrap();
    let key = dir.path().join("key.pem");
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let wrapper = dir.path().join("bin/git");
    fs::create_dir(dir.path().join("bin")).unwrap();
    let script = format!(
        "#!/bin/sh\nGIT_SSL_CAINFO={} exec /usr/bin/git \"$@\"\n",
        certificate.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();

    let mut server = Command::new("python3")
        .args(["-c", SERVER])
        .arg(dir.path().join("root"))
        .args([&certificate, &key])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let said = server.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();
    Served {
        dir,
        server,
        port: line.trim().parse().unwrap(),
        first,
    }
}

/// A program that says what there is.
fn looking(repository: &str, path: &str, reference: &str) -> Assignment {
    let mut assignment = assignment();
    assignment.sandbox.as_mut().unwrap().egress = vec![NAME.to_owned()];
    assignment.repositories = vec![Repository {
        path: path.into(),
        url: format!("https://{NAME}/{repository}"),
        reference: reference.into(),
    }];
    assignment.files = vec![File {
        path: "app/extra.txt".into(),
        content: "ours".into(),
    }];
    let code = "cd \"$(dirname \"$(find . -name hello.txt)\")\" && cat hello.txt && git log --oneline | wc -l && git remote get-url origin && ls .git/hooks 2>/dev/null | wc -l && cat /workspace/app/extra.txt app/extra.txt extra.txt 2>/dev/null; true";
    assignment.target = Target::Run(RunTarget {
        program: Program::Code {
            language: "shell".into(),
            code: code.into(),
        },
        env: [].into(),
    });
    assignment
}

fn outcome(served: &Served, assignment: Assignment, egress: Option<Egress>) -> Outcome {
    let gateway = Gateway::start(assignment, vec![]);
    let tunnel = Egress::Tunnel {
        name: NAME,
        port: served.port,
    };
    gateway.serve_egress(egress.unwrap_or(tunnel));
    let options = Options {
        path: Some(format!("{}/bin:/usr/bin:/bin", served.dir.path().display())),
        ..Options::default()
    };
    let process = Process::start(&options, sandbox::own_uid(), &[]);
    gateway.run_pilot(Some(&process.socket()));
    match gateway.records().pop() {
        Some(Body::Result { outcome }) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_branch_a_tag_and_a_commit_come_through_the_egress() {
    let served = serve();
    let first = served.first.clone();
    for (path, reference, content) in [
        ("app", "HEAD", "three"),
        ("app", "main", "three"),
        ("app", "feature/x", "two"),
        ("app", "v1", "one"),
        ("app", first.as_str(), "one"),
        (".", "HEAD", "three"),
    ] {
        let outcome = outcome(&served, looking("team/app", path, reference), None);
        assert_eq!(outcome.failure, None, "{reference}");
        let said = outcome.output.unwrap()["stdoutTail"]
            .as_str()
            .unwrap()
            .to_owned();
        let words: Vec<&str> = said.split_whitespace().collect();
        // One commit, its origin, no hook, and the file that was put into it.
        let origin = format!("https://{NAME}/team/app");
        assert_eq!(
            words,
            [&format!("{content}1"), origin.as_str(), "0", "ours"],
            "{path} {reference}: {said}"
        );
    }
}

#[test]
fn what_is_not_there_fails_for_good_and_what_is_not_reached_may_pass() {
    let served = serve();
    let cases = [
        (
            "team/other",
            "HEAD",
            None,
            FailureClass::InvalidInput,
            "not found",
        ),
        (
            "team/app",
            "v2",
            None,
            FailureClass::InvalidInput,
            "couldn't find remote ref v2",
        ),
        (
            "team/app",
            "0123456789012345678901234567890123456789",
            None,
            FailureClass::InvalidInput,
            "not our ref",
        ),
        (
            "team/app",
            "HEAD",
            Some(Egress::Refuse),
            FailureClass::Disrupted,
            "502",
        ),
    ];
    for (repository, reference, egress, class, words) in cases {
        let outcome = outcome(&served, looking(repository, "app", reference), egress);
        let failure = outcome.failure.unwrap();
        assert_eq!(failure.class, class, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn an_image_that_does_not_know_the_servers_certificate_is_told() {
    let served = serve();
    fs::remove_file(served.dir.path().join("bin/git")).unwrap();
    let outcome = outcome(&served, looking("team/app", "app", "HEAD"), None);
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.class, FailureClass::StartFailed);
    let words = "choose an image with CA certificates";
    assert!(failure.message.contains(words), "{}", failure.message);
}
