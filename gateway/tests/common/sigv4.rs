//! AWS's signatures, version 4, as a server checks them: from what arrived and the secret, with nothing of what makes them in the gateway.

use super::upstream::Got;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Credentials as AWS has them.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub id: &'a str,
    pub secret: &'a str,
    pub token: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
}

/// What is wrong with a request's signature.
pub fn check(got: &Got, known: Known<'_>) -> Result<(), String> {
    let header = |name: &str| got.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or("it is not signed")?;
    let text = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("another algorithm")?;
    let mut fields = std::collections::BTreeMap::new();
    for field in text.split(',') {
        let (name, value) = field
            .trim()
            .split_once('=')
            .ok_or("a field without value")?;
        fields.insert(name, value);
    }
    let field = |name: &str| fields.get(name).copied().ok_or(format!("no {name}"));
    let at = header("x-amz-date").ok_or("no date")?;
    let date = at.get(..8).ok_or("a short date")?;
    let scope = format!("{date}/{}/{}/aws4_request", known.region, known.service);
    if field("Credential")? != format!("{}/{scope}", known.id) {
        return Err(format!("another scope: {}", field("Credential")?));
    }
    if header("x-amz-security-token") != known.token {
        return Err("another session token".to_owned());
    }
    let signed = field("SignedHeaders")?;
    let needed = ["host", "x-amz-date"]
        .into_iter()
        .chain(known.token.map(|_| "x-amz-security-token"))
        .chain(header("content-type").map(|_| "content-type"));
    for name in needed {
        if !signed.split(';').any(|signed| signed == name) {
            return Err(format!("{name} is not signed"));
        }
    }
    let (path, query) = got.path.split_once('?').unwrap_or((&got.path, ""));
    let mut canonical = format!("{}\n{}\n{query}\n", got.method, again(path));
    for name in signed.split(';') {
        let value = header(name).ok_or_else(|| format!("{name} is signed and not there"))?;
        writeln!(canonical, "{name}:{}", value.trim()).unwrap();
    }
    write!(canonical, "\n{signed}\n{}", digest(got.body.as_bytes())).unwrap();
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{at}\n{scope}\n{}",
        digest(canonical.as_bytes())
    );
    let mut key = format!("AWS4{}", known.secret).into_bytes();
    for part in [date, known.region, known.service, "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
    if field("Signature")? == signature {
        Ok(())
    } else {
        Err(format!("another signature for\n{canonical}"))
    }
}

/// A path that is encoded, encoded once more, as every service but S3 does.
fn again(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    encoded
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    assert!(key.len() <= block.len());
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|of_key| of_key ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message);
    let outer = Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner.finalize());
    outer.finalize().to_vec()
}
