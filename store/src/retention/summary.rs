//! What is left of entries that go: sums of money, counters, lines of the audit.

use crate::audit::Told;
use crate::entry::{
    Audited, Cost, CounterTotal, DayKey, DayTotal, Entry, Reserve, SdkId, SdkRow, SdkTotal, Totals,
};
use crate::notes::NoteOwner;
use crate::rows::{self, Asked, Ended, HopKey};
use crate::scope::CounterId;
use crate::state::is_kept;
use crate::window::Window;
use oarmaster_protocol::journal::Record;
use oarmaster_protocol::read::{AuditAct, WORKFLOW_LABEL};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Sums with all the labels of Tasks; of those beyond only the workflow is kept.
const MAX_DAYS: usize = 1000;

/// What goes, and what has to be known of it that stands elsewhere. Times are milliseconds since the Unix epoch.
pub struct Rules<'a> {
    pub now: i64,
    /// Rows of SDK callers that are older go.
    pub rows_before: i64,
    /// Sums of days that ended before, and lines of the audit that are older.
    pub totals_before: i64,
    /// The term that runs now.
    pub term: u64,
    /// Whether a Task's journal goes.
    pub gone: &'a dyn Fn(&str) -> bool,
    /// Whose an attempt of such a Task is.
    pub whose: &'a dyn Fn(&str, u32) -> Option<Whose>,
    /// Whether an owner has a note, in this frame.
    pub noted: &'a dyn Fn(&NoteOwner, &str, u64) -> bool,
    /// Whether one of these notes stands in a segment still, though it is no longer kept.
    pub stands: &'a dyn Fn(&[String]) -> bool,
    /// What such Tasks' hops asked for.
    pub asked: &'a HashMap<HopKey, Asked>,
    /// The audit's line of an entry.
    pub told: &'a dyn Fn(Entry) -> Option<Told>,
}

/// Whose an attempt is.
#[derive(Clone, Debug, Default)]
pub struct Whose {
    pub namespace: String,
    pub agent: Option<String>,
    pub labels: BTreeMap<String, String>,
}

impl Rules<'_> {
    /// Whether an entry goes by itself.
    pub fn goes(&self, entry: &Entry) -> bool {
        let uid = entry.task_uid();
        self.is_old(entry) || (!uid.is_empty() && (self.gone)(uid))
    }

    /// Whether something for later only is older than it is kept.
    pub fn is_old(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Audit { at_ms, .. } => *at_ms < self.totals_before,
            // What it says must be known for as long as a note could come back.
            Entry::Forgotten { at_ms, notes, .. } => {
                *at_ms < self.totals_before && !(self.stands)(notes)
            }
            Entry::Totals(totals) => totals.days.iter().any(|day| self.is_past(&day.of)),
            _ => false,
        }
    }

    fn is_past(&self, of: &DayKey) -> bool {
        let end = Window::Day.at(of.day_ms).end_ms;
        end.is_some_and(|end| end <= self.totals_before)
    }
}

/// The sums, and the lines.
#[derive(Debug, Default)]
pub struct Summary {
    days: BTreeMap<DayKey, Cost>,
    counters: BTreeMap<CounterId, CounterTotal>,
    used: BTreeSet<CounterId>,
    sdk: SdkTotal,
    term: u64,
    open: HashMap<SdkId, (SdkRow, Reserve, Vec<CounterId>)>,
    lines: Vec<(i64, Audited)>,
}

/// A hop that ended.
struct Paid<'a> {
    at_ms: i64,
    of: DayKey,
    cost: Cost,
    scopes: &'a [CounterId],
}

impl Summary {
    /// Takes in what goes.
    pub fn take(&mut self, entry: Entry, rules: &Rules<'_>) {
        match entry {
            Entry::Totals(totals) => self.totals(*totals, rules),
            Entry::SdkOpen {
                id,
                row,
                reserve,
                scopes,
                ..
            } => {
                if id.term == rules.term {
                    self.term = id.term;
                    let kept = scopes.iter().filter(|id| is_kept(id, rules.now));
                    self.used.extend(kept.cloned());
                }
                self.open.insert(id, (row, reserve, scopes));
            }
            Entry::SdkEnd {
                at_ms,
                id,
                class,
                model,
                usage,
            } => {
                let Some((row, reserve, scopes)) = self.open.remove(&id) else {
                    return; // they go together
                };
                let cost = Cost::of(class.is_none(), &usage, reserve.pico);
                self.sdk.add(&SdkTotal {
                    calls: u64::from(!cost.is_nothing()),
                    sum: usage,
                });
                let of = DayKey {
                    namespace: row.namespace,
                    requester: row.caller,
                    provider: row.provider,
                    model: row.model,
                    reported: model,
                    ..DayKey::default()
                };
                let paid = Paid {
                    at_ms,
                    of,
                    cost,
                    scopes: &scopes,
                };
                self.paid(paid, rules);
            }
            Entry::Audit { at_ms, audited } => self.line(at_ms, audited, rules),
            Entry::Record { task, record } => {
                self.settled(&task, &record, rules);
                self.told(Entry::Record { task, record }, rules);
            }
            other => self.told(other, rules),
        }
    }

    /// What is left, as entries.
    pub fn entries(self) -> Vec<Entry> {
        let day = |(of, cost)| DayTotal { of, cost };
        let totals = Totals {
            days: self.days.into_iter().map(day).collect(),
            counters: self.counters.into_values().collect(),
            sdk: self.sdk,
            term: self.term,
            used: self.used.into_iter().collect(),
        };
        let mut entries = Vec::new();
        if totals != Totals::default() {
            entries.push(Entry::Totals(Box::new(totals)));
        }
        let mut lines = self.lines;
        lines.sort_by_key(|(at_ms, _)| *at_ms);
        let lines = lines.into_iter();
        entries.extend(lines.map(|(at_ms, audited)| Entry::Audit { at_ms, audited }));
        entries
    }

    fn totals(&mut self, totals: Totals, rules: &Rules<'_>) {
        let Totals {
            days,
            counters,
            sdk,
            term,
            used,
        } = totals;
        for day in days {
            if !rules.is_past(&day.of) {
                self.day(day);
            }
        }
        for counter in counters {
            self.counter(counter, rules);
        }
        self.sdk.add(&sdk);
        if term == rules.term {
            self.term = term;
            self.used
                .extend(used.into_iter().filter(|id| is_kept(id, rules.now)));
        }
    }

    /// The money of a Task's hop.
    fn settled(&mut self, uid: &str, record: &Record, rules: &Rules<'_>) {
        let Some(ended) = rows::ended(&record.body) else {
            return;
        };
        let Ended { call, hop, .. } = ended;
        let Some(asked) = rules.asked.get(&(uid.to_owned(), call, hop)) else {
            tracing::error!(task = uid, call, hop, "a hop that goes never began");
            return;
        };
        let whose = (rules.whose)(uid, record.attempt).unwrap_or_default();
        let other = |model: &&str| !model.is_empty() && *model != asked.model;
        let of = DayKey {
            task: true,
            namespace: whose.namespace,
            agent: whose.agent,
            labels: whose.labels,
            requester: asked.requester.clone(),
            provider: asked.provider.clone(),
            model: asked.model.clone(),
            reported: ended.model.filter(other).map(str::to_owned),
            ..DayKey::default()
        };
        let paid = Paid {
            at_ms: record.at_ms,
            of,
            cost: ended.cost(asked.reserved_pico),
            scopes: &asked.scopes,
        };
        self.paid(paid, rules);
    }

    fn paid(&mut self, paid: Paid<'_>, rules: &Rules<'_>) {
        let Paid {
            at_ms,
            mut of,
            cost,
            scopes,
        } = paid;
        for id in scopes {
            let total = CounterTotal {
                id: id.clone(),
                spent: cost.usage.cost_pico,
                overrun: cost.overrun_pico,
                estimated: cost.estimated_pico,
            };
            self.counter(total, rules);
        }
        of.day_ms = Window::Day.at(at_ms).start_ms;
        if !rules.is_past(&of) && !cost.is_nothing() {
            self.day(DayTotal { of, cost });
        }
    }

    fn day(&mut self, mut more: DayTotal) {
        // Labels may be another set for each Task. Those that nobody could sum up by are left out.
        if self.days.len() >= MAX_DAYS && !self.days.contains_key(&more.of) {
            more.of.labels.retain(|key, _| key == WORKFLOW_LABEL);
        }
        let DayTotal { of, cost } = more;
        self.days.entry(of).or_default().add(&cost);
    }

    fn counter(&mut self, more: CounterTotal, rules: &Rules<'_>) {
        if !is_kept(&more.id, rules.now) {
            return;
        }
        match self.counters.get_mut(&more.id) {
            Some(sum) => {
                sum.spent = sum.spent.saturating_add(more.spent);
                sum.overrun = sum.overrun.saturating_add(more.overrun);
                sum.estimated = sum.estimated.saturating_add(more.estimated);
            }
            None => {
                self.counters.insert(more.id.clone(), more);
            }
        }
    }

    /// The audit's line of an entry that goes. Calls one by one are in the sums.
    fn told(&mut self, entry: Entry, rules: &Rules<'_>) {
        let told = (rules.told)(entry);
        if let Some(Told { at_ms, audited }) = told
            && !matches!(audited.act, AuditAct::Call | AuditAct::CallEnd)
        {
            self.line(at_ms, audited, rules);
        }
    }

    fn line(&mut self, at_ms: i64, audited: Audited, rules: &Rules<'_>) {
        if at_ms >= rules.totals_before {
            self.lines.push((at_ms, audited));
        }
    }
}
