use crate::validate::image::{Image, pattern_problem};
use proptest::prelude::*;

#[test]
fn names_of_images_are_read_as_container_runtimes_do() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (text, full) in [
        ("python", "docker.io/library/python:latest".to_owned()),
        ("python:3.12", "docker.io/library/python:3.12".to_owned()),
        ("acme/tool:1", "docker.io/acme/tool:1".to_owned()),
        (
            "docker.io/python",
            "docker.io/library/python:latest".to_owned(),
        ),
        ("index.docker.io/acme/x:1", "docker.io/acme/x:1".to_owned()),
        ("ghcr.io/acme/tool", "ghcr.io/acme/tool:latest".to_owned()),
        ("localhost/x", "localhost/x:latest".to_owned()),
        (
            "reg.example.com:5000/a/b/c:1.2",
            "reg.example.com:5000/a/b/c:1.2".to_owned(),
        ),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest".to_owned()),
        ("localhost:5000/x:1", "localhost:5000/x:1".to_owned()),
        (
            &format!("python@{digest}"),
            format!("docker.io/library/python@{digest}"),
        ),
        (
            &format!("ghcr.io/a/b:1@{digest}"),
            format!("ghcr.io/a/b:1@{digest}"),
        ),
    ] {
        assert_eq!(Image::parse(text).unwrap().to_string(), full, "{text}");
    }
}

#[test]
fn what_is_no_image_name_is_refused() {
    for text in [
        "",
        ":1",
        "a:",
        "a@sha256:12",
        "a@md5:1",
        "Python",
        "a//b",
        "a/",
        "/a",
        "a b",
        "http://x/y",
        "a:b:c",
        "ghcr.io/",
        "x@",
        "-a",
        "a/../b",
        "é",
        "a..b",
        "a___b",
        "a._b",
        "team/A",
        "REG.example.com/x",
        "docker.io./library/x",
        "reg-.example.com/x",
        "-reg.example.com/x",
        "reg.example.com:/x",
        "reg.example.com:0/x",
        "reg.example.com:+1/x",
        "reg.example.com:99999/x",
        "reg.example.com:a/x",
        "[::1]:5000/x",
        "a@sha512:1",
        "a:1@sha256:1",
    ] {
        assert!(Image::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_name_has_a_length() {
    let long = |length: usize| "a".repeat(length - "docker.io/library/".len());
    assert!(Image::parse(&long(255)).is_ok());
    assert!(Image::parse(&long(256)).is_err());
}

#[test]
fn patterns_match_parts_and_everything_below_a_last_star() {
    for (image, pattern, expected) in [
        ("python:3.12", "docker.io/library/*", true),
        ("python:3.12", "docker.io/library/python", true),
        ("python:3.12", "docker.io/library/py*", true),
        ("py", "docker.io/library/py*", true),
        ("pypy", "docker.io/library/py", false),
        ("python", "docker.io/*", true),
        ("evil/python", "docker.io/library/*", false),
        ("library/python", "docker.io/library/python", true),
        (
            "index.docker.io/library/python",
            "docker.io/library/*",
            true,
        ),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/*", true),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/a*", false),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/*/c", false),
        ("ghcr.io/acme/a/c", "ghcr.io/acme/*/c", true),
        ("ghcr.io/acme/ab/c", "ghcr.io/acme/a*/c", true),
        ("ghcr.io/acme/ba/c", "ghcr.io/acme/a*/c", false),
        ("ghcr.io/acmeevil/x", "ghcr.io/acme/*", false),
        ("ghcr.io.evil.com/acme/x", "ghcr.io/acme/*", false),
        (
            "docker.io.evil.com/library/python",
            "docker.io/library/*",
            false,
        ),
        ("reg.example.com:5000/x", "reg.example.com/*", false),
        ("reg.example.com/x", "reg.example.com:5000/*", false),
        ("reg.example.com:5000/x", "reg.example.com:5000/*", true),
        ("ghcr.io/acme", "ghcr.io/acme/*", false),
        // Validation refuses these; they match nothing.
        ("a.example.com/x", "*.example.com/*", false),
        ("a.example.com/x", "*/*", false),
        ("python:3", "docker.io/library/python:3", false),
        ("python", "docker.io/library/p*n", false),
        ("python", "python", false),
        ("python", "*", false),
    ] {
        assert_eq!(matches(image, pattern), expected, "{image} by {pattern}");
    }
}

fn matches(image: &str, pattern: &str) -> bool {
    Image::parse(image)
        .unwrap()
        .matches_any(&[pattern.to_owned()])
}

#[test]
fn a_pattern_is_a_full_name_that_some_image_can_have() {
    for pattern in [
        "python",
        "library/*",
        "*",
        "",
        "docker.io",
        "docker.io/",
        "ghcr.io/x@sha256:1",
        "ghcr.io/x:1",
        "*/*",
        "*.example.com/*",
        "GHCR.io/x",
        "ghcr.io./x",
        "ghcr.io/X",
        "ghcr.io/a//b",
        "ghcr.io/a/",
        "ghcr.io/**",
        "ghcr.io/a*b",
        "ghcr.io/-*",
        "ghcr.io/a..*",
        "reg.example.com:x/a",
    ] {
        let problem = pattern_problem(pattern).unwrap_or_else(|| panic!("{pattern:?}"));
        assert!(problem.starts_with(&format!("'{pattern}' ")), "{problem}");
    }
    for pattern in [
        "docker.io/library/*",
        "docker.io/*",
        "ghcr.io/team-*/tool",
        "ghcr.io/a.*",
        "localhost/x",
        "reg:5000/x",
    ] {
        assert_eq!(pattern_problem(pattern), None, "{pattern:?}");
    }
}

const REGISTRY: &str = "(docker\\.io|localhost(:5000)?|[a-z]{1,3}\\.io|reg:[1-9][0-9]{0,3})";
const PART: &str = "[a-z0-9]{1,3}(([._]|__|-{1,3})[a-z0-9]{1,3}){0,2}";

proptest! {
    #[test]
    fn a_full_name_reads_as_itself(
        registry in prop::option::of(REGISTRY),
        path in prop::collection::vec(PART, 1..4),
        tag in prop::option::of("[A-Za-z0-9_][-A-Za-z0-9._]{0,5}"),
        digest in prop::option::of("[a-f0-9]{64}"),
    ) {
        let mut text = registry.map_or("team/".to_owned(), |name| format!("{name}/")) + &path.join("/");
        text.extend(tag.map(|tag| format!(":{tag}")));
        text.extend(digest.map(|digest| format!("@sha256:{digest}")));
        let image = Image::parse(&text).unwrap();
        let full = image.to_string();
        let again = Image::parse(&full).unwrap();
        prop_assert_eq!(again.to_string(), full);
        // By itself, by what is below it, and by no other registry.
        let name = image.name();
        prop_assert_eq!(pattern_problem(&name), None);
        let (all, below) = (format!("{}/*", image.registry), format!("{name}/*"));
        let other = format!("other.example.com/{}", image.repository);
        let held = [&name, &all, &below, &other].map(|pattern| matches(&text, pattern));
        prop_assert_eq!(held, [true, true, false, false]);
    }

    /// Against another way to read a pattern: as the regular expression that its documentation describes.
    #[test]
    fn a_pattern_means_what_is_documented(
        image in prop::collection::vec("[ab]{1,2}", 1..4),
        pattern in prop::collection::vec("[ab]{0,2}[*]?", 1..4),
    ) {
        let (name, pattern) = (format!("x.io/{}", image.join("/")), format!("x.io/{}", pattern.join("/")));
        prop_assume!(pattern_problem(&pattern).is_none());
        let expression = match pattern.strip_suffix("/*") {
            Some(above) => format!("^{}/.+$", above.replace('*', "[^/]*")),
            None => format!("^{}$", pattern.replace('*', "[^/]*")),
        };
        let expected = regex::Regex::new(&expression).unwrap().is_match(&name);
        prop_assert_eq!(matches(&name, &pattern), expected, "{} by {} as {}", name, pattern, expression);
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,300}") {
        if let Err(error) = Image::parse(&text) {
            prop_assert!(error.to_string().chars().count() < 300);
        }
        let _ = pattern_problem(&text);
    }
}
