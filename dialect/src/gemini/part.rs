//! One part of a turn as Gemini writes it.

use crate::writing::Arguments;
use serde::Serialize;
use std::borrow::Cow;

/// What Gemini 3 takes for the signature of a function call that it did not make itself (its documentation of thought signatures, questions
/// and answers: "transferring history from other models").
pub(super) const NOT_OURS: &str = "skip_thought_signature_validator";

/// A part. Exactly one of the fields is there, and perhaps a signature.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<InlineData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_data: Option<FileData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<&'a str>,
}

/// Bytes in the request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InlineData<'a> {
    pub mime_type: Cow<'a, str>,
    pub data: &'a str,
}

/// Bytes at an address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<&'static str>,
    pub file_uri: &'a str,
}

/// The model calls a function.
#[derive(Debug, Serialize)]
pub(super) struct FunctionCall<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub args: Arguments<'a>,
}

/// What a function answered.
#[derive(Debug, Serialize)]
pub(super) struct FunctionResponse<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub response: Response,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ResponsePart<'a>>,
}

/// An object that holds what a function answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Response {
    /// An object of the function's own.
    Object(Box<serde_json::value::RawValue>),
    /// Text.
    Result { result: String },
    /// Text of a function that failed.
    Error { error: String },
    /// An object of a function that failed.
    ErrorObject {
        error: Box<serde_json::value::RawValue>,
    },
}

/// A medium in what a function answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponsePart<'a> {
    pub inline_data: InlineData<'a>,
}
