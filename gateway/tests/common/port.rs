//! Addresses for gateways that are processes, or take their addresses as arguments.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to connections (from 32768 on): one of those could be somebody's by the time that the gateway listens,
/// which then ends. Beside the 8,000 of the crash matrix.
const FIRST_PORT: u16 = 10_000;
/// Each process looks through so many, beginning somewhere else, and goes on where it stopped.
const SPREAD: u16 = 8_000;

pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % u32::from(SPREAD)).unwrap();
    let candidates = (0..SPREAD).map(|_| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        SocketAddr::from((
            [127, 0, 0, 1],
            FIRST_PORT + (begin + number % SPREAD) % SPREAD,
        ))
    });
    let mut free = candidates.filter(|address| TcpListener::bind(address).is_ok());
    free.next().expect("no port is free")
}
