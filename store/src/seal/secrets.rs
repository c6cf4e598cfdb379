//! Which parts of an entry are sealed: what people wrote, what models and programs said, and the keys of blobs. All others are needed without a key: to
//! count money, to find what is there, to let it go, and for the audit.

use crate::entry::Entry;
use oarmaster_protocol::journal::Body;
use oarmaster_protocol::request::Ask;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Takes the parts out of an entry, or puts them back; in the same order.
pub trait Parts {
    /// The next part.
    fn part<T: Serialize + DeserializeOwned + Default>(
        &mut self,
        part: &mut T,
    ) -> serde_json::Result<()>;
}

/// Takes them out: a line of JSON each.
#[derive(Debug, Default)]
pub struct Take(Vec<u8>);

impl Take {
    /// What was taken; empty where there was nothing.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Parts for Take {
    fn part<T: Serialize + DeserializeOwned + Default>(
        &mut self,
        part: &mut T,
    ) -> serde_json::Result<()> {
        serde_json::to_writer(&mut self.0, &std::mem::take(part))?;
        self.0.push(b'\n');
        Ok(())
    }
}

/// Puts them back.
#[derive(Debug)]
pub struct Put<'a>(std::slice::Split<'a, u8, fn(&u8) -> bool>);

impl<'a> Put<'a> {
    /// What was taken.
    pub fn new(taken: &'a [u8]) -> Self {
        Self(taken.split(|byte| *byte == b'\n'))
    }
}

impl Parts for Put<'_> {
    fn part<T: Serialize + DeserializeOwned + Default>(
        &mut self,
        part: &mut T,
    ) -> serde_json::Result<()> {
        *part = serde_json::from_slice(self.0.next().unwrap_or_default())?;
        Ok(())
    }
}

/// Shows every such part of an entry. Which ones there are follows from what is left when they are taken out.
pub fn visit(entry: &mut Entry, parts: &mut impl Parts) -> serde_json::Result<()> {
    match entry {
        Entry::Attempt {
            assignment, record, ..
        } => {
            // That there is one is needed: a later attempt may take it over.
            if let Some(text) = assignment {
                parts.part(text)?;
            }
            body(&mut record.body, parts)
        }
        Entry::Claim { record, .. } | Entry::Open { record, .. } | Entry::Record { record, .. } => {
            body(&mut record.body, parts)
        }
        Entry::Artifact { key, .. } | Entry::Blob { key, .. } | Entry::Kept { key, .. } => {
            parts.part(key)
        }
        Entry::TakenOver { keys, .. } => parts.part(keys),
        Entry::Note(note) => parts.part(&mut note.text),
        Entry::Budget { .. }
        | Entry::SdkOpen { .. }
        | Entry::SdkEnd { .. }
        | Entry::Start { .. }
        | Entry::Stop { .. }
        | Entry::Audit { .. }
        | Entry::Released { .. }
        | Entry::Expired { .. }
        | Entry::Condensed { .. }
        | Entry::Forgotten { .. }
        | Entry::Totals(_) => Ok(()),
    }
}

fn body(body: &mut Body, parts: &mut impl Parts) -> serde_json::Result<()> {
    match body {
        Body::Answer { message, .. } => parts.part(message),
        Body::CallFailed { message, .. } => parts.part(message),
        Body::Isolation { findings, .. } => parts.part(findings),
        Body::Tools { offer } => parts.part(offer),
        Body::ToolIntent {
            id,
            tool,
            arguments,
        } => {
            parts.part(id)?;
            parts.part(tool)?;
            parts.part(arguments)
        }
        Body::ToolResult { id, tool, text, .. } => {
            parts.part(id)?;
            parts.part(tool)?;
            parts.part(text)
        }
        Body::Sent { message, .. } => {
            parts.part(&mut message.to)?;
            parts.part(&mut message.topic)?;
            parts.part(&mut message.text)
        }
        Body::Asked { what, .. } => match what {
            Ask::Delegate { prompt, .. } | Ask::Judge { prompt, .. } => parts.part(prompt),
            Ask::Approval { tool, arguments } => {
                parts.part(tool)?;
                parts.part(arguments)
            }
            Ask::Question { ask, form } => {
                parts.part(ask)?;
                parts.part(form)
            }
        },
        Body::Answered { value, .. } => parts.part(value),
        Body::Observation { text, .. } | Body::Note { text } | Body::Check { text, .. } => {
            parts.part(text)
        }
        Body::Dropped { texts } => parts.part(texts),
        Body::Judged { feedback, .. } => parts.part(feedback),
        Body::Result { outcome } => {
            parts.part(&mut outcome.output)?;
            match &mut outcome.failure {
                Some(failure) => parts.part(&mut failure.message),
                None => Ok(()),
            }
        }
        Body::Opened { .. } | Body::Claimed { .. } | Body::Open { .. } | Body::Fenced { .. } => {
            Ok(())
        }
    }
}
