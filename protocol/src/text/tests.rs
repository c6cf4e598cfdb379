use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// Every Unicode scalar value, in order.
fn every() -> String {
    ('\0'..=char::MAX).collect()
}

#[test]
fn every_scalar_value_stays() {
    let every = every();
    assert_eq!(every.chars().count(), 1_112_064);
    let kept = decode(every.as_bytes());
    assert!(kept.text == every && kept.replaced == 0);
    let plain = serde_json::to_string(&every).unwrap();
    let escaped = format!(
        "\"{}\"",
        every
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04X}"))
            .collect::<String>()
    );
    for text in [plain, escaped] {
        let kept = json(text.as_bytes());
        assert!(matches!(kept.text, Cow::Borrowed(_)) && kept.replaced == 0);
        assert!(serde_json::from_str::<String>(&kept.text).unwrap() == every);
    }
}

#[test]
fn what_is_no_character_is_replaced_and_counted() {
    for (bytes, text, replaced) in [
        (&b"a\xffb"[..], "a\u{fffd}b", 1),
        (b"\xe2\x82", "\u{fffd}", 1),
        (b"\xe2\x82A\xac", "\u{fffd}A\u{fffd}", 2),
        // A surrogate in UTF-8's form is three ill-formed bytes, an overlong NUL two.
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}", 3),
        (b"\xc0\x80", "\u{fffd}\u{fffd}", 2),
        (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}", 4),
        ("\u{fffd}".as_bytes(), "\u{fffd}", 0),
    ] {
        let found = decode(bytes);
        assert_eq!(
            (&*found.text, found.replaced),
            (text, replaced),
            "{bytes:x?}"
        );
    }
}

#[test]
fn half_a_pair_is_replaced_and_a_pair_is_not() {
    for (escapes, text, replaced) in [
        (r"\ud83d\ude00", "😀", 0),
        (r"\uD83D\uDE00", "😀", 0),
        (r"\ud800", "\u{fffd}", 1),
        (r"\udfff", "\u{fffd}", 1),
        (r"\ude00\ud83d", "\u{fffd}\u{fffd}", 2),
        (r"\ud83d\ud83d\ude00", "\u{fffd}😀", 1),
        (r"\ud83d\u0041", "\u{fffd}A", 1),
        (r"\ud83dA", "\u{fffd}A", 1),
        (r"\ud83d\n", "\u{fffd}\n", 1),
        (r"\\ud83d", r"\ud83d", 0),
        (r"\\\ud83d", "\\\u{fffd}", 1),
        (r"\ufffd", "\u{fffd}", 0),
    ] {
        let text_of = format!("\"{escapes}\"");
        let found = json(text_of.as_bytes());
        let value: String = serde_json::from_str(&found.text).unwrap();
        assert_eq!(
            (value.as_str(), found.replaced),
            (text, replaced),
            "{escapes}"
        );
    }
    // Both kinds at once.
    let found = json(b"\"\xff\\udc00\"");
    assert_eq!((&*found.text, found.replaced), ("\"\u{fffd}\\ufffd\"", 2));
    // What is no JSON stays none.
    for broken in [r#""\u+d80""#, r#""\ud8"#, r#""\"#, r"\ud800"] {
        assert!(
            serde_json::from_str::<Value>(&json(broken.as_bytes()).text).is_err(),
            "{broken}"
        );
    }
}

#[test]
fn a_long_text_says_that_it_was_cut() {
    assert_eq!(shorten("äöü", 3), "äöü");
    assert_eq!(shorten("äöüß", 3), "äö…");
    assert_eq!(shorten("ä", 0), "…");
    assert_eq!(shorten("", 0), "");
}

/// Bytes that are often nearly UTF-8: whole characters, their pieces, and anything.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<char>().prop_map(|letter| letter.to_string().into_bytes()),
        (any::<char>(), 0usize..4).prop_map(|(letter, length)| {
            let mut bytes = letter.to_string().into_bytes();
            bytes.truncate(length);
            bytes
        }),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// JSON strings of characters and escapes, halves of pairs among them.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u16>().prop_map(|unit| format!("\\u{unit:04x}").into_bytes()),
        (0xd800u16..0xe000).prop_map(|unit| format!("\\u{unit:04x}").into_bytes()),
        Just(b"\\\\".to_vec()),
        Just(b"\\n".to_vec()),
        any::<char>().prop_map(|letter| {
            let quoted = Value::from(letter.to_string()).to_string();
            quoted.as_bytes()[1..quoted.len() - 1].to_vec()
        }),
        (0x80u8..).prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..12)
        .prop_map(|pieces| [b"\"".to_vec(), pieces.concat(), b"\"".to_vec()].concat())
}

proptest! {
    #[test]
    fn text_stays_text(text in any::<String>()) {
        let kept = decode(text.as_bytes());
        prop_assert_eq!((&*kept.text, kept.replaced), (text.as_str(), 0));
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(&*json(quoted.as_bytes()).text, quoted.as_str());
    }

    /// A repaired string can always be read, reads as UTF-16 decoders read it, and has nothing left to repair.
    #[test]
    fn repaired_json_is_read_as_utf_16_is(bytes in nearly_json()) {
        let found = json(&bytes);
        let value: String = serde_json::from_str(&found.text).unwrap();
        prop_assert_eq!(json(found.text.as_bytes()), Repaired { text: Cow::Borrowed(&*found.text), replaced: 0 });

        // The same by another way: every character and escape as UTF-16, decoded at the end. Only escapes can make halves.
        let text = String::from_utf8_lossy(&bytes[1..bytes.len() - 1]).into_owned();
        let mut units = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '\\' {
                units.extend(letter.encode_utf16(&mut [0; 2]).iter());
                continue;
            }
            match letters.next().unwrap() {
                'u' => {
                    let digits: String = letters.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap());
                }
                'n' => units.push(0xa),
                'r' => units.push(0xd),
                't' => units.push(0x9),
                'b' => units.push(0x8),
                'f' => units.push(0xc),
                other => units.extend(other.encode_utf16(&mut [0; 2]).iter()),
            }
        }
        prop_assert_eq!(value, String::from_utf16_lossy(&units));
    }

    /// A stream that is cut anywhere by `ceil` is the same text, and `whole` never leaves a piece of a character.
    #[test]
    fn cuts_are_between_characters(bytes in nearly_text(), at in 0usize..60) {
        let cut = ceil(&bytes, at);
        prop_assert!(cut >= at.min(bytes.len()) && cut < at + LONGEST);
        let (head, tail) = bytes.split_at(cut);
        let (all, head, tail) = (decode(&bytes), decode(head), decode(tail));
        prop_assert_eq!(&*all.text, format!("{}{}", head.text, tail.text));
        prop_assert_eq!(all.replaced, head.replaced + tail.replaced);

        let begin = &bytes[..at.min(bytes.len())];
        let kept = whole(begin);
        prop_assert!(kept <= begin.len() && kept + LONGEST > begin.len());
        prop_assert!(all.text.starts_with(&*decode(&begin[..kept]).text));
    }

    #[test]
    fn a_short_text_is_short(text in any::<String>(), most in 1usize..40) {
        let short = shorten(&text, most);
        prop_assert!(short.chars().count() <= most);
        prop_assert!(short == text || text.starts_with(short.strip_suffix('…').unwrap()));
    }
}

#[test]
fn what_is_not_seen_is_written_out() {
    let text = "run\u{202e}sh.exe\u{202c}\u{200b}\tα\n\u{1b}[2J\u{9b}\u{feff}\u{e0041}é👩";
    assert_eq!(
        visible(text),
        "run\\u{202E}sh.exe\\u{202C}\\u{200B}\tα\n\\u{001B}[2J\\u{009B}\\u{FEFF}\\u{E0041}é👩"
    );
    assert!(matches!(visible("plain, é\n"), Cow::Borrowed(_)));
    let json = serde_json::json!({ "command": text, "\u{2066}key": 1 });
    let seen = visible_json(&json.to_string()).into_owned();
    assert!(!seen.contains(is_hidden), "{seen}");
    assert!(seen.contains("run\\u202esh.exe"), "{seen}");
    let back: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(back, json);
}
