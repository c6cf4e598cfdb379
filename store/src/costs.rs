//! What was spent, by what a person asks for: one pass over the segments of the log that the time needs.

use crate::entry::{Cost, DayTotal, Entry, SdkId, SdkRow, entries};
use crate::log;
use crate::rows::{self, Asked, HopKey};
use crate::{Refusal, Store, StoreError, Window};
use oarmaster_protocol::journal::{CallUsage, Record};
use oarmaster_protocol::read::{CostBy, CostLine, WORKFLOW_LABEL};
use std::collections::{BTreeMap, HashMap};

/// Most lines of an answer.
const MAX_LINES: usize = 10_000;
/// The line of what was booked after unclean ends, where nobody is known whose it was.
const LOST: &str = "(lost with an unclean end of the gateway)";
/// The line of Tasks whose journals are no longer kept.
const LEFT: &str = "(no longer kept)";
/// Rows of hops that began this long before the time that is asked for are read with it. Where one ends whose beginning was not read,
/// everything is.
const MARGIN_MS: i64 = 3_600_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostQuery {
    /// Only what this namespace pays; `None` is all of them.
    pub namespace: Option<String>,
    /// What has a line of its own.
    pub by: CostBy,
    /// The key for [`CostBy::Label`].
    pub label: Option<String>,
    /// From this instant on, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Before this one.
    pub to_ms: i64,
}

impl CostQuery {
    /// The label of Tasks that is looked at.
    fn label(&self) -> Option<&str> {
        match self.by {
            CostBy::Workflow => Some(WORKFLOW_LABEL),
            _ => self.label.as_deref(),
        }
    }
}

/// A settled hop, or several that are alike.
#[derive(Default)]
struct Paid<'a> {
    namespace: &'a str,
    task: Option<&'a str>,
    agent: Option<&'a str>,
    label: Option<&'a str>,
    requester: &'a str,
    provider: &'a str,
    model: &'a str,
    at_ms: i64,
    cost: Cost,
}

impl Store {
    /// What was settled in a time, summed up. Hops count when they end; those that are no longer kept one by one, when their day begins. Reads
    /// what is durable of the log, in that time.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for labels without a key; [`Refusal::TooLarge`] where there would be more than 10,000 lines;
    /// [`Refusal::Internal`] where the log cannot be read.
    pub async fn costs(&self, query: CostQuery) -> Result<Vec<CostLine>, Refusal> {
        if query.by == CostBy::Label && query.label.as_deref().is_none_or(str::is_empty) {
            return Err(Refusal::Invalid("by=label needs label=KEY".into()));
        }
        let from = query.from_ms.saturating_sub(MARGIN_MS);
        let near = self.segments(from, query.to_ms).await;
        let all = self.segments(i64::MIN, query.to_ms).await;
        let lines = self.blocking(move |store| {
            // Of one log: neither with what just left, nor without.
            let _files = store.files_read();
            let mut sum = store.sum(&query, &near)?;
            if sum.orphans {
                sum = store.sum(&query, &all)?;
            }
            Ok(sum.lines)
        });
        let lines = lines.await?;
        if lines.len() > MAX_LINES {
            return Err(Refusal::TooLarge(format!(
                "there are more than {MAX_LINES} lines; ask for a shorter time or one namespace"
            )));
        }
        let line = |(key, cost): (String, Cost)| CostLine {
            key,
            calls: cost.calls,
            usage: cost.usage,
            estimated_pico: cost.estimated_pico,
            overrun_pico: cost.overrun_pico,
        };
        Ok(lines.into_iter().map(line).collect())
    }

    /// The segments with something of a time, all of them on the disk.
    pub(crate) async fn segments(&self, from_ms: i64, to_ms: i64) -> Vec<u32> {
        let chosen = self.chosen(from_ms, to_ms);
        match self.flush().await {
            Ok(()) => chosen,
            // The state was put back to what is on the disk, and nothing is added any more.
            Err(_) => self.chosen(from_ms, to_ms),
        }
    }

    fn chosen(&self, from_ms: i64, to_ms: i64) -> Vec<u32> {
        let core = self.lock();
        let within = |times: Option<(i64, i64)>| {
            times.is_some_and(|(first, last)| first < to_ms && last >= from_ms)
        };
        let segments = core.state.segments.iter();
        let chosen = segments.filter(|(_, known)| within(known.times));
        chosen.map(|(segment, _)| *segment).collect()
    }

    fn sum<'a>(&'a self, query: &'a CostQuery, segments: &[u32]) -> Result<Sum<'a>, StoreError> {
        let before = self.durable_frames();
        let mut sum = Sum::new(self, query);
        for segment in segments {
            let dir = &self.options().dir;
            log::scan(dir, *segment, before, &mut |found| {
                entries(found.payload).try_for_each(|entry| {
                    sum.take(entry?);
                    Ok(())
                })
            })?;
        }
        Ok(sum)
    }

    fn owner(&self, uid: &str, attempt: u32, label: Option<&str>) -> Option<Owner> {
        let core = self.lock();
        let task = core.state.owner(uid)?;
        let attempt = task.attempts.get(&attempt);
        Some(Owner {
            namespace: task.task.namespace.clone(),
            task: task.task.name.clone(),
            agent: attempt.and_then(|attempt| attempt.agent().map(str::to_owned)),
            label: attempt.and_then(|attempt| attempt.labels.get(label?).cloned()),
        })
    }
}

/// Whose an attempt is.
struct Owner {
    namespace: String,
    task: String,
    agent: Option<String>,
    label: Option<String>,
}

/// The pass over the log.
struct Sum<'a> {
    store: &'a Store,
    query: &'a CostQuery,
    owners: HashMap<(String, u32), Option<Owner>>,
    /// Open hops of Tasks, by Task, call and hop.
    open: HashMap<HopKey, Asked>,
    sdk: HashMap<SdkId, (SdkRow, u64)>,
    /// Whether a hop ended in the time whose beginning was not read.
    orphans: bool,
    lines: BTreeMap<String, Cost>,
}

impl<'a> Sum<'a> {
    fn new(store: &'a Store, query: &'a CostQuery) -> Self {
        Self {
            store,
            query,
            owners: HashMap::new(),
            open: HashMap::new(),
            sdk: HashMap::new(),
            orphans: false,
            lines: BTreeMap::new(),
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            entry @ Entry::Open { .. } => self.open.extend(rows::asked(entry)),
            Entry::Record { task, record } => self.ended(task, &record),
            Entry::SdkOpen {
                id, row, reserve, ..
            } => {
                self.sdk.insert(id, (row, reserve.pico));
            }
            Entry::SdkEnd {
                at_ms,
                id,
                class,
                model,
                usage,
            } => {
                let Some((row, reserved_pico)) = self.sdk.remove(&id) else {
                    self.orphans |= self.within(at_ms);
                    return;
                };
                let paid = Paid {
                    namespace: &row.namespace,
                    requester: &row.caller,
                    provider: &row.provider,
                    model: self.model(&row.model, model.as_deref()),
                    at_ms,
                    cost: Cost::of(class.is_none(), &usage, reserved_pico),
                    ..Paid::default()
                };
                count(&mut self.lines, self.query, &paid);
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
                    requester: LOST,
                    provider: LOST,
                    at_ms,
                    cost: Cost::of(false, &usage, rest.pico),
                    ..Paid::default()
                };
                count(&mut self.lines, self.query, &lost);
            }
            Entry::Totals(totals) => {
                for DayTotal { of, cost } in &totals.days {
                    let label = self.query.label().and_then(|key| of.labels.get(key));
                    let paid = Paid {
                        namespace: &of.namespace,
                        task: of.task.then_some(LEFT),
                        agent: of.agent.as_deref(),
                        label: label.map(String::as_str),
                        requester: &of.requester,
                        provider: &of.provider,
                        model: self.model(&of.model, of.reported.as_deref()),
                        at_ms: of.day_ms,
                        cost: *cost,
                    };
                    count(&mut self.lines, self.query, &paid);
                }
            }
            Entry::Attempt { .. }
            | Entry::Budget { .. }
            | Entry::Claim { .. }
            | Entry::Artifact { .. }
            | Entry::Blob { .. }
            | Entry::Kept { .. }
            | Entry::TakenOver { .. }
            | Entry::Start { .. }
            | Entry::Stop { .. }
            | Entry::Audit { .. }
            | Entry::Released { .. }
            | Entry::Note(_)
            | Entry::Forgotten { .. }
            | Entry::Expired { .. }
            | Entry::Condensed { .. } => {}
        }
    }

    fn within(&self, at_ms: i64) -> bool {
        (self.query.from_ms..self.query.to_ms).contains(&at_ms)
    }

    /// The model that a line names: a bill names what the provider answered with.
    fn model<'b>(&self, asked: &'b str, reported: Option<&'b str>) -> &'b str {
        match reported {
            Some(reported) if self.query.by == CostBy::Bill && !reported.is_empty() => reported,
            _ => asked,
        }
    }

    fn ended(&mut self, uid: String, record: &Record) {
        let Some(ended) = rows::ended(&record.body) else {
            return;
        };
        let key = (uid, ended.call, ended.hop);
        let Some(asked) = self.open.remove(&key) else {
            self.orphans |= self.within(record.at_ms);
            return;
        };
        let (uid, ..) = key;
        let model = self.model(&asked.model, ended.model);
        let (store, label) = (self.store, self.query.label());
        let owner = self
            .owners
            .entry((uid, record.attempt))
            .or_insert_with_key(|(uid, attempt)| store.owner(uid, *attempt, label));
        if let Some(owner) = owner {
            let paid = Paid {
                namespace: &owner.namespace,
                task: Some(&owner.task),
                agent: owner.agent.as_deref(),
                label: owner.label.as_deref(),
                requester: &asked.requester,
                provider: &asked.provider,
                model,
                at_ms: record.at_ms,
                cost: ended.cost(asked.reserved_pico),
            };
            count(&mut self.lines, self.query, &paid);
        }
    }
}

fn count(lines: &mut BTreeMap<String, Cost>, query: &CostQuery, paid: &Paid<'_>) {
    let asked = query.namespace.as_ref();
    let other = asked.is_some_and(|namespace| namespace != paid.namespace);
    if other || paid.cost.is_nothing() || !(query.from_ms..query.to_ms).contains(&paid.at_ms) {
        return;
    }
    // One more than may be shown, so that it is known that there are too many.
    let key = key(query.by, paid);
    if lines.len() > MAX_LINES && !lines.contains_key(&key) {
        return;
    }
    let sum = lines.entry(key).or_default();
    sum.add(&paid.cost);
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
        CostBy::Label if paid.namespace == LOST => LOST.to_owned(),
        CostBy::Workflow => within(paid.label),
        CostBy::Label => paid.label.unwrap_or("(none)").to_owned(),
        CostBy::Requester => paid.requester.to_owned(),
        CostBy::Model if paid.model.is_empty() => paid.provider.to_owned(),
        CostBy::Model => format!("{} {}", paid.provider, paid.model),
        CostBy::Day => day(paid.at_ms),
        // Nobody knows whose model it was.
        CostBy::Bill if paid.namespace == LOST => format!("{} - {LOST}", day(paid.at_ms)),
        CostBy::Bill => format!("{} {} {}", day(paid.at_ms), paid.provider, paid.model),
    }
}

fn day(at_ms: i64) -> String {
    let day = Window::Day.at(at_ms).start_ms;
    let day = jiff::Timestamp::from_millisecond(day).unwrap_or_default();
    day.strftime("%Y-%m-%d").to_string()
}
