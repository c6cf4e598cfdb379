//! A Task with egress, the pilot's part of it, and a server that has the names.

use crate::common::{PILOT, World, assignment};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt as _;
use http::StatusCode;
use oarmaster_gateway::egress::names::Resolve;
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_serve::listen::{Limits, serve};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// What the Task may reach.
pub const DOMAINS: [&str; 2] = ["registry.test", "*.hosted.test"];

/// Names as the test's name service has them: addresses and ports in the order of the answers; the last stays.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<(String, u16), Answers>>>);

type Answers = Vec<Vec<SocketAddr>>;

impl Names {
    /// The next answer for a name.
    pub fn answer(&self, name: &str, port: u16, addresses: &[SocketAddr]) {
        let mut names = self.0.lock().unwrap();
        let answers = names.entry((name.to_owned(), port)).or_default();
        answers.push(addresses.to_vec());
    }

    pub fn resolve(&self) -> Resolve {
        let names = self.0.clone();
        Arc::new(move |domain, port| {
            let mut names = names.lock().unwrap();
            let answers = names.get_mut(&(domain.to_string(), port));
            let found = answers.map(|answers| match answers.len() {
                1 => answers[0].clone(),
                _ => answers.remove(0),
            });
            async move { found.ok_or_else(|| std::io::Error::other("no such name")) }.boxed()
        })
    }
}

pub fn at(address: &str) -> SocketAddr {
    (address.parse::<IpAddr>().unwrap(), 443).into()
}

/// A gateway, a claimed Task with egress, the port that its programs have, and a server with https and http.
pub struct Scene {
    pub world: World,
    pub session: String,
    pub names: Names,
    /// Where programs find their proxy.
    pub proxy: SocketAddr,
    /// The server, over TLS and without.
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub seen: Seen,
    /// Files, of which the server gives what stands below `www`.
    pub dir: tempfile::TempDir,
}

/// What the server was asked.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<(String, http::HeaderMap)>>>);

impl Seen {
    /// `host path` of each request.
    pub fn requests(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|(line, _)| line.clone())
            .collect()
    }

    pub fn headers(&self) -> http::HeaderMap {
        self.0.lock().unwrap().last().unwrap().1.clone()
    }
}

impl Scene {
    pub async fn start() -> Self {
        let names = Names::default();
        let world = World::resolving(names.resolve()).await;
        let claim = world
            .task_with(TaskBudget::default(), with_egress(&DOMAINS))
            .await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("www")).unwrap();
        let made = rcgen::generate_simple_self_signed([
            "registry.test".to_owned(),
            "*.hosted.test".to_owned(),
            "evil.test".to_owned(),
        ])
        .unwrap();
        std::fs::write(dir.path().join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let seen = Seen::default();
        let router = Router::new()
            .fallback(answer)
            .with_state((seen.clone(), dir.path().join("www")));
        let https = listen(Some(Arc::new(tls)), router.clone()).await;
        let http = listen(None, router).await;
        let scene = Self {
            proxy: pilot(&world.data, &claim.session).await,
            session: claim.session,
            world,
            names,
            https,
            http,
            seen,
            dir,
        };
        for name in ["registry.test", "a.hosted.test", "evil.test"] {
            scene.names.answer(name, 443, &[scene.https]);
            scene.names.answer(name, 80, &[scene.http]);
        }
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program as a sandbox does, with the variables for its proxy, and gives its exit code and what it said.
    pub async fn program(&self, argv: &[&str]) -> (Option<i32>, String) {
        run(argv, self.dir.path(), &self.environment()).await
    }

    pub fn environment(&self) -> Vec<(String, String)> {
        let proxy = format!("http://{}", self.proxy);
        let ca = self.path("ca.pem").display().to_string();
        let mut variables: Vec<(String, String)> = Vec::new();
        for name in [
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            variables.push((name.to_owned(), proxy.clone()));
        }
        for name in [
            "PIP_CERT",
            "GIT_SSL_CAINFO",
            "CURL_CA_BUNDLE",
            "SSL_CERT_FILE",
        ] {
            variables.push((name.to_owned(), ca.clone()));
        }
        variables.push(("NODE_EXTRA_CA_CERTS".to_owned(), ca));
        variables.push(("HOME".to_owned(), self.dir.path().display().to_string()));
        variables
    }

    /// curl: its exit code and what it said, the status of the answer at the end.
    pub async fn curl(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut argv = vec![
            "curl",
            "-sS",
            "-w",
            "%{http_connect} %{http_code}",
            "--max-time",
            "60",
        ];
        argv.extend(arguments);
        self.program(&argv).await
    }
}

/// Runs a program in an environment of its own.
pub async fn run(
    argv: &[&str],
    dir: &Path,
    variables: &[(String, String)],
) -> (Option<i32>, String) {
    let mut command = Command::new(argv[0]);
    command
        .args(&argv[1..])
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(variables.iter().cloned())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await;
    let output = output.expect("the program ends").unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// An assignment whose sandbox may reach these domains.
pub fn with_egress(domains: &[&str]) -> serde_json::Value {
    let mut assignment = assignment();
    assignment["sandbox"] = json!({
        "memoryBytes": 1, "diskBytes": 1, "maxProcesses": 1, "callTimeoutMs": 1, "requireLandlock": false, "egress": domains,
    });
    assignment
}

/// An assignment of a program whose model calls go to a pool, and which may reach these domains beside it.
pub fn with_pool(pool: &str, domains: &[&str]) -> serde_json::Value {
    let mut assignment = with_egress(domains);
    assignment["sandbox"]["pool"] = json!(pool);
    assignment["target"] = json!({"run": {"program": {"command": ["agent"]}}});
    assignment
}

async fn listen(tls: Option<Arc<rustls::ServerConfig>>, router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        connections: 256,
        each: 256,
        drain: Duration::ZERO,
    };
    tokio::spawn(serve(
        listener,
        tls,
        router,
        CancellationToken::new(),
        limits,
    ));
    address
}

/// `/away` leads to another domain, `/echo` gives the body back, and everything else is a file.
async fn answer(State((seen, www)): State<(Seen, PathBuf)>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let host = head
        .headers
        .get("host")
        .map(|host| host.to_str().unwrap().to_owned());
    let host = host.unwrap_or_default();
    let path = head.uri.path().to_owned();
    seen.0
        .lock()
        .unwrap()
        .push((format!("{host} {path}"), head.headers));
    match path.as_str() {
        "/away" => Redirect::temporary("http://evil.test/").into_response(),
        "/echo" => axum::body::to_bytes(body, 64 << 20)
            .await
            .unwrap()
            .into_response(),
        _ => match std::fs::read(www.join(path.trim_start_matches('/'))) {
            Ok(bytes) => bytes.into_response(),
            // A directory's index, as registries have it.
            Err(_) => {
                match std::fs::read(www.join(format!("{}/index.html", path.trim_matches('/')))) {
                    Ok(bytes) => ([("content-type", "text/html")], bytes).into_response(),
                    Err(_) => StatusCode::NOT_FOUND.into_response(),
                }
            }
        },
    }
}

/// What the pilot does: each connection becomes an upgraded one to the gateway, and its bytes go through.
pub async fn pilot(data: &str, session: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (data, session) = (data.to_owned(), session.to_owned());
    tokio::spawn(async move {
        loop {
            let (mut program, _) = listener.accept().await.unwrap();
            let (data, session) = (data.clone(), session.clone());
            tokio::spawn(async move {
                let (status, mut gateway) = upgrade(&data, PILOT, &session).await;
                assert_eq!(status, 101);
                let _ = copy_bidirectional(&mut program, &mut gateway).await; // either side may break off
            });
        }
    });
    address
}

/// Asks the gateway for egress: the status, and the connection.
pub async fn upgrade(data: &str, token: &str, session: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(data.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let head = format!(
        "GET /task/v1/egress HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\noarmaster-session: {session}\r\nconnection: upgrade\r\nupgrade: oarmaster-egress\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(stream.read_u8().await.unwrap());
    }
    let heard = String::from_utf8(heard).unwrap();
    (heard[9..12].parse().unwrap(), stream)
}

/// What a connection gives until it ends.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let read = stream.read_to_end(&mut heard);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    let _ = read.expect("the connection ends"); // by a reset, too
    String::from_utf8_lossy(&heard).into_owned()
}
