//! What the audit is told beside what the log has anyway: refusals, and reads of transcripts, artifacts and the audit itself. Repetitions
//! within a minute are one row, and how many different ones a minute may have is bounded: neither refusals nor readers must fill a disk.

use crate::error::ApiFailure;
use oarmaster_protocol::read::AuditAct;
use oarmaster_protocol::task::ErrorCode;
use oarmaster_protocol::text::shorten;
use oarmaster_store::{Audited, Store};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Different refusals that a minute may have; the others are one row for each act and reason.
const MOST: usize = 100;
/// Of them, those of one user: others are still told by name.
const OF_EACH: usize = 20;
/// Different reads that a minute may have; of the others each reader has one row, which says how many they are.
const MOST_READS: usize = 1000;
/// Of them, those of one reader.
const READS_OF_EACH: usize = 100;
/// Longest text of a row, in characters.
const MAX_TEXT: usize = 256;
const MINUTE_MS: i64 = 60_000;
/// Stands for callers and objects beyond what a minute may have.
const OTHERS: &str = "(others)";

/// Writes the audit's own rows.
pub struct Audit {
    store: Store,
    minute: Mutex<Minute>,
}

/// The rows of a minute, and how often each came again.
#[derive(Default)]
struct Minute {
    number: i64,
    seen: HashMap<Audited, u64>,
}

impl Audit {
    /// An audit in this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            minute: Mutex::default(),
        }
    }

    /// Notes a refusal, without waiting for the disk.
    pub fn refused(&self, act: AuditAct, who: &str, what: What<'_>, reason: &str) {
        for row in self.see(row(act, false, who, what, reason)) {
            self.write(row);
        }
    }

    /// Notes something that is allowed, before it is done: what cannot be noted is not done.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn allowed(
        &self,
        act: AuditAct,
        who: &str,
        what: What<'_>,
    ) -> Result<(), ApiFailure> {
        // All of them at once, so that a caller who leaves in the wait takes none along.
        for row in self.see(row(act, true, who, what, "")) {
            self.store.audit(row)?;
        }
        // Of what was done a moment ago the row may still be on its way.
        Ok(self.store.flush().await?)
    }

    /// Notes how something that was allowed ended, without waiting for the disk.
    pub fn ended(&self, act: AuditAct, who: &str, what: What<'_>, reason: &str) {
        self.write(row(act, true, who, what, reason));
    }

    /// Writes how often things came again, every minute.
    pub async fn run(&self) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        loop {
            minute.tick().await;
            self.flush();
        }
    }

    /// Writes how often things came again up to now.
    pub fn flush(&self) {
        let again = self.lock().end();
        for row in again {
            self.write(row);
        }
    }

    fn see(&self, row: Audited) -> Vec<Audited> {
        let minute = self.store.clock().div_euclid(MINUTE_MS);
        self.lock().see(row, minute)
    }

    fn write(&self, row: Audited) {
        if let Err(error) = self.store.audit(row) {
            // Nothing else is accepted then, either.
            tracing::error!(%error, "cannot write the audit");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct What<'a> {
    /// The namespace that is meant.
    pub namespace: &'a str,
    /// UID of the Task that acts.
    pub task: &'a str,
    /// The object.
    pub object: &'a str,
}

fn row(act: AuditAct, allowed: bool, who: &str, what: What<'_>, reason: &str) -> Audited {
    Audited {
        act,
        allowed,
        who: shorten(who, MAX_TEXT),
        namespace: plain(what.namespace),
        task: plain(what.task),
        object: plain(what.object),
        reason: reason.to_owned(),
        count: 1,
    }
}

/// A name as it is. What is none is a caller's own text, and has no place here.
fn plain(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || " -_.:/@".contains(letter);
    if text.len() <= MAX_TEXT && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        "(no name)".to_owned()
    }
}

/// Why an error is a refusal, in a word; `None` where it is none.
#[must_use]
pub fn refusal(error: &ApiFailure) -> Option<&'static str> {
    match error.code {
        ErrorCode::Unauthenticated
        | ErrorCode::Forbidden
        | ErrorCode::Fenced
        | ErrorCode::Diverged
        | ErrorCode::BudgetExceeded
        | ErrorCode::WindowExceeded
        | ErrorCode::RateLimited
        | ErrorCode::UnboundedCost
        | ErrorCode::UnknownPrice => Some(error.code.as_str()),
        ErrorCode::ModelUnavailable if error.suspended => Some("suspended"),
        ErrorCode::ModelUnavailable
        | ErrorCode::InvalidRequest
        | ErrorCode::NotFound
        | ErrorCode::Conflict
        | ErrorCode::InDoubt
        | ErrorCode::ContextLength
        | ErrorCode::TooLarge
        | ErrorCode::Internal => None,
    }
}

impl Minute {
    /// The rows to be written now that this has happened.
    fn see(&mut self, row: Audited, number: i64) -> Vec<Audited> {
        let mut rows = if number == self.number {
            Vec::new()
        } else {
            self.number = number;
            self.end()
        };
        if let Some(again) = self.seen.get_mut(&row) {
            *again += 1;
            return rows;
        }
        let (most, each) = if row.allowed {
            (MOST_READS, READS_OF_EACH)
        } else {
            (MOST, OF_EACH)
        };
        let (mut all, mut own) = (0, 0);
        for known in self
            .seen
            .keys()
            .filter(|known| known.allowed == row.allowed)
        {
            all += 1;
            own += usize::from(known.who == row.who);
        }
        if all < most && own < each {
            self.seen.insert(row.clone(), 0);
            rows.push(row);
            return rows;
        }
        let others = Audited {
            namespace: String::new(),
            task: String::new(),
            object: OTHERS.to_owned(),
            ..row
        };
        if !others.allowed {
            let others = Audited {
                who: OTHERS.to_owned(),
                ..others
            };
            *self.seen.entry(others).or_default() += 1;
        } else if let Some(more) = self.seen.get_mut(&others) {
            *more += 1;
        } else {
            // Who did it is never left out, and that there was more is there before it is done.
            self.seen.insert(others.clone(), 0);
            rows.push(others);
        }
        rows
    }

    /// Forgets the minute: the rows of what came again.
    fn end(&mut self) -> Vec<Audited> {
        let again = self.seen.drain().filter(|(_, count)| *count > 0);
        again.map(|(row, count)| Audited { count, ..row }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(who: &str) -> Audited {
        let what = What {
            namespace: "team",
            task: "",
            object: "team/default",
        };
        row(AuditAct::Call, false, who, what, "forbidden")
    }

    #[test]
    fn repetitions_are_counted_until_the_minute_is_over() {
        let mut minute = Minute::default();
        assert_eq!(minute.see(refused("a"), 1), [refused("a")]);
        for _ in 0..3 {
            assert_eq!(minute.see(refused("a"), 1), []);
        }
        assert_eq!(minute.see(refused("b"), 1), [refused("b")]);
        let again = Audited {
            count: 3,
            ..refused("a")
        };
        assert_eq!(minute.see(refused("a"), 2), [again, refused("a")]);
        assert_eq!(minute.end(), []);
        assert_eq!(minute.see(refused("a"), 2), [refused("a")]);
    }

    #[test]
    fn a_minute_has_a_bound_and_what_is_beyond_it_is_counted() {
        let mut minute = Minute::default();
        let mut rows = 0;
        for who in 0..1000 {
            rows += minute.see(refused(&who.to_string()), 1).len();
        }
        assert_eq!(rows, MOST);
        let again = minute.end();
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].who.as_str(), again[0].count), (OTHERS, 900));
    }

    #[test]
    fn nobody_makes_the_others_nameless() {
        let mut minute = Minute::default();
        let of = |who: &str, object: &str| Audited {
            object: object.to_owned(),
            ..refused(who)
        };
        for object in 0..1000 {
            minute.see(of("loud", &object.to_string()), 1);
        }
        let quiet = of("quiet", "a");
        assert_eq!(minute.see(quiet.clone(), 1), [quiet]);
    }

    #[test]
    fn what_is_allowed_is_never_among_the_others() {
        let mut minute = Minute::default();
        for who in 0..200 {
            let read = row(AuditAct::Read, true, &who.to_string(), What::default(), "");
            assert_eq!(minute.see(read.clone(), 1), [read]);
        }
    }

    #[test]
    fn a_reader_of_everything_is_named_and_the_rest_is_counted() {
        let mut minute = Minute::default();
        let read = |who: &str, object: &str| {
            let what = What {
                namespace: "team",
                task: "",
                object,
            };
            row(AuditAct::Read, true, who, what, "")
        };
        let more = Audited {
            namespace: String::new(),
            object: OTHERS.to_owned(),
            ..read("curious", "")
        };
        let mut rows = Vec::new();
        for object in 0..1000 {
            rows.extend(minute.see(read("curious", &object.to_string()), 1));
        }
        assert_eq!(rows.len(), READS_OF_EACH + 1);
        assert_eq!(rows.last(), Some(&more));
        // Others who read, and refusals, still have their names.
        let other = read("other", "a");
        assert_eq!(minute.see(other.clone(), 1), [other]);
        assert_eq!(minute.see(refused("a"), 1), [refused("a")]);
        let count = 1000 - 1 - u64::try_from(READS_OF_EACH).unwrap();
        assert_eq!(minute.end(), [Audited { count, ..more }]);
        // However many readers there are, each is named.
        let mut rows = Vec::new();
        for number in 0..4000 {
            let who = (number % 80).to_string();
            rows.extend(minute.see(read(&who, &number.to_string()), 1));
        }
        assert_eq!(rows.len(), MOST_READS + 80);
    }

    #[test]
    fn a_text_that_is_no_name_is_not_kept() {
        for (text, expected) in [
            ("team/default", "team/default"),
            ("tasks/transcript fix-1", "tasks/transcript fix-1"),
            ("please\nsay sk-123", "(no name)"),
            (&"x".repeat(300), "(no name)"),
            ("\u{202e}x", "(no name)"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
