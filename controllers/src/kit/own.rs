//! Which versions of a Task this process made itself: a pass knows what it wrote, and the watch event that brings it back is no news.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Versions by the UID of their Task.
#[derive(Debug, Default)]
pub struct OwnWrites(Mutex<HashMap<String, Versions>>);

#[derive(Debug, Default)]
struct Versions {
    /// What the newest pass looked at.
    seen: Option<String>,
    /// What the newest pass wrote.
    written: Option<String>,
    /// Whether that pass still runs.
    running: bool,
    /// What came meanwhile; whether it is our own is known when the pass ends.
    met: Option<String>,
}

impl Versions {
    fn knows(&self, version: &str) -> bool {
        let is = |known: &Option<String>| known.as_deref() == Some(version);
        is(&self.seen) || is(&self.written)
    }
}

impl OwnWrites {
    /// Whether a version that the watch brought asks for a pass. While one runs the answer is no, and [`Self::end`] gives it.
    pub fn is_news(&self, uid: &str, version: &str) -> bool {
        let mut held = self.lock();
        let Some(of_task) = held.get_mut(uid) else {
            return true;
        };
        if of_task.knows(version) {
            return false;
        }
        if of_task.running {
            of_task.met = Some(version.to_owned());
        }
        !of_task.running
    }

    /// A pass begins, and looks at this version. If the pass before wrote another one, the watch has not brought that yet (or somebody wrote
    /// since): what this pass finds may be out of date, and it is made once more.
    pub fn begin(&self, uid: &str, version: &str) {
        let mut held = self.lock();
        let of_task = held.entry(uid.to_owned()).or_default();
        of_task.seen = Some(version.to_owned());
        of_task.running = true;
        of_task.met = of_task.written.take_if(|written| written != version);
    }

    /// The pass wrote this version.
    pub fn wrote(&self, uid: &str, version: &str) {
        let mut held = self.lock();
        let of_task = held.entry(uid.to_owned()).or_default();
        of_task.written = Some(version.to_owned());
    }

    /// The pass has ended: whether another version than its own came meanwhile.
    pub fn end(&self, uid: &str) -> bool {
        let mut held = self.lock();
        let Some(of_task) = held.get_mut(uid) else {
            return false;
        };
        of_task.running = false;
        let met = of_task.met.take();
        met.is_some_and(|version| !of_task.knows(&version))
    }

    /// The Task is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Versions>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::OwnWrites;

    #[test]
    fn what_comes_back_of_a_pass_is_no_news_early_or_late() {
        let own = OwnWrites::default();
        assert!(own.is_news("task", "1"));
        own.begin("task", "1");
        assert!(!own.is_news("task", "1"), "it is what the pass looks at");
        assert!(!own.is_news("task", "2"), "before the answer to the write");
        own.wrote("task", "2");
        assert!(!own.end("task"));
        assert!(!own.is_news("task", "2"), "after the pass");
        assert!(own.is_news("task", "3"));
        assert!(own.is_news("other", "2"));
    }

    #[test]
    fn what_others_write_during_a_pass_is_news_when_it_ends() {
        let own = OwnWrites::default();
        own.begin("task", "1");
        own.wrote("task", "2");
        assert!(!own.is_news("task", "3"));
        assert!(own.end("task"));
        assert!(!own.end("task"), "said once");
    }

    #[test]
    fn a_pass_on_an_older_version_than_was_written_is_made_again() {
        let own = OwnWrites::default();
        own.begin("task", "1");
        own.wrote("task", "2");
        assert!(!own.end("task"));
        own.begin("task", "1"); // a Job changed before the watch brought 2
        assert!(own.end("task"), "whenever 2 came, and whoever it was told");
        own.begin("task", "2");
        assert!(!own.end("task"));
    }

    #[test]
    fn a_pass_that_wrote_nothing_hides_nothing() {
        let own = OwnWrites::default();
        own.begin("task", "1");
        assert!(!own.is_news("task", "2"));
        assert!(own.end("task"));
        own.begin("task", "2");
        assert!(!own.end("task"));
        own.forget("task");
        assert!(own.is_news("task", "2"));
    }
}
