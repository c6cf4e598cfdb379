//! Head and tail of an output stream in bounded memory.

use oarmaster_protocol::exec::{Bytes, KEPT_BYTES, Output};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};

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

/// Reads a stream to its end, however long it is.
pub(super) fn drain(mut stream: impl Read) -> Output {
    let mut keeper = Keeper::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return keeper.finish(),
            Ok(count) => keeper.add(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return keeper.finish(), // a broken pipe has nothing more to say
        }
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
