//! Budgets as calls see them: which caps a call counts for, and what they say. Pure; the ledger counts.

mod refused;
mod report;
mod room;
#[cfg(test)]
mod tests;

pub use refused::Refused;
pub use report::{report, soonest};
pub use room::blocked;

use crate::catalog::Id;
use crate::error::ApiFailure;
use oarmaster_crds::Budget;
use oarmaster_crds::common::Selector;
use oarmaster_crds::kinds::budget::{BudgetWindow, OnExceeded, Per};
use oarmaster_crds::validate;
use oarmaster_store::{Scope, Window};
use std::collections::{BTreeMap, BTreeSet};

/// Labels of namespaces, by name.
pub type Labels = BTreeMap<String, BTreeMap<String, String>>;

/// Every Budget, and the labels that they choose namespaces by: an immutable snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budgets {
    /// `None` until they were listed.
    rules: Option<BTreeMap<String, Rule>>,
    labels: Option<Labels>,
}

/// A Budget, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Generation of the object.
    pub generation: i64,
    /// Why it counts for nothing.
    pub problem: Option<String>,
    namespaces: Option<Selector>,
    pools: BTreeSet<Id>,
    per: Per,
    /// When its counters begin anew.
    pub window: Window,
    /// Most money in a window, in pico-USD.
    pub limit_pico: u64,
    /// Percent of the limit that are told of.
    pub warn_at: Vec<i64>,
    free_only: bool,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug)]
pub struct Payer<'a> {
    /// Namespace that pays.
    pub namespace: &'a str,
    /// The pool.
    pub pool: &'a Id,
    /// Name of the agent, for the call of a Task that has one.
    pub agent: Option<&'a str>,
    /// The user who created the Task, or who calls.
    pub requester: &'a str,
}

impl Budgets {
    /// A snapshot of these objects; `None` for what was not listed yet.
    #[must_use]
    pub fn new<'a>(
        objects: Option<impl IntoIterator<Item = (&'a str, &'a Budget)>>,
        labels: Option<Labels>,
    ) -> Self {
        let rules = objects.map(|objects| {
            let rules = objects.into_iter();
            rules
                .map(|(name, budget)| (name.to_owned(), Rule::new(budget)))
                .collect()
        });
        Self { rules, labels }
    }

    /// Whether everything was listed.
    #[must_use]
    pub const fn listed(&self) -> bool {
        self.rules.is_some() && self.labels.is_some()
    }

    /// The rules by name of the Budget.
    pub fn rules(&self) -> impl Iterator<Item = (&String, &Rule)> {
        self.rules.iter().flatten()
    }

    /// The labels of a namespace; `None` while they are not known.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()?.get(namespace)
    }

    /// The rule of a Budget.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.as_ref()?.get(name)
    }

    /// The caps that a call counts for.
    ///
    /// # Errors
    /// `unavailable` while it is not known which: a cap that is not seen yet must not let money through.
    pub fn scopes(&self, payer: &Payer<'_>) -> Result<Vec<Scope>, ApiFailure> {
        let (Some(rules), Some(labels)) = (&self.rules, &self.labels) else {
            return Err(ApiFailure::unavailable(
                "the gateway has not read the Budgets yet; try again in a second",
            ));
        };
        let mut scopes = Vec::new();
        for (name, rule) in rules {
            let in_pool = rule.pools.is_empty() || rule.pools.contains(payer.pool);
            if rule.problem.is_some() || !in_pool {
                continue;
            }
            if let Some(selector) = &rule.namespaces {
                let Some(labels) = labels.get(payer.namespace) else {
                    return Err(ApiFailure::unavailable(format!(
                        "namespace {} is new to the gateway; try again in a second",
                        payer.namespace
                    )));
                };
                if !selector.chooses(labels) {
                    continue;
                }
            }
            if let Some(key) = key(rule.per, payer) {
                scopes.push(Scope {
                    budget: name.clone(),
                    key,
                    window: rule.window,
                    limit_pico: rule.limit_pico,
                    free_only: rule.free_only,
                });
            }
        }
        Ok(scopes)
    }
}

/// The name of a counter. It begins with what is counted by, so that a Budget that counts by something else starts anew.
fn key(per: Per, payer: &Payer<'_>) -> Option<String> {
    let (namespace, pool) = (payer.namespace, payer.pool);
    Some(match per {
        Per::Cluster => "cluster".to_owned(),
        Per::Namespace => format!("namespace/{namespace}"),
        Per::Pool => format!("pool/{}/{}", pool.0, pool.1),
        Per::Agent => format!("agent/{namespace}/{}", payer.agent?),
        Per::Requester => format!("requester/{}", payer.requester),
    })
}

impl Rule {
    fn new(budget: &Budget) -> Self {
        let spec = &budget.spec;
        let problems = validate::budget(spec);
        Self {
            generation: budget.metadata.generation.unwrap_or_default(),
            problem: (!problems.is_empty()).then(|| validate::summary(&problems)),
            namespaces: spec.namespaces.clone(),
            pools: spec
                .pools
                .iter()
                .map(|pool| (pool.namespace.clone(), pool.name.clone()))
                .collect(),
            per: spec.per,
            window: match spec.window {
                BudgetWindow::Hour => Window::Hour,
                BudgetWindow::Day => Window::Day,
                BudgetWindow::Month => Window::Month,
                BudgetWindow::Total => Window::Total,
            },
            limit_pico: spec.usd.pico().unwrap_or_default(), // else there is a problem
            warn_at: spec.warn_at.clone(),
            free_only: spec.on_exceeded == OnExceeded::FreeOnly,
        }
    }

    /// The percentages that a settlement has crossed.
    pub fn crossed(&self, before: u64, after: u64) -> impl Iterator<Item = i64> {
        let reached = |spent: u64, percent: i64| {
            let percent = u128::from(percent.unsigned_abs());
            u128::from(spent) * 100 >= u128::from(self.limit_pico) * percent
        };
        self.warn_at
            .iter()
            .copied()
            .filter(move |percent| !reached(before, *percent) && reached(after, *percent))
    }
}
