//! Tool calls, as both dialects have them: their names, and the place that Google gave their signatures.

use crate::names::made_up;
use crate::openai::write::Object;
use crate::request::ToolCall;
use crate::signature::{Signature, Signer};
use serde_json::Value;

/// Gives a call that has no id one.
pub(crate) fn with_id(mut call: ToolCall, answer: &str, position: usize) -> ToolCall {
    if call.id.is_empty() {
        call.id = made_up("call_", &[answer, &position.to_string(), &call.name]);
    }
    call
}

/// Adds a call's signature at Google's place for it.
pub(crate) fn signed(object: Object, signature: Option<&Signature>) -> Object {
    object.maybe(signature, |object, signature| {
        let google = Object::new().text("thought_signature", &signature.marked(Signer::Google));
        object.object("extra_content", Object::new().object("google", google))
    })
}

/// Reads a call's signature.
pub(crate) fn signature(call: &Value) -> Option<Signature> {
    let text = call.pointer("/extra_content/google/thought_signature")?;
    let text = text.as_str().filter(|text| !text.is_empty())?;
    Some(Signature::read(text, Signer::Google))
}
