//! What is known of a class: its RuntimeClass, and its probe.

use super::plan::{self, Observed};
use super::pod::ProbePod;
use crate::kit::{Context, Result};
use crate::task::observe::{gateway_ip, live_job};
use crate::task::pod::JobFacts;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use oarmaster_crds::SandboxClass;

/// Looks.
pub async fn observe(class: &SandboxClass, ctx: &Context) -> Result<Observed> {
    let uid = class.metadata.uid.as_deref().unwrap_or_default();
    let name = &class.spec.runtime_class_name;
    let key = ObjectRef::new(name);
    let mut seen = Observed {
        now: Timestamp::now(),
        runtime_class: !name.is_empty() && ctx.stores.runtime_classes.get(&key).is_some(),
        runner: ctx.settings.runner_image.clone(),
        gateway_ip: gateway_ip(ctx),
        uid_range: ctx.uid_range(&ctx.settings.namespace),
        jobs: ctx
            .stores
            .probe_jobs
            .state()
            .iter()
            .map(|job| JobFacts::of(job))
            .filter(|job| job.owner_uid == uid)
            .collect(),
        foreign_job: false,
        pods: Vec::new(),
    };
    if let Some(wanted) = plan::missing_job(class, &seen) {
        // Not there, or not yet in the cache: only the API server knows.
        match live_job(ctx, &ctx.settings.namespace, &wanted).await? {
            Some(job) if job.owner_uid == uid => seen.jobs.push(job),
            Some(_) => seen.foreign_job = true,
            None => {}
        }
    }
    seen.pods = ctx
        .stores
        .probe_pods
        .state()
        .iter()
        .map(|pod| ProbePod::of(pod))
        .filter(|pod| seen.jobs.iter().any(|job| job.uid == pod.job_uid))
        .collect();
    Ok(seen)
}
