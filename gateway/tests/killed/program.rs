//! The gateway as a process of its own: what the program does, with a subscriber that kills it at a step.

use clap::Parser as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oarmaster_gateway::config::Args;
use oarmaster_gateway::serve::run;
use oarmaster_store::STEP;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

const KUBE: &str = "OARMASTER_TEST_KUBE";
const ARGS: &str = "OARMASTER_TEST_ARGS";
/// What the process says before each line for the test: the harness of tests talks, too.
const MARK: &str = "step> ";
const PATIENCE: Duration = Duration::from_secs(60);

/// A step, when it comes for the nth time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    name: String,
    nth: u32,
}

impl Point {
    pub fn new(name: &str, nth: u32) -> Self {
        let name = name.to_owned();
        Self { name, nth }
    }
}

/// What the process does at a step.
enum Orders {
    GoOn,
    Record,
    Die(Point),
}

static ORDERS: Mutex<Orders> = Mutex::new(Orders::GoOn);

/// Hears of every step.
struct Steps;

struct Name(String);

impl tracing::field::Visit for Name {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 = format!("{value:?}");
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Steps {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut name = Name(String::new());
        event.record(&mut name);
        let mut orders = ORDERS.lock().unwrap();
        match &mut *orders {
            Orders::GoOn => {}
            Orders::Record => println!("{MARK}{}", name.0),
            Orders::Die(point) if point.name == name.0 => {
                point.nth -= 1;
                if point.nth == 0 {
                    kill(Pid::this(), Signal::SIGKILL).unwrap();
                    loop {
                        std::thread::park(); // with the lock, so that no other step follows
                    }
                }
            }
            Orders::Die(_) => {}
        }
    }
}

/// The process.
pub fn main() {
    let (Ok(kube), Ok(args)) = (std::env::var(KUBE), std::env::var(ARGS)) else {
        return; // somebody runs every test there is
    };
    let steps = filter_fn(|meta| meta.target() == STEP).with_max_level_hint(LevelFilter::TRACE);
    tracing_subscriber::registry()
        .with(Steps.with_filter(steps))
        .init();
    let _ = rustls::crypto::ring::default_provider().install_default();
    std::thread::spawn(|| {
        for line in std::io::stdin().lines() {
            let line = line.unwrap();
            let orders = match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["record"] => Orders::Record,
                ["go-on"] => Orders::GoOn,
                ["die", name, nth] => Orders::Die(Point::new(name, nth.parse().unwrap())),
                _ => panic!("the order {line}"),
            };
            *ORDERS.lock().unwrap() = orders;
            println!("{MARK}ready");
        }
        std::process::exit(1); // who would kill it has died
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let args = std::iter::once("oarmaster-gateway").chain(args.split(' '));
        let config = Args::parse_from(args).resolve().unwrap();
        let mut cluster = kube::Config::new(kube.parse().unwrap());
        cluster.default_retry = false;
        let client = kube::Client::try_from(cluster).unwrap();
        let stop = oarmaster_serve::process::stop().unwrap();
        run(config, client, stop).await.unwrap();
    });
}

/// The process from outside.
pub struct Program {
    child: Child,
    orders: ChildStdin,
    said: UnboundedReceiver<String>,
}

impl Program {
    /// Starts it; it listens some time later.
    pub fn start(kube: &str, args: &str, roots: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_gateway", "--exact", "--ignored", "--nocapture"])
            .env(KUBE, kube)
            .env(ARGS, args)
            .env("SSL_CERT_FILE", roots)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, said) = unbounded_channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned)) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            orders,
            said,
        }
    }

    /// Has it kill itself at a step from here on.
    pub async fn arm(&mut self, point: &Point) {
        self.order(&format!("die {} {}", point.name, point.nth))
            .await;
    }

    /// Has it go on at every step.
    pub async fn disarm(&mut self) {
        self.order("go-on").await;
    }

    /// Has it say its steps from here on.
    pub async fn record(&mut self) {
        self.order("record").await;
    }

    /// The steps since [`Program::record`].
    pub async fn recorded(&mut self) -> Vec<String> {
        // What callers of SDKs write is gathered for 10 ms; what is missing then is missing in the list that it is compared with.
        let mut steps = Vec::new();
        while let Ok(line) =
            tokio::time::timeout(Duration::from_millis(300), self.said.recv()).await
        {
            steps.push(line.unwrap());
        }
        self.disarm().await;
        steps
    }

    async fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        let ready = tokio::time::timeout(PATIENCE, self.said.recv()).await;
        assert_eq!(ready.unwrap().as_deref(), Some("ready"), "{order}");
    }

    /// Waits until it was killed; `false` where it goes on.
    pub async fn killed(&mut self, within: Duration) -> bool {
        let Some(status) = self.end(within).await else {
            return false;
        };
        assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");
        true
    }

    /// Kills it from outside.
    pub async fn kill(&mut self) {
        self.child.kill().unwrap();
        assert!(self.killed(PATIENCE).await);
    }

    /// Ends it as Kubernetes does.
    pub async fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        let status = self.end(PATIENCE).await.expect("it ends in a minute");
        assert!(status.success(), "{status}");
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    async fn end(&mut self, within: Duration) -> Option<ExitStatus> {
        let end = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(within, end).await.ok()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Where a test fails, nobody else ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
