//! Every CEL rule of every kind has a case that it refuses.

use crate::{approval, cases, update};
use anyhow::{Context as _, Result, ensure};
use oarmaster_e2e::cluster::checkout;
use serde_json::Value;
use std::collections::BTreeSet;

/// The messages of all rules below a schema.
fn messages(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in schema["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                into.extend(rule["message"].as_str().map(str::to_owned));
            }
            fields.values().for_each(|below| messages(below, into));
        }
        Value::Array(items) => items.iter().for_each(|below| messages(below, into)),
        _ => {}
    }
}

#[test]
fn every_rule_has_a_case_that_it_refuses() -> Result<()> {
    let mut rules = BTreeSet::new();
    for entry in std::fs::read_dir(checkout().join("config/crd"))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let file: Value =
            serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        messages(&file, &mut rules);
    }
    ensure!(rules.len() > 20, "only {} rules were found", rules.len());
    let mut told: BTreeSet<&str> = cases::all()
        .iter()
        .flat_map(|case| case.told.clone())
        .collect();
    told.extend(update::told());
    told.extend(approval::told());
    let untested: Vec<_> = rules
        .iter()
        .filter(|rule| !told.contains(rule.as_str()))
        .collect();
    ensure!(
        untested.is_empty(),
        "no case is refused with: {untested:#?}"
    );
    Ok(())
}
