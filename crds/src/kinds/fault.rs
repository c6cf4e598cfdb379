//! What a scripted provider does wrong: everything that a provider over the network can, short of the network itself.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault of a scripted provider. What comes of it is read as a provider's over the network is: it costs, fails over and opens circuits as that would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.status) || self.kind in ['Page', 'Empty'] || (self.kind == 'Error' && self.status >= 400)").message("status is for the kinds Error (400 to 599), Page and Empty"),
    validation = Rule::new("self.kind == 'Error' || !has(self.retryAfter)").message("retryAfter is for the kind Error"),
    validation = Rule::new("self.kind in ['Error', 'ErrorInSuccess', 'ErrorInStream'] || (!has(self.code) && !has(self.message))").message("code and message are for the kinds Error, ErrorInSuccess and ErrorInStream"),
    validation = Rule::new("self.kind in ['ErrorInStream', 'Stall', 'Cut', 'Unended'] || !has(self.after)").message("after is for the kinds ErrorInStream, Stall, Cut and Unended")
)]
pub struct ScriptFault {
    /// What goes wrong. Default `Error`. No answer: `Error` is a status of failure with an error object, `Page` an HTML page, `Empty` a head without a body,
    /// `ErrorInSuccess` an error object under the status of success, `Silent` not even a head, `Endless` more than anybody reads. A broken answer: in
    /// `ErrorInStream` an error follows, after `Stall` nothing comes, with `Cut` the connection breaks, with `Unended` the bytes end as if the answer did,
    /// `WrongType` has the content type of a stream where there is none and the other way round, in `MoreAfterEnd` the end comes twice. An answer with odd
    /// usage: `NoUsage`, `LateUsage` (after the end), `RepeatedUsage` (with each event), `NegativeUsage`, `HugeUsage`.
    #[serde(default)]
    pub kind: ScriptFaultKind,
    /// HTTP status: 400 to 599 with `Error` (default 500), 200 to 599 with `Page` and `Empty` (default 200).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<i64>,
    /// Code of the error, like `model_not_found`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub code: Option<String>,
    /// Text of the error. Default: that it is scripted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Header `Retry-After` as it is written here, however absurd: printable ASCII. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[ -~]*$"))]
    pub retry_after: Option<String>,
    /// How many events of a stream come before it, 0 to 1000. An answer that is not streamed breaks in its middle. Default 2: the first words are out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub after: Option<i64>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ScriptFaultKind {
    /// A status of failure, with an error object.
    #[default]
    Error,
    /// An HTML page, as captive portals and broken proxies send.
    Page,
    /// A head without a body.
    Empty,
    /// The status of success, with an error object.
    ErrorInSuccess,
    /// An error object in the middle of a stream, then its end. Not streamed: as `ErrorInSuccess`.
    ErrorInStream,
    /// Nothing, not even a head.
    Silent,
    /// Nothing more comes.
    Stall,
    /// The connection breaks.
    Cut,
    /// The bytes end as if the answer did.
    Unended,
    /// The content type of a stream for an answer that is none, and the other way round.
    WrongType,
    /// The end comes twice, and more of the answer between.
    MoreAfterEnd,
    /// More than anybody reads.
    Endless,
    /// No usage.
    NoUsage,
    /// Usage after the end. Not streamed: as `NoUsage`.
    LateUsage,
    /// Usage with each event, as a sum that grows. Not streamed: as usual.
    RepeatedUsage,
    /// Usage below zero.
    NegativeUsage,
    /// Usage that nobody believes.
    HugeUsage,
}

impl ScriptFaultKind {
    /// Whether an answer is in it.
    #[must_use]
    pub const fn answers(self) -> bool {
        !matches!(
            self,
            Self::Error
                | Self::Page
                | Self::Empty
                | Self::ErrorInSuccess
                | Self::Silent
                | Self::Endless
        )
    }

    /// Whether an error object is in it.
    #[must_use]
    pub const fn has_error(self) -> bool {
        matches!(
            self,
            Self::Error | Self::ErrorInSuccess | Self::ErrorInStream
        )
    }

    /// Whether it comes after some events of a stream.
    #[must_use]
    pub const fn breaks(self) -> bool {
        matches!(
            self,
            Self::ErrorInStream | Self::Stall | Self::Cut | Self::Unended
        )
    }
}
