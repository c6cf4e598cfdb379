//! Head and tail of an output stream in bounded memory.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use oarmaster_protocol::exec::{Bytes, KEPT_BYTES, Output};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, PipeReader, Read as _};
use std::os::fd::{AsFd, BorrowedFd};

/// Keeps the first and the last [`KEPT_BYTES`] bytes of what it is given, and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Keeper {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        // Only the last KEPT_BYTES of a large piece can stay.
        let skipped = rest.len().saturating_sub(KEPT_BYTES);
        let (_, last) = rest.split_at(skipped);
        let overflow = (self.tail.len() + last.len()).saturating_sub(KEPT_BYTES);
        self.tail.drain(..overflow);
        self.tail.extend(last);
        self.dropped += (skipped + overflow) as u64;
    }

    pub(super) fn finish(self) -> Output {
        Output {
            head: Bytes(self.head),
            tail: Bytes(self.tail.into()),
            dropped: self.dropped,
        }
    }
}

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// One output stream of a call, read without ever waiting for it.
pub(super) struct Stream {
    /// Absent once the stream has ended.
    pipe: Option<PipeReader>,
    keeper: Keeper,
}

impl Stream {
    pub(super) fn new(pipe: PipeReader) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            pipe: Some(pipe),
            keeper: Keeper::default(),
        })
    }

    /// What to wait for; absent once the stream has ended.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes one piece, if there is one. Returns whether there was.
    pub(super) fn advance(&mut self) -> bool {
        let mut buffer = [0; PIECE];
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        match pipe.read(&mut buffer) {
            Ok(count) if count > 0 => {
                self.keeper.add(buffer.get(..count).unwrap_or_default());
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            _ => {
                self.pipe = None; // its end, or broken: it has nothing more to say
                false
            }
        }
    }

    /// The whole output, once every process of the call is dead. The stream's end is not waited for: a writing end can outlive its
    /// processes, on its way through a socket that nobody reads.
    pub(super) fn finish(mut self) -> Output {
        while self.advance() {}
        self.keeper.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the pieces, nothing is lost below the bound, and above it head, tail and count are exact.
        #[test]
        fn head_and_tail_are_exact(pieces in prop::collection::vec((0usize..200_000, any::<u8>()), 0..6)) {
            let mut keeper = Keeper::default();
            let mut all = Vec::new();
            for (length, seed) in pieces {
                let piece: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
                keeper.add(&piece);
                all.extend(piece);
            }
            let output = keeper.finish();
            let kept = output.head.0.len() + output.tail.0.len();
            prop_assert_eq!(kept as u64 + output.dropped, all.len() as u64);
            prop_assert!(output.head.0.len() <= KEPT_BYTES && output.tail.0.len() <= KEPT_BYTES);
            prop_assert!(all.starts_with(&output.head.0) && all.ends_with(&output.tail.0));
            prop_assert!(output.dropped == 0 || kept == 2 * KEPT_BYTES);
        }
    }
}
