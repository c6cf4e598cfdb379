//! The user ids of a sandbox pod: those of its class, or those that the platform gave to its namespace.

use crate::kinds::class::{Users, UsersFrom};

/// Annotation of a Namespace: the user ids that its pods may have, as `FIRST/COUNT` or `FIRST-LAST`. OpenShift gives each namespace a range of
/// its own and refuses pods with other ids.
pub const RANGE_ANNOTATION: &str = "openshift.io/sa.scc.uid-range";

/// The largest id that Kubernetes takes.
const LARGEST: i64 = i32::MAX as i64;

/// Two different user ids, neither of them root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIds {
    /// Of the agent loop.
    pub pilot: i64,
    /// Of untrusted code.
    pub exec: i64,
}

/// Why there are no user ids. It is waited for: the namespace can be given a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUserIds {
    /// The namespace has no range.
    #[error(
        "has no annotation {RANGE_ANNOTATION}, from which user ids are taken (users.from: FromNamespace): platforms like OpenShift write it; elsewhere set it, like 1000650000/10000, or use from: Fixed"
    )]
    NoRange,
    /// What it has is none, or too small.
    #[error(
        "has {RANGE_ANNOTATION}: '{0}', which is no range of at least two user ids from 1 to {LARGEST}: write it like 1000650000/10000"
    )]
    NotARange(String),
}

impl UserIds {
    /// The ids of a pod in a namespace with this annotation.
    ///
    /// # Errors
    /// [`NoUserIds`] where they come from the namespace and it has none.
    pub fn of(users: &Users, range: Option<&str>) -> Result<Self, NoUserIds> {
        match users.from {
            UsersFrom::Fixed => Ok(Self {
                pilot: users.pilot,
                exec: users.exec,
            }),
            UsersFrom::FromNamespace => {
                let text = range.ok_or(NoUserIds::NoRange)?;
                let bad = || NoUserIds::NotARange(text.chars().take(40).collect());
                let pilot = first_of_two(text).ok_or_else(bad)?;
                Ok(Self {
                    pilot,
                    exec: pilot + 1,
                })
            }
        }
    }
}

/// The first id of a range of at least two.
fn first_of_two(text: &str) -> Option<i64> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (first, last) = if let Some((first, count)) = text.split_once('/') {
        let first = number(first)?;
        (first, first.checked_add(number(count)?)?.checked_sub(1)?)
    } else {
        let (first, last) = text.split_once('-')?;
        (number(first)?, number(last)?)
    };
    (first >= 1 && first < last && last <= LARGEST).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_namespace() -> Users {
        Users {
            from: UsersFrom::FromNamespace,
            ..Users::default()
        }
    }

    #[test]
    fn fixed_ids_are_the_classs_whatever_the_namespace_has() {
        let ids = UserIds::of(&Users::default(), Some("1000650000/10000"));
        let wanted = UserIds {
            pilot: 65_532,
            exec: 65_533,
        };
        assert_eq!(ids, Ok(wanted));
    }

    #[test]
    fn a_range_gives_its_first_two() {
        for (range, pilot) in [
            ("1000650000/10000", 1_000_650_000),
            ("1000650000-1000659999", 1_000_650_000),
            ("1/2", 1),
            ("7-8", 7),
            ("2147483646/2", 2_147_483_646),
        ] {
            let ids = UserIds::of(&from_namespace(), Some(range)).unwrap();
            assert_eq!((ids.pilot, ids.exec), (pilot, pilot + 1), "{range}");
        }
    }

    #[test]
    fn what_is_no_range_is_said() {
        assert_eq!(
            UserIds::of(&from_namespace(), None),
            Err(NoUserIds::NoRange)
        );
        for range in [
            "",
            "/",
            "-",
            "1000",
            "0/10",
            "0-9",
            "5/1",
            "5/0",
            "9-5",
            "5-5",
            "-1/5",
            "+1/5",
            "1/2/3",
            " 1/2",
            "a/b",
            "2147483647/2",
            "9223372036854775807/9223372036854775807",
            "99999999999999999999/2",
        ] {
            let error = UserIds::of(&from_namespace(), Some(range)).unwrap_err();
            assert_eq!(error, NoUserIds::NotARange(range.to_owned()), "{range}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_two_and_never_roots(text in "[-/0-9]{0,24}|\\PC{0,60}") {
            if let Ok(ids) = UserIds::of(&from_namespace(), Some(&text)) {
                prop_assert!(ids.pilot >= 1 && ids.pilot != ids.exec && ids.exec <= LARGEST);
            }
        }
    }
}
