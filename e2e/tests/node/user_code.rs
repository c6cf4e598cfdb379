//! User code at every bound of its sandbox: each is an observation for the model, and the run goes on.

use crate::support::{agent, beside_others, calls, create, pool, python, says, scripted, task};
use anyhow::Result;
use serde_json::json;

const MEMORY: &str = "
held = []
while True:
    held.append(bytearray(8 << 20))
";
const FORKS: &str = "
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
";
const OUTPUT: &str = "
import sys
for _ in range(100):
    sys.stdout.write('x' * 1_000_000)
print('the end')
";
const BYTES: &str = r"
import sys
sys.stdout.buffer.write(b'before\0between\xff\xfe\xc3after\n')
";
const DISK: &str = "
with open('large', 'wb') as file:
    while True:
        file.write(bytes(1 << 20))
";
const SLEEP: &str = "
import time
time.sleep(600)
";

#[tokio::test]
async fn bounds_are_observations() -> Result<()> {
    beside_others("user-code", async |space| {
        let mut worker = agent(&["RunCode"]);
        worker["spec"]["sandbox"]["callTimeout"] = json!("60s");
        let replies = [
            python(MEMORY),
            python(FORKS),
            python(OUTPUT),
            python(BYTES),
            python(DISK),
            calls(
                "RunCode",
                json!({"language": "python", "code": SLEEP, "timeoutSeconds": 2}),
            ),
            python("import os\nos.remove('large')\nprint('six times seven is', 6 * 7)"),
            says("done"),
        ];
        create(
            space,
            &[scripted(&replies), pool(), worker, task(&json!({}))],
        )
        .await?;

        space.complete("work").await?;
        let journal = space.journal("work").await?;

        let (_, ok, text) = journal.result(0)?;
        assert!(
            !ok && text.to_lowercase().contains("memory"),
            "memory: {text}"
        );
        let (_, ok, text) = journal.result(1)?;
        assert!(!ok && text.contains("process"), "forks: {text}");
        let (_, ok, text) = journal.result(2)?;
        assert!(ok && text.len() < 200_000, "output: {} bytes", text.len());
        assert!(
            text.contains("xxx") && text.contains("the end"),
            "head and tail are kept"
        );
        let (_, ok, text) = journal.result(3)?;
        assert!(ok, "bytes: {text}");
        for part in ["before", "between", "after"] {
            assert!(text.contains(part), "bytes: {text:?}");
        }
        let (_, ok, text) = journal.result(4)?;
        assert!(!ok && text.contains("No space left"), "disk: {text}");
        let (_, ok, text) = journal.result(5)?;
        assert!(!ok && text.contains("time"), "time: {text}");
        let (_, ok, text) = journal.result(6)?;
        assert!(
            ok && text.contains("six times seven is 42"),
            "after all that: {text}"
        );
        Ok(())
    })
    .await
}
