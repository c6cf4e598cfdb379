use super::schema::Params;
use super::template::{Piece, pieces};
use super::{MAX_PROMPT, prompt};
use crate::kinds::command::CommandSpec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn command(params: Value, prompt: &str) -> CommandSpec {
    serde_json::from_value(json!({ "name": "write", "prompt": prompt, "params": params })).unwrap()
}

fn object(value: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn tests() -> CommandSpec {
    command(
        json!({
            "type": "object",
            "required": ["module"],
            "properties": {
                "module": {"type": "string", "pattern": "^[a-z]+$"},
                "framework": {"type": "string", "default": "pytest", "enum": ["pytest", "unittest"]},
                "count": {"type": "integer", "minimum": 1, "default": 3},
                "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            },
        }),
        "Write ${params.count} ${params.framework} tests for ${params.module}, tagged ${params.tags}.",
    )
}

#[test]
fn parameters_stand_in_the_prompt_and_defaults_for_those_that_are_not_given() {
    for (given, made) in [
        (
            json!({"module": "parser"}),
            "Write 3 pytest tests for parser, tagged [].",
        ),
        (
            json!({"module": "parser", "count": null, "framework": "unittest", "tags": ["a", "b"]}),
            "Write 3 unittest tests for parser, tagged [\"a\",\"b\"].",
        ),
    ] {
        assert_eq!(
            prompt(&tests(), "spec.params", &object(given)).unwrap(),
            made
        );
    }
}

#[test]
fn what_does_not_fit_is_told_by_its_field_and_without_the_value() {
    for (given, field, message) in [
        (
            json!({}),
            "spec.params.module",
            "is missing: write a value of type string",
        ),
        (json!({"module": null}), "spec.params.module", "is missing"),
        (
            json!({"module": "SECRET"}),
            "spec.params.module",
            "the value does not match \"^[a-z]+$\"",
        ),
        (
            json!({"module": 7}),
            "spec.params.module",
            "the value is not of type \"string\"",
        ),
        (
            json!({"module": "a", "count": 0}),
            "spec.params.count",
            "less than the minimum of 1",
        ),
        (
            json!({"module": "a", "framework": "SECRET"}),
            "spec.params.framework",
            "\"unittest\"",
        ),
        (
            json!({"module": "a", "tags": ["x", 1]}),
            "spec.params.tags.1",
            "not of type \"string\"",
        ),
        (
            json!({"module": "a", "modul": "SECRET"}),
            "spec.params.modul",
            "the command has no such parameter; it takes count, framework, module, tags",
        ),
    ] {
        let wrong = prompt(&tests(), "spec.params", &object(given.clone())).unwrap_err();
        let [one] = wrong.as_slice() else {
            panic!("{given}: {wrong:?}");
        };
        assert_eq!(one.field, field);
        assert!(one.message.contains(message), "{given}: {one}");
        assert!(!one.message.contains("SECRET"), "{one}");
    }
}

#[test]
fn no_prompt_holds_nul() {
    let given = object(json!({"module": "a", "tags": ["\0"]}));
    let made = prompt(&tests(), "p", &given).unwrap();
    assert!(made.contains(r#"["\u0000"]"#), "it is JSON there: {made}");
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
    let given = object(json!({"a": "x\0"}));
    let wrong = prompt(&command(schema, "${params.a}"), "spec.params", &given).unwrap_err();
    assert!(wrong[0].message.contains("NUL"), "{wrong:?}");
}

#[test]
fn a_prompt_has_places_for_parameters_and_nothing_else() {
    let found = |text| pieces(text).map(|pieces| format!("{pieces:?}"));
    for (text, as_is) in [
        ("", ""),
        ("$5 and $", "$5 and $"),
        ("{params.a}", "{params.a}"),
        ("$${params.a}", "${params.a}"),
        ("$$${params.a}", "$${params.a}"),
        ("a $${ b $${", "a ${ b ${"),
    ] {
        let made: String = pieces(text)
            .unwrap()
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Param(_) => panic!("{text}"),
            })
            .collect();
        assert_eq!(made, as_is);
    }
    assert_eq!(
        pieces("a${params.b}${ params.cD1 }").unwrap(),
        [Piece::Text("a"), Piece::Param("b"), Piece::Param("cD1")]
    );
    for text in [
        "${",
        "${}",
        "${module}",
        "${params}",
        "${params.}",
        "${params.a.b}",
        "${params.a + 1}",
        "${params['a']}",
        "${params.a",
        "${env.HOME}",
    ] {
        let why = found(text).unwrap_err();
        assert!(
            why.contains("write ${params.NAME} for a parameter"),
            "{why}"
        );
    }
}

#[test]
fn a_schema_is_of_the_part_that_can_be_checked_in_bounded_time() {
    let root = |root: Value| Params::new("params", Some(&root)).map(|_| ()).unwrap_err();
    let param = |of: Value| root(json!({"type": "object", "properties": {"a": of}}));
    let deep = (0..9).fold(
        json!({"type": "string"}),
        |below, _| json!({"type": "array", "items": below}),
    );
    let patterns: serde_json::Map<_, _> = (0..17)
        .map(|index| {
            (
                format!("p{index}"),
                json!({"type": "string", "pattern": "a"}),
            )
        })
        .collect();
    for (problems, field, message) in [
        (root(json!({})), "params", "write {type: object"),
        (
            root(json!({"type": "string"})),
            "params",
            "write {type: object",
        ),
        (
            root(json!({"type": "object", "$defs": {}})),
            "params.$defs",
            "is not taken here",
        ),
        (
            root(json!({"type": "object", "additionalProperties": true})),
            "params.additionalProperties",
            "always refused",
        ),
        (
            root(json!({"type": "object", "properties": []})),
            "params.properties",
            "write {NAME",
        ),
        (
            root(json!({"type": "object", "required": ["a"]})),
            "params.required",
            "must name parameters",
        ),
        (
            root(json!({"type": "object", "required": "a"})),
            "params.required",
            "write a list",
        ),
        (
            root(json!({"type": "object", "properties": patterns})),
            "params.properties.p9.pattern",
            "one pattern more than the 16",
        ),
        (
            root(json!({"type": "object", "description": "x".repeat(17_000)})),
            "params",
            "write at most 16384",
        ),
        (
            root(json!({"type": "object", "properties": {"a-b": {"type": "string"}}})),
            "params.properties.a-b",
            "write letters and digits",
        ),
        (
            root(json!({"type": "object", "properties": {"in": {"type": "string"}}})),
            "params.properties.in",
            "CEL",
        ),
        (param(json!(true)), "params.properties.a", "write a schema"),
        (
            param(json!({})),
            "params.properties.a.type",
            "write one of string",
        ),
        (
            param(json!({"type": ["string", "null"]})),
            "params.properties.a.type",
            "write one of string",
        ),
        (
            param(json!({"type": "string", "$ref": "#"})),
            "params.properties.a.$ref",
            "is not taken",
        ),
        (
            param(json!({"type": "string", "anyOf": []})),
            "params.properties.a.anyOf",
            "is not taken",
        ),
        (
            param(json!({"type": "string", "format": "uri"})),
            "params.properties.a.format",
            "is not taken",
        ),
        (
            param(json!({"type": "array", "items": {"type": "string", "default": "x"}})),
            "params.properties.a.items.default",
            "is not taken",
        ),
        (
            param(deep),
            "params.properties.a.items.items.items.items.items.items.items.items",
            "deeper than 8",
        ),
        (
            param(json!({"type": "string", "enum": vec!["x"; 257]})),
            "params.properties.a.enum",
            "at most 256",
        ),
        (
            param(json!({"type": "string", "minLength": "x"})),
            "params.properties.a",
            "cannot be used",
        ),
        (
            param(json!({"type": "string", "pattern": "(?=a)b"})),
            "params.properties.a",
            "no look-around",
        ),
        (
            param(json!({"type": "string", "pattern": "((a{99}){99}){99}"})),
            "params.properties.a",
            "in place of a long repetition",
        ),
        (
            param(json!({"type": "integer", "default": "x"})),
            "params.properties.a.default",
            "not of type \"integer\"",
        ),
    ] {
        assert!(
            problems
                .iter()
                .any(|one| one.field == field && one.message.contains(message)),
            "{field}, {message}: {problems:?}"
        );
    }
}

#[test]
fn patterns_of_names_and_paths_are_taken() {
    for pattern in [
        r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        r"^\w+(\.\w+)*$",
        r"^\S+$",
        r"^(src|tests)/.+\.(py|ts|java)$",
    ] {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}});
        assert!(Params::new("params", Some(&schema)).is_ok(), "{pattern}");
    }
}

#[test]
fn a_prompt_stops_growing_at_its_bound() {
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
    let many = command(schema, &"${params.a}".repeat(5000));
    let given = |length| object(json!({ "a": "x".repeat(length) }));
    let wrong = prompt(&many, "spec.params", &given(200_000)).unwrap_err();
    assert!(
        wrong[0].message.contains("more than 131072 characters"),
        "{wrong:?}"
    );
    assert_eq!(
        prompt(&many, "spec.params", &given(26)).unwrap().len(),
        130_000
    );
    let wrong = prompt(&many, "spec.params", &given(300_000)).unwrap_err();
    assert!(
        wrong[0].message.contains("write at most 262144"),
        "{wrong:?}"
    );
}

proptest! {
    #[test]
    fn whatever_is_written_makes_a_prompt_or_an_error(text in "([${}a-z.]|params|é){0,40}", value in "[^\\x00]{0,20}") {
        let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
        let given = object(json!({ "a": value }));
        match (pieces(&text), prompt(&command(schema, &text), "p", &given)) {
            (Err(_), Err(_)) => {}
            (Ok(pieces), Ok(made)) => {
                prop_assert!(made.chars().count() <= MAX_PROMPT);
                // Nothing of the value is read as a place: it stands there as it is.
                let places = pieces.iter().filter(|piece| **piece == Piece::Param("a")).count();
                prop_assert!(made.matches(&*value).count() >= places || value.is_empty());
            }
            (read, made) => prop_assert!(false, "{read:?} {made:?}"),
        }
    }
}
