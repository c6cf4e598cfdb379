//! Tools of MCP servers: connections that are opened when they are first needed ([`connect`]), the server's tools checked ([`offer`]), calls and what
//! comes back ([`answer`]). rmcp speaks the protocol; where requests go, and with which key, is decided here.
//!
//! A connection is one Task's: what a server keeps in a session is never another requester's.

mod answer;
mod connect;
mod offer;
mod quiet;
mod text;

use super::Caller;
use connect::Door;
pub use connect::Outbound;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use oarmaster_crds::names::mcp_tool;
use oarmaster_protocol::assignment::McpServer;
use oarmaster_protocol::tool::{MAX_OFFERED, OUTCOME_UNKNOWN, Offer, ToolAnswer, ToolCall};
use rmcp::ServiceError;
use rmcp::model::CallToolRequestParams;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Connections that are kept at once; the one that was used least recently is closed for another.
const MOST: u64 = 1024;
/// How long one is kept that nobody uses, and how long at most: its key is read anew then.
const IDLE: Duration = Duration::from_secs(5 * 60);
const LASTS: Duration = Duration::from_secs(30 * 60);
/// Servers that are asked for their tools at once: what they answer is held until it is checked.
const LISTED: usize = 8;

/// Task, attempt and server.
type Key = (String, u32, String);

/// The MCP servers of all agents.
pub struct Servers {
    outbound: Outbound,
    doors: Cache<Key, Arc<Door>>,
    listing: Semaphore,
}

impl Servers {
    /// Servers that are reached so.
    #[must_use]
    pub fn new(outbound: Outbound) -> Self {
        Self {
            outbound,
            listing: Semaphore::new(LISTED),
            doors: Cache::builder()
                .max_capacity(MOST)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(IDLE)
                .time_to_live(LASTS)
                .build(),
        }
    }

    /// The tools of an agent's servers, as far as they are there and can be offered to a model.
    pub async fn offer(&self, caller: &Caller, servers: &[McpServer]) -> Offer {
        let found = servers.iter().map(|server| self.offered(caller, server));
        let mut whole = Offer::default();
        for found in futures::future::join_all(found).await {
            whole.tools.extend(found.tools);
            whole.missing.extend(found.missing);
        }
        if whole.tools.len() > MAX_OFFERED {
            whole.tools.truncate(MAX_OFFERED);
            let text = format!("Only the first {MAX_OFFERED} tools of MCP servers can be used.");
            whole.missing.push(text);
        }
        whole
    }

    async fn offered(&self, caller: &Caller, server: &McpServer) -> Offer {
        let tools = async {
            let door = self.door(caller, server).await?;
            let _turn = self.listing.acquire().await;
            let listed = door.list(&server.allow).await;
            let tools = listed.map_err(|error| door.told(&error))?;
            Ok::<_, String>(offer::checked(server, &tools, |text| door.has_key(text)))
        };
        match tools.await {
            Ok(offer) => offer,
            Err(why) => Offer {
                tools: Vec::new(),
                missing: vec![format!("{}: {why}", server.name)],
            },
        }
    }

    /// Calls a tool, by the name that it has at its server.
    pub async fn call(
        &self,
        caller: &Caller,
        (server, tool): (&McpServer, &str),
        call: &ToolCall,
    ) -> ToolAnswer {
        let Some(arguments) = call.arguments.as_object() else {
            return ToolAnswer::failed("The arguments must be one JSON object.");
        };
        let door = match self.door(caller, server).await {
            Ok(door) => door,
            Err(why) => return ToolAnswer::failed(format!("{}: {why}", server.name)),
        };
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.clone());
        let timeout = Duration::from_millis(server.timeout_ms);
        let called = tokio::time::timeout(timeout, door.peer().call_tool_once(params)).await;
        let name = mcp_tool(&server.name, tool);
        let answer = match called {
            Ok(Ok(response)) => answer::of(response, |text| door.hide(text)),
            // The server itself says that it did not do it.
            Ok(Err(ServiceError::McpError(error))) => {
                ToolAnswer::failed(format!("{name} failed: {}", text::clean(&error.message)))
            }
            Ok(Err(error)) => {
                self.close(caller, server).await;
                let why = door.told(&error);
                ToolAnswer::failed(format!("{}: {why}. {OUTCOME_UNKNOWN}", server.name))
            }
            Err(_) => ToolAnswer::failed(format!(
                "{name} did not answer within {} s, and may or may not have had its effect.",
                timeout.as_secs_f32()
            )),
        };
        // What was passed on is bounded already; a sentence of ours may quote the server.
        ToolAnswer {
            text: door.hide(answer.text),
            ..answer
        }
    }

    async fn door(&self, caller: &Caller, server: &McpServer) -> Result<Arc<Door>, String> {
        // Those that nobody used are closed when somebody needs one.
        self.doors.run_pending_tasks().await;
        let key = key(caller, server);
        if let Some(door) = self.doors.get(&key).await {
            if !door.is_closed() {
                return Ok(door);
            }
            self.doors.invalidate(&key).await;
        }
        let opened = async { self.outbound.open(server).await.map(Arc::new) };
        let door = self.doors.try_get_with(key, opened).await;
        door.map_err(|why: Arc<String>| (*why).clone())
    }

    /// A connection that broke is not used again.
    async fn close(&self, caller: &Caller, server: &McpServer) {
        self.doors.invalidate(&key(caller, server)).await;
    }
}

fn key(caller: &Caller, server: &McpServer) -> Key {
    let pod = &caller.pod;
    (pod.task_uid.clone(), pod.attempt, server.name.clone())
}
