use super::*;
use serde_json::{Value as Json, json};

impl Scope {
    /// A scope of these names, without steps.
    fn of(names: &[&'static str]) -> Self {
        Self {
            names: names.iter().copied().collect(),
            ..Self::default()
        }
    }
}

impl From<std::collections::BTreeMap<String, Json>> for Values {
    fn from(names: std::collections::BTreeMap<String, Json>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }
}

fn scope() -> Scope {
    Scope {
        objects: std::collections::BTreeMap::new(),
        names: ["params", "run", "item"].into(),
        steps: ["plan", "build", "ship"].map(str::to_owned).into(),
        fields: ["phase", "succeeded", "output"].into(),
    }
}

fn values() -> Values {
    Values {
        names: [
            (
                "params",
                json!({"repo": "acme/app", "count": 3, "big": u64::MAX, "ratio": 0.5, "none": null, "tags": ["b", "a"], "map": {"z": 1, "a": 2, "m": 3}}),
            ),
            ("run", json!({"phase": "Running"})),
            ("item", json!("one")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        steps: [
            (
                "plan",
                json!({"phase": "Succeeded", "succeeded": true, "output": {"tasks": ["x", "y"], "graph": {"n": 1}}}),
            ),
            (
                "build",
                json!({"phase": "Skipped", "succeeded": false, "output": null}),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    }
}

fn evaluate(source: &str) -> Result<Json, String> {
    let compiled = Expression::compile(source, &scope()).map_err(|error| error.to_string())?;
    compiled
        .evaluate(&values())
        .map_err(|error| error.to_string())
}

#[test]
fn an_expression_gives_what_the_specification_says() {
    // The rules that workflows lean on, of cel-spec's language definition; each line was held against its text.
    let cases = [
        ("1 + 2 * 3", json!(7)),
        ("7 / 2", json!(3)),
        ("-7 / 2", json!(-3)),
        ("-7 % 3", json!(-1)),
        ("1.5 + 1.0", json!(2.5)),
        ("'a' + \"b\"", json!("ab")),
        ("[1] + [2]", json!([1, 2])),
        ("r'\\d' + 'x'", json!("\\dx")),
        ("'\\u00e9'", json!("é")),
        ("true || 1 / 0 > 1", json!(true)),
        ("1 / 0 > 1 || true", json!(true)),
        ("false && 1 / 0 > 1", json!(false)),
        ("1 / 0 > 1 && false", json!(false)),
        ("true ? 1 : 1 / 0", json!(1)),
        ("1 == 1.0", json!(true)),
        ("params.count == 3", json!(true)),
        ("params.count > 2.5", json!(true)),
        ("params.count + 1", json!(4)),
        ("'a' in ['a']", json!(true)),
        ("'z' in params.map", json!(true)),
        ("'q' in params.map", json!(false)),
        ("{'a': 1}.a", json!(1)),
        ("{'a': 1}['a']", json!(1)),
        ("[1, 2][1]", json!(2)),
        ("has(params.repo)", json!(true)),
        ("has(params.nothing)", json!(false)),
        ("size('äb')", json!(2)),
        ("size([1, 2])", json!(2)),
        ("'abc'.startsWith('ab')", json!(true)),
        ("'abc'.endsWith('bc')", json!(true)),
        ("'abc'.contains('b')", json!(true)),
        ("'abc'.matches('^a.c$')", json!(true)),
        ("int('12') + 1", json!(13)),
        ("string(12)", json!("12")),
        ("double('1.5')", json!(1.5)),
        ("[1, 2, 3].filter(x, x > 1)", json!([2, 3])),
        ("[1, 2].map(x, x * 2)", json!([2, 4])),
        ("[1, 2, 3].map(x, x > 1, x * 2)", json!([4, 6])),
        ("[1, 2].all(x, x > 0)", json!(true)),
        ("[1, 2].exists(x, x > 1)", json!(true)),
        ("[1, 2, 2].exists_one(x, x == 1)", json!(true)),
        ("[[1], [2]].map(x, x.map(y, y + 1))", json!([[2], [3]])),
        ("'a' < 'b'", json!(true)),
        ("null == null", json!(true)),
        ("params.none == null", json!(true)),
        ("'b' != null", json!(true)),
    ];
    for (source, expected) in cases {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn what_the_crate_does_otherwise_is_mended() {
    let cases = [
        // Optional values.
        ("params.?repo.orValue('none')", json!("acme/app")),
        ("params.?nothing.orValue('none')", json!("none")),
        ("params.?nothing.?deeper.orValue('none')", json!("none")),
        ("params.?none.?deeper.orValue('none')", json!("none")),
        ("steps.build.output.?sha.orValue('none')", json!("none")),
        ("steps.build.?output.?sha.orValue('none')", json!("none")),
        ("steps.plan.output.?graph.n.orValue(0)", json!(1)),
        ("params[?'repo'].hasValue()", json!(true)),
        ("params.tags[?7].orValue('none')", json!("none")),
        // Maps in the order of their keys, each time.
        ("params.map.map(key, key)", json!(["a", "m", "z"])),
        ("params.map.map(key, params.map[key])", json!([2, 3, 1])),
        ("params.map.exists(key, key == 'm')", json!(true)),
        // A name of a comprehension is its own.
        ("['x'].map(steps, steps + '!')", json!(["x!"])),
    ];
    for (source, expected) in cases {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
    for source in [
        "params.none.deeper",
        "params.repo.deeper",
        "params.count.deeper",
        "steps.build.output.sha",
        "params.tags.first",
        "params.repo.map(x, x)",
    ] {
        let error = evaluate(source).unwrap_err();
        assert!(error.contains("of another kind than it needs"), "{error}");
        assert!(error.contains(source), "{error}");
    }
    let error = evaluate("params.nothing").unwrap_err();
    assert!(
        error.contains("asks for nothing, which is not there: write .?nothing"),
        "{error}"
    );
}

#[test]
fn an_expression_is_refused_when_it_is_compiled() {
    let long = format!("'{}'", "x".repeat(MAX_CHARACTERS));
    let cases = [
        ("", "is empty"),
        (" ", "is empty"),
        ("1 +", "is not CEL"),
        ("params.", "is not CEL"),
        (long.as_str(), "more than 2048 characters"),
        (
            "usage",
            "unknown name usage: it knows item, params, run, steps.NAME; in a text, $${ stands for",
        ),
        ("steps", "write steps.NAME"),
        ("steps.map(x, x)", "write steps.NAME"),
        ("steps['plan']", "write steps.NAME"),
        (
            "steps.other",
            "reads step other, which there is not: name one of build, plan, ship",
        ),
        ("steps.plan.?result", "asks for result of step plan"),
        ("steps.?plan", "each one does"),
        ("has(steps.other)", "reads step other"),
        (
            "steps.plan.result",
            "asks for result of step plan, which has output, phase, succeeded",
        ),
        ("launch('x')", "calls launch"),
        ("'a'.shout()", "calls shout"),
        ("timestamp('2026-01-01T00:00:00Z')", "calls timestamp"),
        ("bytes('x')", "calls bytes"),
        ("b'x'", "has bytes"),
        ("Thing{a: 1}", "message of a type"),
        ("[[[1]]].map(x, x.map(y, y.map(z, z)))", "within each other"),
        ("x.map(x, x)", "unknown name x"),
    ];
    for (source, expected) in cases {
        let error = evaluate(source).err();
        let error = error.unwrap_or_else(|| panic!("{source} was taken"));
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn the_deepest_expressions_do_not_overflow_the_stack() {
    let around = |open: &str, middle: &str, close: &str| {
        let times = (MAX_CHARACTERS - middle.len()) / (open.len() + close.len());
        // A few less, too, so that one of them is the deepest that is taken.
        for times in
            [times, 400, 390, 200, 190, 130, 95, 94, 90, 47, 30].map(|less| less.min(times))
        {
            let source = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
            let _ = evaluate(&source);
            let _ = evaluate(&format!("[1].map(x, {source})"));
        }
    };
    around("(", "1", ")");
    around("[", "1", "]");
    around("!", "true", "");
    around("-", "params.count", "");
    around("- ", "1", "");
    around("1+", "1", "");
    around("1 - ", "1", "");
    around("true&&", "true", "");
    around("false || ", "true", "");
    around("true?1:", "1", "");
    around("true?", "1", ":1");
    around("{'a':", "1", "}");
    around("[0][", "0", "]");
    around("", "[[1]]", "[0]");
    around("", "params", ".map");
    around("", "params", ".?map");
    around("", "'a'", ".contains('a')");
    around("size(", "[1]", ")");
    around("[1].map(y,", "1", ")");
    around("(true||", "true", ")");
    around("(1+", "1", ")");
}

#[test]
fn a_value_in_the_text_of_another_is_not_read_as_an_expression() {
    let mut values = values();
    values.names.insert(
        "params".to_owned(),
        json!({"repo": "${steps.plan.output}' + run.phase + '"}),
    );
    let template = Template::compile(&json!("Fix ${params.repo}"), &scope()).unwrap();
    assert_eq!(
        template.evaluate(&values),
        Ok(json!("Fix ${steps.plan.output}' + run.phase + '"))
    );
}

#[test]
fn an_error_has_no_value_in_it() {
    for source in [
        "params.repo + 1",
        "params.repo < 1",
        "params.repo ? 1 : 2",
        "-params.repo",
        "int(params.repo)",
        "params.tags[params.repo]",
        "{'a': 1}[params.repo].b",
    ] {
        let error = evaluate(source).unwrap_err();
        let (_, why) = error.rsplit_once('`').unwrap();
        // Keys are the one thing that is named, since they are the author's in nearly every case.
        assert!(!why.contains("acme") || why.contains("asks for"), "{error}");
    }
}

#[test]
fn an_evaluation_is_bounded() {
    let list: Vec<u32> = (0..20_000).collect();
    let large = "x".repeat(200_000);
    let evaluate = |source: &str, params: &Json| {
        let values = Values::from(std::collections::BTreeMap::from([(
            "params".to_owned(),
            params.clone(),
        )]));
        Expression::compile(source, &Scope::of(&["params"]))
            .unwrap()
            .evaluate(&values)
    };
    let huge = json!({"huge": "x".repeat(MAX_BYTES)});
    let error = evaluate("size(params.huge)", &huge).unwrap_err();
    assert!(
        error.too_large && error.why.contains("reads more than 1 MiB"),
        "{error}"
    );
    // A long list can be gone through once, and a shorter one with itself.
    let long = json!({ "list": list });
    for source in [
        "params.list.exists(x, x == 19999)",
        "size(params.list.filter(x, x > 1)) == 19998",
        "size(params.list.map(x, x * 2)) == 20000",
    ] {
        assert_eq!(evaluate(source, &long), Ok(json!(true)), "{source}");
    }
    let short = json!({"list": list[..300]});
    let itself = "params.list.all(x, params.list.exists(y, x == y))";
    assert_eq!(evaluate(itself, &short), Ok(json!(true)));
    // What is more than that ends, and soon, whatever it does.
    let many = format!("size({}) > 0", vec!["params.large"; 15].join(" + "));
    let lists = format!("size([{}]) > 0", vec!["params.large"; 120].join(", "));
    let compared = vec!["params.large == params.large"; 20].join(" && ");
    let both = json!({"list": list, "large": large});
    for source in [
        itself,
        "params.list.map(x, params.large)",
        &format!("params.list.all(x, {many})"),
        &format!("params.list.all(x, {lists})"),
        &format!("params.list.all(x, {compared})"),
        &format!("params.list.map(x, {compared})"),
        &format!("params.list.filter(x, {compared})"),
        "params.list.map(x, params.list.map(y, 1))",
        "params.list.all(x, !params.large.matches('(y+)+$'))",
        "params.list.all(x, !'a'.matches('b' + string(x)))",
    ] {
        let error = evaluate(source, &both).unwrap_err();
        assert!(
            error.too_large && error.why.contains("does too much"),
            "{source}: {error}"
        );
    }
    let eighteen = vec!["params.large"; 18].join(" + ");
    let error = evaluate(&eighteen, &both).unwrap_err();
    assert!(error.too_large, "{error}");
}

#[test]
fn memory_is_counted_before_it_is_taken() {
    let values = Values::from(std::collections::BTreeMap::from([(
        "params".to_owned(),
        json!({"s": "x".repeat(250_000), "l": (0..20_000).collect::<Vec<_>>()}),
    )]));
    let sum = vec!["x"; 15].join(" + ");
    for source in [
        format!("size([params.s].map(x, {sum}).map(x, {sum}).map(x, {sum})) > 0"),
        "size([params.s].map(x, [x, x, x, x, x, x, x, x]).map(x, x + x + x + x).map(x, x + x + x + x)) > 0".to_owned(),
        "size(params.l.map(x, {params.s: x})) > 0".to_owned(),
        "size(params.l.map(x, params.?s)) > 0".to_owned(),
        "size(params.l.map(x, [params.s])) > 0".to_owned(),
        "params.l.all(x, params.l.exists(y, true))".to_owned(),
        format!("size([{}]) > 0", vec!["params.s"; 180].join(", ")),
    ] {
        let compiled = Expression::compile(&source, &Scope::of(&["params"])).unwrap();
        let error = compiled.evaluate(&values).unwrap_err();
        assert!(error.too_large, "{source}: {error}");
    }
}

#[test]
fn what_is_added_is_what_the_specification_adds() {
    let cases = [
        ("1 + 2", Ok(json!(3))),
        ("1u + 2u", Ok(json!(3))),
        ("1.5 + 2.0", Ok(json!(3.5))),
        ("[1] + ['a']", Ok(json!([1, "a"]))),
        ("9223372036854775807 + 1", Err("too large")),
        ("1 + 'a'", Err("another kind")),
        ("1 + 1.0", Err("another kind")),
        ("null + null", Err("another kind")),
    ];
    for (source, expected) in cases {
        match (evaluate(source), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{source}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{source}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn data_of_too_many_levels_is_refused() {
    let nested = |levels: usize, inside: &str| {
        let text = format!("{}\"{inside}\"{}", "[".repeat(levels), "]".repeat(levels));
        serde_json::from_str::<Json>(&text).unwrap()
    };
    assert!(Template::compile(&nested(MAX_LEVELS, "x"), &scope()).is_ok());
    assert!(Template::compile(&nested(MAX_LEVELS + 1, "x"), &scope()).is_err());
    let mut values = values();
    values.names.insert("item".to_owned(), nested(20, "x"));
    let template = Template::compile(&nested(20, "${item}"), &scope()).unwrap();
    let error = template.evaluate(&values).unwrap_err();
    assert!(
        error.too_large && error.why.contains("32 levels"),
        "{error}"
    );
}

#[test]
fn a_pattern_is_one_or_says_that_it_is_none() {
    for (source, expected) in [
        ("params.repo.matches('^acme/')", Ok(json!(true))),
        ("params.repo.matches('(')", Err("no regular expression")),
        (
            "params.repo.matches('(\\\\w{200}){200}')",
            Err("no regular expression"),
        ),
    ] {
        match (evaluate(source), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{source}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_whole_text_keeps_its_kind_and_a_part_is_written_out() {
    let data = json!({
        "kept": "${steps.plan.output.tasks}",
        "spaced": "${ params.count }",
        "written": "n=${params.count}, ${params.repo}, ${steps.plan.output.graph}, ${params.ratio}, ${true}",
        "literal": "$${params.count} $$ $",
        "braces": "${ {'a': '}'}.a + \"{\" }",
        "quotes": "${'it\\'s' + \"}\" + '''a'}''' + r'\\'}",
        "list": ["${item}", 1, {"deep": "${run.phase}"}],
        "plain": ["a", {"b": null}],
        "empty": "",
    });
    let template = Template::compile(&data, &scope()).unwrap();
    assert_eq!(
        template.evaluate(&values()),
        Ok(json!({
            "kept": ["x", "y"],
            "spaced": 3,
            "written": "n=3, acme/app, {\"n\":1}, 0.5, true",
            "literal": "${params.count} $$ $",
            "braces": "}{",
            "quotes": "it's}a'}\\",
            "list": ["one", 1, {"deep": "Running"}],
            "plain": ["a", {"b": null}],
            "empty": "",
        }))
    );
    let reads = template.reads();
    assert_eq!(reads.steps, ["plan".to_owned()].into());
    assert_eq!(
        reads.names,
        ["item", "params", "run"].map(str::to_owned).into()
    );
}

#[test]
fn null_is_not_written_into_a_text() {
    let template = Template::compile(&json!("found ${steps.build.output}"), &scope()).unwrap();
    let error = template.evaluate(&values()).unwrap_err().to_string();
    assert!(error.contains("gives null"), "{error}");
    let whole = Template::compile(&json!("${steps.build.output}"), &scope()).unwrap();
    assert_eq!(whole.evaluate(&values()), Ok(json!(null)));
}

#[test]
fn an_expression_without_an_end_is_refused() {
    for text in ["${", "a ${params.repo", "${'}", "${{}", "${'''}'"] {
        let error = Template::compile(&json!(text), &scope()).unwrap_err();
        assert!(error.why.contains("has no end"), "{text}: {error}");
    }
}

#[test]
fn a_condition_is_true_or_false() {
    let holds = |source: &str| {
        Expression::compile(source, &scope())
            .unwrap()
            .holds(&values())
    };
    assert_eq!(holds("steps.plan.succeeded && params.count > 1"), Ok(true));
    assert_eq!(holds("steps.build.succeeded"), Ok(false));
    for source in ["params.count", "params.none", "params.repo"] {
        let error = holds(source).unwrap_err();
        assert!(error.why.contains("neither true nor false"), "{error}");
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_stops_the_process(text in "[-a-z0-9 '\"{}()\\[\\]$?:.,+*/%&|!<>=\\\\\n]{0,80}") {
            if let Ok(compiled) = Expression::compile(&text, &scope()) {
                let first = compiled.evaluate(&values());
                prop_assert_eq!(first, compiled.evaluate(&values()));
            }
            if let Ok(template) = Template::compile(&json!(text), &scope()) {
                let _ = template.evaluate(&values());
            }
        }

        #[test]
        fn a_text_without_an_expression_stays(text in "[^$]{0,60}") {
            let template = Template::compile(&json!(text), &scope()).unwrap();
            prop_assert_eq!(template.evaluate(&values()), Ok(json!(text)));
        }

        #[test]
        fn an_escaped_text_stays(text in "[a-z${} ]{0,40}") {
            let escaped = text.replace("${", "$${");
            // `$` before an escape would be read with it.
            prop_assume!(!text.contains("$${"));
            let template = Template::compile(&json!(escaped), &scope()).unwrap();
            prop_assert_eq!(template.evaluate(&values()), Ok(json!(text)));
        }

        #[test]
        fn any_value_goes_through(value in any_json()) {
            let mut values = values();
            values.names.insert("item".to_owned(), value.clone());
            let whole = Template::compile(&json!("${item}"), &scope()).unwrap();
            prop_assert_eq!(whole.evaluate(&values), Ok(value));
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            (-1e9f64..1e9).prop_map(Json::from),
            ".{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }
}
