//! Where Azure's OpenAI service takes calls. The v1 API names the deployment in the body, as any other server does the model; a dated
//! version names it in the path, but of responses.

use crate::writing::path_segment;

/// Chat completions.
pub const CHAT: &str = "chat/completions";
/// Embeddings.
pub const EMBEDDINGS: &str = "embeddings";
/// Responses. The first dated version that has them is 2025-03-01-preview.
pub const RESPONSES: &str = "responses";

/// The path of a call ([`CHAT`], [`EMBEDDINGS`] or [`RESPONSES`]), below the resource's address. A version is one with a date, like `2024-10-21`; without one it is the
/// v1 API.
#[must_use]
pub fn path(call: &str, deployment: &str, version: Option<&str>) -> String {
    match version {
        None => format!("openai/v1/{call}"),
        Some(version) if call == RESPONSES => {
            format!("openai/{call}?api-version={}", path_segment(version))
        }
        Some(version) => format!(
            "openai/deployments/{}/{call}?api-version={}",
            path_segment(deployment),
            path_segment(version)
        ),
    }
}

/// The path of the list of models, which costs nothing.
#[must_use]
pub fn models(version: Option<&str>) -> String {
    match version {
        None => "openai/v1/models".to_owned(),
        Some(version) => format!("openai/models?api-version={}", path_segment(version)),
    }
}

#[test]
fn a_dated_version_has_the_deployment_in_the_path() {
    let dated = Some("2024-10-21");
    for (path, expected) in [
        (path(CHAT, "my-4o", None), "openai/v1/chat/completions"),
        (
            path(CHAT, "my-4o", dated),
            "openai/deployments/my-4o/chat/completions?api-version=2024-10-21",
        ),
        (
            path(CHAT, "eu/gpt-4.1?x#y", Some("a&b")),
            "openai/deployments/eu%2Fgpt-4.1%3Fx%23y/chat/completions?api-version=a%26b",
        ),
        (
            path(CHAT, "..", dated),
            "openai/deployments/%2E%2E/chat/completions?api-version=2024-10-21",
        ),
        (path(EMBEDDINGS, "e", None), "openai/v1/embeddings"),
        (
            path(EMBEDDINGS, "e", dated),
            "openai/deployments/e/embeddings?api-version=2024-10-21",
        ),
        (path(RESPONSES, "codex", None), "openai/v1/responses"),
        (
            path(RESPONSES, "codex", Some("2025-04-01-preview")),
            "openai/responses?api-version=2025-04-01-preview",
        ),
        (models(None), "openai/v1/models"),
        (models(dated), "openai/models?api-version=2024-10-21"),
    ] {
        assert_eq!(path, expected);
    }
}
