//! Kept answers in Redis: one key each, with the time that is left to it.

use super::Redis;
use crate::cache::key::Key;
use crate::cache::{Entry, MAX_BODY};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What stands before the body.
#[derive(Serialize, Deserialize)]
struct Head {
    provider: String,
    model: String,
    dropped: Vec<String>,
}

impl Redis {
    /// A kept answer, and how long it may still be given.
    pub async fn answer(&self, key: &Key) -> Option<(Arc<Entry>, Duration)> {
        let name = name(key);
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(&name).cmd("PTTL").arg(&name);
        let (bytes, left): (Option<Vec<u8>>, i64) = self.ask("get", &commands).await?;
        let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
        Some((Arc::new(decode(&bytes?)?), Duration::from_millis(left)))
    }

    /// Keeps an answer for so long.
    pub async fn keep(&self, key: &Key, entry: &Entry, ttl: Duration) {
        let Some(bytes) = encode(entry) else { return };
        let left = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut commands = redis::pipe();
        let set = commands.cmd("SET").arg(name(key)).arg(bytes);
        set.arg("PX").arg(left).ignore();
        let _: Option<()> = self.ask("put", &commands).await;
    }
}

fn name(key: &Key) -> String {
    format!("oarmaster:answer:{}", hex::encode(key))
}

fn encode(entry: &Entry) -> Option<Vec<u8>> {
    let head = Head {
        provider: entry.provider.clone(),
        model: entry.model.clone(),
        dropped: entry.dropped.clone(),
    };
    let head = serde_json::to_vec(&head).ok()?;
    let mut bytes = Vec::with_capacity(4 + head.len() + entry.body.len());
    bytes.extend(u32::try_from(head.len()).ok()?.to_be_bytes());
    bytes.extend(head);
    bytes.extend(&entry.body);
    Some(bytes)
}

/// None for what is no answer of ours: somebody else may have written it.
fn decode(bytes: &[u8]) -> Option<Entry> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    let (head, body) = rest.split_at_checked(size)?;
    let Head {
        provider,
        model,
        dropped,
    } = serde_json::from_slice(head).ok()?;
    (body.len() <= MAX_BODY).then(|| Entry {
        provider,
        model,
        dropped,
        body: Bytes::copy_from_slice(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_and_anything_else_is_none() {
        let entry = Entry {
            provider: "team/up".to_owned(),
            model: "m".to_owned(),
            dropped: vec!["logprobs".to_owned()],
            body: Bytes::from_static(b"{\"a\": \xff}"),
        };
        let bytes = encode(&entry).unwrap();
        assert_eq!(decode(&bytes), Some(entry));
        for cut in 0..bytes.len() - 9 {
            assert_eq!(decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(decode(&[0xff; 64]), None);
        let mut large = bytes;
        large.resize(MAX_BODY + 200, b'x');
        assert_eq!(decode(&large), None);
    }
}
