//! Lets Tasks of items go, and reads what they left: see `oarmaster_workflow::run::Fold`.

use super::memory::{self, json_bytes};
use crate::kit::{Context, Error, Result, chain, write};
use kube::Api;
use oarmaster_crds::Task;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{KeptItem, MAX_KEPT_WRITE};
use oarmaster_workflow::run::{Child, Fold, Want};
use serde_json::Value;

/// Keeps what the items left, then deletes their Tasks; whether there was room for it.
pub(super) async fn fold(
    ctx: &Context,
    namespace: &str,
    uid: &str,
    folds: &[Fold],
) -> Result<bool> {
    for (step, items) in batches(folds) {
        match ctx.gateway.keep_items(uid, step, &items).await {
            Ok(()) => ctx.memories().more(uid, step),
            Err(error) if error.gateway_code() == Some("too_large") => {
                tracing::warn!(
                    uid,
                    step,
                    error = chain(&error),
                    "Tasks of items stay: there is no room for what they left"
                );
                ctx.memories().no_room(uid);
                return Ok(false);
            }
            // What people want of the run is not in the gateway's way.
            Err(error) => {
                tracing::warn!(
                    uid,
                    step,
                    error = chain(&error),
                    "Tasks of items stay for now: the gateway does not take what they left"
                );
                ctx.memories().not_now(uid);
                return Ok(false);
            }
        }
    }
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), namespace);
    for (name, uid) in folds.iter().flat_map(|fold| &fold.tasks) {
        write::delete(&tasks, name, uid).await?;
    }
    Ok(true)
}

/// What is kept of them, step by step, in parts that the gateway takes.
fn batches(folds: &[Fold]) -> Vec<(&str, Vec<KeptItem>)> {
    let mut all: Vec<(&str, Vec<KeptItem>, usize)> = Vec::new();
    for fold in folds.iter().filter(|fold| !fold.results.is_empty()) {
        // Results of steps always serialise.
        let results = fold.results.iter().map(serde_json::to_value);
        let results: Vec<Value> = results.filter_map(std::result::Result::ok).collect();
        let kept = KeptItem {
            item: fold.item,
            results,
        };
        let bytes = json_bytes(&kept).saturating_add(1);
        match all.last_mut() {
            Some((step, items, held))
                if *step == fold.step && held.saturating_add(bytes) < MAX_KEPT_WRITE =>
            {
                items.push(kept);
                *held = held.saturating_add(bytes);
            }
            _ => all.push((&fold.step, vec![kept], bytes.saturating_add(2))),
        }
    }
    all.into_iter()
        .map(|(step, items, _)| (step, items))
        .collect()
}

/// Reads what a pass needs.
pub(super) async fn read(ctx: &Context, uid: &str, wants: &[Want]) -> Result<()> {
    for want in wants {
        let answer = ctx.gateway.kept_items(uid, &want.step, want.item).await;
        ctx.memories().read(uid, want, answered(answer)?);
    }
    Ok(())
}

/// What was read, or in the gateway's words why it never will be. What another try may find is an error of the pass.
fn answered(
    answer: Result<Vec<KeptItem>>,
) -> Result<std::result::Result<memory::Items, memory::Refused>> {
    match answer {
        Ok(items) => {
            let bytes = json_bytes(&items);
            let items = items.into_iter().map(parsed).collect::<Result<_>>()?;
            Ok(Ok(memory::Items { bytes, items }))
        }
        // It is more than is read at once, or no longer kept.
        Err(Error::GatewayRefused { code, message, .. }) if code == "too_large" => {
            Ok(Err((FailureClass::OutputTooLarge, message)))
        }
        Err(Error::GatewayRefused { code, message, .. }) if code == "not_found" => {
            Ok(Err((FailureClass::StateRegressed, message)))
        }
        Err(error) => Err(error),
    }
}

fn parsed(kept: KeptItem) -> Result<(u32, Vec<Child>)> {
    let results = kept.results.into_iter().map(serde_json::from_value);
    let results = results.collect::<std::result::Result<Vec<Child>, _>>();
    let results = results.map_err(|error| Error::Protocol {
        act: format!("read item {}", kept.item),
        message: error.to_string(),
    })?;
    Ok((kept.item, results))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fold(step: &str, item: u32, bytes: usize) -> Fold {
        Fold {
            step: step.to_owned(),
            item,
            tasks: Vec::new(),
            results: vec![Child::Succeeded(json!("x".repeat(bytes)))],
        }
    }

    #[test]
    fn what_items_left_is_sent_in_parts_that_fit() {
        let large = MAX_KEPT_WRITE / 2;
        let nothing = Fold {
            results: Vec::new(),
            ..fold("a", 9, 0)
        };
        let folds = [
            fold("a", 0, large),
            fold("a", 1, 10),
            fold("a", 2, large),
            nothing,
            fold("b", 0, 1),
        ];
        let batches = batches(&folds);
        let shape: Vec<(&str, Vec<u32>)> = batches
            .iter()
            .map(|(step, items)| (*step, items.iter().map(|item| item.item).collect()))
            .collect();
        assert_eq!(shape, [("a", vec![0, 1]), ("a", vec![2]), ("b", vec![0])]);
        for (_, items) in &batches {
            assert!(serde_json::to_vec(items).unwrap().len() <= MAX_KEPT_WRITE);
        }
    }

    #[test]
    fn what_will_never_be_read_is_said_and_all_else_fails_the_pass() {
        let refused = |status, code: &str| {
            Err(Error::GatewayRefused {
                act: "read items of step a of u".to_owned(),
                status,
                code: code.to_owned(),
                message: "so it is".to_owned(),
            })
        };
        for (status, code, class) in [
            (413, "too_large", FailureClass::OutputTooLarge),
            (404, "not_found", FailureClass::StateRegressed),
        ] {
            let answer = answered(refused(status, code)).unwrap();
            assert_eq!(answer, Err((class, "so it is".to_owned())), "{code}");
        }
        for (status, code) in [
            (404, "invalid_request"),
            (404, "unknown"),
            (503, "internal"),
            (403, "forbidden"),
        ] {
            let error = answered(refused(status, code)).unwrap_err();
            assert_eq!(error.gateway_code(), Some(code));
        }
        let nothing = memory::Items {
            bytes: 2,
            items: Vec::new(),
        };
        assert_eq!(answered(Ok(Vec::new())).unwrap(), Ok(nothing));
    }

    #[test]
    fn what_was_kept_is_read_as_it_was() {
        let failed = Child::Failed(
            oarmaster_crds::kinds::task::FailureStatus {
                class: "ToolFailed".to_owned(),
                message: "boom".to_owned(),
            },
            Some(json!({"exitCode": 1})),
        );
        for child in [Child::Succeeded(json!({"n": 1})), failed, Child::Cancelled] {
            let fold = Fold {
                results: vec![child.clone()],
                ..fold("a", 3, 0)
            };
            let kept = batches(&[fold]).remove(0).1.remove(0);
            assert_eq!(parsed(kept).unwrap(), (3, vec![child]));
        }
    }
}
