//! `oar approvals`: what people are asked.

use crate::args::Approvals;
use crate::asked::{page, phase, row};
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::output;
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use oarmaster_crds::Approval;
use oarmaster_crds::kinds::approval::ApprovalPhase;
use serde_json::Value;

/// The columns.
const HEADER: [&str; 6] = ["NAME", "TASK", "PHASE", "WHO", "ENDS", "QUESTION"];

pub async fn run(cluster: &Cluster, args: Approvals) -> Result<(), Error> {
    let Approvals {
        approval,
        all_namespaces,
        all,
        output,
    } = args;
    let every = ListParams::default();
    match (approval, output) {
        (Some(name), None) => {
            let held = cluster.approval(&name).await?;
            let page = page(&held, Timestamp::now(), &cluster.flags());
            output::raw(page.as_bytes())
        }
        (Some(name), Some(format)) => {
            cluster.approval(&name).await?; // says what there is in its place
            let api = cluster.stored::<Approval>(false);
            let held = call("failed to get the Approval", api.get(&name)).await?;
            output::data(&held, format)
        }
        (None, Some(format)) => {
            let api = cluster.stored::<Approval>(all_namespaces);
            let mut found = call("failed to list Approvals", api.list(&every)).await?;
            let waits = |held: &DynamicObject| {
                let phase = held.data.pointer("/status/phase");
                phase.and_then(Value::as_str) == Some("Waiting")
            };
            found.items.retain(|held| all || waits(held));
            output::data(&found, format)
        }
        (None, None) => {
            let mut found: Vec<Approval> = cluster.list(all_namespaces, &every).await?;
            found.retain(|held| all || phase(held) == Some(ApprovalPhase::Waiting));
            if found.is_empty() {
                let namespace = (!all_namespaces).then_some(&*cluster.namespace);
                return output::line(&nothing(namespace, all));
            }
            found.sort_by_key(|held| {
                let created = held.metadata.creation_timestamp.as_ref();
                created.map(|time| time.0)
            });
            table(&found, all_namespaces)
        }
    }
}

fn table(found: &[Approval], all_namespaces: bool) -> Result<(), Error> {
    let mut header = HEADER.to_vec();
    if all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    let now = Timestamp::now();
    let row = |held: &Approval| {
        let mut cells = row(held, now);
        if all_namespaces {
            cells.insert(0, held.metadata.namespace.clone().unwrap_or_default());
        }
        cells
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output::table(&header, &rows)
}

fn nothing(namespace: Option<&str>, all: bool) -> String {
    let place = match namespace {
        Some(namespace) => format!("in namespace {namespace}"),
        None => "in this cluster".to_owned(),
    };
    if all {
        return format!("There are no Approvals {place}.");
    }
    format!("Nothing waits for people {place}. `oar approvals --all` also shows what is decided.")
}
