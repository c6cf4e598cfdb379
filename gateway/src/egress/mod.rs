//! What code in a sandbox may reach: an HTTP proxy for the pods of Tasks whose assignment names domains, and the model calls of those whose assignment
//! names a pool. Decisions 0023 and 0026 have the reasons.
//!
//! One upgraded request of the pilot carries one connection of a program, and that one connection to one domain: [`ask`] decides which,
//! [`names`] where that is, [`proxy`] carries it, [`flow`] counts. What is carried is never looked at, but for the server name that TLS begins with.
//! Or it carries one call of a model ([`model`]).

pub mod ask;
pub mod flow;
mod hello;
mod model;
pub mod names;
mod proxy;

use crate::audit::What;
use crate::calls::call::text;
use crate::error::ApiFailure;
use crate::identity::sandbox::SandboxPod;
use crate::state::{Caller, Gateway, Program};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use flow::{Account, Accounts, End, Flow, Place};
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use names::Resolve;
use oarmaster_crds::{Domain, DomainPattern};
use oarmaster_protocol::read::AuditAct;
use oarmaster_protocol::task::{EGRESS_PROTOCOL, SESSION_HEADER};
use std::sync::Arc;
use std::time::Duration;

/// How often a connection's attempt is asked for again.
const CHECK: Duration = Duration::from_secs(5);

/// What egress has beside its connections.
pub struct Egress {
    /// How names become addresses; the system's own way, but in tests.
    pub resolve: Resolve,
    accounts: Accounts,
}

impl Default for Egress {
    fn default() -> Self {
        Self {
            resolve: names::system(),
            accounts: Accounts::default(),
        }
    }
}

/// The pod that a connection is for.
struct Client {
    gateway: Arc<Gateway>,
    pod: Arc<SandboxPod>,
    session: String,
    allowed: Arc<[DomainPattern]>,
    /// Who calls models on it, if anybody may.
    program: Option<Caller>,
    account: Arc<Account>,
    _place: Arc<Place>,
}

/// `GET /task/v1/egress`: the connection becomes that of a program with a proxy.
///
/// # Errors
/// `unauthenticated`, `forbidden`, `fenced`; `rate_limited` where there are too many; `invalid_request` without the upgrade.
pub async fn open(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
) -> Result<Response, ApiFailure> {
    let headers = request.headers();
    let pod = gateway.program(headers).await?;
    let session = text(headers, SESSION_HEADER)?.to_owned();
    gateway
        .store
        .check_session(&pod.task_uid, pod.attempt, &session)?;
    let assigned = gateway
        .assignments
        .get(&gateway.store, &pod.task_uid, pod.attempt)
        .await?;
    if assigned.egress.is_empty() && assigned.programs.is_none() {
        return Err(ApiFailure::forbidden(
            "the sandbox of this Task has no egress: its Agent or run names no domain, and no pool",
        ));
    }
    let asked = headers.get(header::UPGRADE);
    if asked.is_none_or(|protocol| protocol != EGRESS_PROTOCOL) {
        return Err(ApiFailure::invalid(format!(
            "send 'Connection: upgrade' and 'Upgrade: {EGRESS_PROTOCOL}'"
        )));
    }
    let (account, place) = gateway.egress.accounts.enter(&pod).await?;
    let place = Arc::new(place);
    let program = assigned.programs.as_ref().map(|pool| {
        Caller::Program(Arc::new(Program {
            pod: pod.clone(),
            session: session.clone(),
            pool: pool.clone(),
            place: place.clone(),
        }))
    });
    let client = Client {
        program,
        allowed: assigned.egress.clone(),
        pod,
        session,
        account,
        _place: place,
        gateway,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => client.serve(TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(error = %error, "egress was not upgraded"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(EGRESS_PROTOCOL));
    Ok(response)
}

impl Client {
    /// Serves a connection until it ends or may not go on.
    async fn serve(self, child: TokioIo<hyper::upgrade::Upgraded>) {
        let flow = Arc::new(Flow::new(self.account.clone()));
        let end = tokio::select! {
            // A bound that is reached breaks a connection off, too.
            end = self.talk(child, &flow) => flow.over().unwrap_or(end),
            end = self.watch(&flow) => end,
        };
        self.ended(&flow, end);
    }

    /// Until a bound is reached, or the attempt is over.
    async fn watch(&self, flow: &Flow) -> End {
        let stopping = &self.gateway.stopping;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return End::Stopped,
                () = tokio::time::sleep(CHECK) => {}
            }
            if let Some(end) = flow.over() {
                return end;
            }
            let SandboxPod {
                task_uid, attempt, ..
            } = &*self.pod;
            let store = &self.gateway.store;
            if store
                .check_session(task_uid, *attempt, &self.session)
                .is_err()
            {
                return End::Fenced;
            }
        }
    }

    /// Notes that a domain is about to be connected to: what cannot be noted is not done.
    async fn begins(&self, domain: &Domain) -> Result<(), ApiFailure> {
        let audit = &self.gateway.audit;
        let what = self.what(domain.as_str());
        audit.allowed(AuditAct::Egress, &self.who(), what).await
    }

    /// Notes that a program was kept from something. What it asked for is its own text, and has no place here.
    fn refused(&self, reason: &str) {
        let audit = &self.gateway.audit;
        let what = self.what("no domain of the sandbox");
        audit.refused(AuditAct::Egress, &self.who(), what, reason);
    }

    fn ended(&self, flow: &Flow, end: End) {
        let metrics = &self.gateway.metrics;
        metrics.egress_ended(end.as_str(), flow.sent(), flow.received());
        if let Some(domain) = flow.domain() {
            let object = format!("{domain} sent {} received {}", flow.sent(), flow.received());
            let reason = match end {
                End::Done => "",
                end => end.as_str(),
            };
            let audit = &self.gateway.audit;
            audit.ended(AuditAct::EgressEnd, &self.who(), self.what(&object), reason);
        }
    }

    fn who(&self) -> String {
        let store = &self.gateway.store;
        store.requested_by(&self.pod.task_uid).unwrap_or_default()
    }

    fn what<'a>(&'a self, object: &'a str) -> What<'a> {
        What {
            namespace: &self.pod.namespace,
            task: &self.pod.task_uid,
            object,
        }
    }
}
