//! Egress on the real kernel: a program reaches the port of its proxy by TCP, and nothing else by anything.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod gateway;
mod sandbox;

use gateway::{Egress, Gateway, assignment, call, final_text};
use oarmaster_protocol::assignment::{Program, RunTarget, Target};
use oarmaster_protocol::exec::{Bytes, FailedCode, Ran, Request, Response, Run, VERSION};
use oarmaster_protocol::journal::Body;
use sandbox::{Options, Process, Sandbox};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

/// A proxy that answers every request with its first line, and its port.
fn proxy() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                asked.push(byte[0]);
            }
            let asked = String::from_utf8(asked).unwrap();
            let line = asked.lines().next().unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}",
                line.len()
            );
            let _ = stream.write_all(answer.as_bytes()); // the probe has left
        }
    });
    port
}

fn open_at(port: u16) -> Sandbox {
    Sandbox::start(Options {
        egress_port: Some(port),
        ..Options::default()
    })
}

fn python(sandbox: &mut Sandbox, code: &str) -> Ran {
    let run = Request::Run(Run {
        program: Program::Code {
            language: "python".into(),
            code: code.into(),
        },
        env: [].into(),
        timeout_ms: None,
        disk_bytes: None,
    });
    match sandbox.ask(&run) {
        Response::Ran(ran) => ran,
        other => panic!("{other:?}"),
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(&bytes.0).into_owned()
}

#[test]
fn isolation_is_proven_with_one_port_open() {
    let mut sandbox = open_at(proxy());
    let Response::Probed {
        proven, findings, ..
    } = sandbox.ask(&Request::Probe)
    else {
        panic!()
    };
    assert!(proven, "{findings:#?}");
    for group in ["ports: ", "system calls: 2"] {
        assert!(
            findings.iter().any(|line| line.starts_with(group)),
            "{group}: {findings:#?}"
        );
    }
}

#[test]
fn a_port_where_nobody_listens_is_no_proof() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Response::Probed {
        proven, findings, ..
    } = open_at(port).ask(&Request::Probe)
    else {
        panic!()
    };
    assert!(!proven);
    assert!(
        findings[0].contains("the proxy's port cannot be connected to"),
        "{findings:#?}"
    );
}

/// The control: without the confinement the probe finds every door open.
#[test]
fn the_probe_finds_open_ports() {
    let report = sandbox::probe_unconfined_with(&["--egress-port", &proxy().to_string()]);
    for door in [
        "127.0.0.1:443 is not refused at once",
        "192.0.2.1:443 is not refused at once",
        "0.0.0.0:0 can be listened on",
        "MPTCP socket of IPv4",
        "UDP socket of IPv6",
        "datagram socket of IPv4 with flags",
        "socket family 2 type 2",
        "socket family 10 type 2",
        "socket family 16",
        "fast open by sendto",
        "fast open by sendmsg",
        "fast open by sendmmsg",
        "another kind of TCP socket",
    ] {
        assert!(report.contains(door), "{door} is not in {report}");
    }
    assert!(!report.contains("socket family 2 type 1 "), "{report}");
}

#[test]
fn a_program_finds_its_proxy_and_nothing_else() {
    let port = proxy();
    let mut sandbox = open_at(port);
    let ran = python(
        &mut sandbox,
        "import urllib.request; print(urllib.request.urlopen('http://registry.test/simple/').read().decode())",
    );
    assert_eq!(
        text(&ran.stdout.head),
        "GET http://registry.test/simple/ HTTP/1.1\n",
        "{ran:?}"
    );
    let code = r#"
import os, socket, sys
port = int(os.environ["HTTPS_PROXY"].rsplit(":", 1)[1])
def attempt(name, act):
    try:
        act()
        print(name, "was possible")
    except PermissionError:
        print(name, "refused")
    except OSError as error:
        print(name, error)
def tcp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_STREAM)
attempt("port", lambda: tcp().connect(("127.0.0.1", port + 1)))
attempt("elsewhere", lambda: tcp().connect(("192.0.2.1", 443)))
attempt("six", lambda: tcp(socket.AF_INET6).connect(("::1", 443)))
attempt("mapped", lambda: tcp(socket.AF_INET6).connect(("::ffff:127.0.0.1", port + 1)))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("nonblocking udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("bind", lambda: tcp().bind(("127.0.0.1", 0)))
attempt("bind to the port", lambda: tcp().bind(("0.0.0.0", port)))
attempt("fast open", lambda: tcp().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", port + 1)))
attempt("fast open by message", lambda: tcp().sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", port + 1)))
attempt("the port", lambda: tcp().connect(("127.0.0.1", port)))
def later():
    # A connection that is put off is asked for all the same.
    late = tcp()
    late.setsockopt(socket.IPPROTO_TCP, 30, 1)
    late.connect(("127.0.0.1", port + 1))
    late.send(b"x")
attempt("deferred", later)
attempt("unix", lambda: socket.socketpair(socket.AF_UNIX))
"#;
    let ran = python(&mut sandbox, code);
    let said = text(&ran.stdout.head);
    let expected = "port refused\nelsewhere refused\nsix refused\nmapped refused\nudp refused\nnonblocking udp refused\nraw refused\nmptcp refused\nnetlink refused\nbind refused\nbind to the port refused\nfast open refused\nfast open by message refused\nthe port was possible\ndeferred refused\nunix was possible\n";
    assert_eq!(said, expected, "{}", text(&ran.stderr.head));
}

#[test]
fn without_egress_there_is_no_proxy_and_no_socket() {
    let port = proxy();
    let mut sandbox = Sandbox::start(Options::default());
    let code = format!(
        "import os, socket\nprint([name for name in os.environ if 'proxy' in name.lower()])\ntry:\n    socket.create_connection(('127.0.0.1', {port}))\nexcept PermissionError:\n    print('refused')"
    );
    let ran = python(&mut sandbox, &code);
    assert_eq!(text(&ran.stdout.head), "[]\nrefused\n", "{ran:?}");
}

#[test]
fn egress_and_its_port_belong_together() {
    let mut sandbox = Sandbox::start(Options::default());
    let hello = sandbox.ask(&Request::Hello {
        version: VERSION,
        sandbox: Options::default().bounds(),
        egress_port: Some(1),
    });
    let Response::Failed(failed) = hello else {
        panic!("{hello:?}")
    };
    assert_eq!(failed.code, FailedCode::InvalidRequest);
}

/// The pilot's part: a program's bytes reach the gateway and come back, under the pod's token and the session.
fn fetch(gateway: &Gateway) -> String {
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    assert_eq!(gateway.run_pilot(Some(&process.socket())), Some(0));
    match gateway.records().pop() {
        Some(Body::Result { outcome }) => outcome.output.unwrap()["stdoutTail"]
            .as_str()
            .unwrap()
            .to_owned(),
        other => panic!("{other:?}"),
    }
}

fn running(code: &str) -> Target {
    Target::Run(RunTarget {
        program: Program::Code {
            language: "python".into(),
            code: code.into(),
        },
        env: [].into(),
    })
}

fn fetching() -> oarmaster_protocol::assignment::Assignment {
    let mut assignment = assignment();
    assignment.sandbox.as_mut().unwrap().egress = vec!["registry.test".to_owned()];
    let code = r#"
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://registry.test/x").read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"#;
    assignment.target = running(code);
    assignment
}

#[test]
fn a_programs_bytes_go_to_the_gateway_and_back() {
    for gateway in [
        Gateway::start(fetching(), vec![]),
        Gateway::start_tls(fetching(), vec![], true),
    ] {
        gateway.serve_egress(Egress::Answer("is what you asked for".to_owned()));
        let said = fetch(&gateway);
        assert_eq!(
            said,
            "GET http://registry.test/x HTTP/1.1 is what you asked for\n"
        );
    }
}

/// The keyless way of a program to a model: nothing of it is configured but the pool.
#[test]
fn a_program_with_a_pool_finds_its_models_and_no_proxy() {
    let mut assignment = fetching();
    let bounds = assignment.sandbox.as_mut().unwrap();
    bounds.egress.clear();
    bounds.pool = Some("team/fast".to_owned());
    let code = r#"
import os, urllib.request
def ask(name, path):
    url = os.environ[name + "_BASE_URL"] + path
    key = os.environ[name + "_API_KEY"]
    request = urllib.request.Request(url, data=b"{}", headers={"authorization": "Bearer " + key})
    print(urllib.request.urlopen(request).read().decode(), key)
ask("OPENAI", "/responses")
ask("ANTHROPIC", "/v1/messages")
print([name for name in os.environ if "proxy" in name.lower()], os.environ["JAVA_TOOL_OPTIONS"].count("proxy"))
"#;
    assignment.target = Target::Run(RunTarget {
        program: Program::Code {
            language: "python".into(),
            code: code.into(),
        },
        // What the Task says itself counts.
        env: [("ANTHROPIC_API_KEY".to_owned(), "its own".to_owned())].into(),
    });
    let gateway = Gateway::start_tls(assignment, vec![], true);
    gateway.serve_egress(Egress::Answer("was asked".to_owned()));
    assert_eq!(
        fetch(&gateway),
        "POST /v1/responses HTTP/1.1 was asked none\nPOST /v1/messages HTTP/1.1 was asked its own\n[] 0\n"
    );
}

#[test]
fn with_both_a_program_goes_to_its_models_past_the_proxy() {
    let mut assignment = fetching();
    assignment.sandbox.as_mut().unwrap().pool = Some("team/fast".to_owned());
    let code = r#"
import os, urllib.request
print(urllib.request.urlopen("http://registry.test/x").read().decode())
print(urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/models").read().decode())
"#;
    assignment.target = running(code);
    let gateway = Gateway::start(assignment, vec![]);
    gateway.serve_egress(Egress::Answer("was asked".to_owned()));
    assert_eq!(
        fetch(&gateway),
        "GET http://registry.test/x HTTP/1.1 was asked\nGET /v1/models HTTP/1.1 was asked\n"
    );
}

#[test]
fn a_program_is_told_why_it_is_not_served() {
    let gateway = Gateway::start(fetching(), vec![]);
    assert_eq!(
        fetch(&gateway),
        "502 the gateway refused: no egress today\n\n"
    );
}

#[test]
fn the_model_is_told_what_can_be_reached() {
    let mut assignment = assignment();
    assignment.sandbox.as_mut().unwrap().egress = vec!["pypi.org".into(), "*.hosted.test".into()];
    let script = vec![call("ListFiles", json!({})), final_text("Done.")];
    let gateway = Gateway::start(assignment, script);
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    assert_eq!(gateway.run_pilot(Some(&process.socket())), Some(0));
    let tools = gateway.request(0)["tools"].to_string();
    assert_eq!(
        tools
            .matches("these domains and nothing else: pypi.org, *.hosted.test.")
            .count(),
        2,
        "{tools}"
    );
    assert!(!tools.contains("There is no network"), "{tools}");
}

/// Each connection is a TLS handshake for the gateway, which all Tasks share.
#[test]
fn a_program_that_hammers_its_proxy_is_slowed_down() {
    let mut assignment = fetching();
    let code = r#"
import os, socket, time
port = int(os.environ["HTTPS_PROXY"].rsplit(":", 1)[1])
def one():
    with socket.create_connection(("127.0.0.1", port)) as proxy:
        proxy.sendall(b"GET http://registry.test/ HTTP/1.1\r\n\r\n")
        assert proxy.recv(12) == b"HTTP/1.1 200"
begin = time.monotonic()
for _ in range(65):
    one()
print(time.monotonic() - begin >= 1)
"#;
    assignment.target = running(code);
    let gateway = Gateway::start(assignment, vec![]);
    gateway.serve_egress(Egress::Answer(String::new()));
    assert_eq!(fetch(&gateway), "True\n");
}

/// Without it one port would be every port.
#[test]
fn there_is_no_egress_without_landlock() {
    let options = Options {
        egress_port: Some(proxy()),
        without_landlock: true,
        ..Options::default()
    };
    let Some(mut sandbox) = Sandbox::start_in_container(options) else {
        return; // only root can make a container here
    };
    let Response::Probed {
        proven, findings, ..
    } = sandbox.ask(&Request::Probe)
    else {
        panic!()
    };
    let word =
        "egress and the pool of a run need Landlock of ABI 4 or newer, and this kernel has 0";
    assert!(!proven && findings[0].contains(word), "{findings:#?}");
    let run = Request::Run(Run {
        program: Program::Command(vec!["true".into()]),
        env: [].into(),
        timeout_ms: None,
        disk_bytes: None,
    });
    let Response::Failed(failed) = sandbox.ask(&run) else {
        panic!()
    };
    assert_eq!(failed.code, FailedCode::NotConfined);
}
