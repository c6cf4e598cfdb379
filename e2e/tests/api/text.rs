//! What the API server and etcd do to text: why statuses are written as JSON patches and never applied (docs/decisions/0008).

use crate::support::in_space;
use crate::task;
use anyhow::{Result, ensure};
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::Task;
use serde_json::{Value, json};

/// Bytes of text in one status; escapes of control characters need room below 16 KiB.
const SLICE: usize = 14_000;

/// As the controller writes a status.
async fn write(tasks: &Api<Task>, status: Value) -> Result<Task> {
    let patch = serde_json::from_value(json!([{"op": "add", "path": "/status", "value": status}]))?;
    Ok(tasks
        .patch_status("case", &PatchParams::default(), &Patch::Json::<()>(patch))
        .await?)
}

#[tokio::test]
async fn every_scalar_value_stays_in_a_status() -> Result<()> {
    in_space("text-status", async |space| {
        space.create(&task::agent().to_string()).await?;
        let tasks: Api<Task> = space.api();
        let mut every = ('\0'..=char::MAX).peekable();
        let mut count = 0;
        while every.peek().is_some() {
            let mut text = String::new();
            while text.len() < SLICE && let Some(letter) = every.next() {
                text.push(letter);
                count += 1;
            }
            // A message is short, and there are several: each has all its characters somewhere.
            let message: String = text.chars().take(1024).collect();
            let status = json!({"output": {"text": text}, "failure": {"class": "Internal", "message": message}});
            let written = write(&tasks, status).await?;
            for task in [written, tasks.get("case").await?] {
                let status = task.status.unwrap_or_default();
                let same = status.output.as_ref().and_then(|output| output["text"].as_str()) == Some(&text)
                    && status.failure.is_some_and(|failure| failure.message == message);
                ensure!(same, "changed between {:?} and {:?}", text.chars().next(), text.chars().last());
            }
        }
        assert_eq!(count, 1_112_064);
        Ok(())
    })
    .await
}

/// Bodies of server-side apply are read as YAML, which has not every character.
#[tokio::test]
async fn apply_refuses_or_changes_what_a_patch_keeps() -> Result<()> {
    in_space("text-apply", async |space| {
        let maps: Api<ConfigMap> = space.api();
        let mut changed = Vec::new();
        for letter in ['\u{0}', '\u{1b}', '\u{7f}', '\u{80}', '\u{85}', '\u{9f}', '\u{fffe}', '\u{ffff}', '\u{feff}', '\u{2028}', '\u{1fffe}', '😀'] {
            let text = format!("a{letter}b");
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"text": text}});
            let params = PatchParams::apply("text").force();
            let told = match maps.patch("applied", &params, &Patch::Apply(&map)).await {
                Ok(held) => held.data.unwrap_or_default()["text"].clone(),
                Err(kube::Error::Api(status)) if status.code == 400 => "refused".to_owned(),
                Err(error) => return Err(error.into()),
            };
            if told != text {
                changed.push((letter, told));
            }
        }
        let letters: Vec<char> = changed.iter().map(|(letter, _)| *letter).collect();
        // Escaped by JSON they pass (NUL, ESC); raw in a JSON string they do not.
        assert_eq!(letters, ['\u{7f}', '\u{80}', '\u{85}', '\u{9f}', '\u{fffe}', '\u{ffff}'], "{changed:?}");
        Ok(())
    })
    .await
}

/// What is no character becomes U+FFFD here as everywhere in Oarmaster. Only of several ill-formed bytes in a row the API server makes one
/// each, where the WHATWG's decoders make one of those that begin a character together.
#[tokio::test]
async fn what_is_no_character_is_replaced_by_the_api_server_as_by_us() -> Result<()> {
    in_space("text-broken", async |space| {
        let tasks: Api<Task> = space.api();
        for (inner, theirs, ours) in [
            (&br"a\ud800b"[..], "a\u{fffd}b", "a\u{fffd}b"),
            (
                br"\udc00\ud83d\ude00\ud83d",
                "\u{fffd}😀\u{fffd}",
                "\u{fffd}😀\u{fffd}",
            ),
            (br"\ud83d\ud83d\ude00", "\u{fffd}😀", "\u{fffd}😀"),
            (b"a\xffb", "a\u{fffd}b", "a\u{fffd}b"),
            (b"a\xe2\x82b", "a\u{fffd}\u{fffd}b", "a\u{fffd}b"),
        ] {
            let object = task::agent().to_string();
            let (before, after) = object.split_once("Fix it.").unwrap_or_default();
            let body = [before.as_bytes(), inner, after.as_bytes()].concat();
            let url = format!(
                "/apis/oarmaster.dev/v1alpha1/namespaces/{}/tasks",
                space.name
            );
            let request = Request::post(url)
                .header("content-type", "application/json")
                .body(body.clone())?;
            let made: Task = space.cluster.client.request(request).await?;
            let read: Value = serde_json::from_str(&oarmaster_protocol::text::json(&body).text)?;
            let params = made.spec.params.unwrap_or_default();
            assert_eq!(
                (&params["prompt"], &read["spec"]["params"]["prompt"]),
                (&json!(theirs), &json!(ours))
            );
            tasks
                .delete("case", &kube::api::DeleteParams::default())
                .await?;
        }
        Ok(())
    })
    .await
}
