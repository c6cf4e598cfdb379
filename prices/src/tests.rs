//! The table of this release, and the rules of looking a model up on a small one.

use proptest::prelude::*;

use crate::{Capabilities, Capability, MAX_PRICE, Mode, Prices, Row, Source, Table, Vendor};

fn builtin() -> Table {
    Table::parse(include_str!("../table.json")).unwrap()
}

/// A table of the lines given, each `vendor model price`.
fn table(lines: &[(&str, &str, u64)]) -> Table {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    let rows: Vec<String> = lines
        .iter()
        .map(|(vendor, model, price)| {
            format!(
                r#"{{"vendor":"{vendor}","model":"{model}","mode":"chat","from":["litellm"],"standard":{{"prices":{{"input":{price},"output":{price}}}}}}}"#
            )
        })
        .collect();
    Table::parse(file(&rows.join(",")).leak()).unwrap()
}

fn file(rows: &str) -> String {
    format!(
        r#"{{"litellm":{{"date":"2026-11-20","package":"a"}},"models.dev":{{"date":"2026-08-18","package":"b"}},"rows":[{rows}]}}"#
    )
}

fn found<'a>(table: &'a Table, vendor: Vendor, model: &str) -> Option<&'a str> {
    table.find(vendor, model).map(|row| row.model)
}

#[test]
fn the_table_of_this_release_is_read_and_small() {
    let table = builtin();
    assert_eq!(Table::builtin().rows(), table.rows());
    assert_eq!(table.as_of(), "2026-11-20");
    // What is in the program and what it takes when read; to be looked at when it grows.
    let tiers: usize = table.rows().iter().map(heap).sum();
    let memory = size_of_val(table.rows()) + tiers;
    assert_eq!(
        (
            table.rows().len(),
            include_str!("../table.json").len(),
            memory
        ),
        (1461, 424_486, 329_870)
    );
}

/// Bytes of a row that are not in the row.
fn heap(row: &Row) -> usize {
    let batch = row
        .batch
        .as_deref()
        .map_or(0, |batch| size_of_val(batch) + size_of_val(&*batch.tiers));
    size_of_val(&*row.sources) + size_of_val(&*row.standard.tiers) + batch
}

#[test]
fn every_vendor_has_rows_and_every_row_a_sound_price() {
    let table = builtin();
    for vendor in Vendor::ALL {
        assert!(
            table.rows().iter().any(|row| row.vendor == vendor),
            "{vendor:?}"
        );
    }
    for row in table.rows() {
        let name = row.model;
        assert_eq!(found(&table, row.vendor, name), Some(name));
        assert!(!name.trim().is_empty());
        // A model that answers and bills no output, or reads and bills no input, is a gap in a table and no gift.
        let Prices { input, output, .. } = row.standard.prices;
        let embeds = row.mode == Mode::Embedding;
        assert!(
            row.is_free() || (input > 0 && (output > 0 || embeds)),
            "{name}"
        );
        // The dearest of all answers at 600 USD per million tokens.
        assert!(
            row.standard.stated().all(|price| price <= 600_000_000),
            "{name}"
        );
        // Longer requests do not cost less, and a cache is not read at more than input costs.
        let mut below = row.standard.prices;
        for tier in &row.standard.tiers {
            assert!(
                below.input <= tier.prices.input && below.output <= tier.prices.output,
                "{name}"
            );
            below = tier.prices;
        }
        assert!(
            below.cache_read.is_none_or(|read| read <= below.input),
            "{name}"
        );
        if let Some(batch) = row.batch_prices_at(0) {
            assert!(batch.input <= input && batch.output <= output, "{name}");
        }
    }
}

#[test]
fn known_models_cost_what_their_vendors_say() {
    let table = builtin();
    let row = table
        .find(Vendor::Anthropic, "claude-sonnet-4-5-20250929")
        .unwrap();
    let wanted = Prices {
        input: 3_000_000,
        output: 15_000_000,
        input_audio: None,
        cache_read: Some(300_000),
        cache_write_5m: Some(3_750_000),
        cache_write_1h: Some(6_000_000),
        cache_write_12h: None,
    };
    assert_eq!(row.prices_at(1000), wanted);
    assert_eq!(row.batch_prices_at(0).unwrap().output, 7_500_000);
    assert_eq!(row.context_tokens, Some(200_000));
    assert!(row.capabilities.has(Capability::Tools) && row.capabilities.has(Capability::Documents));
    assert_eq!(table.row_as_of(row), "2026-11-20");

    let row = table
        .find(Vendor::Gemini, "models/gemini-3.1-pro-preview")
        .unwrap();
    assert_eq!(row.prices_at(200_000).input, 2_000_000);
    assert_eq!(row.prices_at(200_001).input, 4_000_000);
    assert_eq!(row.prices_at(u64::MAX).output, 18_000_000);

    let row = table
        .find(Vendor::OpenRouter, "openai/gpt-oss-20b:free")
        .unwrap();
    assert!(row.is_free());
    assert_eq!(
        (&*row.sources, table.row_as_of(row)),
        (&[Source::ModelsDev][..], "2026-08-18")
    );

    let row = table
        .find(Vendor::OpenAi, "text-embedding-3-small")
        .unwrap();
    assert_eq!(
        (row.mode, row.prices_at(1).input),
        (Mode::Embedding, 20_000)
    );
}

#[test]
fn a_model_that_is_not_there_has_no_price() {
    let table = builtin();
    for model in [
        "",
        "gpt",
        "gpt-5-turbo",
        "GPT-5",
        "gpt-5 ",
        "gpt-5-2025-8-7",
        "ft:",
        "ft::",
        "sample_spec",
    ] {
        assert_eq!(found(&table, Vendor::OpenAi, model), None, "{model}");
    }
    // Routed at run time to a model that is not known before.
    assert_eq!(found(&table, Vendor::OpenRouter, "openrouter/auto"), None);
    assert_eq!(found(&table, Vendor::AzureOpenAi, "model-router"), None);
}

#[test]
fn a_date_is_left_out_only_where_no_date_makes_a_difference() {
    let table = table(&[
        ("anthropic", "claude-opus-5", 5),
        ("anthropic", "claude-opus-5-20260101", 5),
        ("openai", "gpt-4o", 2),
        ("openai", "gpt-4o-2024-05-13", 5),
        ("openai", "gpt-4o-mini", 1),
        ("openai", "gpt-4o-mini-2024-07-18", 1),
        ("mistral", "mistral-large", 2),
    ]);
    let cases = [
        (
            Vendor::Anthropic,
            "claude-opus-5-20260909",
            Some("claude-opus-5"),
        ),
        (
            Vendor::Anthropic,
            "claude-opus-5-20260101",
            Some("claude-opus-5-20260101"),
        ),
        (Vendor::Anthropic, "claude-opus-5-2026-09-09", None),
        (Vendor::Anthropic, "claude-opus-5-5", None),
        (Vendor::OpenAi, "gpt-4o-2024-08-06", None),
        (
            Vendor::OpenAi,
            "gpt-4o-mini-2025-01-01",
            Some("gpt-4o-mini"),
        ),
        (Vendor::OpenAi, "gpt-4o-mini-20250101", None),
        (Vendor::OpenAi, "-2025-01-01", None),
        (Vendor::AzureOpenAi, "gpt-4o-mini-2025-01-01", None),
        (Vendor::Mistral, "mistral-large-2411", None),
    ];
    for (vendor, model, wanted) in cases {
        assert_eq!(found(&table, vendor, model), wanted, "{model}");
    }
}

#[test]
fn a_fine_tuned_model_is_priced_as_what_it_was_made_from() {
    let table = table(&[
        ("openai", "ft:gpt-4o-mini", 1),
        ("openai", "ft:gpt-4o-2024-08-06", 4),
        ("openai", "gpt-4.1", 2),
    ]);
    let cases = [
        (
            "ft:gpt-4o-2024-08-06:acme::a1b2",
            Some("ft:gpt-4o-2024-08-06"),
        ),
        (
            "ft:gpt-4o-mini-2024-07-18:acme:name:a1b2",
            Some("ft:gpt-4o-mini"),
        ),
        // Calls of a fine-tuned model cost other than those of its base.
        ("ft:gpt-4.1:acme::a1b2", None),
    ];
    for (model, wanted) in cases {
        assert_eq!(found(&table, Vendor::OpenAi, model), wanted, "{model}");
    }
}

#[test]
fn a_profile_of_bedrock_is_its_model_only_where_profiles_cost_the_same() {
    let table = table(&[
        ("bedrock", "meta.llama3", 1),
        ("bedrock", "us.meta.llama3", 1),
        ("bedrock", "anthropic.claude-5", 10),
        ("bedrock", "eu.anthropic.claude-5", 11),
        ("bedrock", "global.anthropic.claude-5", 10),
        ("bedrock", "eu-west-1/meta.llama2", 3),
        ("bedrock", "meta.llama2", 2),
        ("bedrock", "us-gov-west-1/meta.llama3", 2),
    ]);
    let arn = "arn:aws:bedrock:eu-west-1:123456789012";
    let cases = [
        ("apac.meta.llama3".to_owned(), Some("meta.llama3")),
        ("us-gov.meta.llama3".to_owned(), None),
        ("apac.anthropic.claude-5".to_owned(), None),
        (
            "eu.anthropic.claude-5".to_owned(),
            Some("eu.anthropic.claude-5"),
        ),
        ("apac.eu.anthropic.claude-5".to_owned(), None),
        (
            format!("{arn}:inference-profile/eu.anthropic.claude-5"),
            Some("eu.anthropic.claude-5"),
        ),
        (
            format!("{arn}:inference-profile/apac.meta.llama3"),
            Some("meta.llama3"),
        ),
        (
            format!("{arn}:application-inference-profile/meta.llama3"),
            None,
        ),
        (format!("{arn}:provisioned-model/meta.llama3"), None),
        (
            "arn:aws:bedrock:eu-west-1::foundation-model/meta.llama2".to_owned(),
            Some("eu-west-1/meta.llama2"),
        ),
        (
            "arn:aws:bedrock:eu-west-2::foundation-model/meta.llama2".to_owned(),
            None,
        ),
        (
            "arn:aws:bedrock:eu-west-2::foundation-model/anthropic.claude-5".to_owned(),
            None,
        ),
        ("apac.meta.llama2".to_owned(), None),
        (
            "arn:aws:bedrock:eu-west-2::foundation-model/meta.llama3".to_owned(),
            Some("meta.llama3"),
        ),
        (
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/meta.llama3".to_owned(),
            Some("us-gov-west-1/meta.llama3"),
        ),
        (
            "arn:aws-us-gov:bedrock:us-gov-east-1::foundation-model/meta.llama3".to_owned(),
            None,
        ),
        (
            "arn:aws:sagemaker:eu-west-2::foundation-model/meta.llama3".to_owned(),
            None,
        ),
        ("arn:aws:bedrock".to_owned(), None),
    ];
    for (model, wanted) in cases {
        assert_eq!(found(&table, Vendor::Bedrock, &model), wanted, "{model}");
    }
}

#[test]
fn a_region_of_bedrock_has_its_own_prices_first() {
    let table = table(&[
        ("bedrock", "eu-west-1/meta.llama2", 3),
        ("bedrock", "eu.meta.llama3", 1),
        ("bedrock", "meta.llama2", 2),
        ("bedrock", "meta.llama3", 1),
        ("bedrock", "us-gov-west-1/meta.llama3", 2),
        ("bedrock", "us-gov.meta.llama3", 4),
    ]);
    let arn = "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/meta.llama3";
    for (region, model, wanted) in [
        ("eu-west-1", "meta.llama2", Some("eu-west-1/meta.llama2")),
        ("eu-west-2", "meta.llama2", Some("meta.llama2")),
        ("eu-west-1", "eu.meta.llama3", Some("eu.meta.llama3")),
        ("eu-west-1", "unknown", None),
        // GovCloud is a world of its own.
        (
            "us-gov-west-1",
            "meta.llama3",
            Some("us-gov-west-1/meta.llama3"),
        ),
        ("us-gov-east-1", "meta.llama3", None),
        ("us-gov-west-1", "meta.llama2", None),
        (
            "us-gov-east-1",
            "us-gov.meta.llama3",
            Some("us-gov.meta.llama3"),
        ),
        ("us-gov-west-1", arn, Some("us-gov-west-1/meta.llama3")),
    ] {
        let row = table.find_in(region, model);
        assert_eq!(row.map(|row| row.model), wanted, "{model} in {region}");
    }
}

#[test]
fn only_gemini_says_models_before_an_id() {
    let table = table(&[("gemini", "gemini-3", 1), ("openai", "gpt-5", 1)]);
    assert_eq!(
        found(&table, Vendor::Gemini, "models/gemini-3"),
        Some("gemini-3")
    );
    assert_eq!(
        found(&table, Vendor::Gemini, "models/models/gemini-3"),
        None
    );
    assert_eq!(found(&table, Vendor::OpenAi, "models/gpt-5"), None);
}

#[test]
fn what_is_no_table_is_refused() {
    let row = |vendor: &str, model: &str, rest: &str| {
        format!(
            r#"{{"vendor":"{vendor}","model":"{model}","mode":"chat","from":["litellm"],"standard":{{"prices":{{"input":1,"output":1}}{rest}}}}}"#
        )
    };
    let one = |model: &str| row("openai", model, "");
    let tier = |above: u32| format!(r#"{{"above":{above},"prices":{{"input":1,"output":1}}}}"#);
    let tiers = |list: &str| row("openai", "a", &format!(r#","tiers":[{list}]"#));
    let cases = [
        (String::new(), "cannot be read"),
        (
            file(&one("a")).replace("2026-08-18", "August 2026"),
            "no date",
        ),
        (
            file(&format!("{},{}", one("b"), one("a"))),
            "openai a in the wrong place",
        ),
        (
            file(&format!("{},{}", one("a"), one("a"))),
            "openai a in the wrong place",
        ),
        (
            file(&one("a")).replace(r#""input":1"#, r#""input":-1"#),
            "cannot be read",
        ),
        (
            file(&one("a")).replace(r#""input":1"#, r#""input":0.5"#),
            "cannot be read",
        ),
        (
            file(&one("a")).replace(r#""input":1"#, r#""input":1000000000001"#),
            "wrong row",
        ),
        (
            file(&one("a")).replace(r#""input":1,"#, ""),
            "cannot be read",
        ),
        (file(&one("a")).replace(r#"["litellm"]"#, "[]"), "wrong row"),
        (file(&row("acme", "a", "")), "cannot be read"),
        (file(&row("openai", "a", r#","other":1"#)), "cannot be read"),
        (file(&tiers(&tier(0))), "wrong row"),
        (
            file(&tiers(&format!("{},{}", tier(2), tier(1)))),
            "wrong row",
        ),
        (
            file(&tiers(&format!("{},{}", tier(2), tier(2)))),
            "wrong row",
        ),
    ];
    for (text, wanted) in cases {
        let error = Table::parse(text.clone().leak()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

proptest! {
    /// For every row, at any two lengths: no panic, a price within bounds, and a longer request costs no less per token.
    #[test]
    fn longer_requests_cost_no_less(a: u64, b in 0_u64..1_100_000) {
        let (short, long) = (a.min(b), a.max(b));
        for row in Table::builtin().rows() {
            let (low, high) = (row.prices_at(short), row.prices_at(long));
            prop_assert!(low.input <= high.input && low.output <= high.output, "{}", row.model);
            prop_assert!(high.stated().all(|price| price <= MAX_PRICE));
            let (low, high) = (row.batch_prices_at(short), row.batch_prices_at(long));
            prop_assert_eq!(low.is_some(), high.is_some());
            prop_assert!(low.is_none_or(|low| high.is_none_or(|high| low.input <= high.input)));
        }
    }

    /// Any text may be asked for, and what is found without being asked for by name is a row of the same vendor.
    #[test]
    fn any_name_may_be_asked_for(name in "(arn:aws:bedrock:|us\\.|models/|ft:)?\\PC{0,40}(-2024-08-06|-20240806)?") {
        for vendor in Vendor::ALL {
            if let Some(row) = Table::builtin().find(vendor, &name) {
                prop_assert_eq!(row.vendor, vendor);
            }
        }
    }

    /// Neither a vendor nor a date makes an unknown model known.
    #[test]
    fn made_up_names_are_unknown(name in "zz[a-z0-9]{3,20}(-2024-08-06|-20240806)?") {
        for vendor in Vendor::ALL {
            prop_assert!(Table::builtin().find(vendor, &name).is_none());
        }
    }
}

#[test]
fn names_are_those_of_the_table() {
    for vendor in Vendor::ALL {
        let written = serde_json::to_value(vendor).unwrap();
        assert_eq!(written, vendor.name());
    }
    for capability in Capability::ALL {
        let written = serde_json::to_value(capability).unwrap();
        assert_eq!(written, capability.name());
        let one: Capabilities = [capability].into_iter().collect();
        let others = Capability::ALL.into_iter().filter(|c| *c != capability);
        let others: Capabilities = others.collect();
        assert!(one.has(capability) && !others.has(capability));
        assert!(one.has_all(one) && !others.has_all(one));
    }
}
