//! Vectors as text.

use crate::error::NotAnAnswer;
use crate::reading::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a number.
const WIDTH: usize = 4;

/// Reads a vector: a list of numbers, or base64 of 32-bit floats, little-endian.
pub(super) fn read(value: Json<'_>) -> Result<Vec<f32>, NotAnAnswer> {
    let vector = match value.string() {
        Some(base64) => decode(&base64),
        None => serde_json::from_str(value.text()).ok(),
    };
    vector
        .filter(|vector: &Vec<f32>| !vector.is_empty() && vector.iter().all(|n| n.is_finite()))
        .ok_or_else(|| NotAnAnswer::new("an embedding is no list of finite numbers"))
}

/// Reads a list of vectors, each perhaps within `field` of an object. There is at least one: no request is without inputs.
pub(super) fn read_all(list: Json<'_>, field: Option<&str>) -> Result<Vec<Vec<f32>>, NotAnAnswer> {
    let mut vectors = Vec::new();
    let mut failed = None;
    list.each(|element| {
        let value = match field {
            Some(field) => element.get(field),
            None => Some(element),
        };
        let absent = || NotAnAnswer::new("an embedding is absent");
        match value.ok_or_else(absent).and_then(read) {
            Ok(vector) => vectors.push(vector),
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    });
    match failed {
        Some(error) => Err(error),
        None if vectors.is_empty() => Err(NotAnAnswer::new("the body has no embeddings")),
        None => Ok(vectors),
    }
}

fn decode(base64: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(base64).ok()?;
    let (numbers, rest) = bytes.as_chunks::<WIDTH>();
    rest.is_empty()
        .then(|| numbers.iter().copied().map(f32::from_le_bytes).collect())
}

/// Writes a vector as base64.
pub(super) fn encode(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
