//! Sizes and CPU shares as Kubernetes quantities, restricted to what makes sense for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size in bytes as a quantity with a binary or decimal suffix, like `512Mi` or `1Gi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Size(
    #[schemars(
        length(max = 16),
        regex(pattern = r"^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$")
    )]
    pub String,
);

/// CPU cores as a quantity: whole cores or millicores, like `2` or `500m`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cpu(
    #[schemars(
        length(max = 8),
        regex(pattern = r"^([1-9][0-9]{0,3}|[1-9][0-9]{0,5}m)$")
    )]
    pub String,
);

/// Why a text is not a quantity of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: write it like \"{example}\"")]
pub struct NotAQuantity {
    /// The text, cut.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
    /// A right one.
    pub example: &'static str,
}

impl Size {
    /// A constant of this crate's defaults.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The size in bytes.
    ///
    /// # Errors
    /// [`NotAQuantity`] when the text is not of the documented form or larger than 2^63.
    pub fn bytes(&self) -> Result<u64, NotAQuantity> {
        let bad = || NotAQuantity {
            text: self.0.chars().take(40).collect(),
            what: "size",
            example: "512Mi",
        };
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = self.0.split_at_checked(digits).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        let factor: u64 = match suffix {
            "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            _ => return Err(bad()),
        };
        number
            .checked_mul(factor)
            .filter(|&bytes| bytes > 0 && i64::try_from(bytes).is_ok())
            .ok_or_else(bad)
    }
}

impl Cpu {
    /// A constant of this crate's defaults.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The share in thousandths of a core.
    ///
    /// # Errors
    /// [`NotAQuantity`] when the text is not of the documented form.
    pub fn millis(&self) -> Result<u64, NotAQuantity> {
        let bad = || NotAQuantity {
            text: self.0.chars().take(40).collect(),
            what: "CPU share",
            example: "500m",
        };
        let (number, factor) = match self.0.strip_suffix('m') {
            Some(number) => (number, 1),
            None => (self.0.as_str(), 1000),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number
            .checked_mul(factor)
            .filter(|&millis| millis > 0)
            .ok_or_else(bad)
    }
}
