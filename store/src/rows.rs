//! A Task's hops as rows of the log: what one asked for, and what it came to.

use crate::entry::{Cost, Entry};
use crate::scope::CounterId;
use oarmaster_protocol::journal::{Body, CallUsage};

/// Task, call and hop.
pub type HopKey = (String, u64, u32);

/// What a hop asked for.
#[derive(Debug)]
pub struct Asked {
    pub requester: String,
    pub provider: String,
    pub model: String,
    pub reserved_pico: u64,
    pub scopes: Vec<CounterId>,
}

/// What a hop came to.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub call: u64,
    pub hop: u32,
    pub usage: &'a CallUsage,
    /// Model id that answered; `None` where none did.
    pub model: Option<&'a str>,
}

/// What a hop asks for, if the entry says so.
pub fn asked(entry: Entry) -> Option<(HopKey, Asked)> {
    let Entry::Open {
        task,
        requested_by,
        scopes,
        record,
        ..
    } = entry
    else {
        return None;
    };
    let Body::Open {
        call,
        hop,
        provider,
        model,
        reserved_pico,
        ..
    } = record.body
    else {
        return None;
    };
    let asked = Asked {
        requester: requested_by.unwrap_or_default(),
        provider,
        model,
        reserved_pico,
        scopes,
    };
    Some(((task, call, hop), asked))
}

/// What a hop came to, if the record says so.
pub fn ended(body: &Body) -> Option<Ended<'_>> {
    let (call, hop, usage, model) = match body {
        Body::Answer {
            call,
            hop,
            usage,
            model,
            ..
        } => (*call, *hop, usage, Some(model.as_str())),
        Body::CallFailed {
            call, hop, usage, ..
        } => (*call, *hop, usage, None),
        _ => return None,
    };
    Some(Ended {
        call,
        hop,
        usage,
        model,
    })
}

impl Ended<'_> {
    /// What it cost.
    pub fn cost(&self, reserved_pico: u64) -> Cost {
        Cost::of(self.model.is_some(), self.usage, reserved_pico)
    }
}
