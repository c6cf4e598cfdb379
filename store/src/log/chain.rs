//! Whether the log is what was written: each frame carries the hash of the one before it.

use super::frame::Hash;
use super::replay::{list, load, scan};
use crate::StoreError;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;

#[cfg(test)]
mod tests;

/// The bytes of a segment in which retention has taken something out, in hexadecimal digits of their SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The chain of hashes as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The first frame with a hash, and that hash: what was before it is vouched for by nothing else.
    pub first: Option<(u64, Hash)>,
    /// How many frames there are.
    pub frames: u64,
    /// The last frame, and the hash of it and so of all before it.
    pub last: Option<(u64, Hash)>,
    /// How many of them retention took out; their hashes are still there.
    pub taken: u64,
    /// The hash of the frame that was asked for.
    pub asked: Option<Hash>,
    /// The first thing that is not as it was written.
    pub broken: Option<String>,
}

/// Reads the frames below `before` from the beginning, to the first that is not as it was written. `asked` is a frame whose hash the
/// caller wants to know. `told` takes from a frame's payload which segments retention wrote anew, and with which digest: what stands there
/// instead of frames is vouched for by nothing else.
///
/// # Errors
/// When a file cannot be read at all.
pub fn verify(
    dir: &Path,
    before: u64,
    asked: Option<u64>,
    told: impl Fn(&[u8]) -> Vec<(u32, String)>,
) -> Result<Chain, StoreError> {
    let mut chain = Chain::default();
    let mut written: HashMap<u32, [String; 2]> = HashMap::new();
    let mut anew = Vec::new();
    let mut next = 0;
    for segment in 0..list(dir)? {
        if next >= before {
            break; // what is there is being written
        }
        let mut stands = false;
        let scanned = scan(dir, segment, before, &mut |found| {
            if found.number != next {
                return Err(format!("frame {next} is missing"));
            }
            // The first version had none, and what stands for its frames has zeros there.
            let unknown = found.stands.is_some() && chain.first.is_none() && next > 0;
            if let Some(hash) = found.before.filter(|hash| !unknown || *hash != [0; 32]) {
                if let Some((last, _)) = chain.last.filter(|(_, known)| *known != hash) {
                    return Err(format!(
                        "frame {last} is not what was written: frame {next} knows another hash of it"
                    ));
                }
                chain.first = chain.first.or(Some((next, hash)));
            } else if chain.first.is_some() {
                return Err(format!("frame {next} has no hash"));
            }
            for (segment, digest) in told(found.payload) {
                // The one before the newest counts, too: a crash may have come between the row and the file.
                let known = written.entry(segment).or_default();
                *known = [std::mem::take(&mut known[1]), digest];
            }
            let count = found.next().checked_sub(next);
            let count = count.ok_or_else(|| format!("frame {next} goes back"))?;
            if found.stands.is_some() {
                stands = true;
                chain.taken += count;
            }
            next = found.next();
            chain.frames += count;
            if let Some(last) = next.checked_sub(1) {
                let hash = found.hash();
                chain.last = Some((last, hash));
                if asked == Some(last) {
                    chain.asked = Some(hash);
                }
            }
            Ok(())
        });
        if stands {
            anew.push(segment);
        }
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
    if next < before {
        chain.broken = Some(format!("frame {next} is missing"));
        return Ok(chain);
    }
    for segment in anew {
        let found = digest(&load(dir, segment)?);
        let known = written.get(&segment);
        if known.is_none_or(|digests| !digests.contains(&found)) {
            chain.broken = Some(format!(
                "segment {segment} is not what retention left of it: no frame knows its digest {found}"
            ));
            break;
        }
    }
    Ok(chain)
}
