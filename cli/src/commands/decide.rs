//! `oar approve` and `oar reject`: one's own decision, under one's own name.

mod check;
mod refusal;
#[cfg(test)]
mod tests;

use crate::args::{Approve, Reject};
use crate::asked::page;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::output;
use check::Wanted;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use oarmaster_crds::Approval;
use oarmaster_crds::kinds::approval::Verdict;
use serde_json::json;
use std::io::IsTerminal as _;

pub async fn approve(cluster: &Cluster, args: Approve) -> Result<(), Error> {
    let Approve {
        approval,
        notes,
        set,
        yes,
    } = args;
    let wanted = Wanted {
        verdict: Verdict::Approve,
        notes: notes.unwrap_or_default(),
        set,
    };
    decide(cluster, &approval, wanted, yes).await
}

pub async fn reject(cluster: &Cluster, args: Reject) -> Result<(), Error> {
    let Reject { approval, notes } = args;
    let wanted = Wanted {
        verdict: Verdict::Reject,
        notes: notes.unwrap_or_default(),
        set: Vec::new(),
    };
    decide(cluster, &approval, wanted, true).await
}

async fn decide(cluster: &Cluster, name: &str, wanted: Wanted, yes: bool) -> Result<(), Error> {
    let flags = cluster.flags();
    let held = cluster.approval(name).await?;
    let user = own_name(cluster).await?;
    let now = Timestamp::now();
    let verdict = wanted.verdict;
    let decision = check::decision(&held, &user, wanted, now, &flags)?;
    if !yes {
        confirm(&page(&held, now, &flags), name, &user)?;
    }
    let api: Api<Approval> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let patch = Patch::Merge(json!({"spec": {"decisions": {&user: decision}}}));
    let act = format!(
        "failed to {} Approval {}/{name}",
        check::verb(verdict),
        cluster.namespace
    );
    let sent = call(&act, api.patch(name, &PatchParams::default(), &patch)).await;
    let held = sent.map_err(|error| refusal::clearer(error, &act, &held, &user, &flags))?;
    output::line(&check::done(&held, &user, verdict))?;
    output::line(&format!(
        "What comes of it: oar get {}{flags}",
        held.spec.task.name
    ))
}

/// The caller's user name, as the API server knows it.
pub async fn own_name(cluster: &Cluster) -> Result<String, Error> {
    let all: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let act = "failed to ask the API server who you are";
    let asked = SelfSubjectReview::default();
    let told = call(act, all.create(&PostParams::default(), &asked)).await?;
    let user = told.status.and_then(|status| status.user_info);
    user.and_then(|user| user.username)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::cluster(format!("{act}: it gives no name")))
}

/// Shows the question, and goes on with a yes alone.
fn confirm(page: &str, name: &str, user: &str) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(
            Error::input("there is no terminal to ask you whether you mean it")
                .next("Look at the question, then say --yes."),
        );
    }
    let user = crate::text::clean(user);
    eprint!("{page}\nApprove {name} as {user}? A decision stands. [y/N] ");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::input("failed to read your answer").source(error))?;
    if check::is_yes(&answer) {
        return Ok(());
    }
    Err(Error::input("nothing was decided"))
}
