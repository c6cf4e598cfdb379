//! The tools of agents that the gateway carries out: [`route`] lets a pilot in and finds the call, [`running`] makes each call once, and
//! [`carry_out`] says who does what. Decision 0034 has the reasons.
//!
//! Whatever a tool comes to is an answer for the model. Arguments and answers are in the Task's journal, which the pilot writes, and in no log.

mod clean;
pub mod mcp;
mod memory;
mod messages;
pub mod route;
pub mod running;
pub mod web;

use crate::identity::sandbox::SandboxPod;
use crate::state::Gateway;
use mcp::Servers;
use oarmaster_crds::names::mcp_tool;
use oarmaster_protocol::assignment::McpServer;
use oarmaster_protocol::tool::{GatewayTool, MAX_TOOL_TEXT, ToolAnswer, ToolCall};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Searches in notes at once.
const SEARCHES: usize = 2;
/// What stands at the end of a text that was cut.
const CUT: &str = "\n[The rest was left out: the answer is longer than the gateway passes on.]";

/// What the tools of all agents have beside their calls.
pub struct Tools {
    /// The calls.
    pub running: running::Running,
    /// MCP servers.
    pub servers: Servers,
    /// Turns of searches in notes.
    searches: Arc<Semaphore>,
}

impl Tools {
    /// Tools that reach others so.
    #[must_use]
    pub fn new(outbound: mcp::Outbound) -> Self {
        Self {
            running: running::Running::default(),
            servers: Servers::new(outbound),
            searches: Arc::new(Semaphore::new(SEARCHES)),
        }
    }
}

/// Whose call it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The pod of the Task's attempt.
    pub pod: Arc<SandboxPod>,
    /// Name of the agent.
    pub agent: String,
    /// Who asked for the Task.
    pub requester: String,
    /// The session of its claim.
    pub session: String,
}

/// A tool that the agent of an assignment has.
#[derive(Clone, Debug)]
pub enum Tool {
    /// One that comes with Oarmaster.
    Ours(GatewayTool),
    /// One of an MCP server, by the name that it has there.
    Mcp(Arc<McpServer>, String),
}

/// Carries a call out. What it comes to is for the model.
pub async fn carry_out(
    gateway: &Gateway,
    caller: &Caller,
    tool: &Tool,
    call: &ToolCall,
) -> ToolAnswer {
    let (store, searches) = (&gateway.store, &gateway.tools.searches);
    match tool {
        Tool::Ours(GatewayTool::Remember) => memory::remember(store, caller, call).await,
        Tool::Ours(GatewayTool::Recall) => memory::recall(store, searches, caller, call).await,
        Tool::Mcp(server, name) => {
            let shown = mcp_tool(&server.name, name);
            match gateway.tool_called(caller, &shown).await {
                Ok(()) => {
                    let servers = &gateway.tools.servers;
                    servers.call(caller, (server, name), call).await
                }
                // What cannot be noted is not done.
                Err(_) => {
                    ToolAnswer::failed("The gateway cannot note the call, and did not make it.")
                }
            }
        }
        Tool::Ours(GatewayTool::WebSearch) => web::search_for(gateway, caller, call).await,
        Tool::Ours(GatewayTool::FetchPage) => web::fetch_for(gateway, caller, call).await,
        Tool::Ours(GatewayTool::SendMessage) => messages::send(store, caller, call).await,
        Tool::Ours(GatewayTool::ReceiveMessages) => messages::receive(gateway, caller, call).await,
    }
}

/// A text of at most [`MAX_TOOL_TEXT`] bytes.
#[must_use]
pub fn bounded(mut text: String) -> String {
    if text.len() > MAX_TOOL_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TOOL_TEXT - CUT.len()));
        text.push_str(CUT);
    }
    text
}
