use super::*;
use serde_json::json;

#[test]
fn what_is_checked_in_is_what_would_be_written() {
    let root = cache::checkout();
    let files = render(&root).unwrap();
    assert_eq!(differences(&root, &files).unwrap(), BTreeMap::new());
}

#[test]
fn the_chart_of_definitions_fits_a_release() {
    let size: usize = render(&cache::checkout())
        .unwrap()
        .iter()
        .filter(|(path, _)| path.starts_with("charts"))
        .map(|(_, text)| text.len())
        .sum();
    assert!(size < 1 << 20, "{size} bytes");
}

#[test]
fn a_changed_a_missing_and_a_stale_file_are_told() {
    let root = tempfile::tempdir().unwrap();
    let files = Files::from([
        (PathBuf::from("config/crd/a.yaml"), "one\ntwo\n".to_owned()),
        (PathBuf::from("config/crd/b.yaml"), "b\n".to_owned()),
    ]);
    fs::create_dir_all(root.path().join("config/crd")).unwrap();
    fs::write(root.path().join("config/crd/a.yaml"), "one\n2\n").unwrap();
    fs::write(root.path().join("config/crd/old.yaml"), "").unwrap();
    fs::write(root.path().join("config/crd/kustomization.yaml"), "").unwrap();
    let wrong = differences(root.path(), &files).unwrap();
    let told: Vec<_> = wrong.values().map(String::as_str).collect();
    assert_eq!(
        told,
        [
            "line 2 is `2`, would be `two`",
            "missing",
            "is not generated any more"
        ]
    );

    write(root.path(), &files, &wrong).unwrap();
    assert_eq!(differences(root.path(), &files).unwrap(), BTreeMap::new());
}

fn finished(spec: serde_json::Value) -> Result<serde_json::Value> {
    let mut definition = json!({ "spec": { "versions": [
        { "schema": { "openAPIV3Schema": { "title": "X", "properties": { "spec": spec } } } },
    ] } });
    schema::finish(&mut definition)?;
    Ok(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].take())
}

#[test]
fn a_field_without_bound_or_description_is_refused() {
    let cases = [
        (
            json!({ "properties": { "a": { "type": "string", "maxLength": 1 } } }),
            "spec.a has no description",
        ),
        (
            json!({ "properties": { "a": { "type": "string", "description": "A." } } }),
            "spec.a is a text without maxLength",
        ),
        (
            json!({ "properties": { "a": { "type": "array", "description": "A.", "items": { "type": "integer" } } } }),
            "spec.a is a list without maxItems",
        ),
        (
            json!({ "properties": { "a": { "type": "object", "description": "A.", "additionalProperties": { "type": "integer" } } } }),
            "spec.a is a map without maxProperties",
        ),
        (
            json!({ "properties": { "a": { "type": "number", "description": "A." } } }),
            "spec.a is a floating point number",
        ),
    ];
    for (spec, message) in cases {
        assert_eq!(finished(spec).unwrap_err().to_string(), message);
    }
}

#[test]
fn texts_take_no_nul_and_bounds_are_whole() {
    let spec = json!({ "properties": {
        "a": { "type": "string", "maxLength": 3, "nullable": true, "description": "A." },
        "b": { "type": "integer", "minimum": 1.0, "description": "B." },
    } });
    assert_eq!(
        finished(spec).unwrap(),
        json!({ "properties": {
            "a": { "type": "string", "maxLength": 3, "pattern": "^[^\\x00]*$", "description": "A." },
            "b": { "type": "integer", "minimum": 1, "description": "B." },
        } })
    );
}

#[test]
fn helm_gives_a_template_back_as_text() {
    assert_eq!(crds::for_helm("a {{b}} c"), "a {{ \"{{\" }}b}} c");
}

#[test]
fn words_come_with_their_doc_comment() {
    let text = "/// True: a\n/// and b.\npub const A: &str = \"Aa\";\n\n/// Not a word.\npub mod reason {\n    /// B.\n    pub const B: &str = \"Bb\";\n}\n";
    let word = |name: &str, meaning: &str| vocabulary::Word {
        name: name.to_owned(),
        meaning: meaning.to_owned(),
    };
    assert_eq!(
        vocabulary::parse_constants(text, None),
        [word("Aa", "True: a and b.")]
    );
    assert_eq!(
        vocabulary::parse_constants(text, Some("reason")),
        [word("Bb", "B.")]
    );
    let text =
        "#[derive(Debug)]\npub enum E {\n    /// One.\n    One,\n    /// Two.\n    Two,\n}\n";
    assert_eq!(
        vocabulary::parse_variants(text, "E"),
        [word("One", "One."), word("Two", "Two.")]
    );
}

#[test]
fn flags_come_with_default_and_meaning() {
    let text = "pub struct Args {\n    /// Where.\n    #[arg(\n        long,\n        default_value = \"a, b\"\n    )]\n    data_addr: String,\n    /// How\n    /// many.\n    #[arg(long, default_value_t = 3)]\n    count: u8,\n    /// None.\n    #[arg(long)]\n    name: Option<String>,\n}\n";
    let flag = |name: &str, default: &str, meaning: &str| processes::Flag {
        name: name.to_owned(),
        default: default.to_owned(),
        meaning: meaning.to_owned(),
    };
    assert_eq!(
        processes::flags(text),
        [
            flag("data-addr", "a, b", "Where."),
            flag("count", "3", "How many."),
            flag("name", "", "None.")
        ]
    );
}

#[test]
fn metrics_have_the_name_that_is_scraped() {
    let text = "struct M {\n    calls: Family<L, Counter>,\n    took: Histogram,\n    held: Gauge,\n}\nregistry.register(\"calls\", \"Calls\", m.calls.clone());\nregistry.register(\n    \"took_seconds\",\n    \"Time\",\n    took.clone(),\n);\nregistry.register(\"held\", \"Held\", held.clone());\nregistry.register(\"build\", \"Version\", Info::new([]));\n";
    let found: Vec<_> = processes::metrics(text)
        .into_iter()
        .map(|metric| (metric.name, metric.kind))
        .collect();
    let wanted = [
        ("calls_total", "counter"),
        ("took_seconds", "histogram"),
        ("held", "gauge"),
        ("build_info", "info"),
    ];
    assert_eq!(found, wanted.map(|(name, kind)| (name.to_owned(), kind)));
}
