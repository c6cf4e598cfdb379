//! What inputs begin as: the fixtures of the dialects.

use crate::WIRES;
use oarmaster_dialect::chat::Flavour;
use oarmaster_gateway::provider::wire::Wire;
use oarmaster_gateway::surface::Surface;
use std::path::PathBuf;

/// Bytes that are shown as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dialect/fixtures");

/// The fixtures of a dialect whose names begin and end so. There is one at least.
fn files(dialect: &str, begins: &[&str], kind: &str) -> Vec<Bytes> {
    let listed = std::fs::read_dir(PathBuf::from(FIXTURES).join(dialect)).unwrap();
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        begins.iter().any(|begin| name.starts_with(begin)) && name.ends_with(kind)
    });
    paths.sort();
    assert!(!paths.is_empty(), "{dialect} {begins:?} {kind}");
    let read = |path: &PathBuf| Bytes(std::fs::read(path).unwrap());
    paths.iter().map(read).collect()
}

/// The folder of a wire's fixtures, and how those of its provider begin.
fn place(wire: Wire) -> (&'static str, &'static [&'static str]) {
    match wire {
        Wire::Chat(Flavour::OpenAi) => ("chat", &["provider-openai", "provider-azure"]),
        Wire::Chat(_) => ("chat", &["provider-", "stream"]),
        Wire::Responses { .. } => ("responses", &["provider-", "stream"]),
        Wire::Messages => ("messages", &["provider-", "stream"]),
        Wire::Gemini => ("gemini", &["answer-", "stream-"]),
        Wire::Cohere => ("cohere", &["answer-", "stream-"]),
        Wire::Converse => ("converse", &["provider-answer", "stream"]),
        Wire::Embeddings(_) => ("embeddings", &["answer-"]),
    }
}

/// The fixtures of every wire.
pub fn of_wires(fixtures: fn(Wire) -> Vec<Bytes>) -> Vec<(Wire, Bytes)> {
    let each = |wire| fixtures(wire).into_iter().map(move |body| (wire, body));
    WIRES.into_iter().flat_map(each).collect()
}

/// Whole answers.
pub fn answers(wire: Wire) -> Vec<Bytes> {
    let (dialect, begins) = place(wire);
    files(dialect, begins, ".json")
}

/// Streams.
pub fn streams(wire: Wire) -> Vec<Bytes> {
    let (dialect, begins) = place(wire);
    let kind = if wire == Wire::Converse {
        ".bin"
    } else {
        ".sse"
    };
    files(dialect, begins, kind)
}

/// Requests of callers.
pub fn callers(surface: Surface) -> Vec<Bytes> {
    match surface {
        Surface::Chat => files("chat", &["caller"], ".json"),
        Surface::Responses => files("responses", &["caller"], ".json"),
        Surface::Messages => files("messages", &["caller-agent", "caller-media"], ".json"),
        Surface::CountTokens => files("messages", &["caller-count"], ".json"),
        Surface::Embeddings => files("embeddings", &["request-openai"], ".json"),
    }
}

/// Errors.
pub fn errors() -> Vec<Bytes> {
    let mut all = files("gemini", &["error-"], ".json");
    for dialect in ["chat", "messages", "responses"] {
        all.extend(files(dialect, &["error"], ".json"));
    }
    all.extend(files("cohere", &["answer-error"], ".json"));
    all
}
