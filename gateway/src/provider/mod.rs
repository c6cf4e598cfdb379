//! Providers: how to talk to each type, its keys, and its failures.

pub mod answer;
pub mod aws;
pub mod entries;
pub mod failure;
pub mod framing;
pub mod guard;
pub mod http;
pub mod keys;
pub mod redact;
pub mod script;
#[cfg(test)]
mod tests;
pub mod translated;
pub mod wire;

use crate::request::ChatRequest;
use failure::Failure;
use http::{Http, Whole};
use keys::ApiKey;
use oarmaster_dialect::{Envelope, Usage, Written};
use script::Script;
use std::collections::VecDeque;
use std::sync::Arc;
use translated::Translated;
use wire::Unfit;

/// How to reach a provider.
#[derive(Debug)]
pub enum Backend {
    /// Over HTTP.
    Http(Http),
    /// From its script.
    Script(Script),
    /// Not at all: the object says something that cannot be used.
    Broken(String),
}

/// A running stream.
#[derive(Debug)]
pub enum AnswerStream {
    /// From the network.
    Http(Box<http::Stream>),
    /// From the network, in another dialect.
    Translated(Box<Translated>),
    /// From a script: what is left of it.
    Script(VecDeque<String>),
}

impl Backend {
    /// The body of a request; a script is sent none.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn body(
        &self,
        request: &ChatRequest,
        model: &str,
        limit: u64,
        write: bool,
    ) -> Result<Written, Unfit> {
        match self {
            Self::Http(provider) => provider.wire().body(request, model, limit, write),
            Self::Script(_) | Self::Broken(_) => Ok(Written {
                body: String::new(),
                dropped: Vec::new(),
            }),
        }
    }

    /// Asks for a whole answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(
        &self,
        key: Option<&Arc<ApiKey>>,
        model: &str,
        request: &ChatRequest,
        body: String,
    ) -> Result<Whole, Failure> {
        match self {
            Self::Http(provider) => provider.complete(key, model, body).await,
            Self::Script(script) => {
                let (delay, answer) = script.reply(request, model);
                tokio::time::sleep(delay).await;
                answer.map(|answer| Whole {
                    answer,
                    body: None,
                    dropped: Vec::new(),
                })
            }
            Self::Broken(problem) => Err(Failure::not_sent(problem.clone())),
        }
    }

    /// Asks for a stream.
    ///
    /// # Errors
    /// [`Failure`], before the first event.
    pub async fn stream(
        &self,
        key: Option<&Arc<ApiKey>>,
        model: &str,
        request: &ChatRequest,
        body: String,
        id: &str,
        created: i64,
    ) -> Result<AnswerStream, Failure> {
        match self {
            Self::Http(provider) => {
                let stream = provider.stream(key, model, body).await?;
                let Some(reader) = provider.wire().reader() else {
                    return Ok(AnswerStream::Http(Box::new(stream)));
                };
                let envelope = Envelope {
                    id: id.trim_start_matches("chatcmpl-").to_owned(), // the writer's own prefix
                    created,
                    model: model.to_owned(),
                };
                let stream = Translated::new(stream, reader, envelope, request.include_usage);
                Ok(AnswerStream::Translated(Box::new(stream)))
            }
            Self::Script(script) => {
                let (delay, answer) = script.reply(request, model);
                tokio::time::sleep(delay).await;
                answer
                    .map(|answer| AnswerStream::Script(script::chunks(&answer, id, created).into()))
            }
            Self::Broken(problem) => Err(Failure::not_sent(problem.clone())),
        }
    }
}

impl AnswerStream {
    /// What the provider counted so far, where the chunks do not say all of it.
    #[must_use]
    pub const fn usage(&self) -> Option<&Usage> {
        match self {
            Self::Translated(stream) => stream.usage(),
            Self::Http(_) | Self::Script(_) => None,
        }
    }

    /// The data of the next event; `None` at the end of the bytes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Http(stream) => stream.next().await,
            Self::Translated(stream) => stream.next().await,
            Self::Script(rest) => Ok(rest.pop_front().map(String::into_bytes)),
        }
    }
}
