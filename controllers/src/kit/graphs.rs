//! Workflows as they were read and checked. Many runs of one Workflow share what was read once.

use oarmaster_workflow::graph::Graph;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Fewer of what was read than this are not looked through for those that nobody has any more.
const FEW: usize = 16;

/// What was read and is still in use.
#[derive(Debug, Default)]
pub struct Graphs(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// By the run: the UID of its Task; of a plan of a goal `/` and its number follow.
    runs: HashMap<String, Arc<Graph>>,
    /// By the digest of what was read.
    same: HashMap<String, Weak<Graph>>,
    /// With how many digests those that nobody has are dropped.
    full: usize,
}

impl Graphs {
    /// What a run runs.
    pub fn of(&self, run: &str) -> Option<Arc<Graph>> {
        self.with(|held| held.runs.get(run).cloned())
    }

    /// Remembers what a run runs.
    pub fn keep(&self, run: &str, graph: &Arc<Graph>) {
        self.with(|held| held.runs.insert(run.to_owned(), Arc::clone(graph)));
    }

    /// Forgets a run, and all plans of its goal.
    pub fn forget(&self, uid: &str) {
        let of_run = |key: &str| {
            let rest = key.strip_prefix(uid);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.with(|held| held.runs.retain(|key, _| !of_run(key)));
    }

    /// What was read of the same before, while somebody has it.
    pub fn same(&self, digest: &str) -> Option<Arc<Graph>> {
        self.with(|held| held.same.get(digest).and_then(Weak::upgrade))
    }

    /// What was read just now, or what somebody else read of the same meanwhile.
    pub fn share(&self, digest: String, graph: Graph) -> Arc<Graph> {
        self.with(|held| {
            if let Some(first) = held.same.get(&digest).and_then(Weak::upgrade) {
                return first;
            }
            let graph = Arc::new(graph);
            held.same.insert(digest, Arc::downgrade(&graph));
            if held.same.len() > held.full.max(FEW) {
                held.same.retain(|_, graph| graph.strong_count() > 0);
                held.full = held.same.len().saturating_mul(2);
            }
            graph
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_crds::kinds::workflow::WorkflowSpec;
    use serde_json::json;

    fn graph(prompt: &str) -> Graph {
        let step = json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": prompt}});
        let spec: WorkflowSpec = serde_json::from_value(json!({ "steps": [step] })).unwrap();
        Graph::compile(&spec).unwrap()
    }

    #[test]
    fn runs_of_the_same_share_what_was_read() {
        let graphs = Graphs::default();
        let first = graphs.share("x".to_owned(), graph("x"));
        graphs.keep("one", &first);
        let second = graphs.share("x".to_owned(), graph("x"));
        graphs.keep("two", &second);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&first, &graphs.same("x").unwrap()));
        let other = graphs.share("y".to_owned(), graph("y"));
        assert!(!Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn what_nobody_has_is_read_anew_and_takes_no_room() {
        let graphs = Graphs::default();
        let first = graphs.share("x".to_owned(), graph("x"));
        graphs.keep("one", &first);
        graphs.keep("one/2", &first);
        graphs.keep("one-more", &first);
        drop(first);
        graphs.forget("one");
        assert!(graphs.of("one").is_none() && graphs.of("one/2").is_none());
        assert!(graphs.same("x").is_some(), "another run has it");
        graphs.forget("one-more");
        assert!(graphs.same("x").is_none());
        for at in 0..10 * FEW {
            graphs.share(at.to_string(), graph("x"));
        }
        assert!(graphs.with(|held| held.same.len()) <= FEW + 1);
    }
}
