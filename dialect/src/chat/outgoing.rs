//! A request as a body of chat completions.

use crate::chat::flavour::{Flavour, adapt};
use crate::chat::{DIALECT, turns};
use crate::error::{Feature, Unsupported};
use crate::json::Fields;
use crate::openai::write::Object;
use crate::openai::{effort_of, effort_word};
use crate::request::{CacheTtl, Effort, Format, Request, Sampling, Tool, ToolChoice, Written};
use crate::writing::{Dropped, LARGEST};

/// OpenAI and Groq take no more stop sequences.
const MOST_STOPS: usize = 4;

/// Writes a request. Usage is always asked for.
///
/// # Errors
/// [`Unsupported`], for what the flavour cannot say, and for several answers and log probabilities, which no answer of ours holds.
pub fn write_request(
    request: &Request,
    model: &str,
    flavour: Flavour,
) -> Result<Written, Unsupported> {
    request.check_translatable(DIALECT)?;
    let mut dropped = Dropped::new(&request.left);
    let messages = turns::write(request, model, flavour, &mut dropped)?;
    let mut body = Object::new()
        .text("model", model)
        .list("messages", messages);
    body = tools(body, request, flavour, &mut dropped);
    body = format(body, &request.format);
    body = body.maybe(request.max_output, |body, limit| {
        body.plain("max_completion_tokens", limit)
    });
    body = sampling(body, &request.sampling, flavour, &mut dropped);
    body = reasoning(body, request, flavour, &mut dropped);
    body = body.maybe_text("user", request.user.as_deref());
    if request.stream {
        let options = Object::new().plain("include_usage", true);
        body = body.plain("stream", true).object("stream_options", options);
    }
    let mut fields = Fields::parse(body.end().as_bytes()).map_err(|error| Unsupported {
        dialect: DIALECT,
        feature: Feature::Schema,
        detail: Some(error.to_string()), // a schema that was nested as deeply as it may be is deeper now
    })?;
    for name in adapt(&mut fields, flavour) {
        dropped.add(&name);
    }
    Ok(Written {
        body: fields.to_json(),
        dropped: dropped.into_list(),
    })
}

/// `cache_control` as Anthropic has it.
pub(crate) fn cache_control(object: Object, cache: Option<CacheTtl>) -> Object {
    object.maybe(cache, |object, ttl| {
        let control = Object::of_type("ephemeral");
        let control = match ttl {
            CacheTtl::Minutes5 => control,
            CacheTtl::Hour1 => control.text("ttl", "1h"),
        };
        object.object("cache_control", control)
    })
}

fn tools(body: Object, request: &Request, flavour: Flavour, dropped: &mut Dropped) -> Object {
    if request.tools.is_empty() {
        return body; // OpenAI refuses a choice among none
    }
    let tool = |tool: &Tool| {
        let function = Object::new()
            .text("name", &tool.name)
            .maybe_text("description", tool.description.as_deref())
            .maybe(tool.parameters.as_ref(), |object, schema| {
                object.raw("parameters", schema.get())
            })
            .maybe(tool.strict, |object, strict| object.plain("strict", strict));
        let outer = Object::of_type("function").object("function", function);
        let cache = tool.cache.filter(|_| flavour.caches());
        cache_control(outer, cache).end()
    };
    if !flavour.caches() && request.tools.iter().any(|tool| tool.cache.is_some()) {
        dropped.add("cache_control");
    }
    let body = body.list("tools", request.tools.iter().map(tool));
    let body = match &request.tool_choice {
        ToolChoice::Unset => body,
        ToolChoice::Auto => body.text("tool_choice", "auto"),
        ToolChoice::None => body.text("tool_choice", "none"),
        ToolChoice::Required => body.text("tool_choice", "required"),
        ToolChoice::Named(name) => {
            let function = Object::new().text("name", name);
            let choice = Object::of_type("function").object("function", function);
            body.object("tool_choice", choice)
        }
    };
    body.maybe(request.parallel_tools, |body, parallel| {
        body.plain("parallel_tool_calls", parallel)
    })
}

fn format(body: Object, format: &Format) -> Object {
    match format {
        Format::Text => body,
        Format::Json => body.object("response_format", Object::of_type("json_object")),
        Format::Schema {
            name,
            description,
            schema,
            strict,
        } => {
            let schema = Object::new()
                .text("name", name.as_deref().unwrap_or("answer"))
                .maybe_text("description", description.as_deref())
                .raw("schema", schema.get())
                .maybe(*strict, |object, strict| object.plain("strict", strict));
            let format = Object::of_type("json_schema").object("json_schema", schema);
            body.object("response_format", format)
        }
    }
}

fn sampling(
    mut body: Object,
    sampling: &Sampling,
    flavour: Flavour,
    dropped: &mut Dropped,
) -> Object {
    let hottest = if flavour == Flavour::Mistral {
        1.5
    } else {
        2.0
    };
    let ranges = [
        ("temperature", &sampling.temperature, 0.0, hottest),
        ("top_p", &sampling.top_p, 0.0, 1.0),
        ("presence_penalty", &sampling.presence_penalty, -2.0, 2.0),
        ("frequency_penalty", &sampling.frequency_penalty, -2.0, 2.0),
    ];
    for (name, number, least, most) in ranges {
        let number = number.as_ref();
        let number = dropped.clamp(number, least..=most, name);
        body = body.maybe(number, |body, number| body.plain(name, number));
    }
    if let Some(top_k) = dropped.at_most(sampling.top_k, LARGEST, "top_k") {
        // The types of OpenAI and Groq have no such field, and a compatible server may refuse it.
        if matches!(flavour, Flavour::Mistral | Flavour::OpenRouter) {
            body = body.plain("top_k", top_k);
        } else {
            dropped.add("top_k");
        }
    }
    body = body.maybe(sampling.seed, |body, seed| body.plain("seed", seed));
    let limited = flavour.is_openais() || flavour == Flavour::Groq;
    let most = if limited { MOST_STOPS } else { usize::MAX };
    if sampling.stop.len() > most {
        dropped.add("stop");
    }
    if sampling.stop.is_empty() {
        return body;
    }
    let stops = sampling.stop.iter().take(most);
    body.list("stop", stops.map(|stop| crate::json::quote(stop)))
}

fn reasoning(body: Object, request: &Request, flavour: Flavour, dropped: &mut Dropped) -> Object {
    let Some(asked) = &request.reasoning else {
        return body;
    };
    if flavour == Flavour::OpenRouter {
        let object = match (asked.budget, asked.effort) {
            (Some(budget), _) => Object::new().plain("max_tokens", budget),
            (None, Some(effort)) => Object::new().text("effort", effort_word(effort)),
            (None, None) => Object::new().plain("enabled", true),
        };
        let hidden = asked.shown == Some(false);
        let object = object.maybe(hidden.then_some(true), |object, hidden| {
            object.plain("exclude", hidden)
        });
        return body.object("reasoning", object);
    }
    let effort = effort_of(asked, dropped).map(|effort| {
        let strict = matches!(flavour, Flavour::Groq | Flavour::Compatible);
        let nearest = match effort {
            Effort::Minimal if strict => Effort::Low,
            Effort::ExtraHigh if strict => Effort::High,
            same => same,
        };
        if nearest != effort {
            dropped.add("reasoning_effort");
        }
        effort_word(nearest)
    });
    body.maybe_text("reasoning_effort", effort)
}
