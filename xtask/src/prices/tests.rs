//! The generator on two made-up tables, and what can be checked of the real one without a network.

use std::collections::{BTreeMap, BTreeSet};

use oarmaster_prices::{Capability, Row, Source, Table};
use proptest::prelude::*;

use super::decimal::{self, Read};
use super::entry::Entry;
use super::merge::Merged;
use super::waiver::{self, Right};
use super::{
    LITELLM, MODELS_DEV, NOTICES, OPENAI, TABLE, WAIVERS, generate, json, litellm, models_dev,
    render,
};

const FIRST: &str = include_str!("fixtures/litellm.json");
const SECOND: &str = include_str!("fixtures/models-dev.json");
const DECIDED: &str = r#"[
  {"vendor": "openai", "model": "acme-disputed", "right": "models.dev", "why": "its price list says so"},
  {"vendor": "openai", "model": "acme-free", "right": "litellm", "why": "its price list says so"},
  {"vendor": "openrouter", "model": "openrouter/auto", "right": "neither", "why": "its price depends on what it picks"}
]"#;

fn failure(first: &str, second: &str, waivers: &str) -> String {
    format!("{:#}", generate(first, second, waivers).unwrap_err())
}

fn repository(name: &str) -> String {
    std::fs::read_to_string(crate::cache::checkout().join(name)).unwrap()
}

#[test]
fn two_tables_become_one() {
    let text = generate(FIRST, SECOND, DECIDED).unwrap();
    let shown = text
        .replace(LITELLM.version, "<version>")
        .replace(LITELLM.date, "<date>")
        .replace(MODELS_DEV.version, "<version>")
        .replace(MODELS_DEV.date, "<date>");
    insta::assert_snapshot!(shown);
    // The same again: nothing depends on a run.
    assert_eq!(generate(FIRST, SECOND, DECIDED).unwrap(), text);
}

#[test]
fn what_is_left_out_and_rounded_is_counted() {
    let first = litellm::read(FIRST).unwrap();
    assert_eq!(first.notes.rounded, 1);
    let reasons = [
        ("another service or contract of Bedrock", 1),
        (
            "answers with sound or pictures that cost other than text",
            1,
        ),
        ("neither chat nor embedding", 1),
        ("no price per token", 1),
    ];
    assert_eq!(first.notes.left_out, BTreeMap::from(reasons));
    let second = models_dev::read(SECOND).unwrap();
    let reasons = [("no price per token", 1), ("not text to text", 1)];
    assert_eq!(second.notes.left_out, BTreeMap::from(reasons));
}

#[test]
fn a_disagreement_without_a_waiver_fails_with_both_prices() {
    let error = failure(FIRST, SECOND, "[]");
    for wanted in [
        "\n  openai acme-disputed: output 2000000 3000000\n",
        "\n  openai acme-free: free in one table only\n",
        "\n  openrouter openrouter/auto: free in one table only\n",
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    assert!(!error.contains("acme/one:free"), "{error}");
    // 2.5 % apart: no disagreement.
    assert!(!error.contains("acme-1"), "{error}");
}

#[test]
fn tiers_of_one_bound_are_compared() {
    let first = r#"{"a": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "input_cost_per_token_above_200k_tokens": 2e-6}}"#;
    let second = |bound| {
        format!(
            r#"{{"openai": {{"models": {{"a": {{"cost": {{"input": 1, "output": 1, "context_over_{bound}k": {{"input": 3}}}}, "modalities": {{"input": ["text"], "output": ["text"]}}}}}}}}}}"#
        )
    };
    let error = failure(first, &second(200), "[]");
    assert!(
        error.contains("openai a: input above 200000 2000000 3000000\n"),
        "{error}"
    );
    generate(first, &second(272), "[]").unwrap();
}

#[test]
fn a_waiver_that_decides_nothing_fails() {
    let cases = [
        ("acme-1", "litellm", true),
        ("acme-new", "models.dev", true),
        ("nobody", "neither", true),
        ("acme-new", "neither", false),
    ];
    for (model, right, fails) in cases {
        let more = format!(
            r#", {{"vendor": "openai", "model": "{model}", "right": "{right}", "why": "so"}}]"#
        );
        let made = generate(FIRST, SECOND, &DECIDED.replace(']', &more));
        let error = made.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(
            error.ends_with(&format!("decide nothing: openai {model}")),
            fails,
            "{error}"
        );
    }
    // The table that is said to be right does not have the model.
    let wrong = DECIDED.replace("litellm", "models.dev");
    assert!(failure(FIRST, SECOND, &wrong).ends_with("decide nothing: openai acme-free"));
}

#[test]
fn a_waiver_may_take_a_model_out() {
    let neither = DECIDED.replace("models.dev", "neither");
    assert!(
        generate(FIRST, SECOND, DECIDED)
            .unwrap()
            .contains("acme-disputed")
    );
    let text = generate(FIRST, SECOND, &neither).unwrap();
    assert!(!text.contains("acme-disputed"));
}

#[test]
fn a_waiver_has_a_reason_and_stands_once() {
    let once = DECIDED.trim_matches(['[', ']']);
    assert!(failure(FIRST, SECOND, &format!("[{once},{once}]")).contains("two waivers"));
    let silent = DECIDED.replace("its price list says so", " ");
    assert!(failure(FIRST, SECOND, &silent).contains("says not why"));
    let unknown = DECIDED.replace("\"openai\"", "\"acme\"");
    assert!(failure(FIRST, SECOND, &unknown).contains("failed to read the waivers"));
}

#[test]
fn a_name_that_stands_twice_fails() {
    let twice = r#"{"a": {}, "a": {}}"#;
    assert!(failure(twice, "{}", "[]").contains(r#""a" stands there twice"#));
    let inside = r#"{"a": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1, "input_cost_per_token": 2}}"#;
    assert!(failure(inside, "{}", "[]").contains(r#""input_cost_per_token" stands there twice"#));
}

#[test]
fn one_model_under_two_names_at_two_prices_must_be_decided() {
    let model = |price| {
        format!(
            r#"{{"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": {price}, "output_cost_per_token": 1e-6}}"#
        )
    };
    let table = |other| {
        format!(
            r#"{{"gemini/a": {}, "a": {}}}"#,
            model("1e-6"),
            model(other)
        )
    };
    assert!(generate(&table("1e-6"), "{}", "[]").is_ok());
    let error = failure(&table("0"), "{}", "[]");
    assert!(
        error.contains("gemini a: twice in one table at different prices"),
        "{error}"
    );
    let waiver = r#"[{"vendor": "gemini", "model": "a", "right": "litellm", "why": "the first is the API's own name"}]"#;
    assert!(generate(&table("0"), "{}", waiver).is_ok());
}

#[test]
fn a_price_that_is_none_fails_with_its_place() {
    for price in [
        "-1e-6", "true", "\"free\"", "1.5", "[1]", "\"\"", "\"1e-\"", "1e99999", "\"0x10\"",
    ] {
        let table = format!(
            r#"{{"a": {{"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": {price}, "output_cost_per_token": 1e-6}}}}"#
        );
        let error = failure(&table, "{}", "[]");
        assert!(
            error.contains("a of openai: failed to read input_cost_per_token"),
            "{price}: {error}"
        );
    }
}

#[test]
fn decimal_text_becomes_whole_pico_usd() {
    let cases = [
        ("0", 12, 0, false),
        ("0.0", 12, 0, false),
        ("0e5", 12, 0, false),
        ("2e-07", 12, 200_000, false),
        ("2E-7", 12, 200_000, false),
        ("2.0000000000000003e-07", 12, 200_000, true),
        ("1.9999999999999999e-07", 12, 200_000, true),
        ("0.00003", 12, 30_000_000, false),
        ("\"3e-06\"", 12, 3_000_000, false),
        ("\" 3e-06 \"", 12, 3_000_000, false),
        ("1.25e+00", 6, 1_250_000, false),
        ("15", 6, 15_000_000, false),
        ("0.0375", 6, 37_500, false),
        ("0.0000005", 6, 1, true),
        ("0.00000049999", 6, 0, true),
        ("0.00000005", 6, 0, true),
        ("1e-30", 12, 0, true),
        ("1", 12, 1_000_000_000_000, false),
        ("000001.50", 6, 1_500_000, false),
    ];
    for (text, shift, value, rounded) in cases {
        assert_eq!(
            decimal::read(text, shift).unwrap(),
            Read { value, rounded },
            "{text}"
        );
    }
    for text in [
        "",
        ".5",
        "-0.1",
        "1.000000000001",
        "1e1",
        "+1",
        "1_000",
        "NaN",
        "null",
        "1e-6 USD",
    ] {
        assert!(decimal::read(text, 12).is_err(), "{text}");
    }
}

#[test]
fn numbers_of_tokens_may_be_written_in_any_way() {
    let object = json::Object::parse(r#"{"a": 128000, "b": "128000", "c": 128000.0, "d": 1.28e5, "e": "many", "f": 0, "g": -1, "h": 1e11, "i": null}"#).unwrap();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(object.tokens(name), Some(128_000), "{name}");
    }
    for name in ["e", "f", "g", "h", "i", "j"] {
        assert_eq!(object.tokens(name), None, "{name}");
    }
}

proptest! {
    /// Every whole price comes back, however its text is written.
    #[test]
    fn a_price_survives_its_text(pico in 0_u64..=600_000_000, zeros in 0_usize..5, up in -3_i32..4) {
        let plain = format!("{}.{:012}{}", pico / 1_000_000_000_000, pico % 1_000_000_000_000, "0".repeat(zeros));
        prop_assert_eq!(decimal::read(&plain, 12).unwrap(), Read { value: pico, rounded: false });
        let scaled = format!("{pico}e{}", up - 12);
        prop_assert_eq!(decimal::read(&scaled, 12 - up).unwrap(), Read { value: pico, rounded: false });
        // The shortest text of the nearest double, as both packages write it, is within the rounding.
        let noisy = format!("{:e}", pico as f64 / 1e12);
        prop_assert_eq!(decimal::read(&noisy, 12).unwrap().value, pico);
    }

    #[test]
    /// Text that is no table is an error, never a panic.
    fn no_text_is_too_strange(text in "\\PC{0,80}", shift in prop_oneof![Just(0), Just(6), Just(12)]) {
        let _ = decimal::read(&text, shift);
        let _ = litellm::read(&text);
        let _ = models_dev::read(&text);
    }

    #[test]
    fn no_number_is_too_strange(text in "-?[0-9]{0,30}(\\.[0-9]{0,30})?([eE][+-]?[0-9]{1,6})?") {
        let _ = decimal::read(&text, 12);
    }
}

fn again(row: &Row) -> Merged {
    let capabilities = Capability::ALL.map(|one| (one, row.capabilities.has(one)));
    Merged {
        key: (row.vendor, row.model.to_owned()),
        entry: Entry {
            mode: row.mode,
            context: row.context_tokens,
            max_output: row.max_output_tokens,
            capabilities: capabilities.into(),
            standard: row.standard.clone(),
            batch: row.batch.as_deref().cloned(),
            contradicted: false,
        },
        sources: row.sources.to_vec(),
    }
}

#[test]
fn the_table_is_as_this_program_writes_it() {
    let text = repository(TABLE);
    let table = Table::parse(text.clone().leak()).unwrap();
    let rows: Vec<Merged> = table.rows().iter().map(again).collect();
    // Sorted, unique, dated, compact, of the pinned packages, and nothing in it that would be written otherwise.
    assert!(
        render::table(&rows, [LITELLM, MODELS_DEV]).unwrap() == text,
        "run `cargo xtask prices`"
    );
    assert_eq!(text.lines().count(), rows.len() + 4);
}

#[test]
fn every_waiver_is_used_by_the_table() {
    let waivers = waiver::read(&repository(WAIVERS)).unwrap();
    let table = Table::parse(repository(TABLE).leak()).unwrap();
    for ((vendor, model), right) in &waivers {
        let row = table
            .rows()
            .iter()
            .find(|row| row.vendor == *vendor && row.model == model);
        let first = row.and_then(|row| row.sources.first().copied());
        let wanted = match right {
            Right::LiteLlm => Some(Source::LiteLlm),
            Right::ModelsDev => Some(Source::ModelsDev),
            Right::Neither => None,
        };
        assert_eq!(first, wanted, "{vendor:?} {model}");
    }
    // Where models.dev was taken against LiteLLM, somebody said so.
    let against: BTreeSet<_> = table
        .rows()
        .iter()
        .filter(|row| row.sources.to_vec() == [Source::ModelsDev, Source::LiteLlm])
        .map(|row| (row.vendor, row.model.to_owned()))
        .collect();
    assert!(
        against
            .iter()
            .all(|key| waivers.get(key) == Some(&Right::ModelsDev))
    );
}

#[test]
fn all_licences_are_kept() {
    let text = repository(NOTICES);
    for wanted in [
        "Copyright (c) 2023 Berri AI",
        "Copyright (c) 2025 models.dev",
        "Copyright (c) 2026 AIhubmix",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    assert_eq!(
        text.matches("Permission is hereby granted, free of charge")
            .count(),
        3
    );
    for pin in [LITELLM, MODELS_DEV, OPENAI] {
        assert!(text.contains(&format!(
            "`{}` {}, as of {}",
            pin.package, pin.version, pin.date
        )));
    }
}
