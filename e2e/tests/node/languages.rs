//! Languages in the live pod: programs of many files are built and tested there, packages come from a registry of the test's own, and memory
//! that runs out is an observation, however often it does.

use crate::support::{
    agent, beside_others, calls, create, pool, ready, run, says, scripted, serving, task,
    with_class,
};
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::Task;
use oarmaster_e2e::Space;
use oarmaster_e2e::cluster::checkout;
use oarmaster_e2e::installed::language_image;
use oarmaster_e2e::network::enforced;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the pod of the registry listens; its Service has port 80.
const PORT: u16 = 8080;
/// A registry of one Python package and one of npm, both made when it starts.
const REGISTRY: &str = include_str!("../../fixtures/languages/registry.py");

/// The files of a program in `e2e/fixtures/languages`, each with its path in the workspace.
pub fn program(name: &str) -> Result<Vec<(String, String)>> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            match path.is_dir() {
                true => walk(&path, all)?,
                false => all.push(path),
            }
        }
        Ok(())
    }
    let root = checkout().join("e2e/fixtures/languages").join(name);
    let mut paths = Vec::new();
    walk(&root, &mut paths)?;
    let read = |path: &PathBuf| {
        let inner = path.strip_prefix(&root)?.to_string_lossy().into_owned();
        Ok((inner, fs::read_to_string(path)?))
    };
    paths.iter().map(read).collect()
}

/// A run in an image of a language, with memory for its compilers.
fn in_image(name: &str, image: &str, what: Value, more: &Value) -> Value {
    let mut work = run(name, what, more);
    work["spec"]["run"]["sandbox"]["image"] = json!(image);
    work["spec"]["run"]["sandbox"]["memory"] = json!("512Mi");
    work
}

fn shell(script: &str) -> Value {
    json!({"command": ["sh", "-ec", script]})
}

/// The sandbox's standard output and standard error.
fn said(task: &Task) -> Result<(String, String)> {
    let output = task
        .status
        .as_ref()
        .and_then(|status| status.output.clone());
    let output = output.context("no output")?;
    let text = |name: &str| output[name].as_str().unwrap_or_default().to_owned();
    Ok((text("stdoutTail"), text("stderrTail")))
}

/// Runs a script beside a program's files; answers what it said.
async fn built(
    space: &Space,
    image: &str,
    files: &[Value],
    script: &str,
) -> Result<(String, String)> {
    create(
        space,
        &[in_image(
            "work",
            image,
            shell(script),
            &json!({"files": files}),
        )],
    )
    .await?;
    said(&space.complete("work").await?)
}

pub fn contents(program: Vec<(String, String)>) -> Vec<Value> {
    let file = |(path, content)| json!({"path": path, "content": content});
    program.into_iter().map(file).collect()
}

#[tokio::test]
async fn a_program_in_python() -> Result<()> {
    beside_others("lang-python", async |space| {
        // As the owner of a larger program would bring it: from a ConfigMap.
        let mut data = json!({});
        let mut files = Vec::new();
        for (at, (path, content)) in program("python")?.into_iter().enumerate() {
            let key = format!("file-{at}");
            files.push(json!({"path": path, "configMap": {"name": "program", "key": key}}));
            data[key] = json!(content);
        }
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "program"}, "data": data});
        create(space, &[map]).await?;
        let image = language_image("python").await?;
        let (stdout, stderr) = built(
            space,
            &image,
            &files,
            "PYTHONPATH=src python3 -m unittest discover tests
             python3 -m zipapp src -m orders.report:main -o orders.pyz
             python3 orders.pyz orders.csv",
        )
        .await?;
        ensure!(stderr.contains("Ran 4 tests") && stderr.contains("OK"), "{stderr}");
        ensure!(stdout == "total 6.75\n", "{stdout}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_program_in_typescript() -> Result<()> {
    beside_others("lang-typescript", async |space| {
        let image = language_image("node").await?;
        let (stdout, stderr) = built(
            space,
            &image,
            &contents(program("typescript")?),
            "npm test
             npm run build
             node dist/report.js orders.csv",
        )
        .await?;
        ensure!(stdout.contains("pass 4\n"), "{stdout}{stderr}");
        ensure!(stdout.ends_with("\ntotal 6.75\n"), "{stdout}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_program_in_java() -> Result<()> {
    beside_others("lang-java", async |space| {
        let image = language_image("java").await?;
        let (stdout, stderr) = built(
            space,
            &image,
            &contents(program("java")?),
            "javac -d classes $(find src tests -name '*.java')
             java -cp classes orders.Tests
             jar --create --file orders.jar --main-class orders.Report -C classes .
             java -jar orders.jar orders.csv",
        )
        .await?;
        ensure!(stdout == "3 tests passed\ntotal 6.75\n", "{stdout}{stderr}");
        Ok(())
    })
    .await
}

/// A Task whose ten first calls run out of memory, in two ways in turn, and whose last prints 42.
async fn ten_times(
    space: &Space,
    image: &str,
    language: &str,
    ways: [&str; 2],
    last: &str,
) -> Result<()> {
    let code = |code: &str| calls("RunCode", json!({"language": language, "code": code}));
    // The pilot does not run the same call again and again: each is another one.
    let ways = ways.into_iter().cycle().zip(0..10);
    let numbered = |(way, number): (&str, usize)| code(&format!("{way}{}", "\n".repeat(number)));
    let mut replies: Vec<Value> = ways.map(numbered).collect();
    replies.extend([code(last), says("done")]);
    let mut worker = agent(&["RunCode"]);
    worker["spec"]["sandbox"]["image"] = json!(image);
    worker["spec"]["sandbox"]["memory"] = json!("256Mi");
    create(
        space,
        &[scripted(&replies), pool(), worker, task(&json!({}))],
    )
    .await?;

    space.complete("work").await?;
    let journal = space.journal("work").await?;
    for at in 0..10 {
        let (_, ok, text) = journal.result(at)?;
        let text = text.to_lowercase();
        ensure!(!ok && text.contains("memory"), "call {at}: {text}");
    }
    let (_, ok, text) = journal.result(10)?;
    ensure!(ok && text.contains("42"), "after all that: {text}");
    Ok(())
}

#[tokio::test]
async fn memory_that_runs_out_in_python() -> Result<()> {
    beside_others("oom-python", async |space| {
        let heap = "held = []\nwhile True:\n    held.append(bytearray(8 << 20))";
        let shared = "import mmap\nheld = []\nwhile True:\n    held.append(mmap.mmap(-1, 8 << 20))\n    held[-1].write(bytes(8 << 20))";
        let image = language_image("python").await?;
        ten_times(space, &image, "python", [heap, shared], "print(6 * 7)").await
    })
    .await
}

#[tokio::test]
async fn memory_that_runs_out_in_javascript_and_typescript() -> Result<()> {
    beside_others("oom-node", async |space| {
        let heap =
            "const held: number[][] = []; for (;;) held.push(new Array<number>(1e5).fill(1.5));";
        let beside = "const held: Buffer[] = []; for (;;) held.push(Buffer.alloc(8 << 20, 1));";
        let image = language_image("node").await?;
        let last = "const six: number = 6; console.log(six * 7)";
        ten_times(space, &image, "typescript", [heap, beside], last).await
    })
    .await
}

#[tokio::test]
async fn memory_that_runs_out_in_java() -> Result<()> {
    beside_others("oom-java", async |space| {
        let class = |body: &str| {
            format!(
                "import java.nio.ByteBuffer;\nimport java.util.*;\npublic class Main {{\n  public static void main(String[] none) {{\n    {body}\n  }}\n}}\n"
            )
        };
        let heap = class("List<byte[]> held = new ArrayList<>(); while (true) held.add(new byte[1 << 20]);");
        let beside = class("List<ByteBuffer> held = new ArrayList<>(); while (true) held.add(ByteBuffer.allocateDirect(8 << 20));");
        let last = class("System.out.println(6 * 7);");
        let image = language_image("java").await?;
        ten_times(space, &image, "java", [&heap, &beside], &last).await
    })
    .await
}

/// Code of each language that the Task kind names, in the image that has it.
#[tokio::test]
async fn code_of_every_language() -> Result<()> {
    beside_others("lang-code", async |space| {
        let cases = [
            ("python", "python", "print(6 * 7)"),
            ("shell", "python", "echo $((6 * 7))"),
            ("javascript", "node", "const { stdout } = require('node:process'); stdout.write(6 * 7 + '\\n')"),
            ("typescript", "node", "import { stdout } from 'node:process'; const n: number = 6; stdout.write(`${n * 7}\\n`)"),
            ("java", "java", "class Any { public static void main(String[] none) { System.out.println(6 * 7); } }"),
        ];
        for (language, image, code) in cases {
            let image = language_image(image).await?;
            create(space, &[in_image(language, &image, json!({"language": language, "code": code}), &json!({}))]).await?;
        }
        for (language, ..) in cases {
            let (stdout, stderr) = said(&space.complete(language).await?)?;
            ensure!(stdout == "42\n", "{language}: {stdout}{stderr}");
            ensure!(language == "java" || stderr.is_empty(), "{language}: {stderr}");
        }
        Ok(())
    })
    .await
}

/// The registry, and its Service, whose address the installation lists.
async fn registry(space: &Space) -> Result<String> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "registry"},
        "spec": {"selector": {"app": "registry"}, "ports": [{"port": 80, "targetPort": PORT}]},
    });
    let pod = serving("registry", PORT, &json!(["python3", "-c", REGISTRY]));
    create(space, &[pod, service]).await?;
    ready(space, "registry").await?;
    Ok(format!("registry.{}.svc.cluster.local", space.name))
}

/// Runs a script where only the registry can be reached, which must say this.
async fn with_packages(name: &str, image: &str, script: &str, wanted: &str) -> Result<()> {
    beside_others(name, async |space| {
        if !enforced() {
            return Ok(()); // nothing runs with egress then, as `egress` holds
        }
        let domain = registry(space).await?;
        let image = language_image(image).await?;
        let class = json!({"egress": {"domains": [domain]}});
        with_class(space, class, async |_, name| {
            let mut what = shell(script);
            what["env"] = json!({"REGISTRY": domain});
            let mut work = in_image("work", &image, what, &json!({}));
            let sandbox = &mut work["spec"]["run"]["sandbox"];
            sandbox["class"] = json!({"name": name});
            sandbox["egress"] = json!({"domains": [domain]});
            create(space, &[work]).await?;
            let (stdout, stderr) = said(&space.complete("work").await?)?;
            ensure!(stdout == wanted, "{stdout}{stderr}");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn packages_of_python() -> Result<()> {
    with_packages(
        "lang-pip",
        "python",
        "pip install --quiet --trusted-host $REGISTRY --index-url http://$REGISTRY/simple greeting
         python3 -c 'import greeting; print(greeting.hello())'
         pip install --quiet --retries 0 --trusted-host elsewhere.example --index-url http://elsewhere.example/simple greeting==2 2>/dev/null || echo refused",
        "hello from a wheel\nrefused\n",
    )
    .await
}

#[tokio::test]
async fn packages_of_node() -> Result<()> {
    with_packages(
        "lang-npm",
        "node",
        "npm install --silent --registry http://$REGISTRY/ greeting
         node -e 'console.log(require(\"greeting\")())'
         npm install --silent --fetch-retries 0 --registry http://elsewhere.example/ other || echo refused",
        "hello from a tarball\nrefused\n",
    )
    .await
}
