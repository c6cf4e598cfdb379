//! Events: what people see in `kubectl describe`. A closed vocabulary; never a prompt, an output or a key.

use crate::kit::Result;
use crate::kit::write::{self, WRITE_TIMEOUT};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Why an event was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An attempt of a Task was begun.
    Started,
    /// An attempt failed in a way that may pass; another one follows after the back-off.
    Retrying,
    /// An attempt was stopped from outside (eviction, node loss, deletion); another one follows.
    Disrupted,
    /// The Task is complete.
    Completed,
    /// The Task failed; the note says the class, `status.failure` the rest.
    Failed,
    /// The Task was cancelled.
    Cancelled,
    /// The API server did not take the attempt's Job; it is tried again.
    JobRefused,
    /// The object can be used from now on.
    Ready,
    /// The object cannot be used; the note says the reason, the condition `Ready` the rest.
    NotReady,
    /// The stored object cannot be read; the note says why.
    InvalidSpec,
}

impl Reason {
    /// The reason as it is written in the event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Retrying => "Retrying",
            Self::Disrupted => "Disrupted",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::JobRefused => "JobRefused",
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}

/// An event to send: plain data, part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Why.
    pub reason: Reason,
    /// What was being done. Events of equal reason and action are counted as one, with the message of the first.
    pub action: String,
    /// For a person.
    pub message: String,
    /// Whether it is a warning.
    pub warning: bool,
}

/// Sends events.
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events in the name of this operator process.
    #[must_use]
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: oarmaster_crds::names::FIELD_MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Sends one. An event is a courtesy: one that cannot be sent is logged by the caller and nothing else waits for it.
    ///
    /// # Errors
    /// When the API server does not take it in time.
    pub async fn send(&self, note: &Note, about: &ObjectReference) -> Result<()> {
        let event = Event {
            type_: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason.as_str().to_owned(),
            note: (!note.message.is_empty()).then(|| bounded(&note.message)),
            action: note.action.clone(),
            secondary: None,
        };
        write::within(
            WRITE_TIMEOUT,
            "send event",
            self.recorder.publish(&event, about),
        )
        .await
    }
}

/// The API server takes at most 1,024 bytes, which are fewer characters in most scripts.
fn bounded(message: &str) -> String {
    const MOST: usize = 1024;
    if message.len() <= MOST {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MOST - '…'.len_utf8());
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_two_characters_and_says_so() {
        assert_eq!(bounded("ไทย"), "ไทย");
        for text in ["ไ", "é", "😀", "x"] {
            let long = bounded(&text.repeat(1025));
            assert!(long.len() <= 1024 && long.len() > 1000, "{}", long.len());
            assert_eq!(long.replace(text, ""), "…");
        }
        assert_eq!(bounded(&"x".repeat(1024)).len(), 1024);
    }
}
