//! Errors of providers: the class, what is told of them, and how long to wait.

use crate::edits::{edited, edits, slipped, slips};
use crate::{Case, WIRES, corpus, fuzz};
use http::{HeaderMap, HeaderValue};
use oarmaster_gateway::provider::failure::{Failure, ProviderError, retry_after};
use oarmaster_gateway::surface::Surface;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

/// What of a provider's text is told at most, with what we say before it.
const MOST: usize = 8 << 10;
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn errors() {
    let inputs = (
        select(&WIRES[..]),
        select(corpus::errors()),
        edits(),
        slips(),
        100..600_u16,
        ".{0,12}",
    );
    fuzz(
        4000,
        &inputs,
        |(wire, body, edits, slips, status, header)| -> Case {
            let body = slipped(edited(&body.0, &edits), &slips);
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&header) {
                headers.insert("x-amzn-errortype", value.clone());
                headers.insert("retry-after", value.clone());
                headers.insert("retry-after-ms", value);
            }
            let wait = retry_after(&headers);
            prop_assert!(wait.is_none_or(|wait| wait > Duration::ZERO && wait <= HOUR));
            let error = wire.error(&headers, &body);
            for failure in [
                Failure::from_answer(status, wait, &error, None),
                Failure::sent_as_success(&error, None),
            ] {
                prop_assert!(
                    failure.message.len() <= MOST,
                    "{} bytes",
                    failure.message.len()
                );
                prop_assert!(failure.retry_after.is_none_or(|wait| wait <= HOUR));
            }
            let text = String::from_utf8_lossy(&body);
            prop_assert!(!ProviderError::in_success(&text) || text.contains("error"));
            Ok(())
        },
    );
}

#[test]
fn tokens() {
    let value = prop_oneof![
        "(Bearer|bearer|BEARER|Basic|)( |  |\t|)[ -~]{0,12}( x)?",
        prop::collection::vec(any::<u8>(), 0..24)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    let inputs = (
        select(&Surface::ALL[..]),
        prop::collection::vec((any::<bool>(), value), 0..3),
    );
    fuzz(4000, &inputs, |(surface, values)| -> Case {
        let mut headers = HeaderMap::new();
        for (is_key, value) in &values {
            let name = if *is_key {
                "x-api-key"
            } else {
                "authorization"
            };
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name, value);
            }
        }
        if let Ok(token) = surface.token(&headers) {
            prop_assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
            let of = |name: &str| headers.get_all(name).iter().count();
            let from = if surface.is_anthropics() && of("authorization") == 0 {
                "x-api-key"
            } else {
                "authorization"
            };
            prop_assert_eq!(of(from), 1, "of two, readers differ in which they take");
        }
        Ok(())
    });
}
