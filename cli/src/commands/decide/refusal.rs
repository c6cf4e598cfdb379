//! What the API server says to a decision, in one line and with what to do next. Pure.

use crate::asked::who;
use crate::error::Error;
use crate::text::quote;
use oarmaster_crds::Approval;

/// What stands before the words of an admission policy.
const POLICY: &str = "denied request: ";

/// What helps against a refusal.
#[derive(Clone, Copy)]
enum Help {
    /// A right.
    Right,
    /// Somebody else.
    Others,
    /// A person's own credentials.
    Person,
    /// Another look.
    Look,
}

/// Words of a refusal, by the API server, the policy `oarmaster-approvals` or the schema, and what helps against it.
const KNOWN: [(&str, Help); 7] = [
    ("cannot patch resource", Help::Right),
    ("may not approve Approvals", Help::Right),
    ("neither named in spec.approvers", Help::Others),
    ("somebody else has to decide", Help::Others),
    ("a ServiceAccount does not", Help::Person),
    ("waits for no decision", Help::Look),
    ("a decision stands", Help::Look),
];

/// The same error in fewer words. What is not known stays as it is.
pub fn clearer(error: Error, act: &str, approval: &Approval, user: &str, flags: &str) -> Error {
    let told = error.brief();
    let known = KNOWN.iter().find(|(words, _)| told.contains(words));
    let Some((words, help)) = known else {
        return error;
    };
    let name = approval.metadata.name.as_deref().unwrap_or_default();
    let namespace = approval.metadata.namespace.as_deref().unwrap_or_default();
    let why = match (told.split_once(POLICY), help) {
        (Some((_, why)), _) => why.to_owned(),
        (None, Help::Right) => format!("{user} may not change Approvals in namespace {namespace}"),
        (None, _) => (*words).to_owned(),
    };
    let next = match help {
        Help::Right => format!(
            "An administrator of the namespace can allow it: kubectl create rolebinding NAME -n {namespace} --clusterrole=oarmaster-approver --user={}",
            quote(user)
        ),
        Help::Others => format!("Who may decide: {}.", who(&approval.spec.approvers)),
        Help::Person => "Use a person's credentials: --context or --kubeconfig.".to_owned(),
        Help::Look => format!("How it stands: oar approvals {name}{flags}"),
    };
    error.saying(format!("{act}: {why}")).next(next)
}
