//! The client against a real TLS server in this process.

use super::{Gateway, MAX_LINE};
use crate::kit::{Error, chain};
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Json, Router};
use futures::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use oarmaster_protocol::admin::{Change, Fence};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

struct Served {
    gateway: Gateway,
    ca: String,
    token: PathBuf,
    _dir: tempfile::TempDir,
}

/// Serves `router` with a certificate of its own for `localhost`.
async fn serve(router: Router) -> Served {
    let _ = rustls::crypto::ring::default_provider().install_default(); // another test was first
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    let service = TowerToHyperService::new(router);
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await; // the client may leave at any time
                }
            });
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "first\n").unwrap();
    Served {
        gateway: Gateway::new(&format!("{url}/"), token.clone()),
        ca: cert.pem(),
        token,
        _dir: dir,
    }
}

async fn trusted(router: Router) -> Served {
    let served = serve(router).await;
    served.gateway.trust(&served.ca).unwrap();
    served
}

fn report() -> Value {
    json!({
        "task": { "namespace": "team", "name": "fix", "uid": "u" },
        "attempt": 1, "assignment": "sha256:1", "runsIn": {"job": "fix-1"}, "openedAtMs": 1, "fenced": true,
        "usage": {}, "next": 1,
    })
}

fn refusal(status: StatusCode, code: &str) -> impl IntoResponse + use<> {
    let body = json!({ "error": { "message": "so it is", "type": "t", "code": code } });
    (status, Json(body))
}

#[tokio::test]
async fn only_the_installations_own_ca_is_trusted() {
    let router = Router::new().route("/admin/v1/attempts", get(|| async { Json(json!([])) }));
    let served = serve(router).await;
    let before = served.gateway.open_attempts().await.unwrap_err();
    assert!(matches!(before, Error::Protocol { .. }), "{before}");
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    served.gateway.trust(&other.cert.pem()).unwrap();
    let refused = served.gateway.open_attempts().await.unwrap_err();
    assert!(matches!(refused, Error::Gateway { .. }), "{refused}");
    assert_eq!(refused.category(), "gateway");
    // During a rotation both are there.
    let both = format!("{}{}", other.cert.pem(), served.ca);
    served.gateway.trust(&both).unwrap();
    assert_eq!(served.gateway.open_attempts().await.unwrap(), []);
}

#[tokio::test]
async fn the_token_is_read_anew_for_every_call() {
    let echo = |headers: HeaderMap| async move {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        refusal(StatusCode::FORBIDDEN, &token)
    };
    let served = trusted(Router::new().route("/admin/v1/providers", get(echo))).await;
    for token in ["first", "second"] {
        std::fs::write(&served.token, format!("{token}\n")).unwrap();
        let error = served.gateway.health().await.unwrap_err();
        assert_eq!(
            error.gateway_code(),
            Some(format!("Bearer {token}").as_str())
        );
    }
    std::fs::remove_file(&served.token).unwrap();
    let error = served.gateway.health().await.unwrap_err();
    assert_eq!(error.category(), "token");
}

#[tokio::test]
async fn what_is_not_known_is_no_error_and_what_is_refused_is() {
    let router = Router::new()
        .route(
            "/admin/v1/attempts/{uid}/{attempt}",
            get(|| async { refusal(StatusCode::NOT_FOUND, "not_found") }),
        )
        .route(
            "/admin/v1/attempts/{uid}/{attempt}/fence",
            put(|Json(body): Json<Value>| async move {
                assert_eq!(
                    body,
                    json!({ "reason": "the Task was deleted", "ends": "StateRegressed" })
                );
                Json(report())
            }),
        )
        .route(
            "/admin/v1/attempts",
            get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "<html>") }),
        );
    let served = trusted(router).await;
    let gateway = &served.gateway;
    assert_eq!(gateway.report("u", 1).await.unwrap(), None);
    let fenced = gateway.fence("u", 1, &Fence::deleted()).await.unwrap();
    assert!(fenced.unwrap().fenced);
    let error = gateway.open_attempts().await.unwrap_err();
    assert_eq!(error.category(), "gateway_refused");
    assert!(chain(&error).contains("500 unknown"), "{}", chain(&error));
}

/// What an older gateway, or something between, answers of a path that it does not have.
#[tokio::test]
async fn what_cannot_be_asked_is_not_taken_for_unknown() {
    let router = Router::new()
        .route(
            "/admin/v1/attempts/{uid}/{attempt}",
            get(|| async { refusal(StatusCode::NOT_FOUND, "invalid_request") }),
        )
        .route(
            "/admin/v1/tasks/{uid}/kept/{step}",
            get(|| async { (StatusCode::NOT_FOUND, "<html>") }),
        );
    let served = trusted(router).await;
    let gateway = &served.gateway;
    let report = gateway.report("u", 1).await.unwrap_err();
    assert_eq!(report.gateway_code(), Some("invalid_request"));
    let kept = gateway.kept_items("u", "work", None).await.unwrap_err();
    assert_eq!(kept.gateway_code(), Some("unknown"));
}

#[tokio::test]
async fn what_is_no_longer_kept_is_no_empty_list() {
    let kept = |Path((_, step)): Path<(String, String)>, Query(which): Query<Value>| async move {
        match step.as_str() {
            "gone" => refusal(StatusCode::NOT_FOUND, "not_found").into_response(),
            _ => Json(json!([{ "item": 7, "results": [which] }])).into_response(),
        }
    };
    let router = Router::new().route("/admin/v1/tasks/{uid}/kept/{step}", get(kept));
    let served = trusted(router).await;
    let gateway = &served.gateway;
    let found = gateway.kept_items("u", "work", Some(7)).await.unwrap();
    assert_eq!(found[0].results, [json!({ "item": "7" })]);
    let gone = gateway.kept_items("u", "gone", None).await.unwrap_err();
    let Error::GatewayRefused { code, message, .. } = gone else {
        panic!("{gone}");
    };
    assert_eq!((code.as_str(), message.as_str()), ("not_found", "so it is"));
}

/// A stream of these chunks, and what the client made of it.
async fn follow(chunks: Vec<&'static str>) -> (Vec<Change>, crate::kit::Result<()>) {
    let answer = move || {
        let chunks = chunks.clone();
        async move { Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>))) }
    };
    let served = trusted(Router::new().route("/admin/v1/changes", get(answer))).await;
    let mut seen = Vec::new();
    let ended = served
        .gateway
        .changes(|change| {
            seen.push(change);
            async { Ok(()) }
        })
        .await;
    (seen, ended)
}

#[tokio::test]
async fn changes_are_lines_however_they_are_cut() {
    let (seen, ended) = follow(vec![
        "{\"kind\":\"hel",
        "lo\"}\n{\"kind\":\"ping\"}\n{\"kind\":\"provider\",\"namespace\":\"a\",",
        "\"name\":\"b\"}\n",
    ])
    .await;
    ended.unwrap();
    assert_eq!(
        seen,
        [
            Change::Hello,
            Change::Ping,
            Change::Provider {
                namespace: "a".to_owned(),
                name: "b".to_owned()
            }
        ]
    );
}

#[tokio::test]
async fn a_stream_that_says_something_else_is_an_error() {
    let (seen, ended) = follow(vec!["{\"kind\":\"hello\"}\n<html>\n"]).await;
    assert_eq!(seen, [Change::Hello]);
    assert_eq!(ended.unwrap_err().category(), "protocol");
    let endless: &'static str = Box::leak("x".repeat(MAX_LINE + 1).into_boxed_str());
    let (_, ended) = follow(vec![endless]).await;
    assert!(chain(&ended.unwrap_err()).contains("longer than"));
}
