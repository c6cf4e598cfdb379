//! What a derived schema still needs before the API server, `kubectl explain` and GitOps tools are served well, and the rules that every
//! schema of ours keeps.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

/// Texts must not hold NUL: no program's argument, environment or file name can carry it.
const NO_NUL: &str = r"^[^\x00]*$";
/// Bound of texts in types that are not ours (tolerations, node selectors): the longest name or label value that Kubernetes takes.
const FOREIGN_TEXT: u64 = 316;

/// Finishes the schemas of a definition.
pub fn finish(definition: &mut Value) -> Result<()> {
    let Some(versions) = definition
        .pointer_mut("/spec/versions")
        .and_then(Value::as_array_mut)
    else {
        bail!("no versions");
    };
    for version in versions {
        let Some(root) = version
            .pointer_mut("/schema/openAPIV3Schema")
            .and_then(Value::as_object_mut)
        else {
            bail!("no schema");
        };
        root.remove("title");
        if let Some(spec) = child(root, "spec") {
            visit(spec, "spec", &mut spec_node)?;
        }
        if let Some(status) = child(root, "status") {
            status.insert(
                "description".to_owned(),
                json!("What is known of the object. Written by the controller."),
            );
            visit(status, "status", &mut status_node)?;
            // What waits by kstatus takes an object without status for one that is ready.
            status.insert("default".to_owned(), json!({ "observedGeneration": -1 }));
        }
    }
    Ok(())
}

fn child<'a>(root: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    root.get_mut("properties")?.get_mut(name)?.as_object_mut()
}

type Node = Map<String, Value>;

/// Calls `each` on a node and on everything below it, with the path for messages.
fn visit(
    node: &mut Node,
    path: &str,
    each: &mut dyn FnMut(&mut Node, &str) -> Result<()>,
) -> Result<()> {
    each(node, path)?;
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, below) in properties {
            if let Some(below) = below.as_object_mut() {
                let path = format!("{path}.{name}");
                if !below.contains_key("description") {
                    bail!("{path} has no description");
                }
                visit(below, &path, each)?;
            }
        }
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(below) = node.get_mut(key).and_then(Value::as_object_mut) {
            visit(below, &format!("{path}{mark}"), each)?;
        }
    }
    Ok(())
}

fn both(node: &mut Node) {
    // A null means absent here; the API server drops nulls where a field is not nullable, and fills the default in.
    node.remove("nullable");
    for bound in ["minimum", "maximum"] {
        if let Some(number) = node.get(bound).and_then(Value::as_f64) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "bounds are whole numbers below 2^53"
            )]
            node.insert(bound.to_owned(), json!(number as i64));
        }
    }
}

fn spec_node(node: &mut Node, path: &str) -> Result<()> {
    both(node);
    match node.get("type").and_then(Value::as_str) {
        Some("string") => {
            let foreign =
                path.starts_with("spec.tolerations") || path.starts_with("spec.nodeSelector");
            if foreign {
                node.entry("maxLength").or_insert(json!(FOREIGN_TEXT));
            }
            let listed = node.contains_key("enum") || node.contains_key("format");
            if !listed && !node.contains_key("maxLength") {
                bail!("{path} is a text without maxLength");
            }
            if !listed && !node.contains_key("pattern") {
                node.insert("pattern".to_owned(), json!(NO_NUL));
            }
        }
        Some("array") if !node.contains_key("maxItems") => {
            bail!("{path} is a list without maxItems")
        }
        Some("object")
            if node.contains_key("additionalProperties") && !node.contains_key("maxProperties") =>
        {
            bail!("{path} is a map without maxProperties")
        }
        Some("number") => bail!("{path} is a floating point number"),
        _ => {}
    }
    Ok(())
}

/// Status has no defaults: what is not known is absent, and a merge patch of one field adds no other.
#[expect(clippy::unnecessary_wraps, reason = "the visitor's form")]
fn status_node(node: &mut Node, _: &str) -> Result<()> {
    both(node);
    node.remove("default");
    Ok(())
}
