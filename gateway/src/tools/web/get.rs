//! One request for a page: a connection of its own to the addresses that were checked, an answer of bounded size, and nothing of the caller in it.

use super::Failed;
use super::target::Target;
use crate::egress::names::{self, NotReached, Resolve};
use crate::provider::guard::PrivateEndpoints;
use crate::tools::clean::line;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io::Read as _;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Most bytes of a body that are read, packed and unpacked.
pub const MAX_BODY: usize = 2 << 20;
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 16 << 10;
const AGENT: &str = concat!("oarmaster/", env!("CARGO_PKG_VERSION"));
const ACCEPTED: &str =
    "text/html, application/xhtml+xml, text/markdown, text/plain, application/json;q=0.9";

/// What was answered.
#[derive(Debug)]
pub struct Got {
    /// The status.
    pub status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

/// A body, of which at most [`MAX_BODY`] bytes were read.
#[derive(Debug, Default)]
pub struct Body {
    /// The bytes, as they came.
    pub bytes: Vec<u8>,
    /// Whether there are more.
    pub is_cut: bool,
}

impl Got {
    /// The type that is stated.
    pub fn content_type(&self) -> Option<String> {
        self.text(&CONTENT_TYPE)
    }

    /// Where a redirect leads.
    pub fn location(&self) -> Option<String> {
        self.text(&LOCATION)
    }

    fn text(&self, name: &HeaderName) -> Option<String> {
        let value = self.headers.get(name)?;
        // Some write addresses in UTF-8.
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// Bytes that came.
    pub fn received(&self) -> usize {
        self.body.bytes.len()
    }

    /// The body, unpacked: takes its time.
    ///
    /// # Errors
    /// When it is packed in another way than was asked for, or wrongly.
    pub fn unpacked(self) -> Result<Body, Failed> {
        unpack(self.text(&CONTENT_ENCODING).as_deref(), self.body)
    }
}

/// Unpacks a body, to at most [`MAX_BODY`] bytes whatever it could become.
///
/// # Errors
/// As [`Got::unpacked`].
pub fn unpack(encoding: Option<&str>, body: Body) -> Result<Body, Failed> {
    match encoding.map(str::trim) {
        None | Some("" | "identity") => Ok(body),
        Some(name) if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
            let mut bytes = Vec::new();
            let most = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
            let read = MultiGzDecoder::new(body.bytes.as_slice())
                .take(most + 1)
                .read_to_end(&mut bytes);
            // Of a body that was cut what was there is read.
            if read.is_err() && !body.is_cut {
                return Err(Failed::new("unreadable", "its body cannot be unpacked"));
            }
            let is_cut = body.is_cut || bytes.len() > MAX_BODY;
            bytes.truncate(MAX_BODY);
            Ok(Body { bytes, is_cut })
        }
        Some(_) => Err(Failed::new(
            "unreadable",
            "its body is packed in a way that was not asked for",
        )),
    }
}

/// Asks for a page.
///
/// # Errors
/// When there is no answer, or a body that breaks off.
pub async fn get(
    target: &Target,
    resolve: &Resolve,
    guard: &PrivateEndpoints,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Got, Failed> {
    let domain = target.domain();
    let stream = names::connect(resolve, guard, domain, target.port()).await;
    let stream = stream.map_err(|error| Failed::new("unreachable", unreached(&error)))?;
    if !target.is_https() {
        return ask(target, stream).await;
    }
    // What is wrong may be in the words of the other side's certificate.
    let unsafe_tls = |why: String| {
        let why = line(&why, 200);
        let text = format!("{domain} does not speak TLS that can be trusted: {why}");
        Failed::new("unreachable", text)
    };
    let name = domain.as_str().to_owned().try_into();
    let name = name
        .map_err(|error: rustls::pki_types::InvalidDnsNameError| unsafe_tls(error.to_string()))?;
    let tls = tls.ok_or_else(|| unsafe_tls("nobody is trusted".to_owned()))?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await;
    ask(
        target,
        stream.map_err(|error| unsafe_tls(error.to_string()))?,
    )
    .await
}

/// Why nobody was reached; the way out is the administrator's for the Task's domains alone.
fn unreached(error: &NotReached) -> String {
    match error {
        NotReached::Private(domain) => format!(
            "{domain} has a private address: pages of the task's domains may have one that the chart's gateway.privateEndpoints lists, and what a search returned may have none"
        ),
        other => other.to_string(),
    }
}

async fn ask<S>(target: &Target, stream: S) -> Result<Got, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let domain = target.domain();
    let silent = || Failed::new("unreachable", format!("{domain} did not answer with HTTP"));
    let connected = http1::Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = connected.map_err(|_| silent())?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "a request for a page broke off");
        }
    }));
    let request = Request::get(target.path())
        .header(HOST, domain.as_str())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, ACCEPTED)
        .header(ACCEPT_ENCODING, "gzip")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failed::new("invalid", "it is no address that can be asked for"))?;
    let response = sender.send_request(request).await.map_err(|_| silent())?;
    let (head, body) = response.into_parts();
    if head.status.is_informational() {
        return Err(silent());
    }
    // Only a page has a body that is read.
    let body = if head.status.is_success() {
        collect(body).await?
    } else {
        Body::default()
    };
    Ok(Got {
        status: head.status,
        headers: head.headers,
        body,
    })
}

/// Reads a body up to its bound.
///
/// # Errors
/// When it breaks off.
pub async fn collect<B>(mut body: B) -> Result<Body, Failed>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let got = bytes.len();
            return Err(Failed::new(
                "unreachable",
                format!("its answer broke off after {got} bytes"),
            ));
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let left = MAX_BODY - bytes.len();
        bytes.extend_from_slice(data.get(..left).unwrap_or(data));
        if data.len() > left {
            return Ok(Body {
                bytes,
                is_cut: true,
            });
        }
    }
    Ok(Body {
        bytes,
        is_cut: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn of(bytes: Vec<u8>, is_cut: bool) -> Body {
        Body { bytes, is_cut }
    }

    #[test]
    fn a_body_is_unpacked() {
        for encoding in ["gzip", "GZip", " x-gzip "] {
            let body = unpack(Some(encoding), of(gzip(b"text"), false)).unwrap();
            assert_eq!((body.bytes.as_slice(), body.is_cut), (&b"text"[..], false));
        }
        for encoding in [None, Some(""), Some("identity")] {
            let body = unpack(encoding, of(b"text".to_vec(), false)).unwrap();
            assert_eq!(body.bytes, b"text");
        }
        for encoding in ["br", "zstd", "deflate", "gzip, gzip"] {
            let failed = unpack(Some(encoding), of(gzip(b"text"), false)).unwrap_err();
            assert!(failed.text.contains("packed in a way"), "{failed}");
        }
    }

    #[test]
    fn a_bomb_has_no_more_room_than_any_body() {
        let bomb = gzip(&vec![b'a'; 64 << 20]);
        assert!(bomb.len() < MAX_BODY, "{}", bomb.len());
        let body = unpack(Some("gzip"), of(bomb, false)).unwrap();
        assert_eq!((body.bytes.len(), body.is_cut), (MAX_BODY, true));
        assert!(body.bytes.capacity() <= 4 * MAX_BODY);
    }

    #[test]
    fn what_is_packed_wrongly_is_said_and_what_was_cut_is_read() {
        let whole = gzip("some text ".repeat(1000).as_bytes());
        let half = whole[..whole.len() / 2].to_vec();
        assert!(unpack(Some("gzip"), of(half.clone(), false)).is_err());
        let body = unpack(Some("gzip"), of(half, true)).unwrap();
        assert!(body.is_cut);
        assert!(unpack(Some("gzip"), of(b"no gzip".to_vec(), false)).is_err());
    }
}
