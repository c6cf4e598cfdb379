//! Who may do what, by the chart's roles.

use crate::guards::account;
use crate::support::{cluster, in_space};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::{Cluster, Space};
use std::collections::BTreeSet;

async fn may(cluster: &Cluster, namespace: &str, user: &str, what: &[&str]) -> Result<bool> {
    let mut args = vec!["auth", "can-i", "--namespace", namespace, "--as", user];
    args.extend(["--as-group", "system:authenticated"]);
    if user.starts_with("system:serviceaccount:") {
        args.extend(["--as-group", "system:serviceaccounts"]);
    }
    args.extend(what);
    let output = cluster.kubectl(&args).await?;
    match output.stdout.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => anyhow::bail!("{}", output.text()),
    }
}

#[tokio::test]
async fn the_operator_reads_no_secret() -> Result<()> {
    let cluster = cluster().await?;
    let operator = format!("system:serviceaccount:{RELEASE}:oarmaster-operator");
    for (namespace, what, wanted) in [
        ("default", &["get", "secrets"][..], false),
        ("default", &["list", "secrets"], false),
        (RELEASE, &["get", "secrets"], false),
        (RELEASE, &["get", "secrets/oarmaster-ca"], false),
        (RELEASE, &["watch", "secrets/oarmaster-gateway-tls"], false),
        (RELEASE, &["patch", "secrets/oarmaster-ca"], true),
        (RELEASE, &["patch", "secrets/oarmaster-gateway-tls"], true),
        (RELEASE, &["patch", "secrets/other"], false),
        ("default", &["patch", "secrets/oarmaster-ca"], false),
        (RELEASE, &["patch", "secrets/oarmaster-webhook-tls"], true),
        (
            "default",
            &["patch", "mutatingwebhookconfigurations/oarmaster-webhook"],
            true,
        ),
        (
            "default",
            &["patch", "validatingwebhookconfigurations/oarmaster-webhook"],
            true,
        ),
        (
            "default",
            &["patch", "mutatingwebhookconfigurations/other"],
            false,
        ),
        (
            "default",
            &["patch", "validatingwebhookconfigurations/other"],
            false,
        ),
        (
            "default",
            &["create", "mutatingwebhookconfigurations"],
            false,
        ),
        ("default", &["create", "tasks.oarmaster.dev"], true),
        ("default", &["patch", "tasks.oarmaster.dev"], true),
        ("default", &["create", "approvals.oarmaster.dev"], true),
        ("default", &["patch", "approvals.oarmaster.dev"], false),
        ("default", &["approve", "approvals.oarmaster.dev"], false),
        ("default", &["delete", "approvals.oarmaster.dev"], false),
        ("default", &["create", "leases"], true),
        ("default", &["list", "leases"], false),
        ("default", &["update", "leases"], false),
        ("default", &["create", "jobs"], true),
        ("default", &["create", "pods"], false),
        ("default", &["get", "pods", "--subresource=log"], false),
        ("default", &["create", "rolebindings"], false),
        (
            "default",
            &["create", "serviceaccounts", "--subresource=token"],
            false,
        ),
    ] {
        let answer = may(&cluster, namespace, &operator, what).await?;
        ensure!(answer == wanted, "{what:?} in {namespace}: {answer}");
    }
    in_space("operator", async |space: &Space| {
        let secrets: Api<Secret> =
            Api::namespaced(account(space, RELEASE, "oarmaster-operator")?, RELEASE);
        match secrets.get("oarmaster-ca").await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            other => anyhow::bail!("the operator got {other:?}"),
        }
    })
    .await
}

/// What a ServiceAccount of the release may do in a namespace and one without any role may not: resource, names, verbs.
async fn own_rights(cluster: &Cluster, namespace: &str, account: &str) -> Result<BTreeSet<String>> {
    let rights = async |account: &str| -> Result<BTreeSet<String>> {
        let user = format!("system:serviceaccount:{RELEASE}:{account}");
        let group = format!("system:serviceaccounts:{RELEASE}");
        let mut args = vec!["auth", "can-i", "--list", "--no-headers"];
        args.extend(["--namespace", namespace, "--as", &user]);
        for group in ["system:authenticated", "system:serviceaccounts", &group] {
            args.extend(["--as-group", group]);
        }
        let listed = cluster.kubectl(&args).await?.success()?.stdout;
        let lines = listed.lines().filter(|line| !line.is_empty());
        Ok(lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect())
    };
    let (all, nobodys) = (rights(account).await?, rights("nobody").await?);
    Ok(&all - &nobodys)
}

#[tokio::test]
async fn the_gateway_has_what_it_needs_and_no_more() -> Result<()> {
    let everywhere = [
        "budgets.oarmaster.dev [] [] [list watch]",
        "jobs.batch [] [] [get]",
        "modelpools.oarmaster.dev [] [] [get list watch]",
        "modelproviders.oarmaster.dev [] [] [get list watch]",
        "namespaces [] [] [list watch]",
        "pods [] [] [get]",
        "subjectaccessreviews.authorization.k8s.io [] [] [create]",
        "tasks.oarmaster.dev [] [] [get]",
        "tokenreviews.authentication.k8s.io [] [] [create]",
    ];
    let own = ["secrets [] [] [get watch]"];
    for (namespace, wanted) in [
        ("default", everywhere.to_vec()),
        (RELEASE, [&everywhere[..], &own].concat()),
    ] {
        let rights = own_rights(&cluster().await?, namespace, "oarmaster-gateway").await?;
        let wanted: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
        ensure!(rights == wanted, "in {namespace}: {rights:#?}");
    }
    let cluster = cluster().await?;
    let gateway = format!("system:serviceaccount:{RELEASE}:oarmaster-gateway");
    for (namespace, what, wanted) in [
        (RELEASE, &["get", "secrets/oarmaster-gateway-tls"][..], true),
        (RELEASE, &["watch", "secrets/oarmaster-gateway-tls"], true),
        (RELEASE, &["list", "secrets"], false),
        ("default", &["get", "secrets/any"], false),
        (
            "default",
            &["create", "tokenreviews.authentication.k8s.io"],
            true,
        ),
        (
            "default",
            &["create", "subjectaccessreviews.authorization.k8s.io"],
            true,
        ),
        ("default", &["get", "jobs.batch"], true),
        ("default", &["delete", "jobs.batch"], false),
        ("default", &["watch", "modelproviders.oarmaster.dev"], true),
        ("default", &["patch", "modelproviders.oarmaster.dev"], false),
        ("default", &["patch", "budgets.oarmaster.dev"], false),
        ("default", &["list", "tasks.oarmaster.dev"], false),
        ("default", &["patch", "tasks.oarmaster.dev"], false),
        ("default", &["get", "configmaps"], false),
    ] {
        let answer = may(&cluster, namespace, &gateway, what).await?;
        ensure!(answer == wanted, "{what:?} in {namespace}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sandbox_may_do_what_a_new_serviceaccount_may() -> Result<()> {
    in_space("sandbox", async |space| {
        let mut lists = Vec::new();
        for name in ["oarmaster-sandbox", "fresh"] {
            space.kubectl(&["create", "serviceaccount", name]).await?;
            let user = format!("system:serviceaccount:{}:{name}", space.name);
            let args = [
                "auth",
                "can-i",
                "--list",
                "--as",
                &user,
                "--as-group=system:authenticated",
                "--as-group=system:serviceaccounts",
            ];
            let mut list: Vec<String> = space
                .kubectl(&args)
                .await?
                .lines()
                .map(str::to_owned)
                .collect();
            list.sort();
            lists.push(list);
        }
        ensure!(lists[0] == lists[1], "{lists:#?}");
        ensure!(
            !lists[0].is_empty() && !lists[0].iter().any(|line| line.contains("oarmaster.dev")),
            "{lists:#?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_builtin_roles_cover_our_kinds() -> Result<()> {
    in_space("users", async |space| {
        for role in ["view", "edit", "admin"] {
            let (binding, cluster_role, user) = (
                role,
                format!("--clusterrole={role}"),
                format!("--user={role}er"),
            );
            space
                .kubectl(&["create", "rolebinding", binding, &cluster_role, &user])
                .await?;
        }
        let kinds = ["agents", "modelpools", "modelproviders", "tasks"];
        let rows: [(&[&str], [bool; 3]); 15] = [
            // Who decides is said apart from who works.
            (&["get", "approvals.oarmaster.dev"], [true, true, true]),
            (&["patch", "approvals.oarmaster.dev"], [false, false, false]),
            (
                &["approve", "approvals.oarmaster.dev"],
                [false, false, false],
            ),
            (&["get", "tasks.oarmaster.dev"], [true, true, true]),
            (
                &["get", "tasks.oarmaster.dev", "--subresource=transcript"],
                [true, true, true],
            ),
            (
                &["get", "tasks.oarmaster.dev", "--subresource=artifacts"],
                [true, true, true],
            ),
            (
                &["get", "tasks.oarmaster.dev", "--subresource=usage"],
                [true, true, true],
            ),
            // It is about all namespaces.
            (
                &["get", "tasks.oarmaster.dev", "--subresource=audit"],
                [false, false, false],
            ),
            (
                &["use", "modelpools.oarmaster.dev/any"],
                [false, true, true],
            ),
            (
                &["patch", "tasks.oarmaster.dev", "--subresource=status"],
                [false, false, false],
            ),
            (
                &["create", "sandboxclasses.oarmaster.dev"],
                [false, false, false],
            ),
            // Who spends what is the administrator's business.
            (&["get", "budgets.oarmaster.dev"], [false, false, false]),
            (&["create", "budgets.oarmaster.dev"], [false, false, false]),
            // Budgets choose namespaces by their labels, as allowedNamespaces does.
            (&["patch", "namespaces"], [false, false, false]),
            (&["create", "pods"], [false, true, true]),
        ];
        let mut all: Vec<(Vec<String>, [bool; 3])> = rows
            .iter()
            .map(|(what, wanted)| (what.iter().map(|&part| part.to_owned()).collect(), *wanted))
            .collect();
        for kind in kinds {
            for verb in ["create", "update", "patch", "delete"] {
                all.push((
                    vec![verb.to_owned(), format!("{kind}.oarmaster.dev")],
                    [false, true, true],
                ));
            }
            all.push((
                vec!["list".to_owned(), format!("{kind}.oarmaster.dev")],
                [true, true, true],
            ));
        }
        for (what, wanted) in all {
            let what: Vec<&str> = what.iter().map(String::as_str).collect();
            for (user, wanted) in ["viewer", "editer", "adminer"].into_iter().zip(wanted) {
                let answer = may(&space.cluster, &space.name, user, &what).await?;
                ensure!(answer == wanted, "{user} {what:?}: {answer}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn everybody_may_read_the_gateways_certificate() -> Result<()> {
    let cluster = cluster().await?;
    ensure!(
        may(
            &cluster,
            RELEASE,
            "anybody",
            &["get", "configmaps/oarmaster-gateway-ca"]
        )
        .await?
    );
    ensure!(!may(&cluster, RELEASE, "anybody", &["get", "configmaps/other"]).await?);
    ensure!(
        !may(
            &cluster,
            RELEASE,
            "anybody",
            &[
                "create",
                "pods/oarmaster-gateway-0",
                "--subresource=portforward"
            ]
        )
        .await?
    );
    Ok(())
}
