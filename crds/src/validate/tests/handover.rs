use super::{fields, parse, task};
use crate::TaskSpec;
use crate::validate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

fn artifact(path: &str, name: &str) -> Value {
    json!({ "path": path, "artifact": { "task": { "name": "build" }, "name": name } })
}

#[test]
fn a_workspace_is_begun_with_kept_or_both() {
    let of = |workspace: Value| task(json!({ "workspace": workspace }));
    for fine in [
        json!({ "keep": true }),
        json!({ "from": { "name": "build" } }),
        json!({ "from": { "name": "build" }, "keep": true }),
    ] {
        assert_eq!(of(fine), []);
    }
    for (wrong, field) in [
        (json!({}), "spec.workspace"),
        (json!({ "keep": false }), "spec.workspace"),
        (
            json!({ "from": { "name": "" } }),
            "spec.workspace.from.name",
        ),
    ] {
        assert_eq!(fields(&of(wrong)), [field]);
    }
    for other in [
        json!({ "continueFrom": { "name": "earlier" } }),
        json!({ "replay": { "task": { "name": "earlier" } } }),
    ] {
        let mut both = other;
        both["workspace"] = json!({ "keep": true });
        let problems = task(both);
        assert_eq!(fields(&problems), ["spec.workspace"]);
        assert!(problems[0].message.contains("continueFrom and replay"));
    }
    let workflow = json!({ "agent": null, "params": null, "workflow": { "name": "w" }, "workspace": { "keep": true } });
    let problems = task(workflow);
    assert_eq!(fields(&problems), ["spec"]);
    assert!(problems[0].message.contains("stand in its steps"));
}

#[test]
fn a_memo_has_a_key_and_a_time() {
    let of = |key: &str, ttl: &str| task(json!({ "memo": { "key": key, "ttl": ttl } }));
    assert_eq!(of("v1", "1s"), []);
    assert_eq!(of("v1", "168h"), []);
    for (key, ttl, field) in [
        (" ", "1h", "spec.memo.key"),
        (&*"x".repeat(2049), "1h", "spec.memo.key"),
        ("v1", "0s", "spec.memo.ttl"),
        ("v1", "169h", "spec.memo.ttl"),
        ("v1", "soon", "spec.memo.ttl"),
    ] {
        assert_eq!(fields(&of(key, ttl)), [field]);
    }
    for other in [
        json!({ "continueFrom": { "name": "earlier" } }),
        json!({ "replay": { "task": { "name": "earlier" } } }),
    ] {
        let mut both = other;
        both["memo"] = json!({ "key": "v1", "ttl": "1h" });
        assert_eq!(fields(&task(both)), ["spec.memo"]);
    }
}

#[test]
fn an_artifact_of_another_task_is_a_file() {
    let of = |files: &[Value]| task(json!({ "files": files }));
    for fine in [
        &[artifact("a", "out")][..],
        &[artifact(".", "src.tar")],
        // What is in it is not known: others may be put into it, and it into others.
        &[
            artifact("a", "out"),
            json!({ "path": "a/b", "content": "" }),
        ],
        &[
            artifact(".", "out"),
            artifact("a", "out"),
            json!({ "path": "a/b", "content": "" }),
        ],
    ] {
        assert_eq!(of(fine), [], "{fine:?}");
    }
    for (wrong, field) in [
        (artifact("/a", "out"), "spec.files[0].path"),
        (artifact("../a", "out"), "spec.files[0].path"),
        (artifact("a", "Out"), "spec.files[0].artifact.name"),
        (artifact("a", ""), "spec.files[0].artifact.name"),
        (
            artifact("a", &"x".repeat(64)),
            "spec.files[0].artifact.name",
        ),
        (
            json!({ "path": "a", "artifact": { "task": { "name": "" }, "name": "out" } }),
            "spec.files[0].artifact.task.name",
        ),
        (
            json!({ "path": "a", "content": "", "artifact": { "task": { "name": "build" }, "name": "out" } }),
            "spec.files[0]",
        ),
    ] {
        assert_eq!(
            fields(&of(std::slice::from_ref(&wrong))),
            [field],
            "{wrong}"
        );
    }
    let many = |count: usize| -> Vec<Value> {
        let paths = (0..count).map(|at| format!("a{at}"));
        paths.map(|path| artifact(&path, "out")).collect()
    };
    assert_eq!(of(&many(16)), []);
    assert_eq!(fields(&of(&many(17))), ["spec.files"]);
}

/// A repository may have an artifact put into it, and comes first.
#[test]
fn artifacts_and_repositories_may_have_one_place() {
    let spec = |files: Value| -> TaskSpec {
        parse(json!({
            "run": { "command": ["true"], "sandbox": { "egress": { "domains": ["github.com"] } } },
            "files": files,
        }))
    };
    let repository = json!({ "path": "app", "git": { "url": "https://github.com/a/b" } });
    for path in [".", "app/lib", "appendix"] {
        let spec = spec(json!([repository, artifact(path, "out")]));
        assert_eq!(validate::task(&spec, &ObjectMeta::default()), [], "{path}");
    }
}

#[test]
fn the_tasks_that_are_awaited_are_those_that_are_named() {
    let names = |spec: Value| -> Vec<String> {
        let spec: TaskSpec = parse(spec);
        spec.awaited().map(|task| task.name.clone()).collect()
    };
    let files = json!([artifact("a", "out"), { "path": "b", "content": "" }]);
    let both = json!({ "workspace": { "from": { "name": "first" } }, "files": files });
    assert_eq!(names(both), ["first", "build"]);
    let follow = json!({ "continueFrom": { "name": "earlier" }, "files": files });
    assert_eq!(names(follow), ["earlier", "build"]);
    assert_eq!(names(json!({ "workspace": { "keep": true } })), [""; 0]);
}
