//! The Scripted provider: answers from the rules in its object, in OpenAI's chat completions. No network, no clock but the stated delays. What it says is
//! read as what comes over the network is, so that it can play every fault of a provider.

mod played;
mod seen;
#[cfg(test)]
mod tests;
mod words;

use crate::provider::Asked;
use crate::provider::client::Body;
use crate::provider::wire::Wire;
use oarmaster_crds::kinds::fault::ScriptFaultKind;
use oarmaster_crds::kinds::script::{Script as Rules, ScriptReply, ScriptRule};
use oarmaster_dialect::chat::Flavour;
use oarmaster_dialect::json::Fields;
use oarmaster_protocol::text;
use played::Played;
use regex::{Regex, RegexBuilder};
use seen::Seen;
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use words::Words;

/// Largest compiled regular expression, in bytes.
const MAX_REGEX: usize = 1 << 20;

/// A script that is ready to answer.
#[derive(Debug)]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    turn: Option<i64>,
    last: Option<Regex>,
    prompt: Option<Regex>,
    tool: Option<String>,
    delay: Duration,
    reply: ScriptReply,
}

impl Script {
    /// What it speaks.
    pub const WIRE: Wire = Wire::Chat(Flavour::Compatible);

    /// Compiles the rules.
    ///
    /// # Errors
    /// Which rule cannot be used, and why.
    pub fn compile(rules: &Rules) -> Result<Self, String> {
        let rules = rules
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| {
                Rule::compile(rule).map_err(|problem| format!("script.rules[{index}]: {problem}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// What a server would send to this body: the reply of the first rule that holds.
    pub async fn answer(&self, asked: &Asked<'_>, body: &[u8]) -> http::Response<Body> {
        self.play(asked, body).await.into()
    }

    async fn play(&self, asked: &Asked<'_>, body: &[u8]) -> Played {
        let messages = match messages(body) {
            Ok(messages) => messages,
            Err(problem) => return Played::refused(&problem),
        };
        let seen = Seen::of(&messages);
        let Some(rule) = self.rules.iter().find(|rule| rule.holds(&seen)) else {
            return Played::refused(&format!("no rule of the script holds for {seen}"));
        };
        tokio::time::sleep(rule.delay).await;
        let fault = rule.reply.fault.as_ref();
        if fault.is_some_and(|fault| fault.kind == ScriptFaultKind::Silent) {
            return std::future::pending().await;
        }
        let envelope = asked.envelope();
        match Words::new(&rule.reply, &seen, body.len(), &envelope) {
            Ok(words) => Played::new(&words, asked.request.stream, fault),
            Err(problem) => Played::refused(&problem),
        }
    }
}

fn messages(body: &[u8]) -> Result<Vec<Value>, String> {
    let fields = Fields::parse(body).map_err(|error| error.to_string())?;
    let messages = fields.get("messages").map_or("[]", RawValue::get);
    let messages = text::json(messages.as_bytes()).text;
    serde_json::from_str(&messages).map_err(|error| error.to_string())
}

impl Rule {
    fn compile(rule: &ScriptRule) -> Result<Self, String> {
        let regex = |name: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| {
                    RegexBuilder::new(text)
                        .size_limit(MAX_REGEX)
                        .dfa_size_limit(MAX_REGEX)
                        .build()
                        .map_err(|error| {
                            format!("when.{name} is not a usable regular expression: {error}")
                        })
                })
                .transpose()
        };
        Ok(Self {
            turn: rule.when.turn,
            last: regex("last", &rule.when.last)?,
            prompt: regex("prompt", &rule.when.prompt)?,
            tool: rule.when.tool.clone(),
            delay: match &rule.reply.delay {
                Some(delay) => delay
                    .get()
                    .map_err(|error| format!("reply.delay: {error}"))?,
                None => Duration::ZERO,
            },
            reply: rule.reply.clone(),
        })
    }

    fn holds(&self, seen: &Seen) -> bool {
        self.turn.is_none_or(|turn| turn == seen.turn)
            && self
                .last
                .as_ref()
                .is_none_or(|regex| regex.is_match(&seen.last))
            && self
                .prompt
                .as_ref()
                .is_none_or(|regex| regex.is_match(&seen.prompt))
            && self
                .tool
                .as_ref()
                .is_none_or(|tool| Some(tool) == seen.tool.as_ref())
    }
}
