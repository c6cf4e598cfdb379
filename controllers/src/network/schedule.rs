//! Which namespace is looked at when: pure. Whoever may write policies in a namespace decides how often it changes; that costs neither
//! memory nor the others their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at one namespace, at least.
pub const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait before a namespace whose policy could not be mended is looked at again.
pub const RETRY: Duration = Duration::from_secs(5);

/// The looks to come: one per namespace at most.
#[derive(Debug, Default)]
pub struct Schedule {
    due: BTreeMap<String, Instant>,
    busy: BTreeSet<String>,
    /// When the last look began, as long as that matters.
    begun: BTreeMap<String, Instant>,
}

impl Schedule {
    /// A namespace changed: it is looked at soon, whatever it waits for.
    pub fn changed(&mut self, namespace: String, now: Instant) {
        let last = self.begun.get(&namespace);
        let at = last.map_or(now, |last| now.max(*last + PAUSE));
        let due = self.due.entry(namespace).or_insert(at);
        *due = at.min(*due);
    }

    /// The namespace that is to be looked at now, if there is one. It is not given again before [`Self::looked`].
    pub fn take(&mut self, now: Instant) -> Option<String> {
        self.begun.retain(|_, begun| now < *begun + PAUSE);
        let (namespace, _) = self.first().filter(|(_, at)| *at <= now)?;
        let namespace = namespace.to_owned();
        self.due.remove(&namespace);
        self.busy.insert(namespace.clone());
        self.begun.insert(namespace.clone(), now);
        Some(namespace)
    }

    /// A look ended; one that did not mend is made again.
    pub fn looked(&mut self, namespace: String, mended: bool, now: Instant) {
        self.busy.remove(&namespace);
        if !mended {
            self.due.entry(namespace).or_insert(now + RETRY);
        }
    }

    /// When to ask again, if nothing happens before.
    pub fn next(&self) -> Option<Instant> {
        self.first().map(|(_, at)| at)
    }

    fn first(&self) -> Option<(&str, Instant)> {
        let free = self
            .due
            .iter()
            .filter(|(name, _)| !self.busy.contains(*name));
        let first = free.min_by_key(|(_, at)| **at);
        first.map(|(name, at)| (name.as_str(), *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(origin: Instant, millis: u64) -> Instant {
        origin + Duration::from_millis(millis)
    }

    #[test]
    fn a_namespace_is_looked_at_once_a_second_however_often_it_changes() {
        let (zero, mut schedule) = (Instant::now(), Schedule::default());
        for millis in [0, 1, 2] {
            schedule.changed("a".to_owned(), at(zero, millis));
        }
        schedule.changed("b".to_owned(), at(zero, 2));
        assert_eq!(schedule.take(at(zero, 2)).as_deref(), Some("a"));
        assert_eq!(schedule.take(at(zero, 2)).as_deref(), Some("b"));
        assert_eq!((schedule.take(at(zero, 2)), schedule.next()), (None, None));
        // It changes while it is looked at, and after.
        schedule.changed("a".to_owned(), at(zero, 10));
        assert_eq!(schedule.take(at(zero, 15)), None, "it is busy");
        schedule.looked("a".to_owned(), true, at(zero, 20));
        schedule.changed("a".to_owned(), at(zero, 30));
        assert_eq!(schedule.next(), Some(at(zero, 1002)));
        assert_eq!(schedule.take(at(zero, 1001)), None);
        assert_eq!(schedule.take(at(zero, 1002)).as_deref(), Some("a"));
    }

    #[test]
    fn a_failure_is_tried_again_once_and_a_change_does_not_wait_for_that() {
        let (zero, mut schedule) = (Instant::now(), Schedule::default());
        schedule.changed("a".to_owned(), zero);
        schedule.take(zero).unwrap();
        schedule.looked("a".to_owned(), false, at(zero, 100));
        assert_eq!(schedule.next(), Some(at(zero, 5100)));
        schedule.changed("a".to_owned(), at(zero, 3000));
        assert_eq!(schedule.next(), Some(at(zero, 3000)));
        schedule.take(at(zero, 3000)).unwrap();
        schedule.looked("a".to_owned(), true, at(zero, 3000));
        assert_eq!(schedule.next(), None);
    }

    proptest! {
        /// Any storm: never two looks at one namespace within a second or at once, every change is followed by a look, and nothing is kept.
        #[test]
        fn a_storm_is_looked_at_in_turn(
            steps in prop::collection::vec((0usize..3, 0u64..700, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let (zero, mut schedule) = (Instant::now(), Schedule::default());
            let (mut now, mut begun) = (zero, BTreeMap::new());
            let (mut running, mut unseen) = (Vec::new(), BTreeSet::new());
            for (which, millis, changes, mended) in steps {
                now += Duration::from_millis(millis);
                if changes {
                    let name = format!("n{which}");
                    unseen.insert(name.clone());
                    schedule.changed(name, now);
                } else if !running.is_empty() {
                    let name: String = running.remove(0);
                    schedule.looked(name, mended, now);
                }
                while let Some(name) = schedule.take(now) {
                    prop_assert!(!running.contains(&name));
                    let last = begun.insert(name.clone(), now);
                    prop_assert!(last.is_none_or(|last| now >= last + PAUSE));
                    unseen.remove(&name);
                    running.push(name);
                }
            }
            for name in running {
                schedule.looked(name, true, now);
            }
            while let Some(next) = schedule.next() {
                now = now.max(next);
                let name = schedule.take(now).unwrap();
                unseen.remove(&name);
                schedule.looked(name, true, now);
            }
            prop_assert!(unseen.is_empty() && schedule.busy.is_empty());
            prop_assert_eq!(schedule.take(now + PAUSE), None);
            prop_assert!(schedule.begun.is_empty());
        }
    }
}
