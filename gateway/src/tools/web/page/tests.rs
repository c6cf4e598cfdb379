use super::*;
use crate::tools::web::target::MAX_URL;
use proptest::prelude::*;

fn url() -> Target {
    Target::parse("https://site.example/page").unwrap()
}

fn text(content_type: Option<&str>, body: &[u8]) -> Result<String, String> {
    let page = super::read(content_type, body, &url());
    page.map(|page| page.text)
        .map_err(|error| error.to_string())
}

#[test]
fn what_is_read_is_said_by_its_type() {
    for (kind, body, expected) in [
        ("text/html", "<b>x</b>", "x"),
        ("TEXT/HTML; charset=utf-8", "<b>x</b>", "x"),
        ("application/xhtml+xml", "<b>x</b>", "x"),
        ("text/plain", "<b>x</b>\r\n\u{1b}y", "<b>x</b>\ny"),
        ("text/markdown;charset=UTF-8", "# x", "# x"),
        ("application/json", "{\"a\": 1}", "{\"a\": 1}"),
        ("application/ld+json", "{}", "{}"),
    ] {
        assert_eq!(
            text(Some(kind), body.as_bytes()).as_deref(),
            Ok(expected),
            "{kind}"
        );
    }
    for (kind, named) in [
        (Some("application/pdf"), "application/pdf"),
        (Some("image/svg+xml"), "image/svg+xml"),
        (Some("text/html\u{202e}x"), "text/html x"),
        (Some(""), ""),
        (None, "none"),
    ] {
        let told = text(kind, b"x").unwrap_err();
        let expected = format!(
            "it is of the type {named}; FetchPage reads HTML, plain text, Markdown and JSON"
        );
        assert_eq!(told, expected);
    }
}

#[test]
fn a_part_has_head_text_and_sources() {
    let page = super::read(
        Some("text/html"),
        b"<title>T</title><link rel=canonical href=/c><p>See <a href=/a>A</a> and <a href=/b>B</a>.",
        &url(),
    );
    let page = page.unwrap();
    assert_eq!(
        part(&page, &url(), 0).unwrap(),
        "Title: T\nURL: https://site.example/page\nCanonical URL, as the page says: https://site.example/c\n\nSee A[2] and B[3].\n\nSources:\n[1] https://site.example/page\n[2] https://site.example/a\n[3] https://site.example/b\n"
    );
    // From the middle on: what stands there, and no other source.
    let told = part(&page, &url(), 9).unwrap();
    assert!(told.contains("Bytes 9 to 18 of 18 of its text.\n\nand B[3].\n\nSources:\n[1] https://site.example/page\n[3] "), "{told}");
    let past = part(&page, &url(), 18).unwrap_err();
    assert!(
        past.contains("has 18 bytes, so nothing stands at offset 18"),
        "{past}"
    );
    let empty = part(&Page::default(), &url(), 0).unwrap();
    assert!(empty.contains("The page has no text"), "{empty}");
    let cut = Page {
        text: "x".to_owned(),
        is_cut: true,
        ..Page::default()
    };
    assert!(
        part(&cut, &url(), 0)
            .unwrap()
            .contains("its text ends before the page does")
    );
}

/// Reads all of a page, part by part.
fn parts(page: &Page) -> Vec<String> {
    let mut all = Vec::new();
    let mut offset = 0;
    loop {
        let told = part(page, &url(), offset).unwrap();
        assert!(told.len() <= MAX_TOOL_TEXT, "{}", told.len());
        let next = told.split_once("; read on with offset ");
        let next = next.map(|(_, rest)| rest.split_once('.').unwrap().0.parse::<usize>().unwrap());
        all.push(told);
        match next {
            None => return all,
            Some(next) => {
                assert!(next > offset, "{next}");
                offset = next;
            }
        }
    }
}

#[test]
fn a_long_page_is_read_in_parts_and_no_link_lacks_its_source() {
    let path = "p".repeat(MAX_URL - 100);
    let html: String = (0..900)
        .map(|link| format!("<p>Words about it, <a href='/{path}/{link}'>link</a> to read"))
        .collect();
    let page = super::read(Some("text/html"), html.as_bytes(), &url()).unwrap();
    assert_eq!(page.targets.len(), 900);
    let mut seen = 0;
    for told in parts(&page) {
        let (text, sources) = told.split_once("\n\nSources:\n").unwrap();
        for number in 2..902 {
            let is_named = text.contains(&format!("link[{number}]"));
            assert_eq!(
                is_named,
                sources.contains(&format!("\n[{number}] https")),
                "{number}"
            );
            seen += usize::from(is_named);
        }
    }
    assert_eq!(seen, 900);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// The parts are all of the text, in order, each of it once.
    #[test]
    fn parts_are_the_whole(line in "[a-zé\u{10348} ]{1,200}", lines in 1..2000usize, breaks in any::<bool>()) {
        let glue = if breaks { "\n" } else { "é" };
        let text = vec![line; lines].join(glue).trim().to_owned();
        prop_assume!(!text.is_empty());
        let page = Page { text: text.clone(), ..Page::default() };
        let mut whole = String::new();
        for told in parts(&page) {
            let (_, rest) = told.split_once("\n\n").unwrap();
            let (shown, _) = rest.split_once("\n\nSources:\n").unwrap();
            whole.push_str(shown);
        }
        prop_assert_eq!(whole.replace('\n', ""), text.replace('\n', ""));
    }

    #[test]
    fn any_bytes_at_any_offset(body in prop::collection::vec(any::<u8>(), 0..500), offset in 0..600usize) {
        let page = super::read(Some("text/html"), &body, &url()).unwrap();
        let _ = part(&page, &url(), offset);
    }
}
