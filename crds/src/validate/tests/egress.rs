use super::{fields, parse, run};
use crate::kinds::class::SandboxClassSpec;
use crate::kinds::sandbox::SandboxSpec;
use crate::validate;
use serde_json::json;

#[test]
fn domains_that_are_none_are_named_by_their_place() {
    let problems =
        run(json!({ "sandbox": { "egress": { "domains": ["pypi.org", "1.1.1.1", "*.org"] } } }));
    assert_eq!(
        fields(&problems),
        [
            "spec.run.sandbox.egress.domains[1]",
            "spec.run.sandbox.egress.domains[2]"
        ]
    );
    assert_eq!(
        problems[0].message,
        "it is an address; write the name of a domain, like pypi.org"
    );
    let class: SandboxClassSpec = parse(json!({ "egress": { "domains": ["*"] } }));
    assert_eq!(fields(&validate::class(&class)), ["spec.egress.domains[0]"]);
    let many: Vec<String> = (0..65).map(|at| format!("d{at}.example")).collect();
    let class: SandboxClassSpec = parse(json!({ "egress": { "domains": many } }));
    assert_eq!(fields(&validate::class(&class)), ["spec.egress.domains"]);
}

#[test]
fn a_sandbox_asks_for_a_part_of_what_its_class_allows() {
    let class: SandboxClassSpec =
        parse(json!({ "egress": { "domains": ["pypi.org", "*.pythonhosted.org"] } }));
    let problems = |domains: &[&str]| {
        let spec: SandboxSpec = parse(json!({ "egress": { "domains": domains } }));
        let problems = validate::within_class("s", &spec, "c", &class);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(problems(&[]), [""; 0]);
    assert_eq!(
        problems(&["pypi.org", "files.pythonhosted.org", "*.pythonhosted.org"]),
        [""; 0]
    );
    assert_eq!(
        problems(&["*.pypi.org", "github.com"]),
        [
            "s.egress.domains: *.pypi.org is not allowed by SandboxClass c, which allows pypi.org, *.pythonhosted.org",
            "s.egress.domains: github.com is not allowed by SandboxClass c, which allows pypi.org, *.pythonhosted.org",
        ]
    );
}

/// The schema's pattern and the check read the same texts as domains, but for lengths.
#[test]
fn the_schema_agrees_with_the_check() {
    let schema =
        serde_json::to_value(schemars::schema_for!(crate::kinds::sandbox::Egress)).unwrap();
    let pattern = schema["properties"]["domains"]["items"]["pattern"]
        .as_str()
        .unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    for text in [
        "pypi.org",
        "*.pypi.org",
        "a.b.c-d.example",
        "xn--bcher-kva.example",
        "1.example",
        "*.org",
        "*",
        "org",
        "PyPI.org",
        "pypi.org.",
        "a..b",
        "-a.org",
        "a-.org",
        "a_b.org",
        "1.1.1.1",
        "[::1]",
        "a.org:443",
        "https://a.org",
        "*.*.org",
        "a.*.org",
        "a.1",
        "0x7f.0x1",
        "",
        "a.org\n",
        "a.org\0",
    ] {
        assert_eq!(
            pattern.is_match(text),
            crate::DomainPattern::parse(text).is_ok(),
            "{text:?}"
        );
    }
}
