use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<String, String> {
    let target = Target::parse(text).map_err(|error| error.to_string())?;
    Ok(format!("{target} {}:{}", target.domain(), target.port()))
}

fn target(text: &str) -> Target {
    Target::parse(text).unwrap()
}

fn domains(names: &[&str]) -> Vec<DomainPattern> {
    names
        .iter()
        .map(|name| DomainPattern::parse(name).unwrap())
        .collect()
}

#[test]
fn an_address_has_one_spelling() {
    for (text, expected) in [
        (
            "https://example.com",
            "https://example.com/ example.com:443",
        ),
        (
            " HTTP://Example.COM:80/a?b=c#d ",
            "http://example.com/a?b=c example.com:80",
        ),
        (
            "https://example.com./",
            "https://example.com/ example.com:443",
        ),
        (
            "https://example.com/a/../b",
            "https://example.com/b example.com:443",
        ),
        (
            "https://bücher.example/",
            "https://xn--bcher-kva.example/ xn--bcher-kva.example:443",
        ),
        (
            "https:\\\\example.com\\a",
            "https://example.com/a example.com:443",
        ),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
    }
    let long = format!("https://example.com/{}", "a".repeat(MAX_URL));
    for (text, why) in [
        ("example.com", "it is no URL"),
        ("", "it is no URL"),
        ("https://", "it is no URL"),
        ("ftp://example.com/", "it begins with ftp:"),
        ("file:///etc/passwd", "it begins with file:"),
        ("javascript:alert(1)", "it begins with javascript:"),
        ("https://user@example.com/", "a user's name"),
        ("https://:pw@example.com/", "a user's name"),
        ("https://example.com:8443/", "port 8443"),
        ("http://example.com:443/", "port 443"),
        ("https://127.0.0.1/", "its host is an address"),
        ("https://2130706433/", "its host is an address"),
        ("https://0x7f.1/", "its host is an address"),
        ("https://[::1]/", "its host is an address"),
        ("https://localhost/", "its host has no dot"),
        ("https://a_b.example/", "its host is no name of a domain"),
        (&long, "more than 2048 bytes"),
        // Encoded it is longer than it was written.
        (
            &format!("https://example.com/{}", "é".repeat(600)),
            "more than 2048 bytes",
        ),
    ] {
        let told = parse(text).unwrap_err();
        assert!(told.contains(why), "{text}: {told}");
    }
}

#[test]
fn what_may_be_fetched() {
    let domains = domains(&["docs.example", "*.hosted.example"]);
    for (text, found, expected) in [
        (
            "https://docs.example/any?thing=it",
            false,
            Some(Grant::Domain),
        ),
        ("http://a.hosted.example/", false, Some(Grant::Domain)),
        ("https://hosted.example/", false, None),
        ("https://evil.example/?told=secret", false, None),
        (
            "https://evil.example/?told=secret",
            true,
            Some(Grant::Found),
        ),
        ("https://docs.example.evil.example/", false, None),
    ] {
        assert_eq!(grant(&target(text), &domains, || found), expected, "{text}");
    }
    assert_eq!(grant(&target("https://docs.example/"), &[], || false), None);
}

#[test]
fn where_a_redirect_may_lead() {
    use Grant::{Domain, Found};
    let domains = domains(&["docs.example"]);
    for (from, why, to, found, expected) in [
        // From a domain of the Task: to one of these, or to what was found.
        (
            "https://docs.example/",
            Domain,
            "https://docs.example/a",
            false,
            Some(Domain),
        ),
        (
            "http://docs.example/",
            Domain,
            "https://docs.example/",
            false,
            Some(Domain),
        ),
        (
            "https://docs.example/",
            Domain,
            "https://evil.example/?told=secret",
            false,
            None,
        ),
        (
            "https://docs.example/",
            Domain,
            "https://www.docs.example/",
            false,
            None,
        ),
        (
            "https://docs.example/",
            Domain,
            "https://other.example/",
            true,
            Some(Found),
        ),
        // From what was found: within its site.
        (
            "https://found.example/a",
            Found,
            "https://found.example/b",
            false,
            Some(Found),
        ),
        (
            "http://found.example/a",
            Found,
            "https://www.found.example/a",
            false,
            Some(Found),
        ),
        (
            "https://www.found.example/a",
            Found,
            "https://found.example/a",
            false,
            Some(Found),
        ),
        (
            "http://found.example/a",
            Found,
            "http://found.example/b",
            false,
            None,
        ),
        (
            "https://found.example/a",
            Found,
            "https://evil.example/",
            false,
            None,
        ),
        (
            "https://found.example/a",
            Found,
            "https://sub.found.example/",
            false,
            None,
        ),
        (
            "https://www.found.example/a",
            Found,
            "https://www.www.found.example/",
            false,
            None,
        ),
        (
            "https://found.example/a",
            Found,
            "https://docs.example/",
            false,
            Some(Domain),
        ),
        // Never from https to http.
        (
            "https://docs.example/",
            Domain,
            "http://docs.example/",
            false,
            None,
        ),
        (
            "https://found.example/",
            Found,
            "http://found.example/",
            true,
            None,
        ),
    ] {
        let follows = follows((&target(from), why), &target(to), &domains, || found);
        assert_eq!(follows, expected, "{from} to {to}");
    }
}

proptest! {
    /// What is read is read again as the same, so that what a search returned is found in the list.
    #[test]
    fn reading_twice_is_reading_once(text in "https?://[a-zA-Z0-9.é-]{1,20}[.]example[.]?(:80|:443)?/[ -~é]{0,30}") {
        if let Ok(target) = Target::parse(&text) {
            prop_assert_eq!(Target::parse(&target.to_string()), Ok(target.clone()));
            prop_assert!(!target.to_string().contains(|letter: char| letter.is_control() || letter == ' '));
            prop_assert!(target.path().starts_with('/'));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = Target::parse(&text);
        let _ = Target::parse("https://example.com/").unwrap().join(&text);
    }
}
