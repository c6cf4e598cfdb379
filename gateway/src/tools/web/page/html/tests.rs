use super::*;
use crate::tools::web::target::MAX_URL;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn url() -> Target {
    Target::parse("https://site.example/dir/page").unwrap()
}

fn text(html: &str) -> String {
    read(html, &url()).text
}

#[test]
fn blocks_and_inlines_are_laid_out_as_browsers_do() {
    for (html, expected) in [
        (
            "<p>One  two\n three</p><p>Four</p>",
            "One two three\n\nFour",
        ),
        ("a<div>b<div>c</div></div>d", "a\nb\nc\nd"),
        ("a<br>b<br/>c", "a\nb\nc"),
        (
            "<h1>Title</h1>text<h3>Sub</h3>more",
            "# Title\n\ntext\n\n### Sub\n\nmore",
        ),
        ("a <b>bold</b>, <i>it</i>.", "a bold, it."),
        (
            "<ul><li>One<li>Two<ul><li>Deep</ul><li>Three</ul>end",
            "- One\n- Two\n  - Deep\n- Three\n\nend",
        ),
        ("<ol><li>One</li><li>Two</li></ol>", "1. One\n2. Two"),
        (
            "<table><tr><th>A<th>B<tr><td>1</td><td>2</td></tr></table>",
            "A | B\n1 | 2",
        ),
        (
            "<pre>fn a() {\n    b\n}</pre>x",
            "```\nfn a() {\n    b\n}\n```\nx",
        ),
        ("run <code>cargo  test</code> now", "run `cargo test` now"),
        ("a<hr>b", "a\n\n---\n\nb"),
        (
            "<img src=x alt='A  cat'> <img src=y alt=''><img>",
            "[image: A cat]",
        ),
        (
            "a&amp;b &lt;c&gt; &eacute;&#x41;&#0;&#xd800;&nbsp;x",
            "a&b <c> éA\u{fffd}\u{fffd}\u{a0}x",
        ),
        (
            "a<script>alert('<p>no</p>')</script><style>p{}</style><!-- no -->b",
            "ab",
        ),
        (
            "a<noscript><p>no</p></noscript><template><p>no</p></template>b",
            "ab",
        ),
        ("a<svg><title>no</title><g/></svg>b<svg/>c", "abc"),
        ("a<svg>no<svg>no</svg>no</svg>b", "ab"),
        ("<dl><dt>Term<dd>What it is</dl>", "Term\nWhat it is"),
        (
            "red \u{1b}[31m\u{202e}text&#x202e;\u{e0041}",
            "red [31mtext",
        ),
        ("", ""),
        ("no markup at all", "no markup at all"),
        ("<p", ""),
        ("a < b && c > d", "a < b && c > d"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn head_and_links() {
    let page = read(
        "<head><title> The\n page </title><link rel='nofollow CANONICAL' href='/real'><base href='/other/'></head>
         <a href='a#x'>A</a> <a href='https://b.example/'>B</a>, <a href=a>A again</a> <a href='javascript:x()'>no</a>
         <a href=c></a><a href='http://10.0.0.1/'>no</a> <a href='../dir/page#top'>self</a><title>later</title>",
        &url(),
    );
    assert_eq!(page.title, "The page");
    assert_eq!(
        page.canonical,
        Some(Target::parse("https://site.example/real").unwrap())
    );
    assert_eq!(page.text, "A[2] B[3], A again[2] no no self");
    let targets: Vec<String> = page.targets.iter().map(ToString::to_string).collect();
    assert_eq!(
        targets,
        ["https://site.example/other/a", "https://b.example/"]
    );
    let ends: Vec<(&str, usize)> = page
        .links
        .iter()
        .map(|(at, index)| (&page.text[..*at], *index))
        .collect();
    assert_eq!(
        ends,
        [("A[2]", 0), ("A[2] B[3]", 1), ("A[2] B[3], A again[2]", 0)]
    );
    // What names the page itself is no other address.
    assert_eq!(
        read("<link rel=canonical href=page>", &url()).canonical,
        None
    );
}

#[test]
fn links_end_where_the_next_begins_or_the_page_does() {
    assert_eq!(text("<a href=/a>A<a href=/b>B"), "A[2]B[3]");
    assert_eq!(text("<a href=/a><div>A</div></a>B"), "A[2]\nB");
}

#[test]
fn main_is_the_page_where_it_has_something_to_read() {
    let long = "word ".repeat(100);
    let html = format!(
        "<nav><a href=/n>Nav</a></nav><main><p>{long}</p><a href=/in>in</a></main><footer>Foot</footer>"
    );
    let page = read(&html, &url());
    assert!(
        page.text.starts_with("word word") && page.text.ends_with("in[2]"),
        "{}",
        page.text
    );
    assert_eq!(page.targets.len(), 1);
    let page = read(
        "<nav>Nav</nav><main>short</main><footer>Foot</footer>",
        &url(),
    );
    assert_eq!(page.text, "Nav\n\nshort\n\nFoot");
}

/// Pages that break readers which build a tree, or look at something twice. The bound is generous: what is not linear takes minutes.
#[test]
fn hostile_pages_take_their_length_in_time_and_memory() {
    let many = 25_000;
    let names: String = (0..60_000).map(|name| format!("a{name:x} ")).collect();
    let long = "q".repeat(500_000);
    let links: String = (0..60_000)
        .map(|link| format!("<a href=/{link}>l</a> "))
        .collect();
    let base = format!(
        "<base href='https://site.example/{}/'>",
        "b".repeat(MAX_URL - 100)
    );
    for (what, html) in [
        ("nested blocks", "<div>".repeat(4 * many) + "x"),
        ("nested inlines", "<b>".repeat(4 * many) + "x"),
        ("nested lists", "<ul><li>x".repeat(many)),
        ("nested tables", "<table><tr><td>".repeat(many) + "x"),
        ("nested quotes", "<blockquote>x".repeat(many)),
        ("nested svg", "<svg>".repeat(4 * many) + "x"),
        ("nested main", "<main>".repeat(3 * many) + "x"),
        ("wrong nesting", "<a href=/x><b></a></i>y".repeat(many)),
        ("ends alone", "</div></ul></a></main></pre>".repeat(many)),
        ("attributes", format!("<a {names}>x</a>")),
        (
            "one attribute",
            format!("<a href='{long}'>x</a><img alt='{long}'>"),
        ),
        (
            "titles",
            format!("<title>{long}</title>") + &"<title>x".repeat(many),
        ),
        ("comment", format!("<!--{}", "-".repeat(500_000))),
        ("open tags", "<".repeat(500_000)),
        (
            "references",
            "&".repeat(200_000) + &"&notanentity;".repeat(10_000),
        ),
        ("links", base + &links),
        ("cells", "<td>".repeat(5 * many)),
        ("pre", "<pre>\n".repeat(3 * many)),
        ("script", "<script>".repeat(2 * many)),
    ] {
        let begun = Instant::now();
        let page = read(&html, &url());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
        assert!(page.text.len() <= 2 << 20, "{what}: {}", page.text.len());
        assert!(page.targets.len() <= 1000, "{what}");
        assert!(page.title.chars().count() <= 201, "{what}");
    }
}

#[test]
fn what_is_longer_than_its_room_is_cut_and_says_so() {
    // Marks of items make a text that is longer than its page.
    let page = read(&"<ul><li>x".repeat(250_000), &url());
    assert!(page.is_cut);
    assert!(!read("<p>short", &url()).is_cut);
}

/// Tags and texts in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<a href=/x>".to_owned()),
        Just("</a>".to_owned()),
        Just("<pre>".to_owned()),
        Just("</pre>".to_owned()),
        Just("<main>".to_owned()),
        Just("</main>".to_owned()),
        Just("<ul><li>".to_owned()),
        Just("</ul>".to_owned()),
        Just("<title>".to_owned()),
        Just("</title>".to_owned()),
        Just("<svg>".to_owned()),
        Just("</svg>".to_owned()),
        Just("<code>".to_owned()),
        Just("</code>".to_owned()),
        Just("<td>".to_owned()),
        Just("<h2>".to_owned()),
        Just("<script>".to_owned()),
        Just("</script>".to_owned()),
        Just("<!--".to_owned()),
        Just("-->".to_owned()),
        "[a-zé\n ]{0,8}",
        any::<String>(),
        "<[a-z]{1,4}( [a-z]{1,4}=[^>]{0,4})?>",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_soup_is_a_text_with_links_in_it(html in soup()) {
        let page = read(&html, &url());
        let clean = lines(&page.text);
        prop_assert_eq!(&clean, &page.text);
        prop_assert_eq!(page.text.trim_end(), page.text.as_str());
        let mut last = 0;
        for (at, index) in &page.links {
            let mark = format!("[{}]", index + 2);
            prop_assert!(page.text[..*at].ends_with(&mark), "{:?}", page);
            prop_assert!(*at > last && *index < page.targets.len());
            last = *at;
        }
    }
}
