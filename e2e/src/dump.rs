//! What a person wants to see of a failed test.
#![allow(
    clippy::print_stderr,
    reason = "the test harness shows it with the failure"
)]

use crate::space::Space;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;

/// Prints objects, events and logs of a namespace, as far as they can be had: what is missing is said, and the test's own error stays first.
pub async fn print(space: &Space) {
    eprintln!("--- namespace {} ---", space.name);
    for args in [
        &["get", "oarmaster,jobs,pods", "-o", "wide"][..],
        &["get", "otask,oprov", "-o", "yaml"],
        &["get", "events", "--sort-by=.lastTimestamp"],
    ] {
        show(space, args).await;
    }
    let pods = space.api::<Pod>().list(&ListParams::default()).await;
    for pod in pods.map(|list| list.items).unwrap_or_default() {
        show(space, &["describe", "pod", &pod.name_any()]).await;
        let args = [
            "logs",
            &pod.name_any(),
            "--all-containers",
            "--prefix",
            "--tail=50",
        ];
        show(space, &args).await;
    }
}

async fn show(space: &Space, args: &[&str]) {
    match space.kubectl(args).await {
        Ok(text) => eprintln!("$ kubectl {}\n{text}", args.join(" ")),
        Err(error) => eprintln!("$ kubectl {}: {error:#}", args.join(" ")),
    }
}
