//! The port of loopback that programs have for a proxy, with egress, and for models, with a pool. Their bytes go to the gateway and back; nothing
//! here reads them, and nothing here decides: the gateway does, by what it stored with the attempt.

use super::Error;
use super::gateway::Door;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at once; the gateway has the same bound. Who comes later waits.
const CONNECTIONS: usize = 64;
/// How long a connection keeps its place at least. Each is a TLS handshake for the gateway, which all Tasks share: a program that opens and
/// closes them as fast as it can makes 64 a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// Buffer of a connection, for each direction.
const BUFFER: usize = 16 << 10;
/// How long a program may take to say its first word, and to hear that it is not served.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted: out of descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens as long as this process lives, and says where.
pub(super) async fn listen(door: Door) -> Result<u16, Error> {
    let failed = |error: std::io::Error| Error::Setup(format!("the port of the egress: {error}"));
    // The kernel's choice: a port that is known before could be somebody's on the node.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    tokio::spawn(accept(listener, door));
    Ok(port)
}

async fn accept(listener: TcpListener, door: Door) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((program, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let door = door.clone();
        tokio::spawn(async move {
            let _place = place;
            let at_least = sleep(SHORTEST);
            // Either side may break off; the other one notices.
            let _ = serve(program, &door).await;
            at_least.await;
        });
    }
}

async fn serve(mut program: TcpStream, door: &Door) -> std::io::Result<()> {
    program.set_nodelay(true)?;
    // Who says nothing, as the isolation probe, is nothing to the gateway.
    match timeout(FIRST_WORD, program.peek(&mut [0])).await {
        Ok(Ok(count)) if count > 0 => {}
        _ => return Ok(()),
    }
    match door.open().await {
        Ok(mut gateway) => {
            copy_bidirectional_with_sizes(&mut program, &mut gateway, BUFFER, BUFFER).await?;
            Ok(())
        }
        Err(why) => refuse(program, &why).await,
    }
}

/// An answer of HTTP, whatever was asked.
async fn refuse(mut program: TcpStream, why: &str) -> std::io::Result<()> {
    let length = why.len() + 1;
    let answer = format!(
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{why}\n"
    );
    program.write_all(answer.as_bytes()).await?;
    program.shutdown().await?;
    // What was not read would reset the connection, and with it the answer.
    let mut rest = [0; 4096];
    let drain = async {
        while program.read(&mut rest).await? > 0 {}
        Ok(())
    };
    timeout(FIRST_WORD, drain).await.unwrap_or(Ok(()))
}
