//! `oar list`.

use super::{name, phase};
use crate::args::List;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::{output, text};
use kube::Api;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use oarmaster_crds::Task;

pub async fn run(cluster: &Cluster, args: List) -> Result<(), Error> {
    let List {
        all_namespaces,
        output,
    } = args;
    let act = "failed to list Tasks";
    if let Some(format) = output {
        let api = cluster.stored::<Task>(all_namespaces);
        return output::data(&call(act, api.list(&ListParams::default())).await?, format);
    }
    // One malformed object must not hide the others.
    let api: Api<DeserializeGuard<Task>> = if all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    };
    let mut tasks = call(act, api.list(&ListParams::default())).await?.items;
    if tasks.is_empty() {
        let place = if all_namespaces {
            "in this cluster".to_owned()
        } else {
            format!("in namespace {}", cluster.namespace)
        };
        return output::line(&format!(
            "There are no Tasks {place}. `oar run AGENT` creates one."
        ));
    }
    tasks.sort_by_key(created);
    let mut header = vec!["NAME", "TARGET", "PHASE", "MODEL", "TOKENS", "COST", "AGE"];
    if all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let mut cells = row(task);
            if all_namespaces {
                cells.insert(0, meta(task).namespace.clone().unwrap_or_default());
            }
            cells
        })
        .collect();
    output::table(&header, &rows)
}

fn meta(task: &DeserializeGuard<Task>) -> &kube::core::ObjectMeta {
    match &task.0 {
        Ok(task) => &task.metadata,
        Err(invalid) => &invalid.metadata,
    }
}

fn created(task: &DeserializeGuard<Task>) -> Option<jiff::Timestamp> {
    meta(task).creation_timestamp.as_ref().map(|time| time.0)
}

fn row(guard: &DeserializeGuard<Task>) -> Vec<String> {
    let age = created(guard).map(text::age).unwrap_or_default();
    let task = match &guard.0 {
        Ok(task) => task,
        Err(invalid) => {
            let name = invalid.metadata.name.clone().unwrap_or_default();
            let mut cells = vec![
                name,
                text::one_line(&invalid.error, 60),
                "Malformed".to_owned(),
            ];
            cells.resize(6, String::new());
            cells.push(age);
            return cells;
        }
    };
    let status = task.status.clone().unwrap_or_default();
    let usage = status.usage.unwrap_or_default();
    let some = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    vec![
        name(task).to_owned(),
        some(status.target.unwrap_or_default()),
        phase(task).to_owned(),
        some(usage.models.first().cloned().unwrap_or_default()),
        usage.total_tokens.to_string(),
        some(usage.usd),
        age,
    ]
}
