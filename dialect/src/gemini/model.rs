//! What a model's name says: where it is asked, and how it thinks.

use crate::writing::path_segment;

/// How a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not think, or it is not known how.
    None,
    /// In tokens, from the first to the last; zero turns thinking off where `off` says so.
    Budget { least: u64, most: u64, off: bool },
    /// By a level; `MINIMAL` only where `minimal` says so.
    Level { minimal: bool },
}

/// What a model's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    /// Gemini 3 and later: these want signatures with function calls, take media in their results, and JSON together with tools.
    pub modern: bool,
    /// How it thinks.
    pub thinking: Thinking,
}

impl Model {
    /// Reads `gemini-2.5-pro`, `gemini-3-flash-preview`, `gemini-flash-latest`. An alias without a number names the newest model.
    ///
    /// The ranges of budgets are those of Google's documentation of thinking for the models of generation 2.5. Later models cannot turn thinking
    /// off; the level `MINIMAL` is not for those called Pro.
    pub(super) fn new(name: &str) -> Self {
        let name = name.rsplit('/').next().unwrap_or_default();
        let rest = name.strip_prefix("gemini-").unwrap_or_default();
        let version: String = rest
            .chars()
            .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
            .collect();
        let major: Option<u32> = version.split('.').next().and_then(|text| text.parse().ok());
        let modern = major.map_or(rest.ends_with("-latest"), |major| major >= 3);
        let pro = rest.contains("pro");
        let thinking = match version.as_str() {
            _ if modern => Thinking::Level { minimal: !pro },
            "2.5" if pro => Thinking::Budget {
                least: 128,
                most: 32_768,
                off: false,
            },
            "2.5" => Thinking::Budget {
                least: if rest.contains("lite") { 512 } else { 1 },
                most: 24_576,
                off: true,
            },
            _ => Thinking::None,
        };
        Self { modern, thinking }
    }
}

/// The path and query at which a model is asked, below the address of the service: `/v1beta/models/gemini-2.5-pro:generateContent`. The model's
/// name may begin with its collection, as in `models/x` or `tunedModels/x`.
#[must_use]
pub fn path(model: &str, stream: bool) -> String {
    let method = if stream {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    };
    method_path(model, method)
}

/// The path of any method of a model.
pub(crate) fn method_path(model: &str, method: &str) -> String {
    let (collection, id) = match model.split_once('/') {
        Some((collection @ ("models" | "tunedModels"), id)) => (collection, id),
        _ => ("models", model),
    };
    format!("/v1beta/{collection}/{}:{method}", path_segment(id))
}
