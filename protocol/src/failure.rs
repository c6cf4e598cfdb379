//! Why a Task did not succeed: a closed vocabulary, one string each for conditions, events and metric labels.

use serde::{Deserialize, Serialize};

/// The class of a failure. The serialised form is the variant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureClass {
    /// The object asks for something that cannot be done; the message names the field.
    InvalidInput,
    /// The parameters do not fit what the agent takes.
    InvalidParams,
    /// A class, pool or guard forbids it.
    RefusedByPolicy,
    /// The Task's budget, or that of one above it, does not cover the next model call, or has no room for one Task more; of a workflow: of a step, or an item.
    BudgetExceeded,
    /// An object with the same name belongs to somebody else.
    Conflict,
    /// No provider of the pool answered.
    ModelUnavailable,
    /// The model refused to answer.
    ModelRefusal,
    /// The model's answer could not be used: broken, empty, or against the output schema.
    ModelOutputInvalid,
    /// The code of a `run` ended with a non-zero exit code or a signal, or an agent made the same tool call again and again to no effect.
    ToolFailed,
    /// The code of a `run` was stopped at its memory limit.
    OutOfMemory,
    /// The time limit was reached.
    Timeout,
    /// The agent used all its turns or tool calls.
    LimitReached,
    /// The sandbox could not start (image, command, node).
    StartFailed,
    /// The output is larger than its bound.
    OutputTooLarge,
    /// The cluster's state went back in time (a restored backup).
    StateRegressed,
    /// The pod was evicted, preempted or deleted, or the network failed it while a repository was fetched.
    Disrupted,
    /// The sandbox could not prove that it is isolated; nothing ran.
    IsolationUnproven,
    /// The Task's check did not accept the answer.
    NotAccepted,
    /// People rejected an approval.
    ApprovalRejected,
    /// Nobody decided an approval in time.
    ApprovalTimeout,
    /// A step of the workflow failed, and not for its budget.
    StepFailed,
    /// A defect or an unexpected state of Oarmaster itself.
    Internal,
}

impl FailureClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 22] = [
        Self::InvalidInput,
        Self::InvalidParams,
        Self::RefusedByPolicy,
        Self::BudgetExceeded,
        Self::Conflict,
        Self::ModelUnavailable,
        Self::ModelRefusal,
        Self::ModelOutputInvalid,
        Self::ToolFailed,
        Self::OutOfMemory,
        Self::Timeout,
        Self::LimitReached,
        Self::StartFailed,
        Self::OutputTooLarge,
        Self::StateRegressed,
        Self::Disrupted,
        Self::IsolationUnproven,
        Self::NotAccepted,
        Self::ApprovalRejected,
        Self::ApprovalTimeout,
        Self::StepFailed,
        Self::Internal,
    ];

    /// The class of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// The class as it is written in conditions, events and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "InvalidInput",
            Self::InvalidParams => "InvalidParams",
            Self::RefusedByPolicy => "RefusedByPolicy",
            Self::BudgetExceeded => "BudgetExceeded",
            Self::Conflict => "Conflict",
            Self::ModelUnavailable => "ModelUnavailable",
            Self::ModelRefusal => "ModelRefusal",
            Self::ModelOutputInvalid => "ModelOutputInvalid",
            Self::ToolFailed => "ToolFailed",
            Self::OutOfMemory => "OutOfMemory",
            Self::Timeout => "Timeout",
            Self::LimitReached => "LimitReached",
            Self::StartFailed => "StartFailed",
            Self::OutputTooLarge => "OutputTooLarge",
            Self::StateRegressed => "StateRegressed",
            Self::Disrupted => "Disrupted",
            Self::IsolationUnproven => "IsolationUnproven",
            Self::NotAccepted => "NotAccepted",
            Self::ApprovalRejected => "ApprovalRejected",
            Self::ApprovalTimeout => "ApprovalTimeout",
            Self::StepFailed => "StepFailed",
            Self::Internal => "Internal",
        }
    }

    /// The class with this name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Whether a new attempt may help by itself. Other classes are retried only when `retry.on` names them.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::ModelUnavailable | Self::Disrupted | Self::Internal
        )
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
