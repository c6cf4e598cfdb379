//! What would come over a wire: a head and the pieces of a body, broken as the rule's fault says.

use super::words::Words;
use crate::provider::client;
use crate::surface::frame;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use oarmaster_crds::kinds::fault::{ScriptFault, ScriptFaultKind};
use serde_json::json;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

const JSON: &str = "application/json";
const STREAM: &str = "text/event-stream";
/// How many events come before a fault that does not say.
const AFTER: usize = 2;
/// What there is too much of.
const FILLING: &[u8] = &[b'x'; 64 << 10];

/// An answer on its way.
#[derive(Debug)]
pub struct Played {
    status: u16,
    kind: &'static str,
    retry_after: Option<String>,
    pieces: Pieces,
}

#[derive(Debug)]
struct Pieces {
    left: VecDeque<Bytes>,
    end: End,
}

/// What comes after the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The end.
    Clean,
    /// A broken connection.
    Cut,
    /// Nothing.
    Stall,
    /// More, and more.
    Never,
}

impl Played {
    /// An answer, as one body or streamed, with what goes wrong with it.
    pub fn new(words: &Words<'_>, stream: bool, fault: Option<&ScriptFault>) -> Self {
        let kind = fault.map(|fault| fault.kind);
        let usage = words.usage(kind);
        let good = match (stream, kind) {
            (true, Some(ScriptFaultKind::NoUsage)) => Self::stream(words.events(None)),
            (true, Some(ScriptFaultKind::LateUsage)) => {
                let mut late = Self::stream(words.events(None));
                late.push(event(&words.counted(usage)));
                late
            }
            (true, Some(ScriptFaultKind::RepeatedUsage)) => {
                let events = words.events(None).into_iter();
                let counted = events.flat_map(|event| [event, words.counted(usage.clone())]);
                Self::stream(counted.collect())
            }
            (true, _) => Self::stream(words.events(Some(usage))),
            (false, Some(ScriptFaultKind::NoUsage | ScriptFaultKind::LateUsage)) => {
                Self::body(200, JSON, words.whole(None))
            }
            (false, _) => Self::body(200, JSON, words.whole(Some(usage))),
        };
        match fault {
            Some(fault) => good.broken(stream, fault),
            None => good,
        }
    }

    /// A request that no rule answers.
    pub fn refused(problem: &str) -> Self {
        let body = json!({"error": {"message": problem, "code": "invalid_request"}});
        Self::body(400, JSON, body.to_string())
    }

    fn body(status: u16, kind: &'static str, body: String) -> Self {
        Self {
            status,
            kind,
            retry_after: None,
            pieces: Pieces {
                left: [Bytes::from(body)].into(),
                end: End::Clean,
            },
        }
    }

    fn stream(events: Vec<String>) -> Self {
        let mut pieces: VecDeque<Bytes> = events.iter().map(|data| event(data)).collect();
        pieces.push_back(event("[DONE]"));
        Self {
            status: 200,
            kind: STREAM,
            retry_after: None,
            pieces: Pieces {
                left: pieces,
                end: End::Clean,
            },
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.pieces.left.push_back(piece);
    }

    /// What becomes of a sound answer.
    fn broken(mut self, stream: bool, fault: &ScriptFault) -> Self {
        let status = |default| {
            fault
                .status
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(default)
        };
        match fault.kind {
            ScriptFaultKind::Error => {
                let mut error = Self::body(status(500), JSON, error(fault));
                error.retry_after.clone_from(&fault.retry_after);
                return error;
            }
            ScriptFaultKind::Page => {
                let page = "<!DOCTYPE html><html><body>Sign in to go on.</body></html>";
                return Self::body(status(200), "text/html", page.to_owned());
            }
            ScriptFaultKind::Empty => {
                self.status = status(200);
                self.pieces.left.clear();
            }
            ScriptFaultKind::ErrorInSuccess => self.pieces.left = [self.error(stream, fault)].into(),
            ScriptFaultKind::ErrorInStream if !stream => {
                self.pieces.left = [self.error(stream, fault)].into();
            }
            ScriptFaultKind::ErrorInStream => {
                self.cut(fault);
                let error = self.error(stream, fault);
                self.push(error);
            }
            ScriptFaultKind::Stall => {
                self.cut(fault);
                self.pieces.end = End::Stall;
            }
            ScriptFaultKind::Cut => {
                self.cut(fault);
                self.pieces.end = End::Cut;
            }
            ScriptFaultKind::Unended => self.cut(fault),
            ScriptFaultKind::WrongType => self.kind = if stream { JSON } else { STREAM },
            ScriptFaultKind::MoreAfterEnd => {
                let again: Vec<Bytes> = self.pieces.left.iter().cloned().collect();
                self.pieces.left.extend(again);
            }
            ScriptFaultKind::Endless => {
                self.pieces.left = [Bytes::from_static(b"data: {\"choices\":\"")].into();
                self.pieces.end = End::Never;
            }
            ScriptFaultKind::Silent // nothing of it is ever played
            | ScriptFaultKind::NoUsage
            | ScriptFaultKind::LateUsage
            | ScriptFaultKind::RepeatedUsage
            | ScriptFaultKind::NegativeUsage
            | ScriptFaultKind::HugeUsage => {}
        }
        self
    }

    fn error(&self, stream: bool, fault: &ScriptFault) -> Bytes {
        let error = error(fault);
        if stream { event(&error) } else { error.into() }
    }

    /// Leaves the first events, or half of a body.
    fn cut(&mut self, fault: &ScriptFault) {
        let left = &mut self.pieces.left;
        if self.kind == STREAM {
            let after = fault.after.and_then(|after| usize::try_from(after).ok());
            left.truncate(after.unwrap_or(AFTER));
        } else {
            for piece in left {
                piece.truncate(piece.len() / 2);
            }
        }
    }
}

fn event(data: &str) -> Bytes {
    frame("", data.as_bytes()).into()
}

fn error(fault: &ScriptFault) -> String {
    let message = fault.message.as_deref().unwrap_or("a scripted fault");
    let error = json!({"message": message, "type": "scripted", "code": fault.code});
    json!({ "error": error }).to_string()
}

impl From<Played> for Response<client::Body> {
    fn from(played: Played) -> Self {
        let Played {
            status,
            kind,
            retry_after,
            pieces,
        } = played;
        let mut response = Self::new(client::made(pieces));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        // What is no header is not in the object: its schema has the characters.
        if let Some(Ok(wait)) = retry_after.map(HeaderValue::try_from) {
            headers.insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = self.left.pop_front();
        match (piece, self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Cut) => {
                self.end = End::Clean;
                let cut = io::Error::new(io::ErrorKind::ConnectionReset, "a scripted cut");
                Poll::Ready(Some(Err(cut)))
            }
            (None, End::Stall) => Poll::Pending, // whoever reads has a time limit
            (None, End::Never) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(FILLING))))),
        }
    }
}
