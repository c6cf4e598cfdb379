//! A request as it is sent to a provider, or why it is not.

use super::Wire;
use crate::error::ApiFailure;
use crate::request::Request;
use bytes::Bytes;
use http::HeaderValue;
use oarmaster_dialect::{Unsupported, Written};

/// A request in a provider's words.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The words.
    pub wire: Wire,
    /// Bodies whose answers together are the answer: one, but for embeddings. None where the provider has no such call.
    pub bodies: Vec<Bytes>,
    /// Fields of the request that the provider has no place for.
    pub dropped: Vec<String>,
    /// The header `anthropic-beta`.
    pub beta: Option<HeaderValue>,
}

/// Why a request is not sent to a provider.
#[derive(Debug)]
pub enum Unfit {
    /// The request is wrong whoever is asked.
    Invalid(ApiFailure),
    /// This provider, or its model, cannot take it.
    Unsupported(String),
}

impl From<Unsupported> for Unfit {
    fn from(lack: Unsupported) -> Self {
        Self::Unsupported(lack.to_string())
    }
}

impl Sent {
    /// One body.
    #[must_use]
    pub fn one(wire: Wire, written: Written) -> Self {
        Self::several(wire, vec![written])
    }

    /// Several, of which the first says what is dropped from all.
    #[must_use]
    pub fn several(wire: Wire, written: Vec<Written>) -> Self {
        let mut dropped = Vec::new();
        let bodies = written.into_iter().map(|written| {
            dropped.extend(written.dropped);
            Bytes::from(written.body)
        });
        Self {
            wire,
            bodies: bodies.collect(),
            dropped,
            beta: None,
        }
    }

    /// The most input tokens that any of the bodies can be counted as.
    #[must_use]
    pub fn input_bound(&self, request: &Request) -> u64 {
        match self.bodies.as_slice() {
            [body] => request
                .input_bound()
                .max(u64::try_from(body.len()).unwrap_or(u64::MAX)),
            several => {
                let largest = several.iter().map(Bytes::len).max().unwrap_or_default();
                request.bound_of(largest)
            }
        }
    }
}
