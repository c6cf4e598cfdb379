//! `oar get`.

use super::{name, phase, watch, why};
use crate::args::Get;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::follow::is_finished;
use crate::{output, text};
use kube::Api;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use oarmaster_crds::Task;
use std::fmt::Write as _;

pub async fn run(cluster: &Cluster, args: Get) -> Result<(), Error> {
    let Get {
        task,
        watch,
        output,
    } = args;
    let held = cluster.task(&task).await?;
    if watch {
        return watch::watch(cluster, &held).await;
    }
    if let Some(format) = output {
        // As it is stored, fields included that this oar does not know.
        let kind = ApiResource::erase::<Task>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind);
        return output::data(
            &call("failed to get the Task", api.get(&task)).await?,
            format,
        );
    }
    output::raw(text::clean(&describe(&held, &cluster.flags())).as_bytes())
}

/// The Task in words.
fn describe(task: &Task, flags: &str) -> String {
    let status = task.status.clone().unwrap_or_default();
    let mut page = String::new();
    let mut put = |label: &str, value: &str| {
        let value = value.trim_end().replace('\n', "\n             ");
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{label:<12} {value}");
    };
    put("Name", name(task));
    put(
        "Namespace",
        task.metadata.namespace.as_deref().unwrap_or_default(),
    );
    put("Target", status.target.as_deref().unwrap_or("-"));
    if let Some(requester) = &task.spec.requested_by {
        put("Requester", requester);
    }
    if let Some(pinned) = &status.pinned {
        put("Pinned", &pinned.agent);
    }
    if let Some(made) = &status.provenance {
        for (label, value) in [
            ("Prompt", &made.prompt),
            ("Class", &made.class),
            ("Image", &made.image),
        ] {
            if let Some(value) = value {
                put(label, value);
            }
        }
    }
    put("Phase", phase(task));
    if let Some(why) = why(task) {
        put("Why", &why);
    }
    if let Some(attempt) = status.attempt {
        put("Attempt", &attempt.to_string());
    }
    if let Some(created) = &task.metadata.creation_timestamp {
        put("Created", &format!("{} ago", text::age(created.0)));
    }
    if let (Some(from), Some(to)) = (&status.started_at, &status.finished_at) {
        let took = to.0.duration_since(from.0).try_into().unwrap_or_default();
        put("Took", &text::duration(took));
    }
    if let Some(usage) = &status.usage {
        put("Models", &usage.models.join(", "));
        put(
            "Used",
            &format!(
                "{} calls, {} input and {} output tokens, ${}",
                usage.calls, usage.input_tokens, usage.output_tokens, usage.usd
            ),
        );
    }
    for artifact in &status.artifacts {
        let size = text::bytes(u64::try_from(artifact.size).unwrap_or_default());
        put("Artifact", &format!("{} ({size})", artifact.name));
    }
    for held in &status.conditions {
        let message = if held.message.is_empty() {
            String::new()
        } else {
            format!(": {}", held.message)
        };
        put(
            "Condition",
            &format!("{}={} {}{message}", held.type_, held.status, held.reason),
        );
    }
    let follow = if is_finished(task) { "" } else { " -f" };
    put(
        "Next",
        &format!(
            "oar logs{follow} {0}{flags}\noar result {0}{flags}",
            name(task)
        ),
    );
    page
}
