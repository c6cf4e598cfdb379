//! Plan, act, observe, fix: an architect, a coder and a debugger hand the files of a broken program on to each other, until the program's own
//! tests accept it.

use crate::languages::{contents, program};
use crate::support::{agent, beside_others, create, key, mocked, object, pool};
use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use oarmaster_crds::Task;
use oarmaster_e2e::installed::language_image;
use oarmaster_e2e::mock::{Call, Mock, Reply};
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};

/// What is wrong with a program, and what shows that it is not.
struct Broken {
    language: &'static str,
    image: &'static str,
    /// The file that is not there; what the coder has wrong in it, and the right text.
    missing: &'static str,
    slip: (&'static str, &'static str),
    /// The file with a defect, the right text in it, and the wrong one.
    wrong: &'static str,
    defect: (&'static str, &'static str),
    test: &'static str,
    /// What the tests say when all is well.
    passed: &'static str,
}

const PYTHON: Broken = Broken {
    language: "python",
    image: "python",
    missing: "src/orders/basket.py",
    slip: ("count // 11", "count // 10"),
    wrong: "src/orders/money.py",
    defect: ("% 100:02}", "% 100}"),
    test: "PYTHONPATH=src python3 -m unittest discover tests 2>&1",
    passed: "\nOK",
};

const TYPESCRIPT: Broken = Broken {
    language: "typescript",
    image: "node",
    missing: "src/basket.ts",
    slip: ("count / 11", "count / 10"),
    wrong: "src/money.ts",
    defect: (".padStart(2, \"0\")", ""),
    test: "npm test",
    passed: "pass 4",
};

const JAVA: Broken = Broken {
    language: "java",
    image: "java",
    missing: "src/orders/Basket.java",
    slip: ("line.count() / 11", "line.count() / 10"),
    wrong: "src/orders/Money.java",
    defect: ("%d.%02d", "%d.%d"),
    test: "javac -d classes $(find src tests -name '*.java') && java -cp classes orders.Tests",
    passed: "3 tests passed",
};

/// What each of the three says next, from what it sees: an architect that plans, and takes what the check says to the debugger.
fn next(call: &Call, broken: &Broken, written: &str) -> Reply {
    let delegate = |agent: &str, prompt: &str| {
        Reply::tool(
            "Delegate",
            &json!({"agent": agent, "prompt": prompt, "files": true}),
        )
    };
    let edit = |path: &str, (old, new): (&str, &str)| {
        Reply::tool("EditFile", &json!({"path": path, "old": old, "new": new}))
    };
    let test = || Reply::tool("Shell", &json!({"command": broken.test}));
    let (shown, hidden) = broken.defect;
    match (role(call), call.turn) {
        ("architect", 0) => Reply::tool("ListFiles", &json!({})),
        ("architect", 1) => delegate(
            "coder",
            &format!("{} is missing. Its tests say what it does.", broken.missing),
        ),
        ("architect", 2) => Reply::text("It is written."),
        // The check has said what is wrong.
        ("architect", 3) => delegate("debugger", call.last()),
        ("architect", _) => Reply::text("It is repaired."),
        ("coder", 0) => Reply::tool(
            "WriteFile",
            &json!({"path": broken.missing, "content": written}),
        ),
        ("coder", _) => Reply::text("Written."),
        ("debugger", 0 | 3) => test(),
        ("debugger", 1) => edit(broken.missing, broken.slip),
        ("debugger", 2) if hidden.is_empty() => {
            edit(broken.wrong, ("% 100)", &format!("% 100){shown}")))
        }
        ("debugger", 2) => edit(broken.wrong, (hidden, shown)),
        (_, _) => Reply::text("All tests pass."),
    }
}

/// Whose turn it is, by its instructions.
fn role(call: &Call) -> &'static str {
    let first = call.body["messages"][0]["content"].as_str();
    let first = first.unwrap_or_default();
    let roles = ["architect", "coder", "debugger"];
    let found = roles.into_iter().find(|role| first.contains(role));
    found.unwrap_or_default()
}

fn crew(image: &str) -> Vec<Value> {
    let member = |name: &str, tools: &[&str]| {
        let mut member = agent(tools);
        member["metadata"]["name"] = json!(name);
        member["spec"]["instructions"] = json!(format!("You are the {name}."));
        member["spec"]["sandbox"]["image"] = json!(image);
        member["spec"]["sandbox"]["memory"] = json!("512Mi");
        member
    };
    let mut architect = member("architect", &["ListFiles"]);
    let delegate =
        json!({"builtin": "Delegate", "agents": [{"name": "coder"}, {"name": "debugger"}]});
    architect["spec"]["tools"]
        .as_array_mut()
        .into_iter()
        .for_each(|tools| tools.push(delegate.clone()));
    vec![
        architect,
        member("coder", &["WriteFile"]),
        member("debugger", &["Shell", "EditFile"]),
    ]
}

async fn repaired(broken: &'static Broken) -> Result<()> {
    beside_others(&format!("cycle-{}", broken.language), async |space| {
        let mut files = program(broken.language)?;
        let at = files.iter().position(|(path, _)| path == broken.missing);
        let (_, whole) = files.remove(at.context("no such file")?);
        let (slip, right) = broken.slip;
        let written = whole.replace(right, slip);
        ensure!(written != whole, "no slip");
        for (path, content) in &mut files {
            if path == broken.wrong {
                let wrong = content.replace(broken.defect.0, broken.defect.1);
                ensure!(wrong != *content, "no defect");
                *content = wrong;
            }
        }
        let mock = Mock::start(&space.cluster, move |call| next(call, broken, &written)).await?;
        let image = language_image(broken.image).await?;
        let work = object(
            "Task",
            "repair",
            json!({
                "agent": {"name": "architect"}, "params": {"prompt": "Repair it."}, "retry": {"limit": 0},
                "files": contents(files),
                "accept": {"check": {"command": ["sh", "-ec", broken.test]}, "rounds": 2},
            }),
        );
        let mut objects = vec![key("one"), mocked(&mock), pool(), work];
        objects.extend(crew(&image));
        create(space, &objects).await?;

        let done = space.complete("repair").await?;
        let output = done.status.and_then(|status| status.output);
        ensure!(output.context("no output")?["text"] == "It is repaired.");
        let journal = space.journal("repair").await?;
        let checks = journal.count(|body| matches!(body, Body::Check { accepted: false, .. }));
        ensure!(checks == 1, "the first answer is not accepted: {journal:#?}");
        let handed = journal.count(|body| {
            matches!(body, Body::Answered { ok: true, workspace: Some(_), .. })
        });
        ensure!(handed == 2, "files come back from both: {journal:#?}");
        let tasks = space.api::<Task>().list(&ListParams::default()).await?;
        let names = tasks.items.iter().filter_map(|task| task.metadata.name.clone());
        let debugger = names.into_iter().find(|name| name.contains("debugger"));
        let debugger = space.journal(&debugger.context("no debugger")?).await?;
        let (_, ok, before) = debugger.result(0)?;
        ensure!(!ok && !before.contains(broken.passed), "{before}");
        let (_, ok, after) = debugger.result(3)?;
        ensure!(ok && after.contains(broken.passed), "{after}");
        ensure!(mock.bill().len() == 12, "{}", mock.bill().len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn three_agents_repair_a_program_in_python() -> Result<()> {
    repaired(&PYTHON).await
}

#[tokio::test]
async fn three_agents_repair_a_program_in_typescript() -> Result<()> {
    repaired(&TYPESCRIPT).await
}

#[tokio::test]
async fn three_agents_repair_a_program_in_java() -> Result<()> {
    repaired(&JAVA).await
}
