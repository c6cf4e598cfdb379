use super::*;
use proptest::prelude::*;

fn flags(url: &str) -> SearchFlags {
    SearchFlags {
        url: url.to_owned(),
        results: "results".to_owned(),
        title: "title".to_owned(),
        link: "url".to_owned(),
        text: "content".to_owned(),
        ..SearchFlags::default()
    }
}

fn told(flags: SearchFlags) -> String {
    format!("{:#}", Search::parse(flags).unwrap_err())
}

fn key() -> Option<Arc<ApiKey>> {
    Some(Arc::new(ApiKey::text("the-key", "")))
}

#[test]
fn an_address_has_places_for_words_and_count() {
    for (url, endpoint, filled) in [
        (
            "http://searxng.search.svc:8080/search?q={searchTerms}&format=json",
            "http://searxng.search.svc:8080",
            "/search?q=a%20b%26c%3Dd%2F..%23%C3%A9&format=json",
        ),
        (
            "https://api.search.brave.com/res/v1/web/search?q={searchTerms}&count={count}",
            "https://api.search.brave.com",
            "/res/v1/web/search?q=a%20b%26c%3Dd%2F..%23%C3%A9&count=7",
        ),
        (
            "https://[2001:db8::1]?n={count?}&q={searchTerms}",
            "https://[2001:db8::1]",
            "?n=7&q=a%20b%26c%3Dd%2F..%23%C3%A9",
        ),
    ] {
        let search = Search::parse(flags(url)).unwrap().unwrap();
        assert_eq!(search.endpoint, endpoint);
        assert_eq!(search.template.fill("a b&c=d/..#é", 7), filled);
    }
    assert!(Search::parse(SearchFlags::default()).unwrap().is_none());
}

#[test]
fn what_is_no_address_is_said() {
    for (url, why) in [
        ("search.example/?q={searchTerms}", "is an address like"),
        ("https://search.example", "is an address like"),
        ("ftp://search.example/{searchTerms}", "is an address like"),
        ("https:///{searchTerms}x", "is an address like"),
        ("https://search.example/?q=", "lacks {searchTerms}"),
        (
            "https://{searchTerms}.example/",
            "the host in --search-url is fixed",
        ),
        (
            "https://me:pw@search.example/{searchTerms}",
            "the host in --search-url is fixed",
        ),
        (
            "https://search.example/{searchTerms}&l={language}",
            "has {language}",
        ),
        ("https://search.example/{searchTerms", "stands alone"),
        ("https://search.example/}{searchTerms}", "stands alone"),
        (
            "https://search.example/a b?q={searchTerms}",
            "must be written as %XX",
        ),
        ("https://search.example/{searchTerms}#a", "behind #"),
        (
            &format!("https://search.example/{}{{searchTerms}}", "x".repeat(2048)),
            "more than 2048 bytes",
        ),
    ] {
        let told = told(flags(url));
        assert!(told.contains(why), "{url}: {told}");
    }
}

#[test]
fn a_field_is_a_name_or_a_pointer() {
    let search = Search::parse(SearchFlags {
        results: "/web/results".to_owned(),
        title: "a/b~c".to_owned(),
        text: "/deep/0/~1x~0".to_owned(),
        ..flags("https://search.example/{searchTerms}")
    });
    let fields = search.unwrap().unwrap().fields;
    assert_eq!(fields.results, "/web/results");
    assert_eq!(fields.title, "/a~1b~0c");
    assert_eq!(fields.link, "/url");
    assert_eq!(fields.text, "/deep/0/~1x~0");
    let told = told(SearchFlags {
        text: "/a~b".to_owned(),
        ..flags("https://search.example/{searchTerms}")
    });
    assert!(
        told.contains("--search-text \"/a~b\" is no JSON pointer"),
        "{told}"
    );
}

#[test]
fn a_key_has_a_header_and_is_not_shown() {
    let url = "https://search.example/{searchTerms}";
    let whole = SearchFlags {
        key_header: Some("X-Subscription-Token".to_owned()),
        key: key(),
        ..flags(url)
    };
    let search = Search::parse(whole.clone()).unwrap().unwrap();
    assert_eq!(search.key.as_ref().unwrap().0, "x-subscription-token");
    assert!(!format!("{whole:?} {search:?}").contains("the-key"));
    for (flags, why) in [
        (
            SearchFlags {
                key: None,
                ..whole.clone()
            },
            "set OARMASTER_SEARCH_KEY",
        ),
        (
            SearchFlags {
                key_header: None,
                ..whole.clone()
            },
            "needs --search-key-header",
        ),
        (
            SearchFlags {
                url: String::new(),
                ..whole.clone()
            },
            "needs --search-url",
        ),
        (
            SearchFlags {
                key_header: Some("a b".to_owned()),
                ..whole.clone()
            },
            "is no name of a header",
        ),
        (
            SearchFlags {
                key_header: Some("Host".to_owned()),
                ..whole.clone()
            },
            "cannot be host",
        ),
    ] {
        let told = told(flags);
        assert!(told.contains(why) && !told.contains("the-key"), "{told}");
    }
}

proptest! {
    /// Whatever is searched for stays in its place.
    #[test]
    fn words_do_not_leave_their_place(terms in any::<String>(), count in 1..=10usize) {
        let search = Search::parse(flags("https://search.example/s?q={searchTerms}&n={count}")).unwrap().unwrap();
        let filled = search.template.fill(&terms, count);
        let url = url::Url::parse(&format!("{}{filled}", search.endpoint)).unwrap();
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(pairs, [("q".to_owned(), terms), ("n".to_owned(), count.to_string())]);
        prop_assert_eq!(url.path(), "/s");
        prop_assert_eq!(url.fragment(), None);
    }
}
