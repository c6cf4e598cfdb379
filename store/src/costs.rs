//! What was spent, by what a person asks for: one pass over the log.

use crate::entry::{Entry, SdkId, SdkRow};
use crate::log::{self, Repair};
use crate::state::add;
use crate::{Refusal, Store, Window};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use oarmaster_protocol::read::{CostBy, CostLine};
use std::collections::{BTreeMap, HashMap};

/// Most lines of an answer.
const MAX_LINES: usize = 10_000;
/// The line of what was booked after unclean ends, where nobody is known whose it was.
const LOST: &str = "(lost with an unclean end of the gateway)";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostQuery {
    /// Only what this namespace pays; `None` is all of them.
    pub namespace: Option<String>,
    /// What has a line of its own.
    pub by: CostBy,
    /// From this instant on, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Before this one.
    pub to_ms: i64,
}

/// A settled hop.
struct Paid<'a> {
    namespace: &'a str,
    task: Option<&'a str>,
    agent: Option<&'a str>,
    requester: &'a str,
    provider: &'a str,
    model: &'a str,
    at_ms: i64,
}

impl Store {
    /// What was settled in a time, summed up. Hops count when they end. Reads the log from its beginning, as far as it is durable.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] where there would be more than 10,000 lines; [`Refusal::Internal`] where the log cannot be read.
    pub async fn costs(&self, query: CostQuery) -> Result<Vec<CostLine>, Refusal> {
        let before = self.durable_frames();
        self.blocking(move |store| {
            let mut sum = Sum::new(query);
            let dir = &store.options().dir;
            log::replay(dir, Repair::ReadOnly { before }, &mut |_, _, payload| {
                for line in payload.split(|byte| *byte == b'\n') {
                    let entry = serde_json::from_slice(line);
                    sum.take(entry.map_err(|error| error.to_string())?);
                }
                Ok(())
            })?;
            Ok(sum)
        })
        .await?
        .lines()
    }
}

/// An open hop of a Task.
struct Asked {
    requester: String,
    provider: String,
    model: String,
}

/// The pass over the log.
struct Sum {
    query: CostQuery,
    tasks: HashMap<String, (TaskRef, Option<String>)>,
    /// Open hops of Tasks, by Task, call and hop.
    open: HashMap<(String, u64, u32), Asked>,
    sdk: HashMap<SdkId, SdkRow>,
    lines: BTreeMap<String, (u64, CallUsage)>,
}

impl Sum {
    fn new(query: CostQuery) -> Self {
        Self {
            query,
            tasks: HashMap::new(),
            open: HashMap::new(),
            sdk: HashMap::new(),
            lines: BTreeMap::new(),
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Attempt { task, pinned, .. } => {
                let agent = pinned.and_then(|pinned| pinned.split('@').next().map(str::to_owned));
                self.tasks.insert(task.uid.clone(), (task, agent));
            }
            Entry::Open {
                task,
                requested_by,
                record,
                ..
            } => {
                if let Body::Open {
                    call,
                    hop,
                    provider,
                    model,
                    ..
                } = record.body
                {
                    let asked = Asked {
                        requester: requested_by.unwrap_or_default(),
                        provider,
                        model,
                    };
                    self.open.insert((task, call, hop), asked);
                }
            }
            Entry::Record { task, record } => self.ended(task, &record),
            Entry::SdkOpen { id, row, .. } => {
                self.sdk.insert(id, row);
            }
            Entry::SdkEnd {
                at_ms,
                id,
                class,
                usage,
            } => {
                if let Some(row) = self.sdk.remove(&id) {
                    let paid = Paid {
                        namespace: &row.namespace,
                        task: None,
                        agent: None,
                        requester: &row.caller,
                        provider: &row.provider,
                        model: &row.model,
                        at_ms,
                    };
                    count(&mut self.lines, &self.query, &paid, class.is_none(), &usage);
                }
            }
            Entry::Start {
                at_ms,
                rest: Some(rest),
                ..
            } => {
                let usage = CallUsage {
                    cost_pico: rest.pico,
                    estimated: true,
                    ..CallUsage::default()
                };
                let lost = Paid {
                    namespace: LOST,
                    task: None,
                    agent: None,
                    requester: LOST,
                    provider: LOST,
                    model: "",
                    at_ms,
                };
                count(&mut self.lines, &self.query, &lost, false, &usage);
            }
            Entry::Budget { .. }
            | Entry::Claim { .. }
            | Entry::Artifact { .. }
            | Entry::Start { .. }
            | Entry::Stop { .. } => {}
        }
    }

    fn ended(&mut self, uid: String, record: &Record) {
        let (call, hop, usage, answered) = match &record.body {
            Body::Answer {
                call, hop, usage, ..
            } => (*call, *hop, usage, true),
            Body::CallFailed {
                call, hop, usage, ..
            } => (*call, *hop, usage, false),
            _ => return,
        };
        let open = self.open.remove(&(uid.clone(), call, hop));
        if let (Some(asked), Some((task, agent))) = (open, self.tasks.get(&uid)) {
            let paid = Paid {
                namespace: &task.namespace,
                task: Some(&task.name),
                agent: agent.as_deref(),
                requester: &asked.requester,
                provider: &asked.provider,
                model: &asked.model,
                at_ms: record.at_ms,
            };
            count(&mut self.lines, &self.query, &paid, answered, usage);
        }
    }

    fn lines(self) -> Result<Vec<CostLine>, Refusal> {
        if self.lines.len() > MAX_LINES {
            return Err(Refusal::TooLarge(format!(
                "there are more than {MAX_LINES} lines; ask for a shorter time or one namespace"
            )));
        }
        let lines = self.lines.into_iter();
        Ok(lines
            .map(|(key, (calls, usage))| CostLine { key, calls, usage })
            .collect())
    }
}

fn count(
    lines: &mut BTreeMap<String, (u64, CallUsage)>,
    query: &CostQuery,
    paid: &Paid<'_>,
    answered: bool,
    usage: &CallUsage,
) {
    let asked = query.namespace.as_ref();
    let other = asked.is_some_and(|namespace| namespace != paid.namespace);
    let nothing = !answered && *usage == CallUsage::default();
    if other || nothing || !(query.from_ms..query.to_ms).contains(&paid.at_ms) {
        return;
    }
    // One more than may be shown, so that it is known that there are too many.
    let key = key(query.by, paid);
    if lines.len() > MAX_LINES && !lines.contains_key(&key) {
        return;
    }
    let line = lines.entry(key).or_default();
    line.0 = line.0.saturating_add(u64::from(answered));
    add(&mut line.1, usage);
}

fn key(by: CostBy, paid: &Paid<'_>) -> String {
    let within = |name: Option<&str>| match name {
        Some(name) => format!("{}/{name}", paid.namespace),
        None if paid.namespace == LOST => LOST.to_owned(),
        None => format!("{}/(none)", paid.namespace),
    };
    match by {
        CostBy::Namespace => paid.namespace.to_owned(),
        CostBy::Agent => within(paid.agent),
        CostBy::Task => within(paid.task),
        CostBy::Requester => paid.requester.to_owned(),
        CostBy::Model if paid.model.is_empty() => paid.provider.to_owned(),
        CostBy::Model => format!("{} {}", paid.provider, paid.model),
        CostBy::Day => {
            let day = Window::Day.at(paid.at_ms).start_ms;
            let day = jiff::Timestamp::from_millisecond(day).unwrap_or_default();
            day.strftime("%Y-%m-%d").to_string()
        }
    }
}
