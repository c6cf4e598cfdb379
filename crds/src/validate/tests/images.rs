use crate::validate::image::{Image, pattern_problem};

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
        ("REG.example.com/x", "reg.example.com/x:latest".to_owned()),
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
    ] {
        assert!(Image::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn patterns_match_segments_and_everything_below_a_last_star() {
    let matches = |image: &str, pattern: &str| {
        Image::parse(image)
            .unwrap()
            .matches_any(&[pattern.to_owned()])
    };
    for (image, pattern, expected) in [
        ("python:3.12", "docker.io/library/*", true),
        ("python:3.12", "docker.io/library/python", true),
        ("python:3.12", "docker.io/library/py*", true),
        ("python:3.12", "docker.io/library/python:3.*", true),
        ("python:2.7", "docker.io/library/python:3.*", false),
        ("python", "docker.io/library/python:3", false),
        ("evil/python", "docker.io/library/*", false),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/*", true),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/**", true),
        ("ghcr.io/acme/a/b/c", "ghcr.io/acme/*/c", false),
        ("ghcr.io/acme/a/c", "ghcr.io/acme/*/c", true),
        ("ghcr.io/acmeevil/x", "ghcr.io/acme/*", false),
        ("ghcr.io.evil.com/acme/x", "ghcr.io/acme/*", false),
        (
            "docker.io.evil.com/library/python",
            "docker.io/library/*",
            false,
        ),
        ("reg.example.com:5000/x", "reg.example.com/*", false),
        ("reg.example.com:5000/x", "reg.example.com:5000/*", true),
        ("a.example.com/x", "*.example.com/*", true),
        ("anything.example.com/x/y", "*/*", true),
        ("ghcr.io/acme", "ghcr.io/acme/*", false),
    ] {
        assert_eq!(matches(image, pattern), expected, "{image} by {pattern}");
    }
}

#[test]
fn a_pattern_must_name_a_registry() {
    for pattern in [
        "python",
        "library/*",
        "*",
        "",
        "docker.io",
        "ghcr.io/x@sha256:1",
    ] {
        assert!(pattern_problem(pattern).is_some(), "{pattern:?}");
    }
    for pattern in ["docker.io/library/*", "*/**", "localhost/x", "reg:5000/x"] {
        assert!(pattern_problem(pattern).is_none(), "{pattern:?}");
    }
}
