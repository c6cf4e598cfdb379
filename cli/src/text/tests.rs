use super::*;

#[test]
fn nothing_that_a_terminal_acts_on_survives() {
    assert_eq!(
        clean("a\x1b[2Jb\x07\u{9b}31m\r\x7f"),
        "a\\x1b[2Jb\\x07\\x9b31m\\x0d\\x7f"
    );
    assert_eq!(clean("x\u{202e}y\u{2066}z"), "x\\u{202e}y\\u{2066}z");
    assert_eq!(
        clean("two\nlines\tand a tab, ünïcödé 漢字"),
        "two\nlines\tand a tab, ünïcödé 漢字"
    );
    let every: String = (0..=0x0010_ffff).filter_map(char::from_u32).collect();
    assert!(
        clean(&every)
            .chars()
            .all(|letter| matches!(letter, '\n' | '\t') || !acts(letter))
    );
}

#[test]
fn a_line_is_cut_at_characters_not_bytes() {
    assert_eq!(one_line("äöü", 2), "äö…");
    assert_eq!(one_line("a\nb\n", 9), "a⏎b");
}

#[test]
fn durations_and_numbers_read_well() {
    let of = |millis| duration(Duration::from_millis(millis));
    assert_eq!(of(850), "850ms");
    assert_eq!(of(12_000), "12s");
    assert_eq!(of(184_000), "3m4s");
    assert_eq!(of(7_200_000), "2h");
    assert_eq!(of(200_000_000), "2d");
    assert_eq!(count(0), "0");
    assert_eq!(count(1_234_567), "1 234 567");
    assert_eq!(bytes(812), "812 B");
    assert_eq!(bytes(3_000), "3 KiB");
}

#[test]
fn a_time_is_said_from_now() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let now = at("2026-11-01T12:00:00Z");
    assert_eq!(relative(at("2026-11-01T15:00:00Z"), now), "in 3h");
    assert_eq!(relative(at("2026-11-01T11:50:00Z"), now), "10m ago");
}

#[test]
fn words_are_quoted_for_a_shell() {
    for (text, quoted) in [
        ("", "''"),
        ("a/b-1", "a/b-1"),
        ("$(x)", "'$(x)'"),
        ("it's", r"'it'\''s'"),
    ] {
        assert_eq!(quote(text), quoted);
    }
}
