//! Providers: how to talk to each type, its keys, and its failures.

pub mod answer;
pub mod failure;
pub mod guard;
pub mod keys;
pub mod openai;
pub mod redact;
pub mod script;
#[cfg(test)]
mod tests;

use crate::request::ChatRequest;
use failure::Failure;
use keys::ApiKey;
use openai::{OpenAi, Whole};
use script::Script;
use std::collections::VecDeque;
use std::sync::Arc;

/// How to reach a provider.
#[derive(Debug)]
pub enum Backend {
    /// Over HTTP.
    Http(OpenAi),
    /// From its script.
    Script(Script),
    /// Not at all: the object says something that cannot be used.
    Broken(String),
}

/// A running stream.
#[derive(Debug)]
pub enum AnswerStream {
    /// From the network.
    Http(Box<openai::Stream>),
    /// From a script: what is left of it.
    Script(VecDeque<String>),
}

impl Backend {
    /// Asks for a whole answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(
        &self,
        key: Option<&ApiKey>,
        model: &str,
        request: &ChatRequest,
        body: String,
    ) -> Result<Whole, Failure> {
        match self {
            Self::Http(provider) => provider.complete(key, model, body).await,
            Self::Script(script) => {
                let (delay, answer) = script.reply(request, model);
                tokio::time::sleep(delay).await;
                answer.map(|answer| Whole { answer, body: None })
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
            Self::Http(provider) => provider
                .stream(key, body)
                .await
                .map(|stream| AnswerStream::Http(Box::new(stream))),
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
    /// The data of the next event; `None` at the end of the bytes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Http(stream) => stream.next().await,
            Self::Script(rest) => Ok(rest.pop_front().map(String::into_bytes)),
        }
    }
}
