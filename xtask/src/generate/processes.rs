//! Flags, metrics and events, read from the source of the processes: each is described where it is defined, and nowhere else.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::reference::cell;
use super::vocabulary;

/// A flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    pub name: String,
    pub default: String,
    pub meaning: String,
}

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: String,
    pub kind: &'static str,
    pub meaning: String,
}

/// Where each process states its flags and its metrics.
const PROCESSES: [(&str, &str, &[&str]); 4] = [
    (
        "operator",
        "operator/src/args.rs",
        &["operator/src/serve.rs", "controllers/src/kit/metrics.rs"],
    ),
    (
        "gateway",
        "gateway/src/config.rs",
        &["gateway/src/metrics.rs"],
    ),
    // What they do is measured at the gateway.
    ("pilots", "runner/src/pilots/mod.rs", &[]),
    // The API server measures its webhooks: apiserver_admission_webhook_*.
    ("webhook", "webhook/src/args.rs", &[]),
];

/// The page of the processes.
pub fn page(root: &Path) -> Result<String> {
    let read = |file: &str| {
        fs::read_to_string(root.join(file)).with_context(|| format!("failed to read {file}"))
    };
    let mut text = String::from(
        "# Processes: flags, metrics, events\n\nOperator, gateway and webhook log lines of JSON to standard error. The environment variable `OARMASTER_LOG` filters them, like \
         `info,oarmaster_gateway=debug`; without it they are those of `info` and above. The shared pilots write plain lines, which nothing filters.\n",
    );
    for (name, args, metrics) in PROCESSES {
        let found = flags(&read(args)?);
        ensure!(!found.is_empty(), "{args} has no flags");
        write!(
            text,
            "\n## {name}\n\n| flag | default | meaning |\n|---|---|---|\n"
        )?;
        for Flag {
            name,
            default,
            meaning,
        } in found
        {
            let default = if default.is_empty() {
                default
            } else {
                format!("`{default}`")
            };
            writeln!(text, "| `--{name}` | {default} | {} |", cell(&meaning))?;
        }
        if !metrics.is_empty() {
            text.push_str("\n| metric | type | meaning |\n|---|---|---|\n");
        }
        for file in metrics {
            let found = self::metrics(&read(file)?);
            ensure!(!found.is_empty(), "{file} has no metrics");
            for Metric {
                name,
                kind,
                meaning,
            } in found
            {
                writeln!(text, "| `oarmaster_{name}` | {kind} | {} |", cell(&meaning))?;
            }
        }
    }
    text.push_str("\n## Events of the operator\n\n| reason | meaning |\n|---|---|\n");
    for word in vocabulary::variants(root, "controllers/src/kit/events.rs", "Reason")? {
        writeln!(text, "| `{}` | {} |", word.name, cell(&word.meaning))?;
    }
    Ok(text)
}

/// The fields of `struct Args`, as clap makes flags of them.
pub fn flags(text: &str) -> Vec<Flag> {
    let mut found = Vec::new();
    let (mut doc, mut attribute) = (Vec::new(), String::new());
    let lines = text
        .lines()
        .skip_while(|line| *line != "pub struct Args {")
        .skip(1)
        .take_while(|line| *line != "}");
    for line in lines {
        let line = line.trim();
        if let Some(part) = line.strip_prefix("///") {
            doc.push(part.trim());
        } else if let Some((name, _)) = line
            .strip_suffix(',')
            .and_then(|line| line.split_once(": "))
            && name
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '_')
        {
            let default = after(&attribute, "default_value = \"", '"')
                .or_else(|| after(&attribute, "default_value_t = ", ','))
                .or_else(|| after(&attribute, "default_value_t = ", ')'));
            found.push(Flag {
                name: name.replace('_', "-"),
                default: default.unwrap_or_default().to_owned(),
                meaning: doc.join(" "),
            });
            doc.clear();
            attribute.clear();
        } else {
            attribute.push_str(line);
        }
    }
    found
}

fn after<'a>(text: &'a str, start: &str, end: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(value, _)| value)
}

/// What is registered, with the name that the text format gives it.
pub fn metrics(text: &str) -> Vec<Metric> {
    let mut found = Vec::new();
    for call in text.split("registry.register(").skip(1) {
        let call = call.split_once(");").map_or(call, |(call, _)| call);
        let mut quoted = call.split('"').skip(1).step_by(2);
        let (Some(name), Some(meaning)) = (quoted.next(), quoted.next()) else {
            continue;
        };
        let field = call
            .rsplit_once(".clone()")
            .map_or("", |(before, _)| before);
        let mut names = field.rsplit([' ', '.', ',']);
        let field = names.find(|name| name.parse::<u8>().is_err()); // what is in a struct has a number
        let field = field.unwrap_or_default();
        let kind = if call.contains("Info::new") {
            "Info"
        } else {
            type_of(text, field)
        };
        let (suffix, kind) = if kind.contains("Info") {
            ("_info", "info")
        } else if kind.contains("Histogram") {
            ("", "histogram")
        } else if kind.contains("Counter") {
            ("_total", "counter")
        } else {
            ("", "gauge")
        };
        found.push(Metric {
            name: format!("{name}{suffix}"),
            kind,
            meaning: meaning.to_owned(),
        });
    }
    found
}

/// The type of a field as the source has it; of one in a struct around it, what is in that.
fn type_of<'a>(text: &'a str, field: &str) -> &'a str {
    let line = |head: String| {
        let mut lines = text.lines().map(str::trim);
        lines.find_map(|line| {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            line.strip_prefix(head.as_str())
        })
    };
    let found = line(format!("{field}: ")).unwrap_or_default();
    let around = found.trim_end_matches(',');
    line(format!("struct {around}(")).unwrap_or(found)
}
