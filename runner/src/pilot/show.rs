//! What the model, and whoever reads the transcript, is shown of exec's answers.

use oarmaster_protocol::assignment::Sandbox;
use oarmaster_protocol::exec::{EntryKind, Output, Ran, Response, Stopped};
use oarmaster_protocol::journal::{MAX_OUTPUT_BYTES, RunOutput};
use std::fmt::Write as _;

/// Bytes of each stream that are shown from the start, and again from the end.
const SHOWN_BYTES: usize = 8 << 10;
/// Bytes of each stream in a [`RunOutput`].
const TAIL_BYTES: usize = 4 << 10;

/// The text of an answer, and whether exec did what it was asked.
#[must_use]
pub fn show(response: &Response, sandbox: &Sandbox) -> (bool, String) {
    match response {
        Response::Ran(ran) => (succeeded(ran), ran_text(ran, sandbox)),
        Response::Content {
            content,
            next_line,
            cut,
            size,
        } => {
            let mut text = String::from_utf8_lossy(&content.0).into_owned();
            if *cut {
                let _ = write!(
                    text,
                    "\n[this line is longer than what is shown; the file has {size} bytes]"
                );
            }
            if let Some(line) = next_line {
                let _ = write!(text, "\n[the file goes on; read from offset {line}]");
            }
            if text.is_empty() {
                text.push_str("[empty]");
            }
            (true, text)
        }
        Response::Done => (true, "done".to_owned()),
        Response::Listing { entries, truncated } => {
            let mut text: String = entries
                .iter()
                .map(|entry| match entry.kind {
                    EntryKind::File => format!("{} ({} bytes)\n", entry.path, entry.size),
                    EntryKind::Directory => format!("{}/\n", entry.path),
                    EntryKind::Link => format!("{} (symbolic link)\n", entry.path),
                    EntryKind::Other => format!("{} (not a regular file)\n", entry.path),
                })
                .collect();
            if *truncated {
                text.push_str("[there is more; list a directory]");
            }
            if text.is_empty() {
                text.push_str("[empty]");
            }
            (true, text)
        }
        Response::Found { hits, truncated } => {
            let mut text: String = hits
                .iter()
                .map(|hit| format!("{}:{}: {}\n", hit.path, hit.line, hit.text))
                .collect();
            if let Some(why) = truncated {
                let _ = write!(text, "[{why}]");
            }
            if text.is_empty() {
                text.push_str("[nothing found]");
            }
            (true, text)
        }
        Response::Failed(failed) => (false, failed.message.clone()),
        Response::Hello { .. }
        | Response::Probed { .. }
        | Response::Chunk { .. }
        | Response::Collected { .. } => (
            false,
            "the sandbox gave an answer that does not fit".to_owned(),
        ),
    }
}

/// Whether a program ended by itself with exit code 0.
#[must_use]
pub fn succeeded(ran: &Ran) -> bool {
    ran.exit_code == Some(0) && ran.stopped.is_none()
}

/// How a program ended, in a few words.
#[must_use]
pub fn ending(ran: &Ran, sandbox: &Sandbox) -> String {
    match (ran.stopped, ran.exit_code, ran.signal) {
        (Some(Stopped::Timeout), ..) => format!(
            "stopped after {}: the time limit of the call",
            duration(ran.duration_ms)
        ),
        (Some(Stopped::OutOfMemory), ..) => format!(
            "stopped: out of memory (limit {} MiB, seen {} MiB)",
            sandbox.memory_bytes >> 20,
            ran.peak_memory >> 20
        ),
        (Some(Stopped::TooManyProcesses), ..) => format!(
            "stopped: too many processes and threads (limit {}, seen {})",
            sandbox.max_processes, ran.peak_processes
        ),
        (None, Some(code), _) => format!("exit code {code}"),
        (None, None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None, None) => "ended without a status".to_owned(),
    }
}

/// Ending and both streams, each cut in the middle.
#[must_use]
pub fn ran_text(ran: &Ran, sandbox: &Sandbox) -> String {
    let mut text = ending(ran, sandbox);
    for (name, output) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        let shown = excerpt(output);
        if !shown.is_empty() {
            let _ = write!(text, "\n[{name}]\n{shown}");
        }
    }
    text
}

/// Start and end of a stream.
fn excerpt(output: &Output) -> String {
    let kept = [output.head.0.as_slice(), output.tail.0.as_slice()].concat();
    if output.dropped == 0 && kept.len() <= 2 * SHOWN_BYTES {
        return String::from_utf8_lossy(&kept).into_owned();
    }
    let half = SHOWN_BYTES.min(kept.len() / 2);
    let head = before_boundary(kept.get(..half).unwrap_or_default());
    let tail = after_boundary(kept.get(kept.len() - half..).unwrap_or_default());
    let left_out = output.dropped + (kept.len() - head.len() - tail.len()) as u64;
    format!(
        "{}\n[{left_out} bytes left out; write output to a file to see more of it]\n{}",
        String::from_utf8_lossy(head),
        String::from_utf8_lossy(tail)
    )
}

/// Without the start of a character that was cut off at the end.
fn before_boundary(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => bytes,
    }
}

/// Without the rest of a character that was cut off at the start.
fn after_boundary(bytes: &[u8]) -> &[u8] {
    let skip = bytes
        .iter()
        .take(3)
        .take_while(|byte| (**byte & 0xc0) == 0x80)
        .count();
    bytes.get(skip..).unwrap_or_default()
}

/// The last `bytes` of a stream as text.
fn tail(output: &Output, bytes: usize) -> String {
    let kept = [output.head.0.as_slice(), output.tail.0.as_slice()].concat();
    let start = kept.len().saturating_sub(bytes);
    let last = kept.get(start..).unwrap_or_default();
    String::from_utf8_lossy(if start > 0 {
        after_boundary(last)
    } else {
        last
    })
    .into_owned()
}

/// The last lines of both streams in at most `bytes` of text, for a message.
#[must_use]
pub fn last_lines(ran: &Ran, bytes: usize) -> String {
    let output = if ran.stderr.head.0.is_empty() {
        &ran.stdout
    } else {
        &ran.stderr
    };
    tail(output, bytes).trim().to_owned()
}

/// The output of a `run`. Escapes can make a tail six times as long, so tails are halved until everything fits.
#[must_use]
pub fn run_output(ran: &Ran) -> RunOutput {
    let with = |bytes| RunOutput {
        exit_code: ran.exit_code,
        signal: ran.signal,
        stdout_tail: tail(&ran.stdout, bytes),
        stderr_tail: tail(&ran.stderr, bytes),
        cpu_seconds: format!("{}.{:03}", ran.cpu_ms / 1000, ran.cpu_ms % 1000),
        peak_memory: ran.peak_memory,
        duration: duration(ran.duration_ms),
    };
    let fits = |output: &RunOutput| {
        serde_json::to_vec(output).is_ok_and(|bytes| bytes.len() <= MAX_OUTPUT_BYTES)
    };
    let mut bytes = TAIL_BYTES;
    loop {
        let output = with(bytes);
        if bytes == 0 || fits(&output) {
            return output;
        }
        bytes /= 2;
    }
}

/// A duration as the API writes it (GEP-2257), to the millisecond.
#[must_use]
pub fn duration(ms: u64) -> String {
    let parts = [
        (ms / 3_600_000, "h"),
        (ms / 60_000 % 60, "m"),
        (ms / 1000 % 60, "s"),
        (ms % 1000, "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_protocol::exec::{Bytes, Entry, Failed, FailedCode, Hit};
    use proptest::prelude::*;

    fn sandbox() -> Sandbox {
        Sandbox {
            memory_bytes: 512 << 20,
            disk_bytes: 0,
            max_processes: 256,
            call_timeout_ms: 1000,
            require_landlock: false,
            network_policy_within_ms: None,
        }
    }

    fn output(head: &[u8], dropped: u64, tail: &[u8]) -> Output {
        Output {
            head: Bytes(head.into()),
            tail: Bytes(tail.into()),
            dropped,
        }
    }

    #[test]
    fn endings() {
        let ran = |exit_code, signal, stopped| Ran {
            exit_code,
            signal,
            stopped,
            duration_ms: 90_500,
            peak_memory: 600 << 20,
            peak_processes: 300,
            ..Ran::default()
        };
        for (ran, text) in [
            (ran(Some(3), None, None), "exit code 3"),
            (ran(None, Some(11), None), "ended by signal 11"),
            (
                ran(None, Some(9), Some(Stopped::Timeout)),
                "stopped after 1m30s500ms: the time limit of the call",
            ),
            (
                ran(None, Some(9), Some(Stopped::OutOfMemory)),
                "stopped: out of memory (limit 512 MiB, seen 600 MiB)",
            ),
            (
                ran(None, Some(9), Some(Stopped::TooManyProcesses)),
                "stopped: too many processes and threads (limit 256, seen 300)",
            ),
            (ran(None, None, None), "ended without a status"),
        ] {
            assert_eq!(ending(&ran, &sandbox()), text);
        }
    }

    #[test]
    fn streams_are_joined_or_cut_in_the_middle() {
        let ran = Ran {
            exit_code: Some(0),
            stdout: output(
                "a\u{e9}".as_bytes().split_at(2).0,
                0,
                "\u{e9}".as_bytes().split_at(1).1,
            ),
            ..Ran::default()
        };
        assert_eq!(
            show(&Response::Ran(ran), &sandbox()),
            (true, "exit code 0\n[stdout]\na\u{e9}".to_owned())
        );
        let long = "\u{1F600}".repeat(10_000).into_bytes();
        let shown = excerpt(&output(&long, 100, &long));
        assert!(
            shown.len() < 3 * SHOWN_BYTES && !shown.contains('\u{fffd}'),
            "{}",
            shown.len()
        );
        assert!(shown.contains("bytes left out"));
        assert_eq!(excerpt(&output(b"\xff\0", 0, b"")), "\u{fffd}\0");
    }

    #[test]
    fn every_answer_has_a_text() {
        let content = |text: &str, next_line, cut| Response::Content {
            content: Bytes(text.into()),
            next_line,
            cut,
            size: 9,
        };
        let entry = |path: &str, kind| Entry {
            path: path.into(),
            kind,
            size: 3,
        };
        let hit = Hit {
            path: "a".into(),
            line: 2,
            text: "x".into(),
        };
        for (response, text) in [
            (content("a\n", None, false), "a\n"),
            (content("", None, false), "[empty]"),
            (
                content("a\n", Some(2), false),
                "a\n\n[the file goes on; read from offset 2]",
            ),
            (
                content("a", Some(2), true),
                "a\n[this line is longer than what is shown; the file has 9 bytes]\n[the file goes on; read from offset 2]",
            ),
            (
                Response::Listing {
                    entries: vec![
                        entry("f", EntryKind::File),
                        entry("d", EntryKind::Directory),
                        entry("l", EntryKind::Link),
                        entry("o", EntryKind::Other),
                    ],
                    truncated: true,
                },
                "f (3 bytes)\nd/\nl (symbolic link)\no (not a regular file)\n[there is more; list a directory]",
            ),
            (
                Response::Listing {
                    entries: vec![],
                    truncated: false,
                },
                "[empty]",
            ),
            (
                Response::Found {
                    hits: vec![hit],
                    truncated: Some("more".into()),
                },
                "a:2: x\n[more]",
            ),
            (
                Response::Found {
                    hits: vec![],
                    truncated: None,
                },
                "[nothing found]",
            ),
            (Response::Done, "done"),
        ] {
            assert_eq!(show(&response, &sandbox()), (true, text.to_owned()));
        }
        let failed = Response::Failed(Failed {
            code: FailedCode::NotFound,
            message: "there is no `a`".into(),
        });
        assert_eq!(
            show(&failed, &sandbox()),
            (false, "there is no `a`".to_owned())
        );
        assert!(!show(&Response::Hello { landlock: 1 }, &sandbox()).0);
    }

    #[test]
    fn durations_are_those_of_the_api() {
        for (ms, text) in [
            (0, "0s"),
            (7, "7ms"),
            (61_000, "1m1s"),
            (3_723_004, "1h2m3s4ms"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    proptest! {
        /// Whatever a program prints, the output of a run keeps its bound.
        #[test]
        fn run_output_is_bounded(bytes in prop::collection::vec(any::<u8>(), 0..10_000), zeros in any::<bool>()) {
            let bytes = if zeros { vec![0; bytes.len()] } else { bytes };
            let ran = Ran { stdout: output(&bytes, 0, b""), stderr: output(&bytes, 5, &bytes), ..Ran::default() };
            prop_assert!(serde_json::to_vec(&run_output(&ran)).unwrap().len() <= MAX_OUTPUT_BYTES);
            prop_assert!(ran_text(&ran, &sandbox()).len() < 10 * SHOWN_BYTES);
        }
    }
}
