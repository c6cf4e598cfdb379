use super::*;
use kube::core::Status;
use kube::core::response::StatusDetails;

fn api(code: u16, name: &str) -> Error {
    let mut status = Status::failure("no", "Reason").with_code(code);
    status.details = Some(StatusDetails {
        name: name.to_owned(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    });
    Error::kube("failed to get", kube::Error::Api(Box::new(status)))
}

#[test]
fn the_code_tells_what_the_caller_can_mend() {
    assert_eq!(api(422, "x").code(), Code::Input);
    assert_eq!(api(404, "x").code(), Code::Input);
    assert_eq!(api(403, "x").code(), Code::Cluster);
    assert_eq!(api(500, "x").code(), Code::Cluster);
    assert!(api(404, "x").absent);
    assert!(api(500, "x").transient && !api(403, "x").transient);
}

#[test]
fn a_kind_that_the_cluster_does_not_know_is_an_installation_that_is_missing() {
    let next = api(404, "").next.unwrap();
    assert!(next.contains("not installed"), "{next}");
}

#[test]
fn causes_follow_on_the_same_line_without_control_characters() {
    let error = Error::cluster("failed to read").source(std::io::Error::other("a\x1b[31mb"));
    assert_eq!(error.line(), "failed to read: a\\x1b[31mb");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let error = Error::output(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!(error.code(), Code::Quiet);
}
