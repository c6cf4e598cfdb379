//! What every request handler works with.

use crate::audit::{Audit, What, refusal};
use crate::bodies::{ANSWERS, Bodies, REQUESTS, Room};
use crate::budgets::{self, Budgets, Payer, Refused};
use crate::cache::Cache;
use crate::calls::allowed;
use crate::calls::assigned::Assignments;
use crate::catalog::{Snapshot, path};
use crate::checkpoints;
use crate::cluster::lookup::Lookup;
use crate::config::Settings;
use crate::egress::Egress;
use crate::egress::flow::Place;
use crate::error::ApiFailure;
use crate::health::Health;
use crate::identity::access::Access;
use crate::identity::sandbox::{SandboxPod, Sandboxes};
use crate::identity::token::Tokens;
use crate::identity::{User, bearer};
use crate::metrics::Metrics;
use crate::pilots::{self, Pilots};
use crate::provider::http::MAX_VECTORS;
use crate::shared::Redis;
use crate::tools::web::Web;
use crate::tools::{self, Tools, mcp};
use crate::traces::Traces;
use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use kube::Client;
use oarmaster_protocol::admin::{Blocked, BudgetReport, RoomQuery};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::read::AuditAct;
use oarmaster_protocol::task::ErrorCode;
use oarmaster_protocol::{ADMIN_AUDIENCE, AUDIENCE};
use oarmaster_serve::pace::{Pace, Paced};
use oarmaster_store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one Task may ask of the data listener, so that all others have the rest: many times what a pilot asks whose model takes a second. What is beyond
/// waits. A unit is a request, and as much again for each [`UNIT`] of its body.
const TASK: Pace = Pace {
    every: Duration::from_millis(20),
    burst: 500,
    // A pilot gives an answer up after a minute.
    longest: Duration::from_secs(30),
};
/// Bytes of a body that are as much work as a request without any.
const UNIT: usize = 16 << 10;

/// The gateway: everything that outlives a request.
pub struct Gateway {
    /// Configuration of requests.
    pub settings: Settings,
    /// The durable state.
    pub store: Store,
    /// Pools and providers.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Budgets, and the namespaces that they choose.
    pub budgets: Arc<ArcSwap<Budgets>>,
    /// What they have refused.
    pub refused: Refused,
    /// What the snapshot has not.
    pub lookup: Lookup,
    /// Keys and reachability.
    pub health: Arc<Health>,
    /// Metrics.
    pub metrics: Metrics,
    /// The room for the bodies of requests.
    pub bodies: Bodies,
    /// And of the answers to them.
    pub answers: Arc<Bodies>,
    /// What is noted beside the ledger.
    pub audit: Audit,
    /// Traces of calls; absent where tracing is off.
    pub traces: Option<Traces>,
    /// Held by who sums up costs.
    pub counting: tokio::sync::Mutex<()>,
    /// Answers that are given again.
    pub cache: Cache,
    /// What replicas share, where they share anything.
    pub redis: Option<Arc<Redis>>,
    /// What Tasks were assigned.
    pub assignments: Assignments,
    /// Who has the attempts without a pod of their own.
    pub pilots: Pilots,
    /// What tools of agents need.
    pub tools: Tools,
    /// The way of sandboxes to domains.
    pub egress: Egress,
    /// Searches, and pages that are fetched.
    pub web: Web,
    /// Calls that run to their end even when their caller is gone.
    pub calls: TaskTracker,
    /// Cancelled when the process stops: endless streams end.
    pub stopping: CancellationToken,
    access: Access,
    data_tokens: Tokens,
    read_tokens: Tokens,
    admin_tokens: Tokens,
    sandboxes: Sandboxes,
    /// Tasks, by their UIDs.
    tasks: Paced<String>,
    /// Programs in their sandboxes, which do not keep the pilot beside them waiting.
    programs: Paced<String>,
    /// The parts of Tasks' checkpoints, in bytes beyond their requests.
    pub(crate) checkpoints: Paced<String>,
}

/// Who calls the data listener.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The pod of a Task's open attempt.
    Task(Arc<SandboxPod>),
    /// A program in the sandbox of one.
    Program(Arc<Program>),
    /// Anybody else, for RBAC to judge.
    User(Arc<User>),
}

/// A program in the sandbox of a Task: whose it is, its connection says, and nothing that it sends.
#[derive(Clone, Debug)]
pub struct Program {
    /// The pod.
    pub pod: Arc<SandboxPod>,
    /// The session of the pilot beside it.
    pub session: String,
    /// The pool that its calls go to: `<namespace>/<pool>`.
    pub pool: String,
    /// Its connection's place, which its calls have to their end, also where it has left.
    pub place: Arc<Place>,
}

impl Caller {
    /// The pod of the Task that calls, if one does.
    #[must_use]
    pub fn pod(&self) -> Option<&SandboxPod> {
        match self {
            Self::Task(pod) => Some(pod),
            Self::Program(program) => Some(&program.pod),
            Self::User(_) => None,
        }
    }

    /// Who shares its part of the memory: whoever may create ServiceAccounts or Tasks in a namespace has as many callers as they like.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::Task(pod) => pod.namespace.clone(),
            Self::Program(program) => program.pod.namespace.clone(),
            Self::User(user) => match user.namespace() {
                Some(namespace) => namespace.to_owned(),
                None => format!("user:{}", user.name),
            },
        }
    }
}

impl Gateway {
    /// A gateway that asks the API server with `client`, and trusts MCP servers by `tls`.
    #[must_use]
    pub fn new(
        settings: Settings,
        store: Store,
        client: &Client,
        tls: rustls::ClientConfig,
    ) -> Self {
        let metrics = Metrics::default();
        let redis = settings.redis.clone();
        let outbound = mcp::Outbound::new(
            client.clone(),
            &settings.namespace,
            settings.private_endpoints.clone(),
            tls,
        );
        let redis = redis.map(|address| Arc::new(Redis::new(address, metrics.redis.clone())));
        Self {
            cache: Cache::new(settings.cache_bytes, redis.clone()),
            redis,
            bodies: Bodies::new(settings.body_limit, REQUESTS),
            answers: Arc::new(Bodies::new(MAX_VECTORS, ANSWERS)),
            pilots: Pilots::new(&store),
            settings,
            audit: Audit::new(store.clone()),
            traces: None,
            store,
            snapshot: Arc::default(),
            budgets: Arc::default(),
            refused: Refused::default(),
            lookup: Lookup::new(client),
            health: Arc::default(),
            metrics,
            counting: tokio::sync::Mutex::default(),
            assignments: Assignments::default(),
            tools: Tools::new(outbound),
            egress: Egress::default(),
            web: Web::default(),
            calls: TaskTracker::new(),
            stopping: CancellationToken::new(),
            access: Access::new(client),
            data_tokens: Tokens::new(client, Some(AUDIENCE)),
            read_tokens: Tokens::new(client, None),
            admin_tokens: Tokens::new(client, Some(ADMIN_AUDIENCE)),
            sandboxes: Sandboxes::new(client),
            tasks: Paced::new(TASK),
            programs: Paced::new(TASK),
            checkpoints: Paced::new(checkpoints::PACE),
        }
    }

    /// The caller of the data listener, by the token; a Task's pod when its pace allows it.
    ///
    /// # Errors
    /// `unauthenticated`; `forbidden` for a sandbox identity without an open attempt; `fenced` for an attempt that is over.
    pub async fn caller(&self, token: &str) -> Result<Caller, ApiFailure> {
        self.known(token, &self.tasks).await
    }

    async fn known(&self, token: &str, pace: &Paced<String>) -> Result<Caller, ApiFailure> {
        if pilots::is_capability(token) {
            let refused = |error: &ApiFailure| self.unknown("data", "", error);
            let pod = self.pilots.holder(token).inspect_err(refused)?;
            pace.take(&pod.task_uid, 1).await;
            self.check_attempt(&pod).await.inspect_err(refused)?;
            return Ok(Caller::Task(pod));
        }
        let user = self.data_tokens.review(token).await;
        let user = user.inspect_err(|error| self.unknown("data", "", error))?;
        let refused = |error: &ApiFailure| self.unknown("data", &user.name, error);
        let found = self.sandboxes.identify(&user).await;
        let Some(pod) = found.inspect_err(refused)? else {
            return Ok(Caller::User(user));
        };
        pace.take(&pod.task_uid, 1).await;
        self.check_attempt(&pod).await.inspect_err(refused)?;
        Ok(Caller::Task(pod))
    }

    /// Name of the shared pilot that asks for work.
    ///
    /// # Errors
    /// `unauthenticated`; `forbidden` for anybody else, and for a token that is bound to no pod.
    pub async fn pilot(&self, headers: &HeaderMap) -> Result<String, ApiFailure> {
        let user = self.data_tokens.review(bearer(headers)?).await;
        let user = user.inspect_err(|error| self.unknown("data", "", error))?;
        match user.pod() {
            Some((pod, _)) if user.name == self.settings.pilots => Ok(pod.to_owned()),
            _ => {
                let error = ApiFailure::forbidden(
                    "attempts are given out to the pods of the ServiceAccount of the shared pilots",
                );
                self.unknown("data", &user.name, &error);
                Err(error)
            }
        }
    }

    /// Notes that somebody was not let in.
    fn unknown(&self, listener: &str, who: &str, error: &ApiFailure) {
        if let Some(reason) = refusal(error) {
            let what = What {
                object: listener,
                ..What::default()
            };
            self.audit.refused(AuditAct::Identify, who, what, reason);
        }
    }

    /// The pool that a caller means by a model's name, as `<namespace>/<pool>`, where there is one. Else the name is the caller's own text,
    /// and has no place in records and traces.
    #[must_use]
    pub fn pool_named(&self, caller: &Caller, model: &str) -> String {
        let snapshot = self.snapshot.load();
        let (own, model) = match caller {
            Caller::User(user) => (user.namespace(), model),
            Caller::Task(pod) => (Some(pod.namespace.as_str()), model),
            // Whatever model it names.
            Caller::Program(program) => (None, program.pool.as_str()),
        };
        let pool = snapshot.resolve(model, own, &self.settings);
        if snapshot.pools.contains_key(&pool) {
            path(&pool)
        } else {
            "no pool".to_owned()
        }
    }

    /// Notes that a model call was refused; `model` is what the request named.
    pub fn call_refused(&self, caller: &Caller, model: &str, reason: &str) {
        let act = AuditAct::Call;
        let pool = self.pool_named(caller, model);
        let pod = match caller {
            Caller::User(user) => {
                let what = What {
                    namespace: user.namespace().unwrap_or_default(),
                    object: &pool,
                    ..What::default()
                };
                self.audit.refused(act, &user.name, what, reason);
                return;
            }
            Caller::Task(pod) => pod,
            Caller::Program(program) => &program.pod,
        };
        let who = self.store.requested_by(&pod.task_uid).unwrap_or_default();
        self.audit.refused(act, &who, of_pod(pod, &pool), reason);
    }

    /// Notes that a tool of an MCP server is about to be called.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn tool_called(&self, caller: &tools::Caller, tool: &str) -> Result<(), ApiFailure> {
        let what = of_pod(&caller.pod, tool);
        let act = AuditAct::Tool;
        self.audit.allowed(act, &caller.requester, what).await
    }

    /// Notes that a pilot may not claim its attempt.
    pub fn claim_refused(&self, pod: &SandboxPod, error: &ApiFailure) {
        if let Some(reason) = refusal(error) {
            let who = self.store.requested_by(&pod.task_uid).unwrap_or_default();
            let object = format!("attempt {}, pod {}", pod.attempt, pod.pod);
            let what = of_pod(pod, &object);
            self.audit.refused(AuditAct::Claim, &who, what, reason);
        }
    }

    /// Notes, before it is done, that a Task reads what is kept of another one: that which it continues, or has files of.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub async fn reads(
        &self,
        pod: &SandboxPod,
        subresource: &str,
        other: &TaskRef,
    ) -> Result<(), ApiFailure> {
        let who = self.store.requested_by(&pod.task_uid).unwrap_or_default();
        let object = format!("tasks/{subresource} {}", other.name);
        let what = of_pod(pod, &object);
        self.audit.allowed(AuditAct::Read, &who, what).await
    }

    /// The pod of a Task's open attempt.
    ///
    /// # Errors
    /// As [`Gateway::caller`]; `forbidden` for everybody else.
    pub async fn task(&self, headers: &HeaderMap) -> Result<Arc<SandboxPod>, ApiFailure> {
        pod_of(self.caller(bearer(headers)?).await?)
    }

    /// The pod of the bearer of the token, who carries a program's connection: at the pace of programs.
    ///
    /// # Errors
    /// As [`Gateway::task`].
    pub async fn program(&self, headers: &HeaderMap) -> Result<Arc<SandboxPod>, ApiFailure> {
        pod_of(self.known(bearer(headers)?, &self.programs).await?)
    }

    /// What the operator is told of Budgets.
    #[must_use]
    pub fn budget_reports(&self) -> Vec<BudgetReport> {
        let counters = self.store.counters();
        let now = self.store.clock();
        budgets::report(&self.budgets.load(), &counters, &self.refused, now)
    }

    /// The Budget that leaves no room for the next call of a Task.
    ///
    /// # Errors
    /// `not_found` for a Task that is asked for without a pool and was never opened here; `unavailable` while it is not known which
    /// Budgets count.
    pub async fn blocked(&self, query: &RoomQuery) -> Result<Option<Blocked>, ApiFailure> {
        let task = &query.task;
        let (pool, agent) = match &query.pool {
            Some(pool) => (Some(pool.clone()), query.agent.clone()),
            None => {
                let newest = self.store.newest_attempt(&task.uid).await?;
                let newest = newest.map_or(1, |newest| newest.attempt);
                let assigned = self.assignments.get(&self.store, &task.uid, newest);
                let assigned = assigned.await?;
                let pool = assigned.model.as_ref().or(assigned.programs.as_ref());
                (pool.cloned(), assigned.agent.clone())
            }
        };
        let Some(pool) = pool else {
            return Ok(None); // it calls no model
        };
        let snapshot = self.snapshot.load_full();
        let pool = snapshot.resolve(&pool, Some(&task.namespace), &self.settings);
        let requester = query.requested_by.clone();
        let requester = requester.or_else(|| self.store.requested_by(&task.uid));
        let scopes = self.budgets.load().scopes(&Payer {
            namespace: &task.namespace,
            pool: &pool,
            agent: agent.as_deref(),
            requester: requester.as_deref().unwrap_or_default(),
        })?;
        let standing = scopes
            .iter()
            .map(|scope| (scope, self.store.counter(scope)));
        let may_name = |provider: &_| allowed::provider(self, provider, &pool).is_ok();
        let free = snapshot.has_free_member(&pool, may_name);
        Ok(budgets::blocked(standing, &task.uid, &self.refused, free))
    }

    /// Puts into the metrics what is looked at when they are read: what is left of each Budget, and where models stand.
    pub fn show(&self) {
        self.metrics.breakers(self.health.states());
        self.metrics.volume(self.store.volume());
        self.metrics.pilot_queue(self.pilots.waiting(&self.store));
        self.show_budgets();
    }

    fn show_budgets(&self) {
        let left = |report: BudgetReport| {
            // The largest counter that is settled may not be the fullest one: what is reserved counts, too.
            let counters = report.counters.iter();
            let most = counters
                .map(|counter| counter.spent_pico.saturating_add(counter.reserved_pico))
                .max();
            let left = report.limit_pico.saturating_sub(most.unwrap_or_default());
            #[allow(clippy::cast_precision_loss)] // a metric; the ledger has the integers
            let ratio = left as f64 / report.limit_pico.max(1) as f64;
            (report.name, ratio)
        };
        let reports = self.budget_reports();
        self.metrics
            .budgets_remaining(reports.into_iter().map(left));
    }

    /// The operator.
    ///
    /// # Errors
    /// `unauthenticated`; `forbidden` for anybody else.
    pub async fn operator(&self, headers: &HeaderMap) -> Result<(), ApiFailure> {
        let user = self.admin_tokens.review(bearer(headers)?).await;
        let user = user.inspect_err(|error| self.unknown("admin", "", error))?;
        if user.name == self.settings.operator {
            return Ok(());
        }
        let error = ApiFailure::forbidden("the admin API is for the operator's ServiceAccount");
        self.unknown("admin", &user.name, &error);
        Err(error)
    }

    /// Somebody who may `get` this subresource of a Task. The audit knows of it before anything is read.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`.
    pub async fn reader(
        &self,
        headers: &HeaderMap,
        subresource: &str,
        namespace: &str,
        task: &str,
    ) -> Result<(), ApiFailure> {
        let user = self.read_tokens.review(bearer(headers)?).await;
        let user = user.inspect_err(|error| self.unknown("read", "", error))?;
        let object = format!("tasks/{subresource} {task}");
        let what = What {
            namespace,
            object: object.trim_end(),
            ..What::default()
        };
        let act = crate::identity::access::Act {
            verb: "get",
            resource: "tasks",
            subresource,
            namespace,
            name: task,
        };
        if self.access.may(&user, act).await? {
            if subresource == "usage" {
                return Ok(()); // numbers
            }
            self.audit.allowed(AuditAct::Read, &user.name, what).await
        } else {
            let reason = ErrorCode::Forbidden.as_str();
            self.audit.refused(AuditAct::Read, &user.name, what, reason);
            let of = match (namespace, task) {
                ("", _) => "in all namespaces: a Cluster".to_owned(),
                (_, "") => format!("in namespace {namespace}: a "),
                _ => format!("of {task} in namespace {namespace}: a "),
            };
            Err(ApiFailure::forbidden(format!(
                "{} may not get tasks/{subresource} {of}Role with resources [tasks/{subresource}] and verbs [get] in apiGroups [oarmaster.dev] allows it",
                user.name
            )))
        }
    }

    /// Somebody who may erase what is kept of a person, in all namespaces. The audit knows of it before anything is looked for.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`.
    pub async fn eraser(&self, headers: &HeaderMap, requester: &str) -> Result<(), ApiFailure> {
        let user = self.read_tokens.review(bearer(headers)?).await;
        let user = user.inspect_err(|error| self.unknown("read", "", error))?;
        let act = crate::identity::access::Act {
            verb: "delete",
            resource: "tasks",
            subresource: "erase",
            namespace: "",
            name: "",
        };
        if self.access.may(&user, act).await? {
            let what = What {
                object: requester,
                ..What::default()
            };
            return self.audit.allowed(AuditAct::Erase, &user.name, what).await;
        }
        let reason = ErrorCode::Forbidden.as_str();
        // What somebody sends who may not is not kept.
        let what = What {
            object: "tasks/erase",
            ..What::default()
        };
        self.audit
            .refused(AuditAct::Erase, &user.name, what, reason);
        Err(ApiFailure::forbidden(format!(
            "{} may not delete tasks/erase in all namespaces: a ClusterRole with resources [tasks/erase] and verbs [delete] in apiGroups [oarmaster.dev] allows it, like ClusterRole oarmaster-erase",
            user.name
        )))
    }

    /// Somebody who may `get` or `delete` what an agent remembers, of all agents of the namespace where none is named. The audit knows of it
    /// before anything is read or deleted.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`.
    pub async fn keeper(
        &self,
        headers: &HeaderMap,
        verb: &str,
        namespace: &str,
        agent: &str,
    ) -> Result<(), ApiFailure> {
        let user = self.read_tokens.review(bearer(headers)?).await;
        let user = user.inspect_err(|error| self.unknown("read", "", error))?;
        let object = format!("agents/memory {agent}");
        let what = What {
            namespace,
            object: object.trim_end(),
            ..What::default()
        };
        let audited = match verb {
            "delete" => AuditAct::Forget,
            _ => AuditAct::Read,
        };
        let act = crate::identity::access::Act {
            verb,
            resource: "agents",
            subresource: "memory",
            namespace,
            name: agent,
        };
        if self.access.may(&user, act).await? {
            return self.audit.allowed(audited, &user.name, what).await;
        }
        let reason = ErrorCode::Forbidden.as_str();
        self.audit.refused(audited, &user.name, what, reason);
        Err(ApiFailure::forbidden(format!(
            "{} may not {verb} agents/memory in namespace {namespace}: a Role with resources [agents/memory] and verbs [{verb}] in apiGroups [oarmaster.dev] allows it, like ClusterRole oarmaster-memory",
            user.name
        )))
    }

    /// Whether a user may use a pool.
    ///
    /// # Errors
    /// `unavailable` while the API server cannot be asked.
    pub async fn may_use(
        &self,
        user: &User,
        namespace: &str,
        pool: &str,
    ) -> Result<bool, ApiFailure> {
        let act = crate::identity::access::Act {
            verb: "use",
            resource: "modelpools",
            subresource: "",
            namespace,
            name: pool,
        };
        self.access.may(user, act).await
    }

    /// The attempt must be the newest, opened to run where the caller does, and not fenced. Asked on every request: it is in memory.
    async fn check_attempt(&self, pod: &SandboxPod) -> Result<(), ApiFailure> {
        let newest = self.store.newest_attempt(&pod.task_uid).await?;
        let fenced = || {
            ApiFailure::new(
                ErrorCode::Fenced,
                format!("attempt {} is over", pod.attempt),
            )
        };
        match newest {
            Some(newest) if newest.attempt > pod.attempt => Err(fenced()),
            Some(newest) if newest.attempt == pod.attempt && newest.runs_in == pod.runs_in => {
                if self.store.report(&pod.task_uid, pod.attempt).await?.fenced {
                    Err(fenced())
                } else {
                    Ok(())
                }
            }
            Some(_) | None => Err(ApiFailure::forbidden(
                "the operator has not opened this attempt for this pod",
            )),
        }
    }

    /// The body of a request, after its caller is known, and the room that it has.
    ///
    /// # Errors
    /// `too_large`, `invalid_request`; `unavailable` where there was no room for long.
    pub async fn body(
        &self,
        caller: &Caller,
        body: Body,
    ) -> Result<(Bytes, Option<Room>), ApiFailure> {
        let read = self.bodies.read(body, || caller.group()).await?;
        let units = u32::try_from(read.0.len() / UNIT).unwrap_or(u32::MAX);
        match caller {
            Caller::Task(pod) => self.tasks.took(&pod.task_uid, units),
            Caller::Program(program) => self.programs.took(&program.pod.task_uid, units),
            Caller::User(_) => {}
        }
        Ok(read)
    }
}

fn pod_of(caller: Caller) -> Result<Arc<SandboxPod>, ApiFailure> {
    match caller {
        Caller::Task(pod) => Ok(pod),
        Caller::Program(_) | Caller::User(_) => Err(ApiFailure::forbidden(
            "the task API is for the pods of Tasks",
        )),
    }
}

/// What the audit says of a Task's own act.
pub(crate) fn of_pod<'a>(pod: &'a SandboxPod, object: &'a str) -> What<'a> {
    What {
        namespace: &pod.namespace,
        task: &pod.task_uid,
        object,
    }
}
