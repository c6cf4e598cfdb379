use super::exception;
use super::key::AwsKey;
use super::sign::{Unsignable, sign};
use super::workload::Source;
use crate::provider::entries::Entries;
use crate::provider::failure::{Class, Failure, ProviderError};
use crate::provider::keys::ApiKey;
use crate::provider::redact::redact;
use bytes::Bytes;
use http::Request;
use oarmaster_dialect::Said;
use oarmaster_store::Billing;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A request as botocore signs it: gateway/sdk/signatures.py writes them.
#[derive(Deserialize)]
struct Signed {
    url: String,
    body: String,
    token: Option<String>,
    date: String,
    authorization: String,
}

fn now() -> SystemTime {
    let now: jiff::Timestamp = "2026-11-29T02:30:00Z".parse().unwrap();
    now.into()
}

fn request(url: &str, body: &str) -> Request<Bytes> {
    Request::post(url)
        .header("content-type", "application/json")
        .header("accept", "*/*")
        .body(body.to_owned().into())
        .unwrap()
}

#[test]
fn requests_are_signed_as_botocore_signs_them() {
    let cases: Vec<Signed> =
        serde_json::from_str(include_str!("../../../fixtures/signatures.json")).unwrap();
    assert!(cases.iter().any(|case| case.url.contains("arn%3Aaws")));
    for case in cases {
        let mut request = request(&case.url, &case.body);
        assert_eq!(request.uri().to_string(), case.url, "it is sent as written");
        let key = AwsKey::new(ID, SECRET, case.token.as_deref());
        sign(&mut request, &key, "eu-central-1", now()).unwrap();
        let headers = request.headers();
        assert_eq!(headers["authorization"], case.authorization, "{}", case.url);
        assert_eq!(headers["x-amz-date"], case.date);
        let token = headers.get("x-amz-security-token");
        assert_eq!(token.map(|t| t.to_str().unwrap()), case.token.as_deref());
        assert!(token.is_none_or(http::HeaderValue::is_sensitive));
        assert!(headers["authorization"].is_sensitive());
    }
}

#[test]
fn what_no_header_can_carry_is_refused() {
    let mut request = request("https://x.amazonaws.com/", "");
    let key = AwsKey::new("a\nb", SECRET, None);
    assert_eq!(
        sign(&mut request, &key, "eu-central-1", now()),
        Err(Unsignable)
    );
    assert!(!request.headers().contains_key("authorization"));
}

#[test]
fn a_secret_of_aws_has_two_entries_and_may_have_a_third() {
    let read = |entries: &[(&str, &str)]| {
        let data: BTreeMap<&str, &str> = entries.iter().copied().collect();
        Entries::Aws.read("s", "1", |name| {
            data.get(name).map(|value| value.as_bytes())
        })
    };
    let both = [("access-key-id", ID), ("secret-access-key", SECRET)];
    assert!(read(&both).unwrap().signs().is_some());
    let token = ("session-token", "tok\n");
    let all = read(&[both[0], both[1], token]).unwrap();
    assert_eq!(
        all.signs().unwrap().token(),
        Some("tok"),
        "without its line end"
    );
    for (entries, problem) in [
        (
            &[][..],
            "Secret s has no key access-key-id and no key secret-access-key: type Bedrock needs access-key-id and secret-access-key, and session-token for temporary credentials",
        ),
        (
            &both[..1],
            "Secret s has no key secret-access-key: type Bedrock needs access-key-id and secret-access-key, and session-token for temporary credentials",
        ),
        (
            &[both[0], ("secret-access-key", "")],
            "secret-access-key of Secret s is empty",
        ),
        (
            &[both[0], both[1], ("session-token", "a\nb")],
            "session-token of Secret s has more than one line",
        ),
    ] {
        assert_eq!(read(entries).unwrap_err(), problem);
    }
    let one = Entries::One("api-key".to_owned()).read("s", "1", |_| None);
    assert_eq!(
        one.unwrap_err(),
        "Secret s has no key api-key: add it, or name one that it has in the ModelProvider"
    );
}

#[test]
fn every_part_of_a_key_is_taken_out_of_what_is_said() {
    let token = "IQoJb3JpZ2luX2VjEXAMPLEsession";
    let key = ApiKey::aws(AwsKey::new(ID, SECRET, Some(token)), "1");
    assert_eq!(format!("{key:?}"), "ApiKey([redacted])");
    for part in [ID, SECRET, token, &SECRET[5..20], &token[9..21]] {
        let clean = redact(&format!("the key '{part}' is wrong"), Some(&key));
        assert_eq!(clean, "the key '[redacted]' is wrong");
    }
    assert!(
        key.plain().is_err() && key.bearer().is_err(),
        "it only signs"
    );
}

#[test]
fn exceptions_are_classed_by_what_they_mean_for_a_key_and_a_model() {
    let failure = |status: u16, name: &str, message: &str| {
        let error = ProviderError::from(Said {
            kind: Some(name.to_owned()),
            message: message.to_owned(),
            ..Said::default()
        });
        Failure::from_answer(status, None, &error, None)
    };
    for (status, name, message, class, billing) in [
        (
            403,
            "AccessDeniedException",
            "You don't have access to the model with the specified model ID.",
            Class::ModelGone,
            Billing::Unbilled,
        ),
        (
            403,
            "AccessDeniedException",
            "Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid payment instrument must be provided.",
            Class::Quota,
            Billing::Unbilled,
        ),
        (
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            Class::Credential,
            Billing::Unbilled,
        ),
        (
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
            Class::Credential,
            Billing::Unbilled,
        ),
        (
            403,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
            Class::Credential,
            Billing::Unbilled,
        ),
        (
            403,
            "InvalidSignatureException",
            "Signature expired: 20261129T022000Z is now earlier than 20261129T022500Z",
            Class::Transient,
            Billing::Unbilled,
        ),
        (
            429,
            "ThrottlingException",
            "Too many tokens, please wait before trying again.",
            Class::RateLimit,
            Billing::Unbilled,
        ),
        (
            400,
            "ServiceQuotaExceededException",
            "Your request exceeds the service quota for your account",
            Class::RateLimit,
            Billing::Unbilled,
        ),
        (
            429,
            "ModelNotReadyException",
            "The model is not ready",
            Class::Transient,
            Billing::Unbilled,
        ),
        (
            404,
            "ResourceNotFoundException",
            "Could not resolve the foundation model from the provided model identifier.",
            Class::ModelGone,
            Billing::Unbilled,
        ),
        (
            400,
            "ValidationException",
            "The provided model identifier is invalid.",
            Class::ModelGone,
            Billing::Unbilled,
        ),
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn\u{2019}t supported.",
            Class::ModelGone,
            Billing::Unbilled,
        ),
        (
            400,
            "ValidationException",
            "Input is too long for requested model.",
            Class::ContextLength,
            Billing::Unbilled,
        ),
        (
            400,
            "ValidationException",
            "The maximum tokens you requested exceeds the model limit of 8192.",
            Class::CallerFault,
            Billing::Unbilled,
        ),
        // The model worked, or nobody knows.
        (
            424,
            "ModelErrorException",
            "The request failed",
            Class::Transient,
            Billing::Unknown,
        ),
        (
            408,
            "ModelTimeoutException",
            "The request took too long",
            Class::Transient,
            Billing::Unknown,
        ),
        (
            500,
            "InternalServerException",
            "no",
            Class::Transient,
            Billing::Unknown,
        ),
        (
            503,
            "ServiceUnavailableException",
            "no",
            Class::Transient,
            Billing::Unbilled,
        ),
    ] {
        let failure = failure(status, name, message);
        assert_eq!(
            (failure.class, failure.billing),
            (class, billing),
            "{name}: {message}"
        );
    }
    assert_eq!(exception::class("rate_limit_error", "x"), None);
    assert_eq!(exception::class("ValidationException", "x"), None);
}

fn source(vars: &[(&str, &str)]) -> Result<Source, String> {
    let vars: BTreeMap<&str, &str> = vars.iter().copied().collect();
    Source::from_env(|name| vars.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn the_gateways_identity_is_where_eks_says() {
    const TOKEN: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t/pod");
    const ROLE: (&str, &str) = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/gw");
    const FILE: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t/web");
    const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");
    let uri = |uri| ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
    let agent = uri("http://169.254.170.23/v1/credentials");
    for allowed in [
        agent,
        uri("http://[fd00:ec2::23]/v1/credentials"),
        uri("http://169.254.170.2/v1"),
        uri("http://127.0.0.1:5000/x"),
        uri("https://agent.example.com/x"),
    ] {
        let expected = Source::Container {
            url: allowed.1.parse().unwrap(),
            token_file: "/t/pod".into(),
        };
        assert_eq!(source(&[allowed, TOKEN]), Ok(expected));
    }
    let web = |endpoint: &str, session: &str| Source::WebIdentity {
        endpoint: endpoint.parse().unwrap(),
        role: ROLE.1.to_owned(),
        session: session.to_owned(),
        token_file: "/t/web".into(),
    };
    assert_eq!(
        source(&[FILE, ROLE, REGION, agent, TOKEN]),
        Ok(web(
            "https://sts.eu-central-1.amazonaws.com",
            "oarmaster-gateway"
        )),
        "the first that AWS's own SDKs ask"
    );
    assert_eq!(
        source(&[
            FILE,
            ROLE,
            ("AWS_ENDPOINT_URL_STS", "https://vpce.example.com"),
            ("AWS_ROLE_SESSION_NAME", "mine")
        ]),
        Ok(web("https://vpce.example.com", "mine"))
    );
    for (vars, word) in [
        (&[][..], "has no identity at AWS"),
        (&[agent], "has no identity at AWS"),
        (&[FILE, REGION], "has no identity at AWS"),
        (&[FILE, ROLE], "AWS_REGION is not"),
        (&[FILE, ROLE, ("AWS_REGION", "")], "AWS_REGION is not"),
        (
            &[TOKEN, uri("http://169.254.169.254/latest")],
            "neither https nor",
        ),
        (&[TOKEN, uri("http://agent.example.com/x")], "neither https"),
        (&[TOKEN, uri("file:///etc/passwd")], "is no address"),
    ] {
        let problem = source(vars).unwrap_err();
        assert!(problem.contains(word), "{problem}");
    }
}
