//! WebSearch and FetchPage: what an agent knows of the web, without a network of its own.
//!
//! | | |
//! |---|---|
//! | [`config`] | where searches go |
//! | [`search`] | one search; [`results`] is its answer as a list |
//! | [`target`] | which addresses may be fetched, and which redirects followed |
//! | [`known`] | what the searches of a Task have returned |
//! | [`fetch`] | one page; [`get`] is one request for it, [`page`] its text |
//!
//! Decision 0036 has the reasons. What strangers say is data here: nothing of it is run, and no address in it is followed by itself.

pub mod config;
pub mod fetch;
mod get;
mod known;
mod page;
mod results;
pub mod search;
mod target;

use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use crate::provider::client::Client;
use crate::provider::guard::PrivateEndpoints;
use crate::state::{Gateway, of_pod};
use crate::tools::Caller;
use config::Search;
use known::Known;
use oarmaster_protocol::read::AuditAct;
use oarmaster_protocol::tool::{ToolAnswer, ToolCall};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Searches and fetches at once: each may hold some megabytes.
const AT_ONCE: usize = 32;
/// Texts that are made of what was read at once.
const READ_AT_ONCE: usize = 4;
/// How long a search or a fetch may take in all, its wait for a place too.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a connection to the search endpoint may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What both tools have.
pub struct Web {
    search: Option<(Search, Client)>,
    /// Whom to trust; without it nobody is.
    tls: Option<Arc<rustls::ClientConfig>>,
    known: Known,
    places: Semaphore,
    readers: Arc<Semaphore>,
    deadline: Duration,
    /// Private addresses that pages which a search returned may have: whose they are, nobody here has said. None, but in tests.
    strangers: PrivateEndpoints,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            search: None,
            tls: None,
            known: Known::default(),
            places: Semaphore::new(AT_ONCE),
            readers: Arc::new(Semaphore::new(READ_AT_ONCE)),
            deadline: DEADLINE,
            strangers: PrivateEndpoints::default(),
        }
    }
}

impl Web {
    /// With this trust; without a search there is no WebSearch.
    ///
    /// # Errors
    /// When the search's endpoint is none.
    pub fn new(
        search: Option<Search>,
        tls: &Arc<rustls::ClientConfig>,
        guard: &Arc<PrivateEndpoints>,
    ) -> Result<Self, String> {
        let search = search.map(|search| {
            let client = Client::new(&search.endpoint, CONNECT, tls, guard)?;
            Ok::<_, String>((search, client))
        });
        Ok(Self {
            search: search.transpose()?,
            tls: Some(tls.clone()),
            ..Self::default()
        })
    }

    /// The same, with another time for each call. For tests.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same, where pages that a search returned may have these addresses, too. For tests, whose servers are on loopback.
    #[must_use]
    pub fn with_strangers_at(mut self, addresses: PrivateEndpoints) -> Self {
        self.strangers = addresses;
        self
    }
}

/// A call that did not do what it was asked. The text is for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    /// In a word, for metrics.
    pub outcome: &'static str,
    /// What happened, and what to do.
    pub text: String,
}

impl Failed {
    fn new(outcome: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { outcome, text }
    }
}

impl From<ApiFailure> for Failed {
    fn from(error: ApiFailure) -> Self {
        tracing::error!(%error, "a tool of the web failed");
        Self::new("failed", "the gateway cannot do this now; try again later")
    }
}

/// A call of WebSearch.
pub async fn search_for(gateway: &Gateway, caller: &Caller, call: &ToolCall) -> ToolAnswer {
    let answer = match arguments(call) {
        Ok(arguments) => search::search(gateway, &caller.pod, &arguments).await,
        Err(failed) => Err(failed),
    };
    told(answer)
}

/// A call of FetchPage.
pub async fn fetch_for(gateway: &Gateway, caller: &Caller, call: &ToolCall) -> ToolAnswer {
    let SandboxPod {
        task_uid, attempt, ..
    } = &*caller.pod;
    let assignments = &gateway.assignments;
    let assigned = assignments.get(&gateway.store, task_uid, *attempt).await;
    let answer = match (assigned, arguments(call)) {
        (Ok(assigned), Ok(arguments)) => {
            fetch::fetch(gateway, &caller.pod, &assigned.pages, &arguments).await
        }
        (Err(error), _) => Err(error.into()),
        (_, Err(failed)) => Err(failed),
    };
    told(answer)
}

/// Arguments of a call; a pilot has compared them with the schema.
fn arguments<T: DeserializeOwned>(call: &ToolCall) -> Result<T, Failed> {
    let read = T::deserialize(&call.arguments);
    read.map_err(|error| Failed::new("invalid", format!("the arguments cannot be used: {error}")))
}

fn told(answer: Result<String, Failed>) -> ToolAnswer {
    match answer {
        Ok(text) => ToolAnswer {
            ok: true,
            text,
            ..ToolAnswer::default()
        },
        Err(failed) => ToolAnswer::failed(failed.text),
    }
}

/// Carries a call out in its time, and counts it.
async fn counted(
    gateway: &Gateway,
    tool: &'static str,
    call: impl Future<Output = Result<String, Failed>>,
) -> Result<String, Failed> {
    let web = &gateway.web;
    let in_turn = async {
        let _place = web.places.acquire().await; // it is never closed
        call.await
    };
    let until = Instant::now() + web.deadline;
    let answer = tokio::time::timeout_at(until, in_turn).await;
    let answer = answer.unwrap_or_else(|_| {
        let seconds = web.deadline.as_secs();
        Err(Failed::new(
            "too_slow",
            format!(
                "it took more than {seconds} s and was given up; try again later, or something else"
            ),
        ))
    });
    let outcome = answer
        .as_ref()
        .map_or_else(|failed| failed.outcome, |_| "ok");
    gateway.metrics.web_ended(tool, outcome);
    answer
}

/// Makes a text of what was read, where that keeps nobody waiting.
async fn read<T: Send + 'static>(
    web: &Web,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failed> {
    let turn = web.readers.clone().acquire_owned().await;
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read()
    });
    made.await.map_err(|error| {
        tracing::error!(%error, "what was fetched could not be read");
        Failed::new("unreadable", "what was answered cannot be read")
    })
}

/// Notes where to a connection is about to be made for a Task: what cannot be noted is not done.
async fn begins(gateway: &Gateway, pod: &SandboxPod, host: &str) -> Result<(), Failed> {
    let who = requester(gateway, pod);
    let noted = gateway
        .audit
        .allowed(AuditAct::Egress, &who, of_pod(pod, host));
    Ok(noted.await?)
}

/// Notes that something was refused to a Task. What it asked for is a model's own text, and has no place here.
fn refused(gateway: &Gateway, pod: &SandboxPod, reason: &str) {
    let who = requester(gateway, pod);
    let what = of_pod(pod, "no page of the Task");
    gateway.audit.refused(AuditAct::Egress, &who, what, reason);
}

/// Notes how much came over a connection.
fn ended(gateway: &Gateway, pod: &SandboxPod, host: &str, received: usize) {
    let who = requester(gateway, pod);
    let object = format!("{host} received {received}");
    gateway
        .audit
        .ended(AuditAct::EgressEnd, &who, of_pod(pod, &object), "");
}

fn requester(gateway: &Gateway, pod: &SandboxPod) -> String {
    let requester = gateway.store.requested_by(&pod.task_uid);
    requester.unwrap_or_default()
}
