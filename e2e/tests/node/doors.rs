//! What programs in C, Node and Java try that mean harm, in the live pod. The programs are those that `runner/tests` tries against a supervisor alone.

use crate::support::{beside_others, create, run};
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::Task;
use oarmaster_e2e::command::Run;
use oarmaster_e2e::installed::{image, language_image};
use serde_json::{Value, json};
use std::fmt::Write as _;

const DOORS_C: &str = include_str!("../../../runner/tests/hostile/doors.c");
const DOORS_JS: &str = include_str!("../../../runner/tests/hostile/doors.js");
const DOORS_JAVA: &str = include_str!("../../../runner/tests/hostile/Doors.java");

/// A program in C as text: bytes of a file are not for an object.
async fn compiled(source: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("doors.c"), folder.path().join("doors"));
    std::fs::write(&from, source)?;
    let flags = ["-O2", "-s", "-lpthread", "-lrt", "-o"].map(std::ffi::OsString::from);
    let run = Run::new("cc").args(&[from.into_os_string()]).args(&flags);
    run.args(&[&to]).output().await?.success()?;
    let bytes = std::fs::read(&to)?;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// Runs a program, and tells how many of its attempts were refused, what was not, and its last line but one: more does not fit into a status.
fn in_image(name: &str, image: &str, program: &str, file: (&str, &str)) -> Value {
    let script = format!(
        "{program} > told\ngrep ' GOT ' told || true\ngrep control told\necho refused \"$(grep -c ' refused$' told)\""
    );
    let files = json!({"files": [{"path": file.0, "content": file.1}]});
    let mut work = run(name, json!({"command": ["sh", "-ec", script]}), &files);
    if let Some(sandbox) = work.pointer_mut("/spec/run/sandbox") {
        *sandbox = json!({"image": image, "memory": "256Mi", "disk": "64Mi"});
    }
    work
}

/// Every attempt was refused, so many of them at least, and what must work did. The pod's root is read-only, and nobody listens in it.
fn refused(task: &Task, attempts: usize, control: &str) -> Result<()> {
    let output = task
        .status
        .as_ref()
        .and_then(|status| status.output.as_ref());
    let told = output.and_then(|output| output["stdoutTail"].as_str());
    let told = told.context("the program told nothing")?;
    let got = |line: &&str| {
        line.contains(" GOT ")
            && !line.contains("Read-only file system")
            && !line.contains("Connection refused")
    };
    ensure!(!told.lines().any(|line| got(&line)), "{told}");
    ensure!(told.lines().any(|line| line == control), "{told}");
    let refused = told.lines().find_map(|line| line.strip_prefix("refused "));
    let refused: usize = refused.context("no count")?.parse()?;
    ensure!(refused >= attempts, "{told}");
    Ok(())
}

#[tokio::test]
async fn no_door_is_open_in_any_language() -> Result<()> {
    beside_others("doors", async |space| {
        let program = compiled(DOORS_C).await?;
        let node = language_image("node").await?;
        let java = language_image("java").await?;
        const C: &str = r#"python3 -c "open('doors','wb').write(bytes.fromhex(open('doors.hex').read()))"
chmod +x doors
./doors 1 nobody /run/oarmaster/exec.sock"#;
        create(
            space,
            &[
                in_image("c", &image("python"), C, ("doors.hex", &program)),
                in_image("node", &node, "node doors.js", ("doors.js", DOORS_JS)),
                in_image("java", &java, "java Doors.java", ("Doors.java", DOORS_JAVA)),
            ],
        )
        .await?;
        let works = "control: unix sockets work, own limits work";
        refused(&space.complete("c").await?, 300, works)?;
        refused(&space.complete("node").await?, 13, "control 7")?;
        refused(&space.complete("java").await?, 12, "control 7")
    })
    .await
}
