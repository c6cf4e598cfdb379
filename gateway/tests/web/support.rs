//! A Task whose agent has the tools of the web, a search endpoint, and a server that says exactly what a test wants.

use crate::common::{PILOT, UID, World};
use crate::egress::{Names, with_egress};
use oarmaster_crds::DomainPattern;
use oarmaster_gateway::identity::sandbox::SandboxPod;
use oarmaster_gateway::provider::guard::PrivateEndpoints;
use oarmaster_gateway::provider::keys::ApiKey;
use oarmaster_gateway::tools::web::config::{Search, SearchFlags};
use oarmaster_gateway::tools::web::{Web, fetch, search};
use oarmaster_protocol::admin::{RunsIn, TaskBudget};
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::task::{Append, Appended};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Domains of the Task.
pub const DOMAINS: [&str; 2] = ["docs.test", "*.hosted.test"];
/// Names that the server has, with a certificate for each.
const SERVED: [&str; 6] = [
    "docs.test",
    "a.hosted.test",
    "found.test",
    "www.found.test",
    "evil.test",
    "search.test",
];
/// The key of the search endpoint.
pub const KEY: &str = "the-key-of-searches";

/// What the server says to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, one each 20 ms, and then nothing for ever.
    Drip(Vec<u8>),
}

/// A server: what it says by `scheme host path`, and the requests that it was sent.
#[derive(Clone, Default)]
pub struct Server {
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Says these bytes to whoever asks for an address.
    pub fn says(&self, url: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(url.to_owned(), reply);
    }

    /// A page.
    pub fn page(&self, url: &str, html: &str) {
        self.says(url, whole("text/html", "", html.as_bytes()));
    }

    /// A redirect.
    pub fn leads(&self, url: &str, location: &str) {
        let head =
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        self.says(url, Reply::Bytes(head.into_bytes()));
    }

    /// Heads of the requests that came.
    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Addresses of the requests that came.
    pub fn asked(&self) -> Vec<String> {
        let heads = self.heads();
        heads
            .iter()
            .map(|head| head.lines().next().unwrap().to_owned())
            .collect()
    }

    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(self, scheme: &str, mut stream: S) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let host = head
            .split_once("\r\nhost: ")
            .unwrap()
            .1
            .lines()
            .next()
            .unwrap();
        let host = host.split(':').next().unwrap().to_owned();
        let url = format!("{scheme}://{host}{path}");
        self.seen.lock().unwrap().push(format!("{url}\n{head}"));
        let bare = url.split('?').next().unwrap();
        let reply = {
            let replies = self.replies.lock().unwrap();
            replies.get(&url).or_else(|| replies.get(bare)).cloned()
        };
        let missing = Reply::Bytes(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec());
        match reply.unwrap_or(missing) {
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await; // whoever has enough leaves
                let _ = stream.shutdown().await;
            }
            Reply::Drip(bytes) => {
                for byte in bytes {
                    if stream.write_u8(byte).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await; // this is what a slow server does
                }
                let _ = stream.read_u8().await;
            }
        }
    }
}

/// An answer of 200.
pub fn whole(kind: &str, headers: &str, body: &[u8]) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    Reply::Bytes([head.into_bytes(), body.to_vec()].concat())
}

pub struct Scene {
    pub world: World,
    pub server: Server,
    pub names: Names,
    pub http: SocketAddr,
    pub https: SocketAddr,
    session: String,
    next: u64,
}

/// How a scene differs from others.
pub struct Setting {
    /// Whether there is a search endpoint.
    pub search: bool,
    /// Whether the agent has the tools.
    pub tools: bool,
    /// Private addresses that may be connected to.
    pub private: Vec<String>,
    /// Private addresses of pages that a search returned.
    pub strangers: Vec<String>,
    /// For each call.
    pub deadline: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            search: true,
            tools: true,
            private: vec!["127.0.0.0/8".to_owned()],
            strangers: vec!["127.0.0.0/8".to_owned()],
            deadline: Duration::from_secs(60),
        }
    }
}

impl Scene {
    pub async fn start() -> Self {
        Self::with(Setting::default()).await
    }

    pub async fn without_tools() -> Self {
        Self::with(Setting {
            tools: false,
            ..Setting::default()
        })
        .await
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    pub async fn with(setting: Setting) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(SERVED.map(str::to_owned)).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let accepts = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trusts = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();

        let server = Server::default();
        let http = listen(server.clone(), None).await;
        let https = listen(server.clone(), Some(Arc::new(accepts))).await;
        let flags = SearchFlags {
            url: format!("http://{http}/search?q={{searchTerms}}&n={{count}}"),
            results: "results".to_owned(),
            title: "title".to_owned(),
            link: "url".to_owned(),
            text: "content".to_owned(),
            key_header: Some("X-Search-Key".to_owned()),
            key: Some(Arc::new(ApiKey::text(KEY, ""))),
        };
        let flags = if setting.search {
            flags
        } else {
            SearchFlags::default()
        };
        let guard = Arc::new(PrivateEndpoints::parse(&setting.private).unwrap());
        let web = Web::new(Search::parse(flags).unwrap(), &Arc::new(trusts), &guard).unwrap();
        let names = Names::default();
        for name in SERVED {
            names.answer(name, 443, &[https]);
            names.answer(name, 80, &[http]);
        }
        let web = web
            .within(setting.deadline)
            .with_strangers_at(PrivateEndpoints::parse(&setting.strangers).unwrap());
        let world = World::of_the_web(names.resolve(), web).await;
        let mut assignment = with_egress(&DOMAINS);
        if setting.tools {
            let agent = &mut assignment["target"]["agent"];
            agent["tools"] = json!(["WebSearch", "FetchPage"]);
            agent["pages"] = json!(DOMAINS);
        }
        let claim = world.task_with(TaskBudget::default(), assignment).await;
        Self {
            world,
            server,
            names,
            http,
            https,
            session: claim.session,
            next: claim.next,
        }
    }

    /// The outcome and text of a call.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Value,
    ) -> Result<String, (&'static str, String)> {
        let pod = SandboxPod {
            namespace: "team".to_owned(),
            pod: "job-1-x".to_owned(),
            runs_in: RunsIn::Job("job-1".to_owned()),
            task_uid: UID.to_owned(),
            attempt: 1,
        };
        let gateway = &self.world.gateway;
        let answer = match tool {
            "WebSearch" => {
                search::search(gateway, &pod, &serde_json::from_value(arguments).unwrap()).await
            }
            _ => {
                let domains = DOMAINS.map(|name| DomainPattern::parse(name).unwrap());
                fetch::fetch(
                    gateway,
                    &pod,
                    &domains,
                    &serde_json::from_value(arguments).unwrap(),
                )
                .await
            }
        };
        answer.map_err(|failed| (failed.outcome, failed.text))
    }

    pub async fn fetch(&self, url: &str) -> Result<String, (&'static str, String)> {
        self.call("FetchPage", json!({ "url": url })).await
    }

    /// A search, whose result the pilot writes into the journal.
    pub async fn search(&mut self, query: &str) -> String {
        let found = self
            .call("WebSearch", json!({ "query": query }))
            .await
            .unwrap();
        self.record("WebSearch", true, &found).await;
        found
    }

    /// The result of a tool call, as the pilot records it.
    pub async fn record(&mut self, tool: &str, ok: bool, text: &str) {
        let append = Append {
            next: self.next,
            records: vec![Body::ToolResult {
                id: "call".to_owned(),
                tool: tool.to_owned(),
                ok,
                text: text.to_owned(),
                heard: None,
                checkpoint: None,
            }],
        };
        let url = format!("{}/task/v1/journal", self.world.data);
        let request = self.world.http.post(url).bearer_auth(PILOT);
        let response = request
            .header("oarmaster-session", &self.session)
            .json(&append)
            .send()
            .await
            .unwrap();
        let appended: Appended = response.json().await.unwrap();
        self.next = appended.next;
    }

    /// What the search endpoint answers with these addresses.
    pub fn finds(&self, urls: &[&str]) {
        let results: Vec<Value> = urls
            .iter()
            .enumerate()
            .map(|(number, url)| json!({"title": format!("Title {number}"), "url": url, "content": "what it is about"}))
            .collect();
        self.answers(&json!({ "results": results }));
    }

    /// What the search endpoint answers.
    pub fn answers(&self, answer: &Value) {
        let reply = whole("application/json", "", answer.to_string().as_bytes());
        self.server.says("http://127.0.0.1/search", reply);
    }
}

async fn listen(server: Server, tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tls.map(tokio_rustls::TlsAcceptor::from);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (server, tls) = (server.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => server.answer("http", stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            server.answer("https", stream).await;
                        }
                    }
                }
            });
        }
    });
    address
}
