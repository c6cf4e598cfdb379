use super::{Domain, DomainPattern, NotADomain};
use proptest::prelude::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn pattern(text: &str) -> DomainPattern {
    DomainPattern::parse(text).unwrap()
}

#[test]
fn a_name_has_one_form() {
    for text in ["pypi.org", "PyPI.org", "pypi.org.", "PYPI.ORG."] {
        assert_eq!(domain(text).as_str(), "pypi.org", "{text}");
    }
    for text in [
        "a.b.c.d.e.f",
        "xn--bcher-kva.example",
        "1.example",
        "a-b.co",
    ] {
        assert_eq!(domain(text).as_str(), text);
    }
}

#[test]
fn what_is_no_name_is_told_why() {
    let long = format!("{}.org", "a".repeat(64));
    let whole = format!("{}org", "a.".repeat(126));
    for (text, why) in [
        ("127.0.0.1", NotADomain::Address),
        ("::1", NotADomain::Address),
        ("[::1]", NotADomain::Address),
        ("::ffff:10.0.0.1", NotADomain::Address),
        ("localhost", NotADomain::OneLabel),
        ("", NotADomain::Label),
        (".", NotADomain::Label),
        ("a..b", NotADomain::Label),
        (".a.b", NotADomain::Label),
        ("a.b..", NotADomain::Label),
        ("-a.org", NotADomain::Label),
        ("a-.org", NotADomain::Label),
        ("a_b.org", NotADomain::Label),
        ("a.org:443", NotADomain::Label),
        ("user@a.org", NotADomain::Label),
        ("a.org/x", NotADomain::Label),
        ("a%2eorg", NotADomain::Label),
        ("a.org\0", NotADomain::Label),
        ("bücher.example", NotADomain::Label),
        ("ⓐ.org", NotADomain::Label),
        ("*.a.org", NotADomain::Label),
        // Readers of the C library take these for 127.0.0.1.
        ("127.1", NotADomain::Label),
        ("0x7f.0.0.0x1", NotADomain::Label),
        ("0177.0.0.01", NotADomain::Label),
        (&long, NotADomain::Label),
        (&whole, NotADomain::TooLong),
    ] {
        assert_eq!(Domain::parse(text), Err(why), "{text:?}");
    }
}

#[test]
fn a_pattern_is_a_name_or_what_is_below_one() {
    for text in ["pypi.org", "*.pypi.org", "*.a.b.example"] {
        assert_eq!(pattern(text).to_string(), text);
    }
    for (text, why) in [
        ("*", NotADomain::Label),
        ("*.", NotADomain::Label),
        ("*.org", NotADomain::OneLabel),
        ("*.*.org", NotADomain::Label),
        ("a.*.org", NotADomain::Label),
        ("*a.org", NotADomain::Label),
        ("**.a.org", NotADomain::Label),
        ("*.10.0.0.1", NotADomain::Address),
        ("PyPI.org", NotADomain::Form),
        ("pypi.org.", NotADomain::Form),
        ("https://pypi.org", NotADomain::Label),
        ("10.0.0.0/8", NotADomain::Label),
    ] {
        assert_eq!(DomainPattern::parse(text), Err(why), "{text:?}");
    }
}

#[test]
fn a_pattern_matches_whole_parts() {
    for (allowed, name, expected) in [
        ("pypi.org", "pypi.org", true),
        ("pypi.org", "PYPI.org.", true),
        ("pypi.org", "files.pypi.org", false),
        ("pypi.org", "notpypi.org", false),
        ("pypi.org", "pypi.org.evil.example", false),
        ("*.pypi.org", "files.pypi.org", true),
        ("*.pypi.org", "a.b.pypi.org", true),
        ("*.pypi.org", "pypi.org", false),
        ("*.pypi.org", "notpypi.org", false),
        ("*.pypi.org", "files.pypi.org.evil.example", false),
    ] {
        assert_eq!(
            pattern(allowed).matches(&domain(name)),
            expected,
            "{allowed} {name}"
        );
    }
}

#[test]
fn a_class_covers_what_is_within_it() {
    for (class, asked, expected) in [
        ("a.org", "a.org", true),
        ("a.org", "*.a.org", false),
        ("a.org", "b.a.org", false),
        ("*.a.org", "*.a.org", true),
        ("*.a.org", "b.a.org", true),
        ("*.a.org", "*.b.a.org", true),
        ("*.a.org", "a.org", false),
        ("*.b.a.org", "*.a.org", false),
        ("*.a.org", "*.ba.org", false),
    ] {
        assert_eq!(
            pattern(class).covers(&pattern(asked)),
            expected,
            "{class} {asked}"
        );
    }
}

fn names() -> impl Strategy<Value = String> {
    // Few letters, so that names are often within each other.
    "([ab]{1,2}\\.){1,3}[ab]"
}

fn patterns() -> impl Strategy<Value = String> {
    (any::<bool>(), names())
        .prop_map(|(below, name)| if below { format!("*.{name}") } else { name })
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in any::<String>()) {
        if let Ok(found) = Domain::parse(&text) {
            prop_assert_eq!(Domain::parse(found.as_str()), Ok(found.clone()));
            let again = text.to_uppercase();
            prop_assert_eq!(Domain::parse(&again), Ok(found));
        }
        let _ = DomainPattern::parse(&text);
    }

    #[test]
    fn what_is_covered_matches_no_more(class in patterns(), asked in patterns(), name in names()) {
        let (class, asked, name) = (pattern(&class), pattern(&asked), domain(&name));
        if class.covers(&asked) && asked.matches(&name) {
            prop_assert!(class.matches(&name));
        }
    }

    #[test]
    fn what_is_not_covered_matches_more(class in patterns(), asked in patterns()) {
        let (class, asked) = (pattern(&class), pattern(&asked));
        if !class.covers(&asked) {
            // The name itself, or one below it that no pattern of these letters names.
            let found = asked.to_string();
            let name = found.strip_prefix('*').map_or(found.clone(), |rest| format!("zzz{rest}"));
            prop_assert!(asked.matches(&domain(&name)) && !class.matches(&domain(&name)));
        }
    }
}
