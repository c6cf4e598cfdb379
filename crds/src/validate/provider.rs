//! Checks of a ModelProvider.

use super::cloud::cloud;
use super::{Problem, bounds};
use crate::kinds::fault::ScriptFaultKind;
use crate::kinds::provider::{ModelProviderSpec, ProviderType};
use crate::kinds::script::ScriptReply;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is wrong with a ModelProvider.
#[must_use]
pub fn provider(spec: &ModelProviderSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    match spec.r#type {
        ProviderType::Scripted => scripted(&mut problems, spec),
        ProviderType::OpenAI
        | ProviderType::Anthropic
        | ProviderType::Gemini
        | ProviderType::Cohere
        | ProviderType::Mistral
        | ProviderType::Groq
        | ProviderType::OpenRouter
        | ProviderType::AzureOpenAI
        | ProviderType::Bedrock
        | ProviderType::OpenAICompatible => server(&mut problems, spec),
    }
    cloud(&mut problems, spec);
    bounds::allowed(&mut problems, &spec.allowed_namespaces);
    bounds::list(&mut problems, "spec.keys", &spec.keys, 16);
    bounds::list(&mut problems, "spec.models", &spec.models, 64);
    let mut names = BTreeSet::new();
    for (index, key) in spec.keys.iter().enumerate() {
        let field = format!("spec.keys[{index}].weight");
        bounds::number(&mut problems, &field, key.weight, 0, 1000);
        if !names.insert(&key.name) {
            problems.push(Problem::spec(
                format!("spec.keys[{index}].name"),
                format!("'{}' is there twice", key.name),
            ));
        }
    }
    if spec.models.is_empty() {
        problems.push(Problem::spec("spec.models", "list at least one model"));
    }
    let mut names = BTreeSet::new();
    for (index, model) in spec.models.iter().enumerate() {
        let field = format!("spec.models[{index}]");
        bounds::text(&mut problems, &format!("{field}.name"), &model.name, 256);
        if !names.insert(&model.name) {
            problems.push(Problem::spec(
                format!("{field}.name"),
                format!("'{}' is there twice", model.name),
            ));
        }
        if let Some(context) = model.context_tokens {
            bounds::number(
                &mut problems,
                &format!("{field}.contextTokens"),
                context,
                1,
                100_000_000,
            );
        }
        if let Some(quota) = &model.free_quota {
            bounds::some_of(
                &mut problems,
                &format!("{field}.freeQuota"),
                "set requestsPerMinute, requestsPerDay, or both",
                &[
                    (
                        "requestsPerMinute",
                        quota.requests_per_minute,
                        1_000_000_000,
                    ),
                    ("requestsPerDay", quota.requests_per_day, 1_000_000_000),
                ],
            );
        }
        if let Some(pricing) = &model.pricing {
            let field = format!("{field}.pricing");
            bounds::money(
                &mut problems,
                &format!("{field}.inputPerMillion"),
                &pricing.input_per_million,
            );
            bounds::money(
                &mut problems,
                &format!("{field}.outputPerMillion"),
                &pricing.output_per_million,
            );
            for (name, price) in [
                ("cacheReadPerMillion", &pricing.cache_read_per_million),
                ("cacheWritePerMillion", &pricing.cache_write_per_million),
            ] {
                if let Some(price) = price {
                    bounds::money(&mut problems, &format!("{field}.{name}"), price);
                }
            }
        }
    }
    if let Some(limits) = &spec.limits {
        bounds::rates(&mut problems, "spec.limits", limits);
    }
    let times = &spec.timeouts;
    for (name, value, most) in [
        ("connect", &times.connect, 60),
        ("firstToken", &times.first_token, 3600),
        ("idle", &times.idle, 3600),
        ("response", &times.response, 86_400),
    ] {
        bounds::duration(
            &mut problems,
            &format!("spec.timeouts.{name}"),
            value,
            Duration::from_millis(1),
            Duration::from_secs(most),
        );
    }
    problems
}

fn server(problems: &mut Vec<Problem>, spec: &ModelProviderSpec) {
    let own = spec.r#type.endpoint();
    let has_own = own.is_some() || spec.r#type == ProviderType::Bedrock;
    if own.is_some() && spec.endpoint.is_none() && spec.keys.is_empty() {
        problems.push(Problem::spec(
            "spec.keys",
            "a vendor takes no request without a key; name the Secret that holds one",
        ));
    }
    let bad_endpoint = match spec.endpoint.as_deref() {
        None if has_own => None,
        None if spec.r#type == ProviderType::AzureOpenAI => {
            Some("type AzureOpenAI needs one, like https://NAME.openai.azure.com")
        }
        None => Some("type OpenAICompatible needs one, like https://api.example.com/v1"),
        Some(endpoint) => {
            let host = endpoint
                .strip_prefix("https://")
                .or_else(|| endpoint.strip_prefix("http://"))
                .map(|rest| rest.split('/').next().unwrap_or_default());
            match host {
                None | Some("") => Some(
                    "begin with https:// or http:// and a host, like https://api.example.com/v1",
                ),
                Some(_)
                    if endpoint.contains(['?', '#', '@'])
                        || endpoint
                            .chars()
                            .any(|c| c.is_whitespace() || c.is_control()) =>
                {
                    Some(
                        "must have no user, query, fragment or white space; a key belongs in a Secret, see spec.keys",
                    )
                }
                Some(_) => None,
            }
        }
    };
    if let Some(message) = bad_endpoint {
        problems.push(Problem::spec("spec.endpoint", message));
    }
    if spec.script.is_some() {
        problems.push(Problem::spec(
            "spec.script",
            "is for type Scripted only; remove it",
        ));
    }
}

fn scripted(problems: &mut Vec<Problem>, spec: &ModelProviderSpec) {
    if spec.endpoint.is_some() || !spec.keys.is_empty() {
        problems.push(Problem::spec(
            "spec.type",
            "Scripted takes neither endpoint nor keys; remove them",
        ));
    }
    let Some(script) = &spec.script else {
        problems.push(Problem::spec(
            "spec.script",
            "type Scripted needs one, with at least one rule",
        ));
        return;
    };
    if script.rules.is_empty() {
        problems.push(Problem::spec(
            "spec.script.rules",
            "write at least one rule",
        ));
    }
    bounds::list(problems, "spec.script.rules", &script.rules, 64);
    for (index, rule) in script.rules.iter().enumerate() {
        let field = format!("spec.script.rules[{index}]");
        for (name, pattern) in [("last", &rule.when.last), ("prompt", &rule.when.prompt)] {
            if let Some(pattern) = pattern
                && let Err(error) = regex::RegexBuilder::new(pattern)
                    .size_limit(1 << 20)
                    .build()
            {
                // The first lines of the error draw the pattern; its last says what is wrong.
                let text = error.to_string();
                let what = text.lines().last().unwrap_or_default().trim();
                problems.push(Problem::spec(
                    format!("{field}.when.{name}"),
                    format!("is not a regular expression ({what})"),
                ));
            }
        }
        if let Some(delay) = &rule.reply.delay {
            bounds::duration(
                problems,
                &format!("{field}.reply.delay"),
                delay,
                Duration::ZERO,
                Duration::from_secs(3600),
            );
        }
        faults(problems, &field, &rule.reply);
        for (call, tool) in rule.reply.tool_calls.iter().enumerate() {
            if tool.arguments.is_some() == tool.raw_arguments.is_some() {
                problems.push(Problem::spec(
                    format!("{field}.reply.toolCalls[{call}]"),
                    "set exactly one of arguments or rawArguments",
                ));
            }
        }
    }
}

/// What does not go together in a fault.
fn faults(problems: &mut Vec<Problem>, rule: &str, reply: &ScriptReply) {
    let Some(fault) = &reply.fault else { return };
    let kind = fault.kind;
    let mut wrong = |field: &str, what: &str| {
        problems.push(Problem::spec(format!("{rule}.reply.{field}"), what));
    };
    if !kind.answers() && (reply.text.is_some() || !reply.tool_calls.is_empty()) {
        wrong(
            "fault",
            "a fault of this kind answers nothing: leave out text and toolCalls",
        );
    }
    let takes_status = match kind {
        ScriptFaultKind::Page | ScriptFaultKind::Empty => true,
        ScriptFaultKind::Error => fault.status.is_none_or(|status| status >= 400),
        _ => fault.status.is_none(),
    };
    if !takes_status {
        wrong(
            "fault.status",
            "is for the kinds Error (400 to 599), Page and Empty",
        );
    }
    if kind != ScriptFaultKind::Error && fault.retry_after.is_some() {
        wrong("fault.retryAfter", "is for the kind Error");
    }
    if !kind.has_error() && (fault.code.is_some() || fault.message.is_some()) {
        wrong(
            "fault",
            "code and message are for the kinds Error, ErrorInSuccess and ErrorInStream",
        );
    }
    if !kind.breaks() && fault.after.is_some() {
        wrong(
            "fault.after",
            "is for the kinds ErrorInStream, Stall, Cut and Unended",
        );
    }
    for (name, value, least, most) in [
        ("status", fault.status, 200, 599),
        ("after", fault.after, 0, 1000),
    ] {
        if let Some(value) = value {
            let field = format!("{rule}.reply.fault.{name}");
            bounds::number(problems, &field, value, least, most);
        }
    }
}
