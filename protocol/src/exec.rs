//! What the pilot says to exec over the unix socket in the pod: one [`Request`] at a time, one [`Response`] each.
//!
//! A frame is a big-endian `u32` length and that many bytes of JSON. The answers to [`Request::Collect`] and [`Request::Snapshot`] may be preceded
//! by any number of [`Response::Chunk`]s, and [`Request::Restore`] and [`Request::Place`] are followed by any number of [`Request::Chunk`]s, an empty one at the end. What a program did (exit code, time-out, out of memory) is an observation in a [`Ran`]; [`Failed`] is for a
//! request that exec could not carry out.

use crate::assignment::{Program, Sandbox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of these messages; both sides come from the same binary, so another one means a mixed pod.
pub const VERSION: u32 = 6;

/// Largest frame in bytes.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// Largest file that can be written or edited in one request, in bytes.
pub const MAX_FILE_BYTES: usize = 8 << 20;

/// Bytes of output that are kept from the start, and again from the end, of standard output and standard error each.
pub const KEPT_BYTES: usize = 64 << 10;

/// Bytes, as base64 on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        base64::engine::general_purpose::STANDARD
            .decode(text.as_ref())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// A request of the pilot. Paths are relative to the workspace; links are never followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Request {
    /// First on every connection: the bounds of what follows. Answered by [`Response::Hello`].
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Bounds of every call.
        sandbox: Sandbox,
        /// The port of loopback that programs may connect to, where the sandbox has egress or a pool: the pilot's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        egress_port: Option<u16>,
    },
    /// Proves the isolation of a child. Answered by [`Response::Probed`].
    Probe,
    /// Runs a program to its end. Answered by [`Response::Ran`].
    Run(Run),
    /// Reads lines of a text file. Answered by [`Response::Content`].
    Read {
        /// The file.
        path: String,
        /// First line, from 1.
        first_line: u64,
        /// Most lines.
        lines: u64,
        /// Most bytes.
        max_bytes: u64,
    },
    /// Writes a whole file, with the directories above it. Answered by [`Response::Done`].
    Write {
        /// The file.
        path: String,
        /// Its new content.
        content: Bytes,
    },
    /// Replaces the one place where `old` stands. Answered by [`Response::Done`].
    Edit {
        /// The file.
        path: String,
        /// Text that is there exactly once.
        old: String,
        /// Text to put in its place.
        new: String,
    },
    /// Lists a directory and what is below it, nearest first. Answered by [`Response::Listing`].
    List {
        /// The directory; empty for the workspace itself.
        path: String,
        /// Most entries.
        max_entries: u32,
    },
    /// Finds lines that match a regular expression. Answered by [`Response::Found`].
    Search {
        /// The expression, in the syntax of the `regex` crate.
        pattern: String,
        /// File or directory to search; empty for the workspace itself.
        path: String,
        /// Most hits.
        max_hits: u32,
    },
    /// Sends what a glob names: one plain file as it is, anything else as a tar archive. Answered by [`Response::Collected`].
    Collect {
        /// The glob.
        pattern: String,
        /// Most bytes.
        max_bytes: u64,
    },
    /// Sends what of the workspace has changed since the last snapshot, as a tar archive; nothing where nothing has. Answered by
    /// [`Response::Snapshot`].
    Snapshot {
        /// Everything is to be sent.
        base: bool,
    },
    /// Replaces the workspace by what is in the archives that follow, one layer over the other. Answered by [`Response::Done`].
    Restore,
    /// Puts what follows into the workspace, with the directories above it. Answered by [`Response::Done`].
    Place {
        /// The file; of an archive the directory that it is unpacked in.
        path: String,
        /// Whether it is a tar archive of plain files.
        archive: bool,
    },
    /// A piece of what follows; after an empty one nothing does.
    Chunk {
        /// The bytes.
        content: Bytes,
    },
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// What to run.
    pub program: Program,
    /// Environment beside the sandbox's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Wall time; the sandbox's own bound is the upper limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Bytes of files in the workspace and in directories for temporary files; the sandbox's own bound is the upper limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
}

/// An answer of exec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Response {
    /// exec is ready.
    Hello {
        /// Landlock ABI of the kernel; 0 when it has none.
        landlock: u32,
    },
    /// The result of the isolation probe.
    Probed {
        /// Whether everything that must be refused was refused.
        proven: bool,
        /// One line per probe.
        findings: Vec<String>,
        /// Languages of [`Program::Code`] that the image has an interpreter for.
        languages: Vec<String>,
    },
    /// How a program ended.
    Ran(Ran),
    /// Lines of a file.
    Content {
        /// The bytes, whole lines unless one line alone is larger than the bound.
        content: Bytes,
        /// Number of the first line that is not in `content`; absent at the end of the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_line: Option<u64>,
        /// Whether a line was cut at the bound.
        cut: bool,
        /// Size of the file in bytes.
        size: u64,
    },
    /// It is done.
    Done,
    /// A directory's content.
    Listing {
        /// The entries.
        entries: Vec<Entry>,
        /// Whether there are more.
        truncated: bool,
    },
    /// Search hits.
    Found {
        /// The hits, in order of path and line.
        hits: Vec<Hit>,
        /// Why the search ended early; absent when it looked at everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        truncated: Option<String>,
    },
    /// A piece of what is collected.
    Chunk {
        /// The bytes.
        content: Bytes,
    },
    /// Everything was collected.
    Collected {
        /// Number of files; 0 means that nothing matched.
        files: u32,
        /// Whether they were sent as an archive.
        archive: bool,
        /// What was left out (links, devices, pipes), bounded.
        skipped: Vec<String>,
    },
    /// What has changed was sent.
    Snapshot {
        /// Whether it is everything.
        base: bool,
        /// Number of files, directories, links and removed paths; 0 means that nothing has changed.
        entries: u32,
        /// What was left out (devices, pipes, files without permission to read), bounded.
        skipped: Vec<String>,
    },
    /// The request could not be carried out.
    Failed(Failed),
}

/// How a program ended. Everything here is an observation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// Exit code; absent after a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why exec stopped it; absent when it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// CPU time of all its processes, in milliseconds.
    pub cpu_ms: u64,
    /// Largest memory of all its processes together that was seen, in bytes.
    pub peak_memory: u64,
    /// Most processes and threads that were seen at once.
    pub peak_processes: u32,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
}

/// Why exec stopped a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stopped {
    /// Its wall time was over.
    Timeout,
    /// Its processes together reached the memory limit.
    OutOfMemory,
    /// It had too many processes and threads.
    TooManyProcesses,
    /// Its files in the workspace and in directories for temporary files went over the disk's limit.
    DiskFull,
}

/// Head and tail of an output stream. Without anything dropped the stream is head followed by tail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The first bytes, at most [`KEPT_BYTES`].
    pub head: Bytes,
    /// The last bytes after the head, at most [`KEPT_BYTES`].
    pub tail: Bytes,
    /// Bytes between head and tail that were read and thrown away.
    pub dropped: u64,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Path relative to the workspace.
    pub path: String,
    /// How many U+FFFD in `path` stand for bytes that are not UTF-8.
    pub replaced: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; 0 for anything but a file.
    pub size: u64,
}

/// Kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, not followed.
    Link,
    /// Anything else.
    Other,
}

/// One line that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Path relative to the workspace.
    pub path: String,
    /// Number of the line, from 1.
    pub line: u64,
    /// The line, at most 500 characters; `…` follows where it is longer.
    pub text: String,
    /// How many U+FFFD in `path` and `text` stand for bytes that are not UTF-8.
    pub replaced: u64,
}

/// Why a request could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The class.
    pub code: FailedCode,
    /// One sentence: what, and what to do instead.
    pub message: String,
}

/// Class of a [`Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailedCode {
    /// The request makes no sense.
    InvalidRequest,
    /// No such file.
    NotFound,
    /// It is not what the request needs (a directory, a device, not text).
    WrongKind,
    /// The path leaves the workspace, or a link is in it.
    Refused,
    /// A bound was reached.
    TooLarge,
    /// The workspace is full.
    NoSpace,
    /// The text to replace is not there, or more than once.
    NoSingleMatch,
    /// The program could not be started: it, or its interpreter, is not in the image.
    StartFailed,
    /// The confinement could not be set up; nothing ran.
    NotConfined,
    /// The system said no.
    Io,
}
