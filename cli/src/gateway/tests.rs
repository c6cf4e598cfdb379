use super::*;
use http::HeaderValue;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsAcceptor;

/// A gateway of one answer, with a certificate of its own CA for `name`; answers the CA as PEM and its end of the tunnel.
fn server(name: &str, answer: &'static str) -> (String, tokio::io::DuplexStream) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(theirs).await else {
            return;
        };
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
        assert!(request.contains("authorization: bearer abc"), "{request}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    (issuer.pem(), ours)
}

async fn ask(name: &str, answer: &'static str) -> Result<Incoming, Error> {
    let (pem, stream) = server(name, answer);
    let server = ServerName::try_from("oarmaster-gateway.oarmaster-system.svc").unwrap();
    let stream = connector(&pem)
        .unwrap()
        .connect(server, stream)
        .await
        .map_err(|error| unreachable("failed to connect to the gateway").source(error))?;
    request(
        stream,
        (Method::GET, "/read/v1/x"),
        HeaderValue::from_static("Bearer abc"),
        "host",
    )
    .await
}

const NAME: &str = "oarmaster-gateway.oarmaster-system.svc";

#[tokio::test]
async fn an_answer_comes_through_the_tunnel() {
    let body = ask(NAME, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        .await
        .unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hi");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let error = ask("elsewhere.svc", "").await.unwrap_err();
    assert!(error.line().contains("certificate"), "{}", error.line());
}

#[tokio::test]
async fn a_broken_stream_is_an_error_and_not_an_end() {
    let body = ask(
        NAME,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
    )
    .await
    .unwrap();
    assert!(body.collect().await.is_err());
}

#[test]
fn refusals_say_what_to_ask_for() {
    let body = br#"{"error":{"message":"no get on tasks/transcript","type":"permission_error","code":"forbidden"}}"#;
    let error = answered(StatusCode::FORBIDDEN, body);
    assert!(error.line().contains("no get on tasks/transcript") && !error.transient);
    assert!(answered(StatusCode::NOT_FOUND, b"").absent);
    assert!(answered(StatusCode::SERVICE_UNAVAILABLE, b"").transient);
}

#[test]
fn a_ca_without_certificates_is_refused() {
    assert!(connector("").is_err());
}
