//! What the API server's audit log says: who asked for what, and when it was answered. Its clock is the same for everybody, and neither
//! the load generator's own delay nor that of a watch is in it.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// User name of the operator.
pub const OPERATOR: &str = "system:serviceaccount:oarmaster-system:oarmaster-operator";
/// User name of the gateway.
pub const GATEWAY: &str = "system:serviceaccount:oarmaster-system:oarmaster-gateway";

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// User name.
    pub user: String,
    /// Verb.
    pub verb: String,
    /// Resource, with its subresource after a slash.
    pub resource: String,
    /// Name of the object.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// When it was answered, in microseconds since the Unix epoch.
    pub at: i64,
}

impl Entry {
    /// Whether it changes an object that stays: reviews are questions, events and leases are counted apart.
    pub fn writes(&self) -> bool {
        let changes = matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        );
        let review = self.resource.ends_with("reviews");
        changes && !review && !matches!(self.resource.as_str(), "events" | "leases")
    }

    /// Whether it was carried out.
    pub fn done(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Reference>,
    response_status: Option<Response>,
    stage_timestamp: jiff::Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Response {
    code: u16,
}

/// The log, read on from where the last look ended.
pub struct Audit {
    reader: BufReader<File>,
    rest: String,
}

impl Audit {
    /// Opens the log.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .with_context(|| format!("failed to open the audit log {}", path.display()))?;
        Ok(Self {
            reader: BufReader::new(file),
            rest: String::new(),
        })
    }

    /// Everything that was answered since the last look.
    pub fn read(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        // A line that is being written is read on by the next look.
        while self.reader.read_line(&mut self.rest)? > 0 && self.rest.ends_with('\n') {
            let line: Line = serde_json::from_str(&self.rest)
                .with_context(|| format!("failed to read an audit line: {}", self.rest))?;
            self.rest.clear();
            entries.extend(entry(line));
        }
        Ok(entries)
    }
}

fn entry(line: Line) -> Option<Entry> {
    let Line {
        stage,
        verb,
        user,
        object_ref,
        response_status,
        stage_timestamp,
    } = line;
    let object = object_ref?;
    let resource = if object.subresource.is_empty() {
        object.resource
    } else {
        format!("{}/{}", object.resource, object.subresource)
    };
    (stage == "ResponseComplete").then(|| Entry {
        user: user.username,
        verb,
        resource,
        name: object.name,
        code: response_status.map_or(0, |status| status.code),
        at: stage_timestamp.as_microsecond(),
    })
}
