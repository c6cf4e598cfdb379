//! Model calls of programs: requests to the port itself, and not through it. What a program says of who it is has no part in them.

use super::Client;
use super::flow::Flow;
use crate::calls::respond;
use crate::data::{list_models, no_method, no_path};
use crate::state::Caller;
use crate::surface::Surface;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Uri};
use hyper::body::Incoming;

/// Where a list of models is.
const MODELS: &str = "/v1/models";

/// What a program wants that asks for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Call(Surface),
    Models,
    OtherMethod,
    Nothing,
}

/// Whether a request is for the port itself: a proxy is told where to.
pub fn is_own(method: &Method, uri: &Uri) -> bool {
    method != Method::CONNECT && uri.authority().is_none()
}

fn wanted(method: &Method, path: &str) -> Wanted {
    let surface = Surface::ALL.into_iter().find(|one| one.path() == path);
    match (surface, method) {
        (Some(surface), &Method::POST) => Wanted::Call(surface),
        (None, &Method::GET) if path == MODELS => Wanted::Models,
        (Some(_), _) => Wanted::OtherMethod,
        (None, _) if path == MODELS => Wanted::OtherMethod,
        (None, _) => Wanted::Nothing,
    }
}

impl Client {
    /// Answers a request of a program that may call models.
    pub(super) async fn model(
        &self,
        caller: &Caller,
        request: Request<Incoming>,
        flow: &Flow,
    ) -> Response {
        // The answer may be long in coming, and nothing is said until then.
        let _patience = flow.waits();
        let (head, body) = request.into_parts();
        let (gateway, known) = (self.gateway.clone(), Some(caller.clone()));
        let mut response = match wanted(&head.method, head.uri.path()) {
            Wanted::Call(surface) => {
                respond(surface, gateway, known, head.headers, Body::new(body)).await
            }
            Wanted::Models => list_models(&gateway, known, &head.headers).await,
            Wanted::OtherMethod => no_method().await.into_response(),
            Wanted::Nothing => no_path().await.into_response(),
        };
        // As every connection: one request each.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_host_is_for_the_port_itself() {
        for (method, uri, own) in [
            ("POST", "/v1/responses", true),
            ("GET", "/", true),
            ("OPTIONS", "*", true),
            ("POST", "http://pypi.org/v1/responses", false),
            ("CONNECT", "pypi.org:443", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                is_own(&method, &uri.parse().unwrap()),
                own,
                "{method} {uri}"
            );
        }
    }

    #[test]
    fn calls_and_the_list_of_models_are_answered_and_nothing_else() {
        let call = Wanted::Call;
        for (method, path, expected) in [
            ("POST", "/v1/chat/completions", call(Surface::Chat)),
            ("POST", "/v1/responses", call(Surface::Responses)),
            ("POST", "/v1/embeddings", call(Surface::Embeddings)),
            ("POST", "/v1/messages", call(Surface::Messages)),
            (
                "POST",
                "/v1/messages/count_tokens",
                call(Surface::CountTokens),
            ),
            ("GET", "/v1/models", Wanted::Models),
            ("GET", "/v1/responses", Wanted::OtherMethod),
            ("DELETE", "/v1/models", Wanted::OtherMethod),
            ("POST", "/v1/responses/", Wanted::Nothing),
            ("POST", "/v1/files", Wanted::Nothing),
            ("POST", "/task/v1/journal", Wanted::Nothing),
            ("POST", "/task/v1/result", Wanted::Nothing),
            ("GET", "/task/v1/assignment", Wanted::Nothing),
            ("GET", "/", Wanted::Nothing),
        ] {
            let named = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(wanted(&named, path), expected, "{method} {path}");
        }
    }
}
