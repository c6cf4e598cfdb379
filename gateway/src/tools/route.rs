//! What pilots ask: for the tools of MCP servers, and for calls.

use super::{Caller, Tool};
use crate::calls::assigned::Assigned;
use crate::calls::call::text;
use crate::data::{Shared, parse};
use crate::error::ApiFailure;
use crate::state::{self, Gateway};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::HeaderMap;
use oarmaster_crds::names::{MCP_SEPARATOR, mcp_tool};
use oarmaster_protocol::task::SESSION_HEADER;
use oarmaster_protocol::tool::{GatewayTool, MAX_TOOL_ARGUMENTS, Offer, ToolAnswer, ToolCall};
use std::sync::Arc;

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/task/v1/tools", get(offer))
        .route("/task/v1/tools/{name}", post(call))
}

/// The caller, by its token and the session of its claim, and what it was assigned.
async fn caller(
    gateway: &Gateway,
    headers: &HeaderMap,
) -> Result<(Caller, Arc<Assigned>), ApiFailure> {
    let pod = gateway.task(headers).await?;
    let session = text(headers, SESSION_HEADER)?;
    let store = &gateway.store;
    store.check_session(&pod.task_uid, pod.attempt, session)?;
    let assigned = gateway.assignments.get(store, &pod.task_uid, pod.attempt);
    let assigned = assigned.await?;
    let caller = Caller {
        agent: assigned.agent.clone().unwrap_or_default(),
        requester: store.requested_by(&pod.task_uid).unwrap_or_default(),
        session: session.to_owned(),
        pod,
    };
    Ok((caller, assigned))
}

async fn offer(State(gateway): Shared, headers: HeaderMap) -> Result<Json<Offer>, ApiFailure> {
    let (caller, assigned) = caller(&gateway, &headers).await?;
    let servers = &gateway.tools.servers;
    Ok(Json(servers.offer(&caller, &assigned.mcp).await))
}

async fn call(
    State(gateway): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ToolAnswer>, ApiFailure> {
    let (caller, assigned) = caller(&gateway, &headers).await?;
    let payer = state::Caller::Task(caller.pod.clone());
    let (body, _room) = gateway.body(&payer, body).await?;
    let call: ToolCall = parse(&body)?;
    if call.arguments.to_string().len() > MAX_TOOL_ARGUMENTS {
        return Err(ApiFailure::new(
            oarmaster_protocol::task::ErrorCode::TooLarge,
            format!("The arguments are larger than {MAX_TOOL_ARGUMENTS} bytes. Make them smaller."),
        ));
    }
    let tool = tool(&assigned, &name).ok_or_else(|| {
        ApiFailure::forbidden("the agent of this Task has no such tool of the gateway")
    })?;
    let running = &gateway.tools.running;
    let answer = running.answer(&gateway, caller, (&name, tool), call).await;
    Ok(Json((*answer).clone()))
}

/// The tool of this name, if the agent has it.
fn tool(assigned: &Assigned, name: &str) -> Option<Tool> {
    if let Some(tool) = GatewayTool::from_name(name).filter(|tool| assigned.tools.contains(tool)) {
        return Some(Tool::Ours(tool));
    }
    let (server, _) = name.split_once(MCP_SEPARATOR)?;
    let server = assigned.mcp.iter().find(|known| known.name == server)?;
    let tool = server
        .allow
        .iter()
        .find(|tool| mcp_tool(&server.name, tool) == name)?;
    Some(Tool::Mcp(Arc::new(server.clone()), tool.clone()))
}
