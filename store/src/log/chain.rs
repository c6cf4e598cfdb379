//! Whether the log is what was written: each frame carries the hash of the one before it.

use super::frame::Hash;
use super::replay::{list, scan};
use crate::StoreError;
use std::path::Path;

#[cfg(test)]
mod tests;

/// The chain of hashes as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The first frame with a hash, and that hash: what was before it is vouched for by nothing else.
    pub first: Option<(u64, Hash)>,
    /// How many frames there are.
    pub frames: u64,
    /// The last frame, and the hash of it and so of all before it.
    pub last: Option<(u64, Hash)>,
    /// The hash of the frame that was asked for.
    pub asked: Option<Hash>,
    /// The first thing that is not as it was written.
    pub broken: Option<String>,
}

/// Reads the frames below `before` from the beginning, to the first that is not as it was written. `asked` is a frame whose hash the
/// caller wants to know.
///
/// # Errors
/// When a file cannot be read at all.
pub fn verify(dir: &Path, before: u64, asked: Option<u64>) -> Result<Chain, StoreError> {
    let mut chain = Chain::default();
    for segment in 0..list(dir)? {
        if chain.last.is_some_and(|(last, _)| last + 1 >= before) {
            break; // what is there is being written
        }
        let scanned = scan(dir, segment, before, &mut |found| {
            let number = chain.last.map_or(0, |(last, _)| last + 1); // nothing is cut off yet
            if found.number != number {
                return Err(format!("frame {number} is missing"));
            }
            if let Some(hash) = found.before {
                if let Some((last, _)) = chain.last.filter(|(_, known)| *known != hash) {
                    return Err(format!(
                        "frame {last} is not what was written: frame {number} knows another hash of it"
                    ));
                }
                chain.first = chain.first.or(Some((number, hash)));
            } else if chain.first.is_some() {
                return Err(format!("frame {number} has no hash"));
            }
            let hash = found.hash();
            chain.frames += 1;
            chain.last = Some((number, hash));
            if asked == Some(number) {
                chain.asked = Some(hash);
            }
            Ok(())
        });
        match scanned {
            Err(StoreError::Corrupt {
                segment,
                offset,
                what,
            }) => {
                chain.broken = Some(format!("{what} (segment {segment}, offset {offset})"));
                return Ok(chain);
            }
            other => other?,
        }
    }
    let end = chain.last.map_or(0, |(last, _)| last + 1);
    if end < before {
        chain.broken = Some(format!("frame {end} is missing"));
    }
    Ok(chain)
}
