//! Tools that the gateway carries out: those that come with Oarmaster, and those of the agent's MCP servers, which are asked for once, before
//! the first question to the model. They stand in the journal, so that whoever goes on offers the model the same.

use super::super::answer::Call;
use super::super::{asks::AskTool, served, tools::Tool};
use super::turn::checked;
use super::{Machine, Next, Phase};
use oarmaster_protocol::journal::{About, Body};
use oarmaster_protocol::tool::{GatewayTool, Offer, ToolAnswer, ToolCall};
use serde_json::{Value, json};

/// A call for the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serve {
    /// It is not made again, whatever becomes of it.
    pub once: bool,
    /// It may change what other calls find.
    pub may_change: bool,
}

impl Machine {
    /// The tools of the gateway that the agent has, beside those of its MCP servers.
    fn served_tools(&self) -> impl Iterator<Item = GatewayTool> {
        let names = self.agent().map(|agent| agent.tools.as_slice());
        let names = names.unwrap_or_default().iter();
        names.filter_map(|name| GatewayTool::from_name(name))
    }

    /// Whether the tools of MCP servers are still to be asked for.
    pub(super) fn has_to_learn(&self) -> bool {
        self.offer.is_none() && self.agent().is_some_and(|agent| !agent.mcp.is_empty())
    }

    /// Asks for them.
    pub(super) fn learn_tools(&mut self) -> Next {
        self.phase = Phase::Learning;
        Next::Tools
    }

    /// They are there. What is missing is told to the model, which may find another way.
    pub(super) fn learnt(&mut self, offer: Offer) -> Next {
        let missing = offer.missing.join("\n");
        self.records.push(Body::Tools {
            offer: offer.clone(),
        });
        self.offer = Some(offer);
        if !missing.is_empty() {
            let text = format!("Some of your tools cannot be used in this task:\n{missing}");
            self.tell(About::Tools, text);
        }
        self.go_on()
    }

    /// Every tool that the model is offered, in the form of OpenAI's `tools`.
    pub(super) fn definitions(&self) -> Vec<Value> {
        let Some(_) = self.agent() else {
            return Vec::new();
        };
        let tools = self.tools().into_iter();
        let tools = tools.map(|tool| tool.definition(&self.sandbox.egress));
        let asks = self.ask_tools().into_iter();
        let asks = asks.map(|tool| tool.definition(&self.means()));
        let served = self.served_tools().map(served::definition);
        let offered = self.offer.iter().flat_map(|offer| &offer.tools);
        let offered = offered.map(|tool| {
            json!({
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            })
        });
        tools.chain(asks).chain(served).chain(offered).collect()
    }

    /// The names of all tools.
    pub(super) fn tool_names(&self) -> Vec<String> {
        let mut names: Vec<&'static str> = self.tools().into_iter().map(Tool::name).collect();
        names.extend(self.ask_tools().into_iter().map(AskTool::name));
        names.extend(self.served_tools().map(GatewayTool::name));
        let offered = self.offer.iter().flat_map(|offer| &offer.tools);
        let names = names.into_iter().map(str::to_owned);
        names.chain(offered.map(|tool| tool.name.clone())).collect()
    }

    /// What a call of a tool of the gateway is; `None` for a call of any other.
    ///
    /// # Errors
    /// A sentence that tells the model what is wrong with its arguments.
    pub(super) fn serves(&self, call: &Call) -> Result<Option<Serve>, String> {
        let mut served = self.served_tools();
        if let Some(tool) = served.find(|tool| tool.name() == call.name) {
            checked(call)?;
            served::check(tool, &call.arguments)?;
            return Ok(Some(Serve {
                once: !served::may_repeat(tool),
                may_change: served::may_change(tool),
            }));
        }
        let mut offered = self.offer.iter().flat_map(|offer| &offer.tools);
        let Some(tool) = offered.find(|tool| tool.name == call.name) else {
            return Ok(None);
        };
        checked(call)?;
        // What is in them is the server's to judge.
        if !call.arguments.is_object() {
            return Err(format!(
                "The arguments of {} must be one JSON object.",
                call.name
            ));
        }
        Ok(Some(Serve {
            once: !tool.may_repeat(),
            may_change: !tool.read_only,
        }))
    }

    /// Whether a call of this tool may change what other calls find.
    pub(super) fn may_change(&self, call: &Call) -> bool {
        match self.serves(call) {
            Ok(Some(serve)) => serve.may_change,
            // Another agent may change what it is handed.
            _ if call.name == AskTool::Delegate.name() => {
                call.arguments.get("files") == Some(&Value::Bool(true))
            }
            _ => Tool::from_name(&call.name).is_some_and(Tool::may_change),
        }
    }

    /// Hands a call to the gateway.
    pub(super) fn hand_over(&mut self, call: Call, serve: Serve) -> Next {
        let next = Next::Serve {
            name: call.name.clone(),
            call: ToolCall {
                number: self.tool_calls,
                arguments: call.arguments.clone(),
                again: false,
                heard: self.heard,
            },
            once: serve.once,
        };
        self.phase = Phase::Serving(call);
        next
    }

    /// The gateway has carried a call out, or could not.
    pub(super) fn served(&mut self, call: &Call, answer: ToolAnswer) -> Next {
        self.hear(answer.heard);
        self.newly = answer.heard;
        self.call_ended(call, answer.ok, answer.text)
    }

    /// The model was shown the messages of the tree up to this one.
    pub(super) fn hear(&mut self, heard: Option<u64>) {
        self.heard = self.heard.max(heard.unwrap_or_default());
    }
}
