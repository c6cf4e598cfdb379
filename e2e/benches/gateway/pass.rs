//! The floor: a process that passes requests and answers on, with TLS on both sides, and does nothing else.

use crate::tls::Files;
use crate::wire::{Pool, Server, listen, serve};
use anyhow::{Context as _, Result};
use hyper::Request;
use hyper::body::Incoming;
use std::path::Path;
use std::sync::Arc;

/// Runs until it is stopped. Its first line says where it is.
pub async fn run(folder: &Path, upstream: u16) -> Result<()> {
    let files = Files::of(folder);
    let server = Server::new(upstream, &files.client()?);
    let pool = Arc::new(Pool::<Incoming>::new(server));
    let (listener, port) = listen().await?;
    crate::process::say(&[port]);
    serve(
        listener,
        Some(files.server()?),
        move |request: Request<Incoming>| {
            let pool = pool.clone();
            async move { Ok(pass(&pool, request).await?) }
        },
    )
    .await;
    Ok(())
}

async fn pass(
    pool: &Pool<Incoming>,
    request: Request<Incoming>,
) -> Result<hyper::Response<Incoming>> {
    let mut sender = pool.take().await?;
    sender
        .ready()
        .await
        .context("the connection upstream has ended")?;
    let answer = sender
        .send_request(request)
        .await
        .context("the upstream did not answer")?;
    pool.put(sender);
    Ok(answer)
}
