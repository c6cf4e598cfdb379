//! Whole answers: what each surface makes of what each provider says.

use crate::edits::{edited, edits, slipped, slips};
use crate::{Case, SURFACES, corpus, fuzz, json_of, request};
use bytes::Bytes;
use oarmaster_dialect::{Answer, Content, Written};
use oarmaster_gateway::provider::Asked;
use oarmaster_gateway::provider::whole::{Reply, Whole};
use oarmaster_gateway::provider::wire::{Embedder, Sent, Wire};
use oarmaster_gateway::surface::Surface;
use oarmaster_protocol::text;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// The words that a surface is read back in.
pub fn own(surface: Surface) -> Wire {
    match surface {
        Surface::Responses => Wire::Responses { thinks: false },
        Surface::Messages => Wire::Messages,
        _ => Wire::Chat(oarmaster_dialect::chat::Flavour::Compatible),
    }
}

/// All texts of an answer. Where a dialect has no refusals they are texts.
fn said(answer: &Answer) -> String {
    let parts = answer.parts.iter();
    parts
        .filter_map(|part| match &part.content {
            Content::Text(text) | Content::Refusal(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn answers() {
    let inputs = (
        select(corpus::of_wires(corpus::answers)),
        edits(),
        slips(),
        select(&SURFACES[..]),
    );
    fuzz(
        5000,
        &inputs,
        |((wire, body), edits, slips, surface)| -> Case {
            let bytes = Bytes::from(slipped(edited(&body.0, &edits), &slips));
            let request = request(surface, false);
            let asked = Asked {
                request: &request,
                sent: &Sent::one(wire, Written::default()),
                model: "m",
                key: None,
            };
            let read = text::json(&bytes);
            let Ok(whole) = Whole::read(&asked, &read, &bytes) else {
                return Ok(());
            };
            if let Some(usage) = &whole.answer.usage {
                prop_assert!(usage.is_credible(), "{usage:?}");
            }
            let Reply::Body(reply) = whole.reply else {
                return Err(TestCaseError::fail("vectors"));
            };
            prop_assert!(
                reply.len() <= bytes.len() * 8 + (16 << 10),
                "{} of {}",
                reply.len(),
                bytes.len()
            );
            let Some(value) = json_of(&reply)? else {
                return Ok(());
            };
            prop_assert!(value.is_object(), "{value}");
            let reply = value.to_string();
            if !surface.is(wire) {
                // Who reads what we wrote reads what the provider said.
                let told = own(surface).answer(&reply);
                let (answer, told) = (
                    wire.answer(&read.text).unwrap(),
                    told.map_err(|error| {
                        TestCaseError::fail(format!("{}: {reply}", error.message))
                    })?,
                );
                prop_assert_eq!(said(&answer), said(&told));
            }
            Ok(())
        },
    );
}

#[test]
fn vectors() {
    let embedders = [
        Embedder::OpenAi(oarmaster_dialect::chat::Flavour::OpenAi),
        Embedder::Gemini,
        Embedder::Cohere,
    ];
    let wires = embedders.map(Wire::Embeddings);
    let inputs = (
        select(wires.to_vec()),
        select(corpus::answers(wires[0])),
        edits(),
        slips(),
    );
    fuzz(2500, &inputs, |(wire, body, edits, slips)| -> Case {
        let bytes = slipped(edited(&body.0, &edits), &slips);
        let read = text::json(&bytes).text;
        if let Ok(vectors) = wire.vectors(&read) {
            prop_assert!(vectors.usage().is_none_or(|usage| usage.is_credible()));
            let written = oarmaster_dialect::embeddings::write_answer(
                &vectors,
                "m",
                oarmaster_dialect::embeddings::Encoding::Float,
            );
            prop_assert!(serde_json::from_str::<Value>(&written).is_ok(), "{written}");
            prop_assert!(
                written.len() <= bytes.len() * 32 + (16 << 10),
                "{} of {}",
                written.len(),
                bytes.len()
            );
        }
        let _ = oarmaster_dialect::embeddings::openai::read_passed(&read);
        Ok(())
    });
}
