//! Events: what people see in `kubectl describe`. A closed vocabulary; never a prompt, an output or a key.

use crate::kit::Result;
use crate::kit::write::{WRITE_TIMEOUT, within};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubernetesEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};

/// Why an event was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An attempt of a Task was begun.
    Started,
    /// An agent was chosen for a Task that names capabilities; the note has those that could do it with their scores.
    AgentChosen,
    /// An attempt failed in a way that may pass; another one follows after the back-off.
    Retrying,
    /// An attempt was stopped from outside (eviction, node loss, deletion); another one follows.
    Disrupted,
    /// The Task is complete.
    Completed,
    /// The Task failed; the note says the class, `status.failure` the rest.
    Failed,
    /// The Task was paused.
    Paused,
    /// The Task was cancelled.
    Cancelled,
    /// What the Task did is undone.
    RolledBack,
    /// The Task is neither run anew nor rolled back, though somebody asked for it; the note says why.
    RerunRefused,
    /// The Task gave work to another agent; the note names its Task.
    Delegated,
    /// A step of a workflow was begun; the note names its Task.
    StepStarted,
    /// A planner is asked how a goal is reached, and its plan is taken; the note names its Task, or the plan.
    Planned,
    /// People are asked; the note names the Approval, or says how to decide it.
    ApprovalAsked,
    /// The Approval is decided.
    ApprovalDecided,
    /// The API server did not take the attempt's Job, or the Task of a step; it is tried again.
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
            Self::AgentChosen => "AgentChosen",
            Self::Retrying => "Retrying",
            Self::Disrupted => "Disrupted",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Paused => "Paused",
            Self::Cancelled => "Cancelled",
            Self::RolledBack => "RolledBack",
            Self::RerunRefused => "RerunRefused",
            Self::Delegated => "Delegated",
            Self::StepStarted => "StepStarted",
            Self::Planned => "Planned",
            Self::ApprovalAsked => "ApprovalAsked",
            Self::ApprovalDecided => "ApprovalDecided",
            Self::JobRefused => "JobRefused",
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::InvalidSpec => "InvalidSpec",
        }
    }

    /// Whether the same may be said of an object again and again. The rest is said at most once per attempt.
    const fn repeats(self) -> bool {
        match self {
            Self::JobRefused | Self::NotReady | Self::Ready | Self::InvalidSpec => true,
            Self::Started
            | Self::AgentChosen
            | Self::Retrying
            | Self::Disrupted
            | Self::Completed
            | Self::Failed
            | Self::Paused
            | Self::Cancelled
            | Self::RolledBack
            | Self::RerunRefused
            | Self::Delegated
            | Self::StepStarted
            | Self::Planned
            | Self::ApprovalAsked
            | Self::ApprovalDecided => false,
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
///
/// Those that repeat go through kube's recorder, which counts them. It keeps each event for minutes and looks at all of them for every new
/// one, which ten thousand Tasks would feel: what is said once is posted and forgotten.
pub struct Events {
    client: Client,
    reporter: Reporter,
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
            recorder: Recorder::new(client.clone(), reporter.clone()),
            client,
            reporter,
        }
    }

    /// Sends one. An event is a courtesy: one that cannot be sent is logged by the caller and nothing else waits for it.
    ///
    /// # Errors
    /// When the API server does not take it in time.
    pub async fn send(&self, note: &Note, about: &ObjectReference) -> Result<()> {
        let act = "send event";
        if note.reason.repeats() {
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
            return within(WRITE_TIMEOUT, act, self.recorder.publish(&event, about)).await;
        }
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let api: Api<KubernetesEvent> = Api::namespaced(self.client.clone(), namespace);
        let event = self.event(note, about, Timestamp::now());
        let params = PostParams::default();
        within(WRITE_TIMEOUT, act, api.create(&params, &event))
            .await
            .map(|_| ())
    }

    /// The event as the recorder would write it.
    fn event(&self, note: &Note, about: &ObjectReference, now: Timestamp) -> KubernetesEvent {
        let Reporter {
            controller,
            instance,
        } = &self.reporter;
        let name = about.name.as_ref().unwrap_or(controller);
        KubernetesEvent {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some(note.action.clone()),
            event_time: Some(MicroTime(now)),
            note: (!note.message.is_empty()).then(|| bounded(&note.message)),
            reason: Some(note.reason.as_str().to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some(controller.clone()),
            reporting_instance: Some(instance.as_ref().unwrap_or(controller).clone()),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            ..KubernetesEvent::default()
        }
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
