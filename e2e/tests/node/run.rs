//! Tasks that run code without a model.

use crate::support::{beside_others, create, run};
use anyhow::{Context as _, Result};
use oarmaster_crds::Task;
use oarmaster_e2e::task::failure;
use serde_json::{Value, json};

fn output(task: &Task) -> Result<Value> {
    let status = task.status.clone().context("no status")?;
    status.output.context("no output")
}

const PROGRAM: &str = "
import os, pathlib, sys
print('hello', os.environ['WHO'])
print('a warning', file=sys.stderr)
text = pathlib.Path('in/one.txt').read_text() + pathlib.Path('in/two.txt').read_text()
pathlib.Path('out').mkdir()
pathlib.Path('out/both.txt').write_text(text)
pathlib.Path('out/more.txt').write_text('more')
";

#[tokio::test]
async fn code_has_files_environment_output_and_artifacts() -> Result<()> {
    beside_others("run-code", async |space| {
        let two = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": {"two": "zwei\n"},
        });
        let work = run(
            "work",
            json!({"language": "python", "code": PROGRAM, "env": {"WHO": "world"}}),
            &json!({
                "files": [
                    {"path": "in/one.txt", "content": "eins\n"},
                    {"path": "in/two.txt", "configMap": {"name": "texts", "key": "two"}},
                ],
                "artifacts": [{"name": "both", "path": "out/both.txt"}, {"name": "all", "path": "out/**"}],
                "accept": {"check": {"command": ["grep", "-q", "zwei", "out/both.txt"]}, "rounds": 1},
            }),
        );
        create(space, &[two, work]).await?;

        let task = space.complete("work").await?;
        let output = output(&task)?;
        assert_eq!(output["exitCode"], 0, "{output}");
        assert_eq!(output["stdoutTail"], "hello world\n", "{output}");
        assert_eq!(output["stderrTail"], "a warning\n", "{output}");
        let reader = space.reader().await?;
        let kept = reader.artifacts("work").await?;
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(reader.bytes("work", "artifacts/both").await?, b"eins\nzwei\n");
        let archive = reader.bytes("work", "artifacts/all").await?;
        assert_eq!(archive.get(257..262), Some(&b"ustar"[..]), "a tar archive");
        let stated = task.status.context("no status")?.artifacts;
        let both = stated.iter().find(|one| one.name == "both");
        assert_eq!(both.map(|one| one.size), Some(10), "{stated:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn code_that_fails_says_how() -> Result<()> {
    beside_others("run-fails", async |space| {
        let shell = |code: &str| json!({"language": "shell", "code": code});
        create(
            space,
            &[
                run("code", shell("echo out; echo err >&2; exit 3"), &json!({})),
                run("signal", shell("kill -SEGV $$"), &json!({})),
                run("memory", json!({"language": "python", "code": "x = [bytearray(8 << 20) for _ in range(1000)]"}), &json!({})),
                run("absent", json!({"command": ["no-such-program"]}), &json!({})),
                run("words", json!({"command": ["printf", "%s;", "one word", "$HOME"]}), &json!({})),
                run("refused", shell("true"), &json!({"accept": {"check": {"command": ["false"]}}})),
            ],
        )
        .await?;

        let ended = output(&space.failed("code", "ToolFailed").await?)?;
        assert_eq!(ended["exitCode"], 3, "{ended}");
        assert_eq!(ended["stdoutTail"], "out\n", "{ended}");
        assert_eq!(ended["stderrTail"], "err\n", "{ended}");
        let ended = output(&space.failed("signal", "ToolFailed").await?)?;
        assert_eq!(ended["signal"], 11, "{ended}");
        space.failed("memory", "OutOfMemory").await?;
        let absent = space.failed("absent", "StartFailed").await?;
        assert!(failure(&absent).1.contains("no-such-program"), "{absent:#?}");
        let ended = output(&space.complete("words").await?)?;
        assert_eq!(ended["stdoutTail"], "one word;$HOME;", "no shell reads a command: {ended}");
        space.failed("refused", "NotAccepted").await?;
        Ok(())
    })
    .await
}

/// What JSON, YAML and terminals are known to stumble over, and a byte that is no UTF-8.
const BYTES: &str = r"
import sys
sys.stdout.buffer.write(b'a\0b\x7f\xc2\x85\xef\xbf\xbe\xff\n')
";

#[tokio::test]
async fn every_byte_comes_out_as_it_was_written() -> Result<()> {
    beside_others("run-bytes", async |space| {
        create(
            space,
            &[run(
                "work",
                json!({"language": "python", "code": BYTES}),
                &json!({}),
            )],
        )
        .await?;
        // As the documents say it, and as a script would.
        space
            .kubectl(&[
                "wait",
                "--for=condition=Finished",
                "otask/work",
                "--timeout=100s",
            ])
            .await?;
        let ended = output(&space.complete("work").await?)?;
        assert_eq!(
            ended["stdoutTail"], "a\0b\u{7f}\u{85}\u{fffe}\u{fffd}\n",
            "{ended}"
        );
        Ok(())
    })
    .await
}
