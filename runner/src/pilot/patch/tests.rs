use super::*;
use proptest::prelude::*;

const FILE: &str = "one\ntwo\nthree\nfour\nfive\nsix\n";

fn patched(content: &str, diff: &str) -> Result<String, String> {
    apply(content.as_bytes(), diff).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn hunks_that_stand_in_the_file_are_applied() {
    let cases = [
        // Where the header says, with and without names of files.
        (
            FILE,
            "--- a/f\n+++ b/f\n@@ -2,2 +2,2 @@ fn f\n two\n-three\n+3\n",
            "one\ntwo\n3\nfour\nfive\nsix\n",
        ),
        (
            FILE,
            "diff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n@@ -6 +6 @@\n-six\n+6\n",
            "one\ntwo\nthree\nfour\nfive\n6\n",
        ),
        // The last line of the diff needs no end.
        (
            FILE,
            "@@ -1 +1,2 @@\n one\n+1½",
            "one\n1½\ntwo\nthree\nfour\nfive\nsix\n",
        ),
        // At one other place, above and below.
        (
            FILE,
            "@@ -5,2 +5,1 @@\n one\n-two\n",
            "one\nthree\nfour\nfive\nsix\n",
        ),
        (
            FILE,
            "@@ -1,2 +1,1 @@\n-five\n six\n",
            "one\ntwo\nthree\nfour\nsix\n",
        ),
        // Where the header says, although it stands elsewhere, too.
        ("x\ny\nx\n", "@@ -3 +3 @@\n-x\n+z\n", "x\ny\nz\n"),
        // Several hunks; the second counts lines of the file as it was.
        (
            FILE,
            "@@ -1,2 +1,4 @@\n-one\n+a\n+b\n+c\n two\n@@ -5,2 +7,1 @@\n-five\n six\n",
            "a\nb\nc\ntwo\nthree\nfour\nsix\n",
        ),
        // No context at all: below the line that the header says.
        (
            FILE,
            "@@ -6,0 +7,1 @@\n+seven\n",
            "one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
        ),
        (
            FILE,
            "@@ -0,0 +1,1 @@\n+zero\n",
            "zero\none\ntwo\nthree\nfour\nfive\nsix\n",
        ),
        ("", "@@ -0,0 +1,1 @@\n+zero\n", "zero\n"),
        ("one\n", "@@ -1 +0,0 @@\n-one\n", ""),
        // An empty line of context whose space was lost.
        ("a\n\nb\n", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n", "a\n\nc\n"),
        // Line ends at the end of the file, kept, given and taken.
        (
            "a\nb",
            "@@ -1,2 +1,2 @@\n-a\n+A\n b\n\\ No newline at end of file\n",
            "A\nb",
        ),
        (
            "a\nb",
            "@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+b\n",
            "a\nb\n",
        ),
        (
            "a\nb\n",
            "@@ -2 +2 @@\n-b\n+b\n\\ No newline at end of file\n",
            "a\nb",
        ),
        // CRLF is kept, whatever the diff has.
        (
            "a\r\nb\r\nc\r\n",
            "@@ -2 +2,2 @@\n-b\n+B\n+B\n",
            "a\r\nB\r\nB\r\nc\r\n",
        ),
        (
            "a\r\nb\r\nc\r\n",
            "@@ -2 +2 @@\r\n-b\r\n+B\r\n",
            "a\r\nB\r\nc\r\n",
        ),
        ("a\r\nb\r", "@@ -1 +1 @@\n-a\n+A\n", "A\r\nb\r"),
        ("a\r\r\nb\r\n", "@@ -2 +2 @@\n-b\n+B\n", "a\r\r\nB\r\n"),
        // Mixed ends are matched as they are.
        (
            "a\r\nb\nc\n",
            "@@ -1,2 +1,2 @@\n a\r\n-b\n+B\n",
            "a\r\nB\nc\n",
        ),
        // Lines that look like names of files.
        ("-- x\n", "@@ -1 +1 @@\n--- x\n+++ y\n", "++ y\n"),
    ];
    for (content, diff, wanted) in cases {
        assert_eq!(patched(content, diff).as_deref(), Ok(wanted), "{diff}");
    }
    // Bytes that are not UTF-8 stay what they are.
    let bytes = apply(b"\xff\na\n", "@@ -2 +2 @@\n-a\n+b\n").unwrap();
    assert_eq!(bytes, b"\xff\nb\n");
}

#[test]
fn what_does_not_fit_is_told_with_what_stands_there() {
    let long = "x".repeat(1000);
    let cases = [
        (
            FILE,
            "@@ -1,2 +1,2 @@\n one\n-zwei\n+2\n",
            r#"Hunk 1 of 1 (`@@ -1,2 +1,2 @@`) does not fit, so nothing was written. It needs "zwei\n" at line 2, where "two\n" stands."#,
        ),
        // The first hunk fits, and is not written either.
        (
            FILE,
            "@@ -1 +1 @@\n-one\n+1\n@@ -4,1 +4,1 @@\n-\tfour\n+4\n",
            r#"Hunk 2 of 2 (`@@ -4,1 +4,1 @@`) does not fit, so nothing was written. It needs "\tfour\n" at line 4, where "four\n" stands."#,
        ),
        (
            FILE,
            "@@ -6,2 +6,1 @@\n six\n-seven\n",
            r#"needs "seven\n" at line 7, which is after the end"#,
        ),
        (
            FILE,
            "@@ -90,1 +90,1 @@\n-x\n+y\n",
            "begins at line 90, but the file has 6 lines",
        ),
        (
            FILE,
            "@@ -90,0 +91,1 @@\n+y\n",
            "begins at line 90, but the file has 6 lines",
        ),
        (
            "x\na\nx\nx\n",
            "@@ -2 +2 @@\n-x\n+y\n",
            "more than one other place (lines 1 and 3)",
        ),
        (
            "x\nx\na\n",
            "@@ -3 +3 @@\n-x\n+y\n",
            "more than one other place (lines 1 and 2)",
        ),
        // The second hunk stands above the first.
        (
            FILE,
            "@@ -2 +2 @@\n-five\n+5\n@@ -4 +4 @@\n-two\n+2\n",
            "belongs to the hunk above",
        ),
        ("a\nb", "@@ -2 +2 @@\n-b\n+B\n", "No newline at end of file"),
        ("a\nb", "@@ -2,0 +3,1 @@\n+c\n", "No newline at end of file"),
        (
            FILE,
            "@@ -1 +1 @@\n-one\n+1\n\\ No newline at end of file\n",
            "not the file's last",
        ),
        (
            "a\nb\n",
            "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+A\n",
            r#"needs "a" at line 1, where "a\n" stands"#,
        ),
        (
            "a\nb\n",
            "@@ -2 +2 @@\n-b\n+B\n\\ No newline at end of file\n@@ -2,0 +3,1 @@\n+c\n",
            "cannot be read",
        ),
        (
            "a\n",
            "@@ -1 +1 @@\r\n-a\r\n+b\r\n",
            r#"needs "a\r\n" at line 1, where "a\n" stands"#,
        ),
        (&long, "@@ -1 +1 @@\n-y\n+z\n", "x…"),
        // What is no diff of one file that is there.
        (FILE, "", "no hunk"),
        (FILE, "--- a/f\n+++ b/f\n", "no hunk"),
        (FILE, "replace two by 2", "no hunk"),
        (FILE, "@@ two @@\n-two\n+2\n", "cannot be read"),
        (FILE, "@@\n-two\n+2\n", "no hunk"),
        (FILE, "@@ -1,2 +1,2 @@\n-one\n+1\n", "cannot be read"),
        (
            FILE,
            "@@ -2,1 +2,1 @@\n-two\n+2\n+2½\n",
            r#""+2½" belongs to no hunk"#,
        ),
        (
            FILE,
            "@@ -1 +1 @@\n-one\n+1\nand then\n@@ -2 +2 @@\n-two\n+2\n",
            "cannot be read",
        ),
        (
            FILE,
            "@@ -5 +5 @@\n-five\n+5\n@@ -1 +1 @@\n-one\n+1\n",
            "not in order",
        ),
        (
            FILE,
            "--- a\n+++ b\n@@ -1 +1 @@\n-one\n+1\n--- c\n+++ d\n@@ -1 +1 @@\n-x\n+y\n",
            "more than one file",
        ),
        (
            FILE,
            "--- a\n+++ b\n@@ -1 +1 @@\n-one\n+1\n--- c\n+++ d\n",
            "more than one file",
        ),
        (
            FILE,
            "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n",
            "WriteFile",
        ),
        (
            FILE,
            "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n",
            "WriteFile",
        ),
        (
            FILE,
            "@@ -18446744073709551615,1 +1,1 @@\n-a\n+b\n",
            "cannot be read",
        ),
        (
            FILE,
            "@@ -18446744073709551614,1 +1,1 @@\n-a\n+b\n",
            "the file has 6 lines",
        ),
    ];
    for (content, diff, wanted) in cases {
        let problem = patched(content, diff).unwrap_err();
        assert!(problem.contains(wanted), "{diff}\n{problem}");
        assert!(problem.chars().count() < 1000, "{problem}");
    }
    let many: String = (1..=201)
        .map(|line| format!("@@ -{line} +{line} @@\n-x\n+y\n"))
        .collect();
    assert!(patched("x\n", &many).unwrap_err().contains("in parts"));
}

#[test]
fn a_file_that_is_too_large_is_not_written() {
    let edit = Edit {
        path: "a".into(),
        diff: "@@ -0,0 +1,1 @@\n+x\n".into(),
    };
    let full = vec![b'\n'; MAX_FILE_BYTES];
    for (content, whole) in [(full.as_slice(), true), (b"a".as_slice(), false)] {
        let problem = edit.write(content, whole).unwrap_err();
        assert!(problem.contains("`a` has more than 8388608 bytes"));
    }
    let room = full.get(..MAX_FILE_BYTES - 2).unwrap();
    assert!(matches!(edit.write(room, true), Ok(Request::Write { .. })));
}

/// A hunk that nearly fits everywhere, in a file of one line again and again: what is searched is linear.
#[test]
fn a_search_takes_no_time_that_the_model_can_choose() {
    let file = vec![b'\n'; MAX_FILE_BYTES];
    let blank = "\n".repeat(1 << 20);
    let diff = format!("@@ -1,{} +1,{} @@\n{blank}-x\n", (1 << 20) + 1, 1 << 20);
    assert!(apply(&file, &diff).is_err());
}

proptest! {
    /// What another program makes of two texts leads from one to the other, with either line end.
    #[test]
    fn a_diff_leads_to_what_it_was_made_from(
        old in "([ab]{0,2}\n){0,12}[ab]{0,2}",
        new in "([abc]{0,2}\n){0,12}[abc]{0,2}",
        context in 0usize..4,
    ) {
        prop_assume!(old != new);
        let diff = diffy::DiffOptions::new().set_context_len(context).create_patch(&old, &new).to_string();
        prop_assert_eq!(patched(&old, &diff), Ok(new.clone()));
        let (old, new) = (old.replace('\n', "\r\n"), new.replace('\n', "\r\n"));
        if old.contains('\n') {
            prop_assert_eq!(patched(&old, &diff), Ok(new));
        }
    }

    /// No text is so broken that it does more than be refused.
    #[test]
    fn any_diff_is_applied_or_refused(
        content in "([ab \\r]{0,2}\n){0,6}[ab]{0,2}",
        diff in "(--- a\n|\\+\\+\\+ b\n|@@ -[0-9],[0-3] \\+[0-9],[0-3] @@\n|@@ -[0-9] \\+[0-9] @@\n|[ +-][ab]?\n|\\\\ No newline at end of file\n|\n|.{0,3}\n){0,10}",
    ) {
        let _ = patched(&content, &diff);
    }
}
