//! Every field of every kind, with what its schema forbids, through the API server: each is refused as a bad request that names the field, and nothing that
//! stands in the way (webhook, policies, rules) breaks over it.

use crate::cases;
use crate::support::in_space;
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use oarmaster_e2e::apply;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::space::say;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long it goes on; what it has not come to by then is counted.
const TIME: Duration = Duration::from_secs(60);
/// Requests at once.
const AT_ONCE: usize = 8;

/// A step of a path into an object.
#[derive(Clone, Debug)]
enum Step {
    Field(String),
    /// The first of a list.
    Item,
    /// Some entry of a map.
    Entry,
}

/// A field and its schema.
type Field<'a> = (Vec<Step>, &'a Value);

/// All fields below a schema, itself first. Free-form values have none.
fn fields<'a>(schema: &'a Value, path: &[Step], into: &mut Vec<Field<'a>>) {
    into.push((path.to_vec(), schema));
    let mut below = |step: Step, schema: &'a Value| {
        fields(schema, &[path, &[step]].concat(), into);
    };
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        below(Step::Field(name.clone()), schema);
    }
    if schema["items"].is_object() {
        below(Step::Item, &schema["items"]);
    }
    if schema["additionalProperties"].is_object() {
        below(Step::Entry, &schema["additionalProperties"]);
    }
}

/// What a schema forbids.
fn forbidden(schema: &Value) -> Vec<Value> {
    let bound = |name: &str| schema[name].as_i64();
    let mut values = match schema["type"].as_str() {
        // The API server takes a list for a text that has a format, seen with 1.34: its validation leaves both to the format.
        Some("string") if schema["format"].is_string() => vec![json!(7), json!({"a": 1})],
        Some("string") => vec![json!(7), json!({"a": 1}), json!([""])],
        Some("integer") => vec![json!("7"), json!(0.5), json!([1])],
        Some("boolean") => vec![json!("true"), json!(1)],
        Some("array") => vec![json!({"a": 1}), json!("a")],
        Some("object") => vec![json!(["a"]), json!("a"), json!(7)],
        _ => return Vec::new(), // an integer or a text, or anything
    };
    if schema["enum"].is_array() {
        values.push(json!("NoneOfThem"));
    }
    if schema["pattern"].is_string() {
        values.push(json!("\u{0}"));
    }
    if let Some(most) = bound("maxLength").and_then(|most| usize::try_from(most).ok()) {
        values.push(json!("x".repeat(most + 1)));
    }
    if bound("minLength").is_some_and(|least| least > 0) {
        values.push(json!(""));
    }
    if let Some(least) = bound("minimum") {
        values.push(json!(least - 1));
    }
    if let Some(most) = bound("maximum") {
        values.push(json!(most + 1));
    }
    if bound("minItems").is_some_and(|least| least > 0) {
        values.push(json!([]));
    }
    if schema["properties"].is_object() && schema["x-kubernetes-preserve-unknown-fields"] != true {
        values.push(json!({"noSuchField": 1}));
    }
    values
}

/// Puts a value into an object, with everything above it that is not there.
fn put(into: &mut Value, path: &[Step], value: Value) {
    let mut at = into;
    for step in path {
        at = match step {
            Step::Item => {
                if at.as_array().is_none_or(Vec::is_empty) {
                    *at = json!([{}]);
                }
                &mut at[0]
            }
            Step::Field(name) => below(at, name),
            Step::Entry => below(at, "some"),
        };
    }
    *at = value;
}

fn below<'a>(at: &'a mut Value, name: &str) -> &'a mut Value {
    if !at.is_object() {
        *at = json!({});
    }
    &mut at[name]
}

/// By which a refusal names the field.
fn named(path: &[Step]) -> &str {
    let mut names = path.iter().rev().filter_map(|step| match step {
        Step::Field(name) => Some(name.as_str()),
        Step::Item | Step::Entry => None,
    });
    names.next().unwrap_or("spec")
}

/// The schema of the spec of each kind.
fn schemas() -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(checkout().join("config/crd"))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let crd: Value = serde_saphyr::from_str(&text)?;
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        if let (Some(kind), Some(spec)) = (
            crd.pointer("/spec/names/kind").and_then(Value::as_str),
            crd.pointer(schema),
        ) {
            all.insert(kind.to_owned(), spec.clone());
        }
    }
    Ok(all)
}

/// Objects with one value each that its schema forbids, and the name of the field. The kinds take turns.
fn mutants(schemas: &BTreeMap<String, Value>) -> Result<Vec<(Value, String)>> {
    let mut all = Vec::new();
    for (kind, schema) in schemas {
        let fine = cases::all().into_iter();
        let mut fine = fine.filter(|case| case.told.is_empty() && case.object["kind"] == *kind);
        let fine = fine.next().with_context(|| format!("no {kind} is taken"))?;
        let mut found = Vec::new();
        fields(schema, &[Step::Field("spec".to_owned())], &mut found);
        ensure!(found.len() > 5, "{kind} has {} fields", found.len());
        let mut of_kind = 0_usize;
        for (path, schema) in found {
            for value in forbidden(schema) {
                // A field that is not there is named itself.
                let odd = value.get("noSuchField").is_some();
                let name = if odd { "noSuchField" } else { named(&path) };
                let mut object = fine.object.clone();
                put(&mut object, &path, value);
                all.push((of_kind, object, name.to_owned()));
                of_kind += 1;
            }
        }
    }
    all.sort_by_key(|(of_kind, ..)| *of_kind);
    Ok(all
        .into_iter()
        .map(|(_, object, name)| (object, name))
        .collect())
}

#[tokio::test]
async fn what_a_schema_forbids_is_refused_with_the_field() -> Result<()> {
    in_space("mutate", async |space| {
        let mutants = mutants(&schemas()?)?;
        let all = mutants.len();
        ensure!(all > 1000, "{all} mutants");
        let begun = Instant::now();
        let asked = stream::iter(mutants)
            .take_while(|_| std::future::ready(begun.elapsed() < TIME))
            .map(async |(object, name)| {
                let text = object.to_string();
                let done = apply::dry_run(&space.cluster.client, &space.name, &text).await;
                let shown: String = text.chars().take(600).collect();
                let Err(error) = done else {
                    return Some(format!("{name}: was taken: {shown}"));
                };
                let told = match error.downcast_ref::<kube::Error>() {
                    Some(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
                        &status.message
                    }
                    _ => return Some(format!("{name}: {error:#}: {shown}")),
                };
                let right = told.contains(&name);
                (!right).then(|| format!("{name} is not named: {told}: {shown}"))
            })
            .buffer_unordered(AT_ONCE);
        let answers: Vec<Option<String>> = asked.collect().await;
        say(&format!("{} of {all} mutants", answers.len()), begun);
        ensure!(answers.len() > 500, "only {} were asked", answers.len());
        let wrong: Vec<String> = answers.into_iter().flatten().collect();
        let first = wrong.iter().take(20).cloned().collect::<Vec<_>>();
        ensure!(wrong.is_empty(), "{} went wrong: {first:#?}", wrong.len());
        Ok(())
    })
    .await
}

/// Without an API server: the values are those that the schema forbids, so that a refusal says something.
#[test]
fn each_mutant_has_one_value_that_its_schema_forbids() -> Result<()> {
    let schemas = schemas()?;
    ensure!(schemas.len() == 8, "{:?}", schemas.keys());
    let mut validators = BTreeMap::new();
    for (kind, schema) in &schemas {
        validators.insert(kind.as_str(), jsonschema::validator_for(schema)?);
    }
    for (object, name) in mutants(&schemas)? {
        let kind = object["kind"].as_str().unwrap_or_default();
        let fits = validators[kind].is_valid(&object["spec"]);
        // JSON Schema lets in what is none of its fields; the API server does not.
        ensure!(!fits || name == "noSuchField", "{kind}: {name}: {object}");
    }
    Ok(())
}
