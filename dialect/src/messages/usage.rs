//! What Anthropic counts.

use crate::answer::Usage;
use crate::object::{NotCredible, Object};
use serde::Serialize;

/// The fields of a usage as they came. In a stream they are totals so far, so that later ones replace earlier ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    minutes: Option<u64>,
    hour: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    tier: Option<String>,
    bad: bool,
}

impl Counted {
    /// Takes a `usage`. What cannot be believed spoils the whole, until the end.
    pub(super) fn take(&mut self, usage: &Object<'_>) {
        if self.merge(usage).is_err() {
            self.bad = true;
        }
    }

    fn merge(&mut self, usage: &Object<'_>) -> Result<(), NotCredible> {
        let later = |was: &mut Option<u64>, is: Option<u64>| *was = is.or(*was);
        later(&mut self.input, usage.count("input_tokens")?);
        later(&mut self.output, usage.count("output_tokens")?);
        let read = usage.count("cache_read_input_tokens")?;
        later(&mut self.cache_read, read);
        let written = usage.count("cache_creation_input_tokens")?;
        later(&mut self.cache_write, written);
        if let Some(split) = usage.object("cache_creation") {
            later(&mut self.minutes, split.count("ephemeral_5m_input_tokens")?);
            later(&mut self.hour, split.count("ephemeral_1h_input_tokens")?);
        }
        if let Some(details) = usage.object("output_tokens_details") {
            later(&mut self.reasoning, details.count("thinking_tokens")?);
        }
        if let Some(tier) = usage.text("service_tier") {
            // Anthropic's word for what the others call the default.
            let standard = tier == "standard";
            self.tier = Some(if standard { "default".to_owned() } else { tier });
        }
        Ok(())
    }

    /// All that was counted; `None` if it is nothing, or cannot be believed.
    pub(super) fn usage(&self) -> Option<Usage> {
        if self.bad || (self.input.is_none() && self.output.is_none()) {
            return None;
        }
        let hour = self.hour.unwrap_or(0);
        // A stream splits the cache's tokens at its beginning only: what came later is counted as of the shorter kind.
        let split = hour.saturating_add(self.minutes.unwrap_or(0));
        let written = self.cache_write.unwrap_or(0).max(split);
        let output = self.output.unwrap_or(0);
        let usage = Usage {
            input: self.input.unwrap_or(0),
            cache_read: self.cache_read.unwrap_or(0),
            cache_write: written.saturating_sub(hour),
            cache_write_hour: hour,
            output,
            reasoning: self.reasoning.unwrap_or(0).min(output),
            cost: None,
            tier: self.tier.clone(),
        };
        usage.is_credible().then_some(usage)
    }
}

/// A `usage` to write.
#[derive(Serialize)]
pub(super) struct Written {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation: Option<Split>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Split {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Serialize)]
struct Details {
    thinking_tokens: u64,
}

impl Written {
    /// As in a message.
    pub(super) fn whole(usage: &Usage) -> Self {
        Self {
            cache_creation: Some(Split {
                ephemeral_5m_input_tokens: usage.cache_write,
                ephemeral_1h_input_tokens: usage.cache_write_hour,
            }),
            service_tier: match usage.tier.as_deref() {
                Some("default") => Some("standard"),
                Some("priority") => Some("priority"),
                Some("batch") => Some("batch"),
                _ => None,
            },
            ..Self::delta(usage)
        }
    }

    /// As at the end of a stream, which has no tier, and the split only where it says something.
    pub(super) fn delta(usage: &Usage) -> Self {
        let hour = usage.cache_write_hour;
        Self {
            input_tokens: usage.input,
            cache_creation_input_tokens: usage.cache_write.saturating_add(hour),
            cache_read_input_tokens: usage.cache_read,
            cache_creation: (hour > 0).then_some(Split {
                ephemeral_5m_input_tokens: usage.cache_write,
                ephemeral_1h_input_tokens: hour,
            }),
            output_tokens: usage.output,
            output_tokens_details: (usage.reasoning > 0).then_some(Details {
                thinking_tokens: usage.reasoning,
            }),
            service_tier: None,
        }
    }
}
