//! How Gemini is told to answer.

use super::model::{Model, Thinking};
use crate::request::{Effort, Format, Reasoning, Request};
use crate::writing::{Dropped, LARGEST};
use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;

/// Most stop sequences.
const STOPS: usize = 5;

/// `generationConfig`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_thoughts: Option<bool>,
}

impl<'a> Config<'a> {
    /// Ranges are Google's for Gemini; seeds have 32 bits.
    pub(super) fn new(request: &'a Request, model: Model, dropped: &mut Dropped) -> Self {
        let sampling = &request.sampling;
        let (mime, schema) = match &request.format {
            Format::Text => (None, None),
            Format::Json => (Some("application/json"), None),
            Format::Schema { schema, .. } => (Some("application/json"), Some(&**schema)),
        };
        let penalty = -2.0..=2.0;
        Self {
            max_output_tokens: dropped.at_most(request.max_output, LARGEST, "max_tokens"),
            temperature: dropped.clamp(sampling.temperature.as_ref(), 0.0..=2.0, "temperature"),
            top_p: dropped.clamp(sampling.top_p.as_ref(), 0.0..=1.0, "top_p"),
            top_k: dropped.at_most(sampling.top_k, LARGEST, "top_k"),
            seed: sampling.seed.map(|seed| {
                let near = seed.clamp(i32::MIN.into(), i32::MAX.into());
                dropped.add_if(near != seed, "seed");
                near
            }),
            presence_penalty: dropped.clamp(
                sampling.presence_penalty.as_ref(),
                penalty.clone(),
                "presence_penalty",
            ),
            frequency_penalty: dropped.clamp(
                sampling.frequency_penalty.as_ref(),
                penalty,
                "frequency_penalty",
            ),
            stop_sequences: dropped.first(&sampling.stop, STOPS, "stop"),
            response_mime_type: mime,
            response_json_schema: schema,
            thinking_config: request
                .reasoning
                .and_then(|reasoning| think(reasoning, model.thinking, dropped)),
        }
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            max_output_tokens,
            temperature,
            top_p,
            top_k,
            seed,
            presence_penalty,
            frequency_penalty,
            stop_sequences,
            response_mime_type,
            response_json_schema,
            thinking_config,
        } = self;
        let numbers = [temperature, top_p, presence_penalty, frequency_penalty];
        numbers.iter().all(|number| number.is_none())
            && max_output_tokens.is_none()
            && top_k.is_none()
            && seed.is_none()
            && stop_sequences.is_empty()
            && response_mime_type.is_none()
            && response_json_schema.is_none()
            && thinking_config.is_none()
    }
}

/// Levels and budgets for words are in the module's documentation; none is a budget of zero, or as little as the model can. A model that knows levels
/// takes a budget, too, but never both: the words count there.
fn think(wanted: Reasoning, how: Thinking, dropped: &mut Dropped) -> Option<ThinkingConfig> {
    let mut config = ThinkingConfig {
        include_thoughts: wanted.shown,
        ..ThinkingConfig::default()
    };
    match how {
        Thinking::None => {
            let off = wanted.effort == Some(Effort::None);
            dropped.add_if(wanted.effort.is_some() && !off, "reasoning_effort");
            dropped.add_if(wanted.budget.is_some(), "thinking.budget_tokens");
            return None;
        }
        Thinking::Level { minimal } => match wanted.effort {
            Some(effort) => {
                let level = level(effort, minimal);
                let exact = !matches!(effort, Effort::None | Effort::ExtraHigh)
                    && (effort != Effort::Minimal || minimal);
                dropped.add_if(!exact, "reasoning_effort");
                dropped.add_if(wanted.budget.is_some(), "thinking.budget_tokens");
                config.thinking_level = Some(level);
            }
            None => {
                config.thinking_budget =
                    dropped.at_most(wanted.budget, LARGEST, "thinking.budget_tokens");
            }
        },
        Thinking::Budget { least, most, off } => {
            let (tokens, field) = match (wanted.budget, wanted.effort) {
                (Some(budget), _) => (Some(budget), "thinking.budget_tokens"),
                (None, effort) => (effort.map(budget), "reasoning_effort"),
            };
            config.thinking_budget = tokens.map(|tokens| {
                let near = match tokens {
                    0 if off => 0,
                    tokens => tokens.clamp(least, most),
                };
                dropped.add_if(near != tokens, field);
                near
            });
            if config.thinking_budget == Some(0) {
                // Gemini refuses to show thoughts that are turned off.
                config.include_thoughts = None;
            }
            dropped.add_if(wanted.effort == Some(Effort::ExtraHigh), "reasoning_effort");
        }
    }
    let said = config.thinking_level.is_some()
        || config.thinking_budget.is_some()
        || config.include_thoughts.is_some();
    said.then_some(config)
}

fn level(effort: Effort, minimal: bool) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal if minimal => "MINIMAL",
        Effort::None | Effort::Minimal | Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::ExtraHigh => "HIGH",
    }
}

fn budget(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High | Effort::ExtraHigh => 24_576,
    }
}
