//! The ledger as its log has it, read by other code than wrote it, and what must hold of it beside the providers' bill.
//!
//! | | |
//! |---|---|
//! | I1 | what is settled is at least what was billed, of Tasks without what is booked after an unclean end |
//! | I2 | in each counter and in the Task's budget, settled and reserved are at most the limit at any time; what was billed beyond a reservation and what is booked after an unclean end apart |
//! | I3 | what is settled beyond the bill is at most what was estimated |
//! | I4 | each hop leaves at most once |
//! | I5 | each hop that was opened has one end |

use crate::rig::BUDGET;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Bytes of a frame before its payload.
const HEADER: usize = 64;

/// What the providers got: the texts of whole requests, in order.
pub struct Bill {
    /// At the one that answers.
    pub sound: Vec<String>,
    /// At the one that fails, and bills nothing.
    pub failing: Vec<String>,
    /// What an answer costs, in pico-USD.
    pub each: u64,
}

/// A hop: of the Task, by call and hop, or of anybody else, by term, call and hop.
type Hop = (Option<u64>, u64, u64);

#[derive(Default)]
struct Counter {
    settled: u64,
    reserved: u64,
    /// Billed beyond a reservation.
    overrun: u64,
    /// Booked after an unclean end.
    rest: u64,
}

struct Open {
    pico: u64,
    counters: Vec<String>,
}

pub struct Books {
    limit: u64,
    bill: Bill,
    open: BTreeMap<Hop, Open>,
    ended: BTreeSet<Hop>,
    /// How often a call of the Task was opened for a provider.
    opened: BTreeMap<(u64, String), usize>,
    counters: BTreeMap<String, Counter>,
    /// Settled for the Task, and for anybody else with what is booked after unclean ends.
    settled: [u64; 2],
    estimated: u64,
}

/// The entries of a log: frames of lines of JSON, as `store/src/log/frame.rs` describes them.
fn entries(dir: &Path) -> Vec<Value> {
    let listed = std::fs::read_dir(dir).unwrap();
    let mut segments: Vec<_> = listed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .collect();
    segments.sort();
    let mut entries = Vec::new();
    for segment in segments {
        let bytes = std::fs::read(segment).unwrap();
        let mut at = 0;
        while bytes.get(at..at + 4) == Some(b"OAR2") {
            let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
            let payload = &bytes[at + HEADER..at + HEADER + length];
            let lines = payload.split(|byte| *byte == b'\n');
            entries.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
            at += (HEADER + length).next_multiple_of(8);
        }
    }
    entries
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn counters(scopes: &Value) -> Vec<String> {
    let scopes = scopes.as_array().into_iter().flatten();
    scopes
        .map(|scope| {
            assert_eq!(scope["budget"], BUDGET);
            scope.to_string()
        })
        .collect()
}

impl Books {
    pub fn read(dir: &Path, limit: u64, bill: Bill) -> Self {
        let mut books = Self {
            limit,
            bill,
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            opened: BTreeMap::new(),
            counters: BTreeMap::new(),
            settled: [0; 2],
            estimated: 0,
        };
        for entry in entries(dir) {
            let (kind, fields) = entry.as_object().unwrap().iter().next().unwrap();
            books.enter(kind, fields);
            books.check_limits(&entry);
        }
        books
    }

    fn enter(&mut self, kind: &str, fields: &Value) {
        let record = &fields["record"];
        match (kind, record["kind"].as_str()) {
            ("open", _) => {
                let hop = (None, number(&record["call"]), number(&record["hop"]));
                let provider = text(&record["provider"]);
                *self.opened.entry((hop.1, provider)).or_default() += 1;
                let mut counters = counters(&fields["scopes"]);
                counters.push("the Task's own".to_owned());
                let pico = number(&record["reservedPico"]);
                self.enter_open(hop, Open { pico, counters });
            }
            ("sdkOpen", _) => {
                let counters = counters(&fields["scopes"]);
                let pico = number(&fields["reserve"]["pico"]);
                self.enter_open(sdk(&fields["id"]), Open { pico, counters });
            }
            ("record", Some("answer" | "callFailed")) => {
                let hop = (None, number(&record["call"]), number(&record["hop"]));
                self.enter_end(hop, &record["usage"]);
            }
            ("sdkEnd", _) => self.enter_end(sdk(&fields["id"]), &fields["usage"]),
            ("start", _) if !fields["rest"].is_null() => {
                let pico = number(&fields["rest"]["pico"]);
                for id in counters(&fields["rest"]["scopes"]) {
                    let counter = self.counters.entry(id).or_default();
                    counter.settled += pico;
                    counter.rest += pico;
                }
                self.settled[1] += pico;
                self.estimated += pico;
            }
            (
                "attempt" | "claim" | "budget" | "record" | "artifact" | "audit" | "start" | "stop",
                _,
            ) => {}
            _ => panic!("an entry {kind} that these books do not know"),
        }
    }

    fn enter_open(&mut self, hop: Hop, open: Open) {
        for id in &open.counters {
            self.counters.entry(id.clone()).or_default().reserved += open.pico;
        }
        assert!(!self.ended.contains(&hop), "I4: {hop:?} is opened again");
        assert!(
            self.open.insert(hop, open).is_none(),
            "I4: {hop:?} is opened twice"
        );
    }

    fn enter_end(&mut self, hop: Hop, usage: &Value) {
        let open = self.open.remove(&hop);
        let open = open.unwrap_or_else(|| panic!("I5: {hop:?} ends and is not open"));
        assert!(self.ended.insert(hop), "I5: {hop:?} ends twice");
        let cost = number(&usage["costPico"]);
        for id in &open.counters {
            let counter = self.counters.entry(id.clone()).or_default();
            counter.reserved -= open.pico;
            counter.settled += cost;
            counter.overrun += cost.saturating_sub(open.pico);
        }
        self.settled[usize::from(hop.0.is_some())] += cost;
        if usage["estimated"] == true {
            self.estimated += cost;
        }
    }

    fn check_limits(&self, entry: &Value) {
        for (id, counter) in &self.counters {
            let Counter {
                settled,
                reserved,
                overrun,
                rest,
            } = counter;
            assert!(
                settled + reserved <= self.limit + overrun + rest,
                "I2: {id} has {settled} and {reserved} of {} after {entry}",
                self.limit
            );
        }
    }

    /// What was billed for callers that are no Task.
    fn others(&self) -> u64 {
        let texts = self.bill.sound.iter();
        let of_others = texts.filter(|text| !text.starts_with("task "));
        of_others.count() as u64 * self.bill.each
    }

    /// Checks it when the gateway has begun or ended: nothing is open, and what was lost with a process is booked.
    pub fn check_closed(&self) {
        let open: Vec<_> = self.open.keys().collect();
        assert!(open.is_empty(), "I5: {open:?} have no end");
        let (settled, billed) = (self.settled[1], self.others());
        assert!(settled >= billed, "I1: the others' {settled} of {billed}");
        self.check();
    }

    /// The rest of what must hold. A hop that is open counts as the next start books it.
    pub fn check(&self) {
        let Bill {
            sound,
            failing,
            each,
        } = &self.bill;
        let is_task = |text: &&String| text.starts_with("task ");
        let tasks = sound.iter().filter(is_task).count() as u64 * each;
        let others = self.others();
        let open = |of_task: bool| -> u64 {
            let held = self.open.iter();
            let held = held.filter(|(hop, _)| hop.0.is_none() == of_task);
            held.map(|(_, open)| open.pico).sum()
        };
        let [of_task, of_others] = [self.settled[0] + open(true), self.settled[1] + open(false)];
        assert!(of_task >= tasks, "I1: the Task's {of_task} of {tasks}");
        let (settled, estimated) = (
            of_task + of_others,
            self.estimated + open(true) + open(false),
        );
        let beyond = settled.saturating_sub(tasks + others);
        assert!(
            beyond <= estimated,
            "I3: {beyond} beyond the bill, {estimated} estimated"
        );
        for (provider, texts) in [("team/good", sound), ("team/bad", failing)] {
            let mut times: BTreeMap<&String, usize> = BTreeMap::new();
            for text in texts {
                *times.entry(text).or_default() += 1;
            }
            for (text, times) in times {
                // A call whose end is not known is asked again under a new number only; one that was refused, under its own.
                let most = match text.strip_prefix("task ") {
                    Some(call) if provider == "team/bad" => {
                        let key = (call.parse().unwrap(), provider.to_owned());
                        self.opened.get(&key).copied().unwrap_or_default()
                    }
                    _ => 1,
                };
                assert!(
                    times <= most,
                    "I4: {text:?} came {times} times to {provider}, not {most}"
                );
            }
        }
    }
}

fn sdk(id: &Value) -> Hop {
    (
        Some(number(&id["term"])),
        number(&id["call"]),
        number(&id["hop"]),
    )
}
