//! Providers: how to talk to each type, its keys, and its failures.

pub mod answer;
pub mod aws;
pub mod chunk;
pub mod client;
pub mod entries;
pub mod failure;
pub mod framing;
pub mod guard;
pub mod http;
pub mod keys;
pub mod redact;
pub mod script;
pub mod site;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod used_up;
pub mod whole;
pub mod wire;

use crate::calls::now_seconds;
use crate::request::Request;
use crate::surface::Surface;
use bytes::Bytes;
use failure::Failure;
use http::Http;
use keys::ApiKey;
use oarmaster_dialect::{Envelope, Written};
use oarmaster_prices::Row;
use script::Script;
use std::sync::Arc;
use stream::AnswerStream;
use whole::Whole;
use wire::{Sent, Unfit};

/// How to reach a provider.
#[derive(Debug)]
pub enum Backend {
    /// In HTTP: from its server, or from its script.
    Http(Box<Http>),
    /// Not at all: the object says something that cannot be used.
    Broken(String),
}

/// A call of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The caller's request.
    pub request: &'a Request,
    /// The same in the provider's words.
    pub sent: &'a Sent,
    /// The model's id there.
    pub model: &'a str,
    /// The key.
    pub key: Option<&'a Arc<ApiKey>>,
}

impl Asked<'_> {
    /// What an answer says of itself that the provider did not write in the caller's words.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            id: self.request.id.clone(),
            created: now_seconds(),
            model: self.model.to_owned(),
        }
    }
}

impl Backend {
    /// A request in the provider's words. `row` is what is known of the model; `limit` and `held` as [`wire::Wire::say`] has them.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn say(
        &self,
        request: &Request,
        (model, row): (&str, Option<&Row>),
        limit: u64,
        held: bool,
    ) -> Result<Sent, Unfit> {
        match self {
            Self::Http(provider)
                if provider.is_scripted() && request.surface == Surface::Embeddings =>
            {
                Err(Unfit::Unsupported("a script has no embeddings".to_owned()))
            }
            Self::Http(provider) => {
                let wire = provider.wire().for_call(request.surface, row)?;
                wire.say(request, provider.name(model), limit, held)
            }
            Self::Broken(_) => Ok(Sent::one(Script::WIRE, Written::default())),
        }
    }

    /// Asks for a whole answer to one of the bodies.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(&self, asked: &Asked<'_>, body: Bytes) -> Result<Whole, Failure> {
        match self {
            Self::Http(provider) => provider.complete(asked, body).await,
            Self::Broken(problem) => Err(Failure::not_sent(problem.clone())),
        }
    }

    /// Asks for a stream.
    ///
    /// # Errors
    /// [`Failure`], before the first event.
    pub async fn stream(&self, asked: &Asked<'_>, body: Bytes) -> Result<AnswerStream, Failure> {
        match self {
            Self::Http(provider) => {
                let source = provider.stream(asked, body).await?;
                Ok(AnswerStream::new(asked, source))
            }
            Self::Broken(problem) => Err(Failure::not_sent(problem.clone())),
        }
    }

    /// Asks how many tokens a request has, and returns the answer as it came.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn count(&self, asked: &Asked<'_>, body: Bytes) -> Result<Bytes, Failure> {
        match self {
            Self::Http(provider) => provider.count(asked, body).await,
            Self::Broken(problem) => Err(Failure::not_sent(problem.clone())),
        }
    }
}
