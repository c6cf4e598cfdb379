//! Lets a write to the API server pass only while this process leads.
//!
//! This is not what keeps two leaders apart: a process can be frozen between the look and the write, and a write can be on its way for
//! long. Against those, each write carries what makes a late one a conflict or a repetition (docs/decisions has which). The gate stops
//! what a frozen process would decide after it was thawed, from a cache that is old by a clock that is not.

use super::tenure::{Tenure, boot_time};
use futures::future::{Either, Ready, ready};
use http::{Method, Request};
use std::task::{Context, Poll};
use tower::{BoxError, Layer, Service};

/// Puts a gate before a client.
#[derive(Clone, Debug)]
pub struct Gate(pub Tenure);

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            tenure: self.0.clone(),
            inner,
        }
    }
}

/// A client behind a gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    tenure: Tenure,
    inner: S,
}

/// A write was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead any more")]
pub struct NotLeading;

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<S::Future, Ready<Result<S::Response, BoxError>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        if reads || self.tenure.lasts(boot_time()) {
            Either::Left(self.inner.call(request))
        } else {
            Either::Right(ready(Err(NotLeading.into())))
        }
    }
}
