//! What an attempt was made of: pure.

use super::refs::Resolved;
use oarmaster_crds::kinds::task::Provenance;
use oarmaster_crds::names;
use oarmaster_protocol::assignment::Target;

/// Of an attempt that begins. Later attempts take the assignment, and so the prompt, of the first over.
pub(super) fn begins(resolved: &Resolved, before: Option<&Provenance>) -> Provenance {
    let prompt = match resolved.assignment.as_ref().map(|all| &all.target) {
        Some(Target::Agent(agent)) => Some(names::digest(agent.prompt.as_bytes())),
        Some(Target::Run(_) | Target::Workflow(_)) => None,
        None => before.and_then(|before| before.prompt.clone()),
    };
    // The types of the API always serialise.
    let class = names::spec_digest(&resolved.class).ok();
    Provenance {
        prompt,
        class: class.map(|digest| format!("{}@{digest}", resolved.class_name)),
        image: None,
    }
}
