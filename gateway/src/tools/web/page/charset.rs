//! Bytes as text, by what HTTP and the page say of their encoding.

use encoding_rs::{Encoding, UTF_8};
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use std::borrow::Cow;

/// Where a page may say its encoding (HTML, "prescan a byte stream to determine its encoding").
const PRESCAN: usize = 1024;

/// The text. What is none in its encoding becomes U+FFFD. A byte order mark comes first, then HTTP's `charset`, then what HTML says, then UTF-8.
pub fn decode<'a>(content_type: &str, bytes: &'a [u8], is_html: bool) -> Cow<'a, str> {
    let stated = parameter(content_type).or_else(|| {
        let head = bytes.get(..PRESCAN).unwrap_or(bytes);
        is_html.then(|| in_head(head)).flatten()
    });
    let (text, _, _) = stated.unwrap_or(UTF_8).decode(bytes);
    text
}

/// The encoding of `text/html; charset=...`.
fn parameter(content_type: &str) -> Option<&'static Encoding> {
    let mut parameters = content_type.split(';').skip(1);
    let label = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("charset");
        is_it.then(|| value.trim().trim_matches(['"', '\'']))
    });
    Encoding::for_label(label?.as_bytes())
}

/// The encoding that `<meta>` says. Whoever can be read to say UTF-16 is not in it.
fn in_head(head: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(head);
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let found =
        Tokenizer::new_with_emitter(head.as_ref(), emitter).find_map(|token| match token {
            Ok(Token::StartTag(tag)) if tag.name == b"meta" => meta(&tag),
            _ => None,
        })?;
    Some(found).filter(|encoding| encoding.is_ascii_compatible())
}

fn meta(tag: &StartTag<()>) -> Option<&'static Encoding> {
    let said = |name: &[u8]| {
        let value = tag.attributes.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    if let Some(label) = said(b"charset") {
        return Encoding::for_label(label.trim().as_bytes());
    }
    let http = said(b"http-equiv")?;
    if http.eq_ignore_ascii_case("content-type") {
        parameter(&said(b"content")?)
    } else {
        None
    }
}

#[cfg(test)]
#[test]
fn the_encoding_is_found_where_it_is_said() {
    for (content_type, bytes, expected) in [
        ("text/html", "é".as_bytes(), "é"),
        ("text/html; charset=ISO-8859-1", b"\xe9 \x80", "é €"),
        (
            "text/html; Charset=\"windows-1251\"",
            b"\xef\xf0\xe8",
            "при",
        ),
        ("text/html;charset=Shift_JIS", b"\x93\xfa\x96{", "日本"),
        ("text/html; charset=nonsense", "é".as_bytes(), "é"),
        (
            "text/html; charset=utf-8",
            b"a\xff\xc3",
            "a\u{fffd}\u{fffd}",
        ),
        (
            "text/html",
            b"<meta charset=windows-1252>\xe9",
            "<meta charset=windows-1252>é",
        ),
        (
            "text/html",
            b"<title><meta charset=latin1></title>\xe9",
            "<title><meta charset=latin1></title>\u{fffd}",
        ),
        (
            "text/html",
            b"<!-- <meta charset=latin1> -->\xe9",
            "<!-- <meta charset=latin1> -->\u{fffd}",
        ),
        (
            "text/html",
            b"<META http-equiv=Content-Type content='text/html; charset=latin1'>\xe9",
            "<META http-equiv=Content-Type content='text/html; charset=latin1'>é",
        ),
        // HTTP is right where they differ, and a byte order mark before both.
        (
            "text/html; charset=utf-8",
            "<meta charset=latin1>é".as_bytes(),
            "<meta charset=latin1>é",
        ),
        ("text/html; charset=latin1", "\u{feff}é".as_bytes(), "é"),
        ("text/plain", b"\xff\xfee\0", "e"),
        (
            "text/plain",
            "<meta charset=latin1>é".as_bytes(),
            "<meta charset=latin1>é",
        ),
        // What was read as ASCII is not UTF-16, whatever it says.
        (
            "text/html",
            b"<meta charset=utf-16>a",
            "<meta charset=utf-16>a",
        ),
    ] {
        assert_eq!(
            decode(content_type, bytes, content_type.contains("html")),
            expected,
            "{content_type}"
        );
    }
}
