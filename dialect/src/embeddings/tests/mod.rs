mod surface;
mod upstream;

use super::{EmbedRequest, Encoding, Input};

/// Two texts, and a wish for vectors of two numbers.
fn two() -> EmbedRequest {
    EmbedRequest {
        model: "pool".to_owned(),
        input: Input::Texts(vec!["one \u{1f600}".to_owned(), "two".to_owned()]),
        dimensions: Some(256),
        encoding: Encoding::Base64,
        user: Some("u".to_owned()),
        left: vec!["new_field".to_owned()],
    }
}
