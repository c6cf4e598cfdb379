//! A request as a body of responses.

use crate::error::{Feature, Unsupported};
use crate::openai::write::{Object, list};
use crate::openai::{effort_of, effort_word};
use crate::request::{Format, Request, Sampling, Tool, ToolChoice, Written};
use crate::responses::{DIALECT, input};
use crate::signature::Signer;
use crate::writing::Dropped;

/// Writes a request. OpenAI is asked to keep nothing, and to hand out its thoughts encrypted where it is asked to think.
///
/// # Errors
/// [`Unsupported`], for what responses cannot say, and for several answers and log probabilities, which no answer of ours holds.
pub fn write_request(request: &Request, model: &str) -> Result<Written, Unsupported> {
    request.check_translatable(DIALECT)?;
    if !request.sampling.stop.is_empty() {
        return Err(Unsupported::new(DIALECT, Feature::StopSequences));
    }
    let mut dropped = Dropped::new(&request.left);
    let input::Input {
        instructions,
        items,
        thoughts,
    } = input::write(&request.turns, signer(model), &mut dropped)?;
    let mut body = Object::new()
        .text("model", model)
        .maybe_text("instructions", instructions.as_deref())
        .list("input", items);
    body = tools(body, request, &mut dropped);
    body = format(body, &request.format);
    body = body.maybe(request.max_output, |body, limit| {
        body.plain("max_output_tokens", limit)
    });
    body = sampling(body, &request.sampling, &mut dropped);
    let thinks = request.reasoning.is_some();
    if let Some(asked) = &request.reasoning {
        let effort = effort_of(asked, &mut dropped).map(effort_word);
        let summary = (asked.shown == Some(true)).then_some("auto");
        let reasoning = Object::new()
            .maybe_text("effort", effort)
            .maybe_text("summary", summary);
        body = body.object("reasoning", reasoning);
    }
    if thinks || thoughts {
        // Models that do not think refuse this.
        let encrypted = crate::json::quote("reasoning.encrypted_content");
        body = body.raw("include", &list([encrypted]));
    }
    body = body
        .maybe_text("user", request.user.as_deref())
        .plain("store", false);
    if request.stream {
        body = body.plain("stream", true);
    }
    Ok(Written {
        body: body.end(),
        dropped: dropped.into_list(),
    })
}

fn tools(body: Object, request: &Request, dropped: &mut Dropped) -> Object {
    if request.tools.is_empty() {
        return body;
    }
    if request.tools.iter().any(|tool| tool.cache.is_some()) {
        dropped.add("cache_control");
    }
    let tool = |tool: &Tool| {
        let parameters = tool.parameters.as_ref();
        Object::of_type("function")
            .text("name", &tool.name)
            .maybe_text("description", tool.description.as_deref())
            .raw(
                "parameters",
                parameters.map_or("null", |schema| schema.get()),
            )
            // Here a function is strict unless it says otherwise, and strict schemas must be written for it.
            .plain("strict", tool.strict.unwrap_or(false))
            .end()
    };
    let body = body.list("tools", request.tools.iter().map(tool));
    let body = match &request.tool_choice {
        ToolChoice::Unset => body,
        ToolChoice::Auto => body.text("tool_choice", "auto"),
        ToolChoice::None => body.text("tool_choice", "none"),
        ToolChoice::Required => body.text("tool_choice", "required"),
        ToolChoice::Named(name) => body.object(
            "tool_choice",
            Object::of_type("function").text("name", name),
        ),
    };
    body.maybe(request.parallel_tools, |body, parallel| {
        body.plain("parallel_tool_calls", parallel)
    })
}

fn format(body: Object, format: &Format) -> Object {
    let format = match format {
        Format::Text => return body,
        Format::Json => Object::of_type("json_object"),
        Format::Schema {
            name,
            description,
            schema,
            strict,
        } => Object::of_type("json_schema")
            .text("name", name.as_deref().unwrap_or("answer"))
            .maybe_text("description", description.as_deref())
            .raw("schema", schema.get())
            .maybe(*strict, |object, strict| object.plain("strict", strict)),
    };
    body.object("text", Object::new().object("format", format))
}

fn sampling(mut body: Object, sampling: &Sampling, dropped: &mut Dropped) -> Object {
    let ranges = [
        ("temperature", &sampling.temperature, 2.0),
        ("top_p", &sampling.top_p, 1.0),
    ];
    for (name, number, most) in ranges {
        let number = number.as_ref();
        let number = dropped.clamp(number, 0.0..=most, name);
        body = body.maybe(number, |body, number| body.plain(name, number));
    }
    let lacking = [
        ("top_k", sampling.top_k.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some()),
        ("seed", sampling.seed.is_some()),
    ];
    for (name, _) in lacking.into_iter().filter(|(_, said)| *said) {
        dropped.add(name);
    }
    body
}

/// Whose signatures a model of this name makes and takes.
pub(crate) fn signer(model: &str) -> Signer {
    let name = model.rsplit('/').next().unwrap_or_default();
    if name.starts_with("grok") {
        Signer::XAi
    } else {
        Signer::OpenAi
    }
}
