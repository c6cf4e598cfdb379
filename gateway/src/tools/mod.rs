//! The tools of agents that the gateway carries out: [`route`] lets a pilot in and finds the call, [`running`] makes each call once, and
//! [`carry_out`] says who does what. Decision 0034 has the reasons.
//!
//! Whatever a tool comes to is an answer for the model. Arguments and answers are in the Task's journal, which the pilot writes, and in no log.

pub mod route;
pub mod running;
pub mod web;

use crate::identity::sandbox::SandboxPod;
use crate::state::Gateway;
use oarmaster_protocol::assignment::McpServer;
use oarmaster_protocol::tool::{GatewayTool, MAX_TOOL_TEXT, SEPARATOR, ToolAnswer, ToolCall};
use std::sync::Arc;

/// What stands at the end of a text that was cut.
const CUT: &str = "\n[The rest was left out: the answer is longer than the gateway passes on.]";

/// What the tools of all agents have beside their calls.
#[derive(Default)]
pub struct Tools {
    /// The calls.
    pub running: running::Running,
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
    match tool {
        Tool::Ours(GatewayTool::Remember | GatewayTool::Recall) => {
            ToolAnswer::failed("This gateway keeps no notes.")
        }
        Tool::Ours(GatewayTool::WebSearch) => web::search_for(gateway, caller, call).await,
        Tool::Ours(GatewayTool::FetchPage) => web::fetch_for(gateway, caller, call).await,
        Tool::Mcp(server, _) => ToolAnswer::failed(format!(
            "The MCP server {} cannot be asked by this gateway.",
            server.name
        )),
    }
}

/// The name of an MCP server's tool for the model: in the characters that every model's API takes.
#[must_use]
pub fn exposed(server: &str, tool: &str) -> String {
    let letters = tool.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() || letter == '-' => letter,
        _ => '_',
    });
    let mut name = format!("{server}{SEPARATOR}");
    name.extend(letters);
    name
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
