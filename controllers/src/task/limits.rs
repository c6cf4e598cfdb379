//! What the installation lets a namespace have at once: the chart's `limits`, from the ConfigMap `oarmaster-limits`. Pure.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The ConfigMap's key.
const KEY: &str = "limits";
/// What `maxPriority` may be: what a priority may be.
const PRIORITIES: RangeInclusive<i64> = -1000..=1000;

/// The limits of all namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of every namespace, unless its own entry says otherwise.
    defaults: Limit,
    namespaces: BTreeMap<String, Limit>,
}

/// The limits of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limit {
    /// Most Tasks with a live attempt; `None`: any number.
    pub running_tasks: Option<u32>,
    /// Highest priority that counts; `None`: any.
    pub max_priority: Option<i64>,
}

impl Limits {
    /// Reads what the ConfigMap holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(data: Option<&BTreeMap<String, String>>) -> Result<Self, String> {
        let text = data.and_then(|data| data.get(KEY));
        let text = text.ok_or_else(|| format!("it has no key {KEY}"))?;
        let limits: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let all = limits.namespaces.values().chain([&limits.defaults]);
        for most in all.filter_map(|limit| limit.max_priority) {
            if !PRIORITIES.contains(&most) {
                return Err(format!(
                    "maxPriority is {most}: write {} to {}",
                    PRIORITIES.start(),
                    PRIORITIES.end()
                ));
            }
        }
        Ok(limits)
    }

    /// Those of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Limit {
        let own = self.namespaces.get(namespace).copied().unwrap_or_default();
        Limit {
            running_tasks: own.running_tasks.or(self.defaults.running_tasks),
            max_priority: own.max_priority.or(self.defaults.max_priority),
        }
    }
}

impl Limit {
    /// The priority that counts of one that a Task states.
    #[must_use]
    pub fn priority(&self, stated: i64) -> i64 {
        self.max_priority.map_or(stated, |most| stated.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, Limits};

    fn read(text: &str) -> Result<Limits, String> {
        let data = [("limits".to_owned(), text.to_owned())].into();
        Limits::read(Some(&data))
    }

    #[test]
    fn a_namespace_has_its_own_limits_and_where_it_has_none_the_default_ones() {
        let limits = read(r#"{"defaults": {"runningTasks": 50, "maxPriority": 0}, "namespaces": {"team-a": {"runningTasks": 5}, "team-b": {"maxPriority": 1000}}}"#).unwrap();
        let limit = |running_tasks, max_priority| Limit {
            running_tasks: Some(running_tasks),
            max_priority: Some(max_priority),
        };
        assert_eq!(limits.of("team-a"), limit(5, 0));
        assert_eq!(limits.of("team-b"), limit(50, 1000));
        assert_eq!(limits.of("team-c"), limit(50, 0));
        assert_eq!(read("{}").unwrap().of("team-a"), Limit::default());
    }

    #[test]
    fn a_priority_above_the_limit_counts_as_the_limit() {
        let limit = |most| Limit {
            max_priority: most,
            ..Limit::default()
        };
        for (most, stated, counts) in [
            (None, 1000, 1000),
            (Some(10), 1000, 10),
            (Some(10), 10, 10),
            (Some(10), -5, -5),
            (Some(-7), 0, -7),
        ] {
            assert_eq!(limit(most).priority(stated), counts, "{most:?} {stated}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_an_error_that_says_so() {
        for (text, says) in [
            ("", "EOF"),
            (
                r#"{"namespaces": {"a": {"runningTask": 5}}}"#,
                "runningTask",
            ),
            (r#"{"namespaces": {"a": {"runningTasks": -1}}}"#, "-1"),
            (r#"{"defaults": {"maxPriority": 1001}}"#, "1001"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Limits::read(None).unwrap_err().contains("no key limits"));
    }
}
