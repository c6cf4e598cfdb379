//! Requests of callers: what is looked at before anybody is asked, what is spliced in, and what each provider is told.

use crate::edits::{edited, edits, slipped, slips};
use crate::{Case, WIRES, corpus, fuzz, json_of};
use oarmaster_dialect::{Content, Role};
use oarmaster_gateway::provider::wire::{Unfit, Wire};
use oarmaster_gateway::request::Request;
use oarmaster_gateway::surface::Surface;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

/// Fields that the gateway writes, or that a vendor has under another name.
const OURS: [&str; 8] = [
    "model",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "stream",
    "stream_options",
    "store",
    "include",
];

fn bodies() -> Vec<(Surface, corpus::Bytes)> {
    let each = |surface| {
        corpus::callers(surface)
            .into_iter()
            .map(move |body| (surface, body))
    };
    Surface::ALL.into_iter().flat_map(each).collect()
}

#[test]
fn requests() {
    let inputs = (
        select(bodies()),
        edits(),
        slips(),
        select(&WIRES[..]),
        any::<bool>(),
    );
    fuzz(
        5000,
        &inputs,
        |((surface, body), edits, slips, wire, held)| -> Case {
            let body = slipped(edited(&body.0, &edits), &slips);
            let request = match Request::parse(surface, &body) {
                Ok(request) => request,
                Err(refused) => {
                    prop_assert!(refused.status.is_client_error(), "{refused:?}");
                    prop_assert!(refused.message.len() < 8192, "{}", refused.message.len());
                    return Ok(());
                }
            };
            prop_assert!(request.len() == body.len());
            let limit = request.output_limit(None, 128_000);
            let Ok(wire) = wire.for_call(surface, None) else {
                return Ok(());
            };
            let sent = match wire.say(&request, "m", limit, held) {
                Ok(sent) => sent,
                Err(Unfit::Invalid(refused)) => {
                    prop_assert!(refused.status.is_client_error(), "{refused:?}");
                    return Ok(());
                }
                Err(Unfit::Unsupported(_)) => return Ok(()),
            };
            let size: usize = sent.bodies.iter().map(|body| body.len()).sum();
            prop_assert!(
                size <= body.len() * 8 + (64 << 10),
                "{size} of {}",
                body.len()
            );
            let mut said = Vec::new();
            for body in &sent.bodies {
                let Some(value) = json_of(body)? else {
                    return Ok(());
                };
                prop_assert!(value.is_object(), "{value}");
                said.push(value);
            }
            if surface.is(wire) {
                kept(&body, &said[0], &sent.dropped)?;
            } else if surface.limit().is_some() {
                texts(surface, &body, &said)?;
            }
            Ok(())
        },
    );
}

/// What goes on as it came has every field of the caller's, and no other.
fn kept(body: &[u8], sent: &Value, dropped: &[String]) -> Case {
    let read = oarmaster_protocol::text::json(body).text.into_owned();
    let asked: Map<String, Value> = serde_json::from_str(&read).unwrap();
    let sent = sent.as_object().unwrap();
    prop_assert_eq!(&sent["model"], "m");
    for (name, value) in &asked {
        if OURS.contains(&name.as_str())
            || dropped
                .iter()
                .any(|dropped| dropped.starts_with(name.as_str()))
        {
            continue;
        }
        // A vendor's adaptation may look into these; what it takes out it names.
        if dropped.is_empty()
            && ["seed", "user", "metadata", "temperature", "top_p", "input"]
                .contains(&name.as_str())
        {
            prop_assert_eq!(sent.get(name), Some(value), "{}", name);
        }
    }
    for name in sent.keys() {
        prop_assert!(
            asked.contains_key(name) || OURS.contains(&name.as_str()),
            "{name} is nobody's"
        );
    }
    Ok(())
}

/// A translation has every text of the users.
fn texts(surface: Surface, body: &[u8], said: &[Value]) -> Case {
    let Ok(neutral) = surface.neutral(oarmaster_protocol::text::json(body).text.as_bytes()) else {
        return Ok(());
    };
    let mut all = String::new();
    for value in said {
        gather(value, &mut all);
    }
    for turn in neutral.turns.iter().filter(|turn| turn.role == Role::User) {
        for part in &turn.parts {
            if let Content::Text(text) = &part.content {
                prop_assert!(all.contains(text.as_str()), "{text:?} is not in {said:?}");
            }
        }
    }
    Ok(())
}

/// All strings, one after the other.
fn gather(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => into.push_str(text),
        Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
        Value::Object(fields) => fields.values().for_each(|value| gather(value, into)),
        _ => {}
    }
}

/// What is said of a request in a provider's own words can be said again.
#[test]
fn translations() {
    let pairs = [
        (
            Wire::Chat(oarmaster_dialect::chat::Flavour::Compatible),
            Surface::Chat,
        ),
        (Wire::Responses { thinks: false }, Surface::Responses),
        (Wire::Messages, Surface::Messages),
    ];
    let inputs = (select(bodies()), edits(), select(pairs.to_vec()));
    fuzz(
        2500,
        &inputs,
        |((surface, body), edits, (wire, target))| -> Case {
            let body = edited(&body.0, &edits);
            if surface == target || surface.limit().is_none() {
                return Ok(());
            }
            let Ok(request) = Request::parse(surface, &body) else {
                return Ok(());
            };
            let Ok(sent) = wire.say(&request, "m", 4096, false) else {
                return Ok(());
            };
            for body in &sent.bodies {
                let read = target.neutral(body);
                prop_assert!(
                    read.is_ok(),
                    "{:?} in {}",
                    read,
                    String::from_utf8_lossy(body)
                );
            }
            Ok(())
        },
    );
}
