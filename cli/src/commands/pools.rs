//! `oar pools`: stops and resumes the calls of pools, and empties their caches.

use crate::args::{Pools, PoolsCommand, Which};
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::output;
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt as _};
use oarmaster_crds::ModelPool;
use oarmaster_crds::names::CACHE_FLUSHED_ANNOTATION;
use serde_json::json;

pub async fn run(cluster: &Cluster, args: Pools) -> Result<(), Error> {
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    let (which, change, done) = match args.command {
        PoolsCommand::Suspend(which) => (which, suspend(true), "takes no new calls"),
        PoolsCommand::Resume(which) => (which, suspend(false), "takes calls again"),
        PoolsCommand::Flush(which) => {
            let now = Timestamp::now().to_string();
            let flushed = json!({"metadata": {"annotations": {CACHE_FLUSHED_ANNOTATION: now}}});
            (which, flushed, "gives no answer again that it kept")
        }
    };
    let pools = chosen(cluster, which).await?;
    if pools.is_empty() {
        return output::line("There are no ModelPools.");
    }
    let (mut failed, all) = (Vec::new(), pools.len());
    for (namespace, name) in pools {
        let api: Api<ModelPool> = Api::namespaced(cluster.client.clone(), &namespace);
        let patch = Patch::Merge(&change);
        let act = format!("failed to change ModelPool {namespace}/{name}");
        // One that cannot be changed keeps none of the others running.
        match call(&act, api.patch(&name, &PatchParams::default(), &patch)).await {
            Ok(_) => output::line(&format!("ModelPool {namespace}/{name} {done}"))?,
            Err(error) => failed.push(error),
        }
    }
    if failed.len() > 1 {
        failed.iter().for_each(Error::print);
    }
    verdict(failed, all)
}

/// What a command that did not change some pools ends with.
fn verdict(mut failed: Vec<Error>, all: usize) -> Result<(), Error> {
    match (failed.len(), failed.pop()) {
        (_, None) => Ok(()),
        (1, Some(error)) => Err(error),
        (count, Some(_)) => Err(Error::cluster(format!(
            "{count} of {all} ModelPools were not changed"
        ))),
    }
}

/// Namespace and name of the pools that are meant.
async fn chosen(cluster: &Cluster, which: Which) -> Result<Vec<(String, String)>, Error> {
    let Which { names, all } = which;
    if !all {
        let own = |name| (cluster.namespace.clone(), name);
        return Ok(names.into_iter().map(own).collect());
    }
    let client = cluster.client.clone();
    let api: Api<ModelPool> = match &cluster.global.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let all = ListParams::default();
    let listed = call("failed to list ModelPools", api.list_metadata(&all)).await?;
    let id = |pool: &PartialObjectMeta<ModelPool>| {
        (pool.namespace().unwrap_or_default(), pool.name_any())
    };
    Ok(listed.items.iter().map(id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn a_pool_that_was_not_changed_is_an_error_whatever_the_others_did() {
        let failed = |count: usize| {
            (0..count)
                .map(|n| Error::input(format!("pool {n}")))
                .collect()
        };
        assert!(verdict(failed(0), 3).is_ok());
        let one = verdict(failed(1), 3).unwrap_err();
        assert_eq!(
            (one.code(), one.brief()),
            (Code::Input, "pool 0".to_owned())
        );
        let two = verdict(failed(2), 3).unwrap_err();
        assert_eq!(two.brief(), "2 of 3 ModelPools were not changed");
        assert_eq!(two.code(), Code::Cluster);
    }
}
