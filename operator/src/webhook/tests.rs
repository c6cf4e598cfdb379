use super::*;

fn configuration(webhooks: Value) -> MutatingWebhookConfiguration {
    serde_json::from_value(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME, "resourceVersion": "7"},
        "webhooks": webhooks,
    }))
    .unwrap()
}

fn webhook(client: Value) -> Value {
    json!({"name": "a.b.c", "clientConfig": client, "admissionReviewVersions": ["v1"], "sideEffects": "None"})
}

/// A webhook at a Service, with this base64 of a CA.
fn service(namespace: &str, name: &str, bundle: Option<&str>) -> Value {
    webhook(json!({"service": {"namespace": namespace, "name": name}, "caBundle": bundle}))
}

#[test]
fn the_ca_is_added_and_replaced_under_the_version_that_was_seen() {
    for held in [None, Some(""), Some("b2xk")] {
        let found = configuration(json!([service("ns", NAME, held)]));
        assert_eq!(
            plan(&found, "ns", "new", true),
            Some(json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "bmV3"},
            ]))
        );
    }
}

#[test]
fn what_checks_objects_gets_the_ca_as_what_stamps_tasks() {
    let webhooks = json!([service("ns", NAME, None)]);
    let stamps = configuration(webhooks.clone());
    let checks = ValidatingWebhookConfiguration {
        metadata: stamps.metadata.clone(),
        webhooks: serde_json::from_value(webhooks).unwrap(),
    };
    let wanted = plan(&stamps, "ns", "new", true);
    assert!(wanted.is_some());
    assert_eq!(plan(&checks, "ns", "new", true), wanted);
}

#[test]
fn nothing_is_written_where_the_ca_is_or_where_the_webhook_is_not_ours() {
    for webhooks in [
        json!([]),
        json!([service("ns", NAME, Some("bmV3"))]),
        json!([service("other", NAME, None)]),
        json!([service("ns", "other", None)]),
        json!([webhook(json!({"url": "https://127.0.0.1/tasks"}))]),
    ] {
        let found = configuration(webhooks.clone());
        assert_eq!(plan(&found, "ns", "new", true), None, "{webhooks}");
    }
}

#[test]
fn each_webhook_has_its_own_place() {
    let found = configuration(json!([
        service("ns", NAME, Some("bmV3")),
        webhook(json!({"url": "https://127.0.0.1/tasks"})),
        service("ns", NAME, None),
    ]));
    let patch = plan(&found, "ns", "new", true).unwrap();
    assert_eq!(patch.as_array().map(Vec::len), Some(2));
    assert_eq!(patch[1]["path"], "/webhooks/2/clientConfig/caBundle");
}

#[test]
fn a_ca_that_is_trusted_no_more_stays_for_a_while() {
    let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n{END}");
    let holds = |text: &str| {
        let mut found = configuration(json!([service("ns", NAME, None)]));
        for webhook in found.webhooks.iter_mut().flatten() {
            webhook.client_config.ca_bundle = Some(ByteString(text.as_bytes().to_vec()));
        }
        found
    };
    let written = |patch: &Value| -> String {
        let bytes: ByteString = serde_json::from_value(patch[1]["value"].clone()).unwrap();
        String::from_utf8(bytes.0).unwrap()
    };
    let (old, new) = (pem("old"), pem("new"));
    let both = format!("{new}{old}");
    let patch = plan(&holds(&old), "ns", &new, true).unwrap();
    assert_eq!(written(&patch), both);
    assert_eq!(plan(&holds(&both), "ns", &new, true), None);
    let patch = plan(&holds(&both), "ns", &new, false).unwrap();
    assert_eq!(written(&patch), new);
    // Staged and promoted: the order changes, and nothing is held twice.
    let patch = plan(&holds(&format!("{old}{new}")), "ns", &both, true).unwrap();
    assert_eq!(written(&patch), both);
}
