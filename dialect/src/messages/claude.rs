//! What each generation of Claude takes, wherever it is served: how it is told to think, and whether it lets itself be sampled.
//!
//! From Anthropic's and Amazon's pages on adaptive and extended thinking and on effort, as of November 2026:
//!
//! | | thinks | effort | `temperature` and the like | schemas |
//! |---|---|---|---|---|
//! | before 3.7 | no | no | yes | no |
//! | 3.7 to 4.0 | by a budget | no | yes | no |
//! | 4.1 to 4.5 | by a budget | no | yes, not with `top_p` | yes |
//! | 4.6 | as it likes | to `max` | yes, not with `top_p` | yes |
//! | 4.7, 4.8 | as it likes | with `xhigh` | no | yes |
//! | 5 and later | as it likes, unless told not to | with `xhigh` | no | yes |
//!
//! Fable and Mythos cannot be told not to. A Claude of no number that can be read is taken for the newest. What is no Claude and speaks this
//! dialect all the same is taken to think by a budget and to be sampled, which all of Anthropic's API had from the start.

use crate::request::{Content, Effort, Reasoning, Request, Role, ToolChoice, Turn};
use crate::signature::Signer;
use crate::writing::{Dropped, LARGEST};
use serde::Serialize;
use serde_json::Number;

/// The least budget that is taken (the SDK's `ThinkingConfigEnabledParam`).
const MIN_BUDGET: u64 = 1024;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Whether it is a Claude.
    pub(crate) is_claude: bool,
    /// How it is told to think.
    pub(crate) form: Form,
    /// Whether it takes `temperature`, `top_p` and `top_k`.
    pub(crate) sampled: bool,
    /// Whether it takes `temperature` and `top_p` together.
    pub(crate) both_samplers: bool,
    /// Whether it takes schemas for answers, and strict tools.
    pub(crate) schemas: bool,
    /// Whether Bedrock caches for it as long as an hour.
    pub(crate) hour_caches: bool,
    /// Its word for more than high effort.
    highest: &'static str,
    /// Whether it thinks where nothing is said.
    thinks_unasked: bool,
    /// Whether it can be told not to.
    can_rest: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It does not.
    Never,
    /// By a budget of tokens.
    Budget,
    /// It decides; effort guides it.
    Adaptive,
}

impl Model {
    /// Reads a model's name, with what Bedrock, Vertex and others put around it.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let Some((_, rest)) = name.split_once("claude") else {
            return Self {
                is_claude: false,
                schemas: false,
                both_samplers: true,
                ..Self::version(4, 5)
            };
        };
        let words = rest.split(|letter: char| !letter.is_ascii_alphanumeric());
        // A date has eight digits.
        let number = |word: &str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
        let mut numbers = words
            .skip_while(|word| number(word).is_none())
            .map_while(number);
        let major = numbers.next().unwrap_or(u32::MAX);
        let model = Self::version(major, numbers.next().unwrap_or(0));
        let rests = !["fable", "mythos"].iter().any(|name| rest.contains(name));
        Self {
            can_rest: rests,
            ..model
        }
    }

    /// Whose signatures it makes and takes.
    pub(crate) const fn signer(self) -> Signer {
        if self.is_claude {
            Signer::Anthropic
        } else {
            Signer::Other
        }
    }

    fn version(major: u32, minor: u32) -> Self {
        let since = |version: (u32, u32)| (major, minor) >= version;
        Self {
            is_claude: true,
            form: match () {
                () if since((4, 6)) => Form::Adaptive,
                () if since((3, 7)) => Form::Budget,
                () => Form::Never,
            },
            sampled: !since((4, 7)),
            both_samplers: !since((4, 1)),
            schemas: since((4, 1)),
            hour_caches: since((4, 5)),
            highest: if since((4, 7)) { "xhigh" } else { "max" },
            thinks_unasked: since((5, 0)),
            can_rest: true,
        }
    }
}

/// The field `thinking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Thinking {
    /// Within a budget.
    Enabled {
        /// Tokens.
        budget_tokens: u64,
    },
    /// As the model likes.
    Adaptive {
        /// `summarized` or `omitted`.
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
    /// Not at all.
    Disabled,
}

/// How a model shall think and be sampled.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) thinking: Option<Thinking>,
    pub(crate) effort: Option<&'static str>,
    pub(crate) temperature: Option<Number>,
    pub(crate) top_p: Option<Number>,
    pub(crate) top_k: Option<u64>,
}

/// Decides them for a request of at most `limit` output tokens. What has no place is named in `dropped`.
pub(crate) fn settle(
    request: &Request,
    model: Model,
    limit: u64,
    dropped: &mut Dropped,
) -> Settings {
    let mut settings = Settings::default();
    // The API refuses thoughts before a tool that must be called: the tool is what was asked for.
    let forced = matches!(
        request.tool_choice,
        ToolChoice::Required | ToolChoice::Named(_)
    ) && !request.tools.is_empty();
    let asked = request.reasoning;
    match asked {
        Some(reasoning) if reasoning.effort != Some(Effort::None) => {
            let cannot = match model.form {
                Form::Never => true,
                Form::Budget => limit <= MIN_BUDGET || lacks_thoughts(request, model.signer()),
                Form::Adaptive => false,
            };
            if forced || cannot {
                dropped.add("reasoning");
            } else {
                think(&mut settings, reasoning, model, limit, dropped);
            }
        }
        _ => {}
    }
    let rest = forced || asked.is_some_and(|asked| asked.effort == Some(Effort::None));
    if settings.thinking.is_none() && model.thinks_unasked && rest {
        if model.can_rest {
            settings.thinking = Some(Thinking::Disabled);
        } else {
            settings.effort = Some("low");
            dropped.add("reasoning");
        }
    }
    sample(&mut settings, request, model, dropped);
    settings
}

fn think(
    settings: &mut Settings,
    asked: Reasoning,
    model: Model,
    limit: u64,
    dropped: &mut Dropped,
) {
    if model.form == Form::Budget {
        let wanted = match (asked.budget, asked.effort) {
            (Some(budget), _) => budget,
            (None, effort) => share(effort.unwrap_or(Effort::Medium), limit),
        };
        let budget_tokens = wanted.min(limit.saturating_sub(1)).max(MIN_BUDGET);
        if asked.budget.is_some_and(|budget| budget != budget_tokens) {
            dropped.add("thinking.budget_tokens");
        }
        settings.thinking = Some(Thinking::Enabled { budget_tokens });
        return;
    }
    settings.thinking = Some(Thinking::Adaptive {
        display: asked
            .shown
            .map(|shown| if shown { "summarized" } else { "omitted" }),
    });
    let effort = match (asked.effort, asked.budget) {
        (None, Some(budget)) => {
            dropped.add("thinking.budget_tokens");
            Some(effort_of(budget, limit))
        }
        (effort, _) => effort,
    };
    settings.effort = effort.map(|effort| match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => model.highest,
    });
}

/// Shares of the output, in percent, by effort: a budget must be less than all of it. Routers' documentation of reasoning tokens (OpenRouter's,
/// and those that follow it) has these.
const SHARES: [(Effort, u64); 5] = [
    (Effort::Minimal, 10),
    (Effort::Low, 20),
    (Effort::Medium, 50),
    (Effort::High, 80),
    (Effort::ExtraHigh, 95),
];

fn share(effort: Effort, limit: u64) -> u64 {
    let percent = SHARES.iter().find(|(at, _)| *at >= effort);
    let percent = percent.map_or(95, |(_, percent)| *percent);
    (limit / 100).saturating_mul(percent) + limit % 100 * percent / 100
}

/// The first effort whose share holds the budget.
fn effort_of(budget: u64, limit: u64) -> Effort {
    let enough = SHARES
        .iter()
        .find(|(effort, _)| share(*effort, limit) >= budget);
    enough.map_or(Effort::ExtraHigh, |(effort, _)| *effort)
}

/// Whether the model spoke last to call tools, without a thought that was signed. With a budget the API wants such turns to begin with one, and what
/// another vendor's model thought has no signature.
fn lacks_thoughts(request: &Request, signer: Signer) -> bool {
    let is_model = |turn: &&Turn| turn.role == Role::Assistant;
    let turns = request
        .turns
        .iter()
        .rev()
        .skip_while(|turn| !is_model(turn));
    let parts = turns.take_while(is_model).flat_map(|turn| &turn.parts);
    let (mut calls, mut thoughts) = (false, false);
    for part in parts {
        match &part.content {
            Content::ToolCall(_) => calls = true,
            Content::Reasoning(thought) => thoughts |= thought.signed_by(signer).is_some(),
            _ => {}
        }
    }
    calls && !thoughts
}

fn sample(settings: &mut Settings, request: &Request, model: Model, dropped: &mut Dropped) {
    let asked = &request.sampling;
    let thinks = matches!(
        settings.thinking,
        Some(Thinking::Enabled { .. } | Thinking::Adaptive { .. })
    );
    let free = model.sampled && !thinks;
    if free {
        settings.temperature = dropped.clamp(asked.temperature.as_ref(), 0.0..=1.0, "temperature");
        settings.top_k = dropped.at_most(asked.top_k, LARGEST, "top_k");
    }
    if free && (model.both_samplers || settings.temperature.is_none()) {
        settings.top_p = dropped.clamp(asked.top_p.as_ref(), 0.0..=1.0, "top_p");
    }
    for (name, lost) in [
        (
            "temperature",
            asked.temperature.is_some() && settings.temperature.is_none(),
        ),
        ("top_p", asked.top_p.is_some() && settings.top_p.is_none()),
        ("top_k", asked.top_k.is_some() && settings.top_k.is_none()),
    ] {
        if lost {
            dropped.add(name);
        }
    }
}

/// Names what neither Anthropic nor Bedrock has and that changes nothing of what the answer is about.
pub(crate) fn drop_sampling(request: &Request, dropped: &mut Dropped) {
    let asked = &request.sampling;
    let counts =
        |number: Option<&Number>| number.is_some_and(|number| number.as_f64() != Some(0.0));
    for (name, lost) in [
        ("presence_penalty", counts(asked.presence_penalty.as_ref())),
        (
            "frequency_penalty",
            counts(asked.frequency_penalty.as_ref()),
        ),
        ("seed", asked.seed.is_some()),
    ] {
        if lost {
            dropped.add(name);
        }
    }
}
