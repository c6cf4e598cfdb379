//! What a Task's assignment says about its model calls, its egress and the tools that the gateway carries out. An assignment never changes, so it is read once.

use crate::error::ApiFailure;
use crate::request::Caching;
use moka::future::Cache;
use oarmaster_crds::DomainPattern;
use oarmaster_protocol::assignment::{Assignment, Handed, McpServer, Placed, Target, TaskRef};
use oarmaster_protocol::tool::GatewayTool;
use oarmaster_store::Store;
use std::sync::Arc;

const MAX_CACHED: u64 = 10_000;

/// Model and output bound of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// `<namespace>/<pool>`; `None` where the target has no model.
    pub model: Option<String>,
    /// Name of the agent.
    pub agent: Option<String>,
    /// Output bound of one call.
    pub max_output: u64,
    /// What of the pool's cache the agent uses.
    pub caching: Caching,
    /// The Task that it continues.
    pub continues: Option<TaskRef>,
    /// The request whose workspace it was handed.
    pub handed: Option<Handed>,
    /// The Task whose workspace it begins with.
    pub begins: Option<TaskRef>,
    /// Artifacts of other Tasks that are placed in its workspace.
    pub placed: Vec<Placed>,
    /// Domains that its sandbox may reach.
    pub egress: Arc<[DomainPattern]>,
    /// Domains whose pages its agent may read.
    pub pages: Arc<[DomainPattern]>,
    /// `<namespace>/<pool>`: where model calls of programs in its sandbox go, if they may make any.
    pub programs: Option<String>,
    /// The tools of the gateway that the agent has.
    pub tools: Vec<GatewayTool>,
    /// Its MCP servers.
    pub mcp: Vec<McpServer>,
}

/// Assignments by Task and attempt.
pub struct Assignments(Cache<(String, u32), Arc<Assigned>>);

impl Default for Assignments {
    fn default() -> Self {
        Self(Cache::new(MAX_CACHED))
    }
}

impl Assignments {
    /// What the attempt was assigned.
    ///
    /// # Errors
    /// When the store has no assignment for it, or none that can be read.
    pub async fn get(
        &self,
        store: &Store,
        task_uid: &str,
        attempt: u32,
    ) -> Result<Arc<Assigned>, ApiFailure> {
        self.0
            .try_get_with((task_uid.to_owned(), attempt), async {
                let (bytes, _) = store.assignment(task_uid, attempt).await?;
                let assignment: Assignment = serde_json::from_slice(&bytes).map_err(|error| {
                    ApiFailure::internal(format!("failed to read the stored assignment: {error}"))
                })?;
                let sandbox = assignment.sandbox;
                let (continues, handed) = (assignment.continues, assignment.handed);
                let (begins, placed) = (assignment.workspace.from, assignment.placed);
                let (egress, programs) =
                    sandbox.map_or_else(Default::default, |sandbox| (sandbox.egress, sandbox.pool));
                let egress = patterns(&egress);
                Ok(Arc::new(match assignment.target {
                    Target::Agent(agent) => Assigned {
                        agent: agent.pinned.split('@').next().map(str::to_owned),
                        max_output: u64::from(agent.max_output_tokens),
                        model: Some(agent.model),
                        caching: if agent.no_cache {
                            Caching::Never
                        } else {
                            Caching::Allowed
                        },
                        continues,
                        handed,
                        begins,
                        placed,
                        egress,
                        pages: patterns(&agent.pages),
                        programs,
                        tools: agent
                            .tools
                            .iter()
                            .filter_map(|name| GatewayTool::from_name(name))
                            .collect(),
                        mcp: agent.mcp,
                    },
                    Target::Run(_) | Target::Workflow(_) => Assigned {
                        model: None,
                        agent: None,
                        max_output: 0,
                        caching: Caching::Never,
                        continues,
                        handed,
                        begins,
                        placed,
                        egress,
                        pages: patterns(&[]),
                        programs,
                        tools: Vec::new(),
                        mcp: Vec::new(),
                    },
                }))
            })
            .await
            .map_err(|error: Arc<ApiFailure>| (*error).clone())
    }
}

/// What cannot be read matches nothing.
fn patterns(texts: &[String]) -> Arc<[DomainPattern]> {
    let read = texts.iter().map(|text| DomainPattern::parse(text));
    read.filter_map(Result::ok).collect()
}
