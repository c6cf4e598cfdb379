//! What a model is known to be able to do.

use serde::{Deserialize, Serialize};

/// One thing that a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Calls tools.
    Tools,
    /// Calls several tools in one answer.
    ParallelTools,
    /// Reads images.
    Images,
    /// Reads PDF documents.
    Documents,
    /// Reads sound.
    Audio,
    /// Keeps to a JSON Schema in its answer.
    JsonSchema,
    /// Thinks before it answers, and bills the thoughts as output.
    Reasoning,
}

impl Capability {
    /// Every capability, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Tools,
        Self::ParallelTools,
        Self::Images,
        Self::Documents,
        Self::Audio,
        Self::JsonSchema,
        Self::Reasoning,
    ];

    /// The name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::Images => "images",
            Self::Documents => "documents",
            Self::Audio => "audio",
            Self::JsonSchema => "json_schema",
            Self::Reasoning => "reasoning",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of capabilities. One that is missing is not known, which is less than known to be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Capability>")]
pub struct Capabilities(u8);

impl Capabilities {
    /// Whether the model is known to have it.
    #[must_use]
    pub const fn has(self, one: Capability) -> bool {
        self.0 & one.bit() != 0
    }

    /// Whether the model is known to have all of them.
    #[must_use]
    pub const fn has_all(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl From<Vec<Capability>> for Capabilities {
    fn from(all: Vec<Capability>) -> Self {
        all.into_iter().collect()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<T: IntoIterator<Item = Capability>>(all: T) -> Self {
        Self(all.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}
