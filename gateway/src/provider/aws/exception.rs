//! What AWS's exceptions mean for a call.

use crate::provider::failure::Class;

/// The class of an exception by its name, and by its message where the name alone does not say it. `None` for what is no exception of Bedrock's or
/// of AWS's authentication, and where the HTTP status says enough.
#[must_use]
pub fn class(name: &str, message: &str) -> Option<Class> {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // Such a message may repeat what is wrong of the request: only how it begins is AWS's own.
    let begins = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    Some(match name {
        // AWS allows models one by one, and its administrator can allow one more without a change of the key: the key is not what was refused.
        "AccessDeniedException" if has(&["payment_instrument"]) => Class::Quota,
        "AccessDeniedException" | "ResourceNotFoundException" => Class::ModelGone,
        // A clock that is wrong, here or there.
        "InvalidSignatureException" if has(&["signature expired", "signature not yet current"]) => {
            Class::Transient
        }
        "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "UnrecognizedClientException" => Class::Credential,
        // AWS's quotas are a model's in a region, not the account's: other models go on.
        "ThrottlingException" | "TooManyRequestsException" | "ServiceQuotaExceededException" => {
            Class::RateLimit
        }
        // The model is being started; its status is 429 all the same.
        "ModelNotReadyException"
        | "ModelErrorException"
        | "ModelStreamErrorException"
        | "ModelTimeoutException"
        | "InternalServerException"
        | "ServiceUnavailableException" => Class::Transient,
        "ValidationException" if has(TOO_LONG) => Class::ContextLength,
        "ValidationException" if begins(NO_SUCH_MODEL) => Class::ModelGone,
        _ => return None,
    })
}

const TOO_LONG: &[&str] = &[
    "input is too long",
    "prompt is too long",
    "too many input tokens",
    "exceed context limit",
    "maximum context length",
    "exceeds the maximum number of tokens",
];

const NO_SUCH_MODEL: &[&str] = &[
    "the provided model identifier is invalid",
    "model identifier is invalid",
    "the model id",
    "model id is not valid",
    "invocation of model id",
    "this model version has reached the end of its life",
];
