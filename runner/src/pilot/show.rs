//! What the model, and whoever reads the transcript, is shown of exec's answers.

use oarmaster_protocol::assignment::Sandbox;
use oarmaster_protocol::exec::{EntryKind, Output, Ran, Response, Stopped};
use oarmaster_protocol::journal::{MAX_OUTPUT_BYTES, RunOutput};
use oarmaster_protocol::text;
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
            let read = text::decode(&content.0);
            let mut text = read.text.into_owned();
            add_note(&mut text, replaced_bytes("the file", read.replaced));
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
            let replaced = entries.iter().map(|entry| entry.replaced).sum();
            add_note(&mut text, replaced_bytes("names", replaced));
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
            let replaced = hits.iter().map(|hit| hit.replaced).sum();
            add_note(&mut text, replaced_bytes("lines", replaced));
            if text.is_empty() {
                text.push_str("[nothing found]");
            }
            (true, text)
        }
        Response::Failed(failed) => (false, failed.message.clone()),
        Response::Hello { .. }
        | Response::Probed { .. }
        | Response::Chunk { .. }
        | Response::Snapshot { .. }
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
        (Some(Stopped::DiskFull), ..) => format!(
            "stopped: the files in the workspace and /tmp are over the disk limit ({} MiB); remove some",
            sandbox.disk_bytes >> 20
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
        let (shown, replaced) = excerpt(output);
        if !shown.is_empty() {
            let _ = write!(text, "\n[{name}]\n{shown}");
            add_note(&mut text, replaced_bytes(name, replaced));
        }
    }
    text
}

/// What a reader must know of text that was not UTF-8.
fn replaced_bytes(what: &str, count: u64) -> Option<String> {
    (count > 0)
        .then(|| format!("{what}: U+FFFD stands for bytes that are not UTF-8, {count} times"))
}

/// What a reader must know of JSON whose escapes are no characters.
#[must_use]
pub fn replaced_halves(what: &str, count: u64) -> Option<String> {
    (count > 0).then(|| format!("{what}: U+FFFD stands for half a surrogate pair, {count} times"))
}

fn add_note(text: &mut String, note: Option<String>) {
    if let Some(note) = note {
        let _ = write!(text, "\n[{note}]");
    }
}

/// Start and end of a stream, cut between characters, and how many U+FFFD in them stand for bytes that are not UTF-8.
fn excerpt(output: &Output) -> (String, u64) {
    let kept = [output.head.0.as_slice(), output.tail.0.as_slice()].concat();
    if output.dropped == 0 && kept.len() <= 2 * SHOWN_BYTES {
        let all = text::decode(&kept);
        return (all.text.into_owned(), all.replaced);
    }
    let half = SHOWN_BYTES.min(kept.len() / 2);
    let begin = kept.get(..half).unwrap_or_default();
    let head = begin.get(..text::whole(begin)).unwrap_or_default();
    let tail = kept.get(text::ceil(&kept, kept.len() - half)..);
    let tail = tail.unwrap_or_default();
    let left_out = output.dropped + (kept.len() - head.len() - tail.len()) as u64;
    let (head, tail) = (text::decode(head), text::decode(tail));
    let shown = format!(
        "{}\n[{left_out} bytes left out; write output to a file to see more of it]\n{}",
        head.text, tail.text
    );
    (shown, head.replaced + tail.replaced)
}

/// The end of a stream.
struct Tail {
    text: String,
    /// U+FFFD in the text that stand for bytes that are not UTF-8.
    replaced: u64,
    /// Bytes before it.
    omitted: u64,
}

/// The last `bytes` of a stream, from a character on.
fn tail(output: &Output, bytes: usize) -> Tail {
    let kept = [output.head.0.as_slice(), output.tail.0.as_slice()].concat();
    let start = text::ceil(&kept, kept.len().saturating_sub(bytes));
    let last = text::decode(kept.get(start..).unwrap_or_default());
    Tail {
        replaced: last.replaced,
        text: last.text.into_owned(),
        omitted: output.dropped + start as u64,
    }
}

/// The last lines of both streams in at most `bytes` of text, for a message.
#[must_use]
pub fn last_lines(ran: &Ran, bytes: usize) -> String {
    let output = if ran.stderr.head.0.is_empty() {
        &ran.stdout
    } else {
        &ran.stderr
    };
    let tail = tail(output, bytes);
    let cut = if tail.omitted > 0 { "…" } else { "" };
    format!("{cut}{}", tail.text.trim())
}

/// The output of a `run`, and what the transcript must say of it. Escapes can make a tail six times as long, so tails are halved until
/// everything fits.
#[must_use]
pub fn run_output(ran: &Ran) -> (RunOutput, Vec<String>) {
    let with = |bytes| {
        let (stdout, stderr) = (tail(&ran.stdout, bytes), tail(&ran.stderr, bytes));
        let replaced = [
            replaced_bytes("stdout", stdout.replaced),
            replaced_bytes("stderr", stderr.replaced),
        ];
        let output = RunOutput {
            exit_code: ran.exit_code,
            signal: ran.signal,
            stdout_tail: stdout.text,
            stdout_omitted: stdout.omitted,
            stderr_tail: stderr.text,
            stderr_omitted: stderr.omitted,
            cpu_seconds: format!("{}.{:03}", ran.cpu_ms / 1000, ran.cpu_ms % 1000),
            peak_memory: ran.peak_memory,
            duration: duration(ran.duration_ms),
        };
        (output, replaced.into_iter().flatten().collect())
    };
    let fits = |output: &RunOutput| {
        serde_json::to_vec(output).is_ok_and(|bytes| bytes.len() <= MAX_OUTPUT_BYTES)
    };
    let mut bytes = TAIL_BYTES;
    loop {
        let (output, replaced) = with(bytes);
        if bytes == 0 || fits(&output) {
            return (output, replaced);
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
    use oarmaster_protocol::exec::{Bytes, Entry, Failed, FailedCode, Hit, KEPT_BYTES};
    use proptest::prelude::*;

    fn sandbox() -> Sandbox {
        Sandbox {
            memory_bytes: 512 << 20,
            disk_bytes: 256 << 20,
            max_processes: 256,
            call_timeout_ms: 1000,
            ..Sandbox::default()
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
            (
                ran(None, Some(9), Some(Stopped::DiskFull)),
                "stopped: the files in the workspace and /tmp are over the disk limit (256 MiB); remove some",
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
        let (shown, _) = excerpt(&output(&long, 100, &long));
        assert!(
            shown.len() < 3 * SHOWN_BYTES && !shown.contains('\u{fffd}'),
            "{}",
            shown.len()
        );
        assert!(shown.contains("bytes left out"));
        assert_eq!(
            excerpt(&output(b"\xff\0", 0, b"")),
            ("\u{fffd}\0".to_owned(), 1)
        );
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
            replaced: 0,
            kind,
            size: 3,
        };
        let hit = Hit {
            path: "a".into(),
            line: 2,
            text: "x".into(),
            replaced: 0,
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
            prop_assert!(serde_json::to_vec(&run_output(&ran).0).unwrap().len() <= MAX_OUTPUT_BYTES);
            prop_assert!(ran_text(&ran, &sandbox()).len() < 10 * SHOWN_BYTES);
        }

        /// Whatever a program prints and wherever its output is cut: no character is broken, what is missing is counted to the byte,
        /// and U+FFFD is where the bytes are not UTF-8 and nowhere else.
        #[test]
        fn cuts_break_no_character(
            letters in prop::collection::vec(any::<char>(), 1..60), odd in prop::collection::vec(any::<u8>(), 0..3),
            times in 1usize..400, dropped in prop_oneof![Just(0u64), 1u64..1_000_000],
        ) {
            let unit = [letters.iter().collect::<String>().as_bytes(), &odd].concat();
            let bytes = unit.repeat(times);
            let whole = text::decode(&bytes);
            let stream = if dropped == 0 {
                output(&bytes, 0, b"")
            } else {
                // As exec has it: both parts are full, and the rest between them is gone.
                let full = unit.repeat(KEPT_BYTES / unit.len() + 1);
                output(&full[..KEPT_BYTES], dropped, &full[full.len() - KEPT_BYTES..])
            };
            let ran = Ran { stdout: stream.clone(), ..Ran::default() };
            let (told, notes) = run_output(&ran);
            let kept = stream.head.0.len() + stream.tail.0.len();
            let before = usize::try_from(told.stdout_omitted - dropped).unwrap();
            let all = [stream.head.0.as_slice(), &stream.tail.0].concat();
            let last = text::decode(&all[before..]);
            prop_assert!(before <= kept && kept - before <= TAIL_BYTES);
            let rest = text::decode(&all[..before]);
            prop_assert_eq!(text::decode(&all).text, format!("{}{}", rest.text, last.text));
            prop_assert_eq!((&told.stdout_tail, notes.len()), (&last.text.into_owned(), usize::from(last.replaced > 0)));

            let (shown, replaced) = excerpt(&stream);
            if dropped == 0 && bytes.len() <= 2 * SHOWN_BYTES {
                prop_assert_eq!((shown.as_str(), replaced), (&*whole.text, whole.replaced));
            } else {
                let says = " bytes left out; write output to a file to see more of it]\n";
                let (rest, tail) = shown.rsplit_once(says).unwrap();
                let (head, count) = rest.rsplit_once("\n[").unwrap();
                prop_assert!(text::decode(&all).text.starts_with(head));
                let end = text::decode(&all[all.len() / 2..]).text.into_owned();
                prop_assert!(end.ends_with(tail) && head.len() <= 3 * SHOWN_BYTES && tail.len() <= 3 * SHOWN_BYTES);
                if odd.is_empty() {
                    prop_assert_eq!(replaced, 0);
                    prop_assert_eq!(count.parse::<usize>().unwrap(), usize::try_from(dropped).unwrap() + all.len() - head.len() - tail.len());
                }
            }
        }
    }
}
