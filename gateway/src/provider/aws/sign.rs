//! Signatures of requests, AWS's version 4.

use super::key::AwsKey;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as calculate};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// The name that Bedrock's runtime signs by.
const SERVICE: &str = "bedrock";

/// A request that cannot be signed: its address or a part of the key is none that a request may have. Nothing of the key is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed with this key")]
pub struct Unsignable;

/// Signs a request for Bedrock in a region: adds the headers `authorization`, `x-amz-date` and, for temporary credentials,
/// `x-amz-security-token`. The address, the type and the body are signed; other headers may change on the way.
///
/// # Errors
/// [`Unsignable`].
pub fn sign(
    request: &mut Request<Bytes>,
    key: &AwsKey,
    region: &str,
    now: SystemTime,
) -> Result<(), Unsignable> {
    // The crate traces what it signs with, and the access key's id is in it.
    let nothing = tracing::Dispatch::none();
    let signed =
        tracing::dispatcher::with_default(&nothing, || signature(request, key, region, now))?;
    request.headers_mut().extend(signed);
    Ok(())
}

fn signature(
    request: &Request<Bytes>,
    key: &AwsKey,
    region: &str,
    now: SystemTime,
) -> Result<Vec<(HeaderName, HeaderValue)>, Unsignable> {
    let token = key.token().map(str::to_owned);
    let identity = Credentials::new(key.id(), key.secret(), token, None, "oarmaster").into();
    // The defaults are what every service but S3 wants: the path is encoded once more, and normalised.
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| Unsignable)?
        .into();
    // A digest, not the body: the crate can be told to log bodies.
    let digest = hex::encode(Sha256::digest(request.body()));
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let address = request.uri().to_string();
    let signable = SignableRequest::new(
        request.method().as_str(),
        address.as_str(),
        kind.map(|kind| (header::CONTENT_TYPE.as_str(), kind))
            .into_iter(),
        SignableBody::Precomputed(digest),
    )
    .map_err(|_| Unsignable)?;
    let (instructions, _) = calculate(signable, &params)
        .map_err(|_| Unsignable)?
        .into_parts();
    instructions
        .headers()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unsignable)?;
            let mut value = HeaderValue::from_str(value).map_err(|_| Unsignable)?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}
