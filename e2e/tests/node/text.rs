//! Text on its whole way: from the provider and from user code to the transcript, the artifacts, the status and the command line.
//! Every Unicode scalar value stays what it is; what is no character becomes U+FFFD everywhere, and the transcript says so.

use crate::cli::oar;
use crate::support::{agent, beside_others, create, key, mocked, pool, run, task};
use anyhow::{Context as _, Result, bail, ensure};
use oarmaster_crds::Task;
use oarmaster_e2e::Space;
use oarmaster_e2e::mock::{Call, Mock, Reply};
use oarmaster_protocol::journal::{Body, Record};
use serde_json::{Value, json};

/// Bytes of a page: what one tool result shows whole.
const PAGE: usize = 16_000;
/// Bytes of a status' text; escapes of control characters need room below 16 KiB.
const SLICE: usize = 14_000;
/// The Tasks that share all scalar values. Each has a conversation of some megabytes.
const PARTS: usize = 4;

/// Every Unicode scalar value, cut into texts of at most `bytes` bytes.
fn every(bytes: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    for letter in '\0'..=char::MAX {
        if texts
            .last()
            .is_none_or(|text| text.len() + letter.len_utf8() > bytes)
        {
            texts.push(String::new());
        }
        if let Some(text) = texts.last_mut() {
            text.push(letter);
        }
    }
    texts
}

/// What stands in a status: for the first part what JSON, YAML, terminals and editors stumble over, for the others a sample.
fn slice(part: usize, pages: &[String]) -> String {
    let odd = |letter: &char| {
        let code = u32::from(*letter);
        matches!(code, 0..=0x7ff | 0xe00..=0xe7f | 0x2000..=0x206f | 0xd7a0..=0xe010 | 0xfdd0..=0xfdef | 0xfe00..=0xffff)
    };
    let ends_plane = |letter: &char| u32::from(*letter) & 0xfffe == 0xfffe;
    let all = pages.iter().flat_map(|page| page.chars());
    let mut text = String::from("|");
    let some = all.enumerate().filter(|(at, letter)| {
        ends_plane(letter)
            || if part == 0 {
                odd(letter)
            } else {
                at % 97 == part
            }
    });
    for (_, letter) in some {
        if text.len() < SLICE {
            text.push(letter);
        }
    }
    text.push('|');
    text
}

/// Two texts are the same, or the first difference is told: both are too large to be printed.
#[track_caller]
fn same(what: &str, found: &str, wanted: &str) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    let at = found
        .chars()
        .zip(wanted.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let near = |text: &str| text.chars().skip(at).take(8).collect::<String>();
    bail!(
        "{what}: {} and {} bytes, differ at character {at}: {:?} instead of {:?}",
        found.len(),
        wanted.len(),
        near(found),
        near(wanted)
    )
}

/// The answer of a turn that says the page, writes it to a file and prints that, for each of `pages`.
fn says_writes_prints(pages: &[String], and: &str) -> Reply {
    let call = |id: String, name: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
    let mut calls = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        let path = format!("pages/{number:03}");
        calls.push(call(
            format!("write-{number}"),
            "WriteFile",
            json!({"path": path, "content": page}),
        ));
        calls.push(call(
            format!("print-{number}"),
            "Shell",
            json!({"command": format!("cat {path}")}),
        ));
    }
    calls.push(call("all".to_owned(), "Shell", json!({"command": and})));
    Reply::message(json!({"role": "assistant", "content": pages.concat(), "tool_calls": calls}))
}

/// What the model was shown in its last call: its own words, its own arguments, and the outputs of its tools.
fn shown(call: &Call, pages: &[String]) -> Result<()> {
    let messages = call.body["messages"].as_array().context("no messages")?;
    let answer = messages
        .iter()
        .find(|one| one["role"] == "assistant")
        .context("no answer")?;
    same(
        "the model's own text",
        answer["content"].as_str().unwrap_or_default(),
        &pages.concat(),
    )?;
    let output = |id: &str| {
        let result = messages.iter().find(|one| one["tool_call_id"] == id);
        result
            .and_then(|one| one["content"].as_str())
            .unwrap_or_default()
    };
    for (number, page) in pages.iter().enumerate() {
        let given = answer["tool_calls"][2 * number]["function"]["arguments"].as_str();
        let given: Value = serde_json::from_str(given.unwrap_or_default())?;
        same(
            "the model's own arguments",
            given["content"].as_str().unwrap_or_default(),
            page,
        )?;
        same(
            "a tool's output in the conversation",
            output(&format!("print-{number}")),
            &printed(page),
        )?;
    }
    Ok(())
}

fn printed(page: &str) -> String {
    format!("exit code 0\n[stdout]\n{page}")
}

/// The transcript holds the same.
fn told(records: &[Record], pages: &[String]) -> Result<()> {
    let mut answers = Vec::new();
    let mut written = Vec::new();
    let mut results = Vec::new();
    for record in records {
        match &record.body {
            Body::Answer {
                message, replaced, ..
            } => {
                ensure!(*replaced == 0, "nothing is to be replaced: {replaced}");
                answers.push(message["content"].as_str().unwrap_or_default());
            }
            Body::ToolIntent {
                tool, arguments, ..
            } if tool == "WriteFile" => {
                written.push(arguments["content"].as_str().unwrap_or_default());
            }
            Body::ToolResult { tool, ok, text, .. } if tool == "Shell" => {
                ensure!(*ok, "{text}");
                results.push(text.as_str());
            }
            Body::Note { text } => bail!("a note where nothing is to be said: {text}"),
            _ => {}
        }
    }
    same(
        "the answer in the transcript",
        answers.first().copied().unwrap_or_default(),
        &pages.concat(),
    )?;
    ensure!(written.len() == pages.len() && results.len() == pages.len() + 1);
    for (number, page) in pages.iter().enumerate() {
        same("arguments in the transcript", written[number], page)?;
        same(
            "a tool's output in the transcript",
            results[number],
            &printed(page),
        )?;
    }
    Ok(())
}

fn text_of(task: &Task) -> Result<&str> {
    let output = task
        .status
        .as_ref()
        .and_then(|status| status.output.as_ref());
    output
        .and_then(|output| output["text"].as_str())
        .context("no text in the status")
}

/// The agent `worker` with roomy limits.
fn worker(tools: &[&str]) -> Value {
    let mut worker = agent(tools);
    worker["spec"]["limits"] = json!({"toolCalls": 1000});
    worker
}

fn named(name: &str, mut task: Value, more: Value) -> Value {
    task["metadata"]["name"] = json!(name);
    for (field, value) in more.as_object().into_iter().flatten() {
        task["spec"][field] = value.clone();
    }
    task
}

/// The ServiceAccount whose token `oar` shows to the gateway, and the arguments that say so.
async fn reader_for_oar(space: &Space) -> Result<[String; 2]> {
    space.kubectl(&["create", "serviceaccount", "oar"]).await?;
    let account = format!("--serviceaccount={}:oar", space.name);
    let bind = [
        "create",
        "rolebinding",
        "oar",
        "--clusterrole=oarmaster-view",
        &account,
    ];
    space.kubectl(&bind).await?;
    Ok(["--token-from".to_owned(), format!("{}/oar", space.name)])
}

/// What `oar` prints when its output is a program.
async fn printed_by_oar(space: &Space, args: &[&str]) -> Result<String> {
    Ok(oar(&space.cluster.kubeconfig, &space.name, args)
        .await?
        .success()?
        .stdout)
}

/// Whether a terminal would act on the text: the human views must not hold such.
fn acts(text: &str) -> bool {
    text.chars().any(|letter| {
        letter != '\n'
            && letter != '\t'
            && (letter.is_control()
                || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    })
}

#[tokio::test]
async fn every_scalar_value_stays_what_it_is() -> Result<()> {
    beside_others("text-every", async |space| {
        let pages = every(PAGE);
        ensure!(pages.iter().map(|page| page.chars().count()).sum::<usize>() == 1_112_064);
        let parts: Vec<Vec<String>> = pages
            .chunks(pages.len().div_ceil(PARTS))
            .map(<[String]>::to_vec)
            .collect();
        let played = parts.clone();
        let mock = Mock::start(&space.cluster, move |call| {
            let part: usize = call.prompt().parse().unwrap_or_default();
            match call.turn {
                0 => says_writes_prints(&played[part], "cat pages/* > all && wc -c < all"),
                _ => Reply::text(&slice(part, &played[part])),
            }
        })
        .await?;
        create(
            space,
            &[
                key("sk-text-every"),
                mocked(&mock),
                pool(),
                worker(&["WriteFile", "Shell"]),
            ],
        )
        .await?;
        for part in 0..PARTS {
            let spec = json!({
                "params": {"prompt": part.to_string()}, "budget": {"usd": "1000"},
                "artifacts": [{"name": "all", "path": "all"}],
            });
            create(
                space,
                &[named(&format!("part-{part}"), task(&json!({})), spec)],
            )
            .await?;
        }
        let token = reader_for_oar(space).await?;
        let token: Vec<&str> = token.iter().map(String::as_str).collect();
        let reader = space.reader().await?;
        for (part, pages) in parts.iter().enumerate() {
            let name = format!("part-{part}");
            let done = space.complete(&name).await?;
            let (text, all) = (slice(part, pages), pages.concat());
            same("the status", text_of(&done)?, &text)?;
            let calls = mock.bill();
            let last = calls
                .iter()
                .rev()
                .find(|call| call.prompt() == part.to_string());
            shown(last.context("no call")?, pages)?;
            told(&reader.transcript(&name).await?, pages)?;
            let kept = reader.bytes(&name, "artifacts/all").await?;
            ensure!(
                kept == all.as_bytes(),
                "the artifact of {name}: {} bytes instead of {}",
                kept.len(),
                all.len()
            );

            same(
                "oar result",
                &printed_by_oar(space, &["result", &name]).await?,
                &text,
            )?;
            let printed = printed_by_oar(
                space,
                &[&["result", &name, "--artifact", "all"], &*token].concat(),
            )
            .await?;
            same("oar result --artifact", &printed, &all)?;
            let json: Value =
                serde_json::from_str(&printed_by_oar(space, &["get", &name, "-o", "json"]).await?)?;
            same(
                "oar get -o json",
                json["status"]["output"]["text"]
                    .as_str()
                    .unwrap_or_default(),
                &text,
            )?;
            let yaml = printed_by_oar(space, &["get", &name, "-o", "yaml"]).await?;
            same(
                "oar get -o yaml",
                &through_kubectl(space, yaml).await?,
                &text,
            )?;
            let logs =
                printed_by_oar(space, &[&["logs", &name, "-o", "json"], &*token].concat()).await?;
            let records: Vec<Record> = logs
                .split_terminator('\n')
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()?;
            told(&records, pages)?;
        }
        // As a person sees it: nothing is left that a terminal acts on, and nothing is missing.
        for (short, full) in [("--full", true), ("--follow", false)] {
            let seen =
                printed_by_oar(space, &[&["logs", "part-0", short], &*token].concat()).await?;
            ensure!(!acts(&seen) && seen.contains("\\x00\\x01"), "{short}");
            ensure!(
                !full
                    || ["\\x7f\\x80", "\\u{202e}", "\u{fdd0}\u{fdd1}"]
                        .iter()
                        .all(|part| seen.contains(part))
            );
        }
        Ok(())
    })
    .await
}

/// The text of a status, as another reader of YAML takes it from what `oar` prints.
async fn through_kubectl(space: &Space, yaml: String) -> Result<String> {
    let read = space
        .cluster
        .run("kubectl")
        .args(&[
            "create",
            "--dry-run=client",
            "--validate=false",
            "-o",
            "json",
            "-f",
            "-",
        ])
        .stdin(yaml)
        .stdout()
        .await?;
    let object: Value = serde_json::from_str(&read)?;
    Ok(object["status"]["output"]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[tokio::test]
async fn an_answer_over_the_bound_of_a_status_is_an_artifact() -> Result<()> {
    beside_others("text-large", async |space| {
        let pages = every(PAGE);
        let all = pages[..20].concat();
        let answer = all.clone();
        let mock = Mock::start(&space.cluster, move |_| Reply::text(&answer)).await?;
        let objects = [
            key("sk-text-large"),
            mocked(&mock),
            pool(),
            agent(&[]),
            task(&json!({"budget": {"usd": "1000"}})),
        ];
        create(space, &objects).await?;
        let failed = space.failed("work", "OutputTooLarge").await?;
        let status = failed.status.context("no status")?;
        ensure!(status.output.is_none() && status.artifacts.len() == 1);
        let kept = space
            .reader()
            .await?
            .bytes("work", "artifacts/output")
            .await?;
        ensure!(
            kept == all.as_bytes(),
            "{} bytes instead of {}",
            kept.len(),
            all.len()
        );
        Ok(())
    })
    .await
}

/// A body with this assistant message, whose bytes need not be text.
fn body(message: &[u8]) -> Reply {
    let before = br#"{"id":"x","object":"chat.completion","created":0,"model":"mock","usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110},"choices":[{"index":0,"finish_reason":"stop","message":"#;
    Reply::body([before, message, b"}]}"].concat())
}

const PRINTS: &str = r"
import sys
sys.stdout.buffer.write(b'out\xff\xed\xa0\x80\xe2\x82 \xef\xbf\xbd\n')
sys.stderr.buffer.write(b'err\xc3')
open('raw', 'wb').write(b'file\xf0\x9f\x98')
";

#[tokio::test]
async fn what_is_no_character_is_replaced_everywhere_and_said() -> Result<()> {
    beside_others("text-broken", async |space| {
        let mock = Mock::start(&space.cluster, |call| match call.turn {
            0 => body(format!(
                r#"{{"role":"assistant","content":"half \ud83d, whole \ud83d\ude00","tool_calls":[{{"id":"a","type":"function","function":{{"name":"RunCode","arguments":{}}}}},{{"id":"b","type":"function","function":{{"name":"ReadFile","arguments":"{{\"path\": \"raw\"}}"}}}},{{"id":"c","type":"function","function":{{"name":"Shell","arguments":"{{\"command\": \"printf %s '\\ud800'\"}}"}}}}]}}"#,
                json!(json!({"language": "python", "code": PRINTS}).to_string())
            ).as_bytes()),
            _ => body(b"{\"role\":\"assistant\",\"content\":\"broken \xff, cut \xe2\x82, \\udc00, whole \xe2\x82\xac\"}"),
        })
        .await?;
        let run = run(
            "program",
            json!({"language": "python", "code": format!("{PRINTS}\nsys.stdout.flush()\nprint('\u{e3f}' * 3000 + 'x')")}),
            &json!({"artifacts": [{"name": "raw", "path": "raw"}]}),
        );
        let work = named("work", task(&json!({})), json!({"artifacts": [{"name": "raw", "path": "raw"}]}));
        create(space, &[key("sk-text-broken"), mocked(&mock), pool(), worker(&["RunCode", "ReadFile", "Shell"]), work, run]).await?;

        let done = space.complete("work").await?;
        let answer = "broken \u{fffd}, cut \u{fffd}, \u{fffd}, whole €";
        same("the status", text_of(&done)?, answer)?;
        let said = "half \u{fffd}, whole 😀";
        let out = "exit code 0\n[stdout]\nout\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd} \u{fffd}\n\n[stdout: U+FFFD stands for bytes that are not UTF-8, 5 times]\n[stderr]\nerr\u{fffd}\n[stderr: U+FFFD stands for bytes that are not UTF-8, 1 times]";
        let file = "file\u{fffd}\n[the file: U+FFFD stands for bytes that are not UTF-8, 1 times]";
        let shell = "exit code 0\n[stdout]\n\u{fffd}\n[arguments: U+FFFD stands for half a surrogate pair, 1 times]";

        let calls = mock.bill();
        let messages = &calls.last().context("no call")?.body["messages"];
        for (at, text) in [(2, said), (3, out), (4, file), (5, shell)] {
            same("the conversation", messages[at]["content"].as_str().unwrap_or_default(), text)?;
        }
        let journal = space.journal("work").await?;
        let results: Vec<&str> = journal.results().iter().map(|result| result.2).collect();
        assert_eq!(results, [out, file, shell]);
        let answers: Vec<(Option<&str>, u64)> = journal.0.iter().filter_map(|record| match &record.body {
            Body::Answer { message, replaced, .. } => Some((message["content"].as_str(), *replaced)),
            _ => None,
        }).collect();
        assert_eq!(answers, [(Some(said), 1), (Some(answer), 3)]);
        assert_eq!(space.reader().await?.bytes("work", "artifacts/raw").await?, b"file\xf0\x9f\x98", "an artifact is bytes");

        let done = space.complete("program").await?;
        let output = done.status.and_then(|status| status.output).context("no output")?;
        let tail = output["stdoutTail"].as_str().context("no tail")?;
        // The last 4 KiB begin within a character, which is left out.
        assert_eq!(tail, format!("{}x\n", "\u{e3f}".repeat(1364)));
        assert_eq!(output["stdoutOmitted"], 14 + 3 * (3000 - 1364), "{output}");
        assert_eq!((&output["stderrTail"], &output["stderrOmitted"]), (&json!("err\u{fffd}"), &Value::Null));
        let journal = space.journal("program").await?;
        assert_eq!(journal.count(|body| matches!(body, Body::Note { text } if text.starts_with("stderr: U+FFFD stands"))), 1);

        let token = reader_for_oar(space).await?;
        let token: Vec<&str> = token.iter().map(String::as_str).collect();
        same("oar result", &printed_by_oar(space, &["result", "work"]).await?, answer)?;
        let seen = printed_by_oar(space, &[&["logs", "work"], &*token].concat()).await?;
        for told in ["U+FFFD stands for what is no character 3 times", answer] {
            ensure!(seen.contains(told), "no {told:?} in {seen}");
        }
        let logs = printed_by_oar(space, &[&["logs", "work", "-o", "yaml"], &*token].concat()).await?;
        let records: Vec<Value> = serde_saphyr::from_multiple(&logs)?;
        let records = records.into_iter().map(serde_json::from_value).collect::<Result<Vec<Record>, _>>()?;
        ensure!(records == space.journal("work").await?.0, "oar logs -o yaml: {logs}");
        let seen = printed_by_oar(space, &[&["logs", "program"], &*token].concat()).await?;
        ensure!(seen.contains("note") && seen.contains("stderr: U+FFFD stands for"), "{seen}");
        Ok(())
    })
    .await
}

const ARABIC: &str = "اقرأ الصفحات الثلاث، ثم لخّصها \u{200f}(بجملة واحدة)\u{200f}.\nالسطر الثاني: «نص عربي ‎with English‎ ١٢٣».";
const HEBREW: &str = "שָׁלוֹם עוֹלָם — דף ראשון\nמחיר: ₪42\u{200e}, ״ציטוט״\n";
const THAI: &str = "สวัสดีชาวโลก น้ำ กำลัง ที่นี่\u{200b}ทั้งหมด\nบรรทัดที่สอง ๑๒๓ ฿\n";

#[tokio::test]
async fn prompts_and_pages_in_arabic_hebrew_and_thai() -> Result<()> {
    beside_others("text-scripts", async |space| {
        let files = [("صفحات/عربي.txt", ARABIC), ("דפים/עברית.txt", HEBREW), ("หน้า/ไทย.txt", THAI)];
        let answer = format!("{THAI}{HEBREW}{ARABIC}");
        let said = answer.clone();
        let mock = Mock::start(&space.cluster, move |call| {
            let tool = |id: &str, name: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
            match call.turn {
                0 => {
                    let mut calls: Vec<Value> = files.iter().map(|(path, _)| tool(path, "ReadFile", json!({"path": path}))).collect();
                    calls.push(tool("search", "SearchFiles", json!({"pattern": "น้ำ|עוֹלָם"})));
                    calls.push(tool("edit", "EditFile", json!({"path": files[1].0, "old": "דף ראשון", "new": "דף שני"})));
                    calls.push(tool("print", "Shell", json!({"command": "cat 'דפים/עברית.txt'; echo 'ใหม่' > 'หน้า/ใหม่.txt'"})));
                    Reply::message(json!({"role": "assistant", "content": "أقرأ…", "tool_calls": calls}))
                }
                _ => Reply::text(&said),
            }
        })
        .await?;
        create(space, &[key("sk-text-scripts"), mocked(&mock), pool(), worker(&["ReadFile", "EditFile", "SearchFiles", "Shell"])]).await?;
        let folder = std::env::temp_dir().join(format!("pages-{}", space.name));
        for (path, content) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().context("no parent")?)?;
            std::fs::write(path, content)?;
        }
        let prompt = format!("prompt={ARABIC}");
        let ran = oar(&space.cluster.kubeconfig, &space.name, &["run", "worker", "--name", "work", "-p", &prompt, "--files", &folder.to_string_lossy()]).await;
        std::fs::remove_dir_all(&folder)?;
        ran?.success()?;

        let done = space.complete("work").await?;
        same("the status", text_of(&done)?, &answer)?;
        same("the prompt in the object", done.spec.params.as_ref().and_then(|params| params["prompt"].as_str()).unwrap_or_default(), ARABIC)?;
        let calls = mock.bill();
        let messages = &calls.last().context("no call")?.body["messages"];
        same("the prompt", messages[1]["content"].as_str().unwrap_or_default(), ARABIC)?;
        let journal = space.journal("work").await?;
        let results = journal.results();
        for (at, (_, content)) in files.iter().enumerate() {
            same("a page", results[at].2, content)?;
            same("a page in the conversation", messages[3 + at]["content"].as_str().unwrap_or_default(), content)?;
        }
        ensure!(results[3].2.contains("หน้า/ไทย.txt:1: สวัสดีชาวโลก น้ำ") && results[3].2.contains("דפים/עברית.txt:1: שָׁלוֹם עוֹלָם"), "{}", results[3].2);
        same("the edited page", results[5].2, &printed(&HEBREW.replace("ראשון", "שני")))?;

        let token = reader_for_oar(space).await?;
        let token: Vec<&str> = token.iter().map(String::as_str).collect();
        same("oar result", &printed_by_oar(space, &["result", "work"]).await?, &answer)?;
        let yaml = printed_by_oar(space, &["get", "work", "-o", "yaml"]).await?;
        same("oar get -o yaml", &through_kubectl(space, yaml).await?, &answer)?;
        let seen = printed_by_oar(space, &[&["logs", "work", "--full"], &*token].concat()).await?;
        for told in ["สวัสดีชาวโลก น้ำ กำลัง", "שָׁלוֹם עוֹלָם — דף ראשון", "«نص عربي", "لخّصها \\u{200f}(بجملة"] {
            ensure!(seen.contains(told), "no {told:?} in {seen}");
        }
        Ok(())
    })
    .await
}
