//! The two files that are written: the table, a line per model, and the notices.

use std::fmt::Write as _;

use anyhow::Result;
use oarmaster_prices::{Capability, Mode, Schedule, Source, Vendor};
use serde::Serialize;

use super::merge::Merged;
use crate::sources::{Pin, Text};

/// A row as `oarmaster_prices::Row` reads it.
#[derive(Serialize)]
struct Line<'a> {
    vendor: Vendor,
    model: &'a str,
    mode: Mode,
    from: &'a [Source],
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<Capability>,
    standard: &'a Schedule,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a Schedule>,
}

/// The table's text.
pub fn table(rows: &[Merged], pins: [Pin; 2]) -> Result<String> {
    let mut text = String::from("{");
    for pin in pins {
        let Pin {
            table,
            package,
            version,
            date,
            ..
        } = pin;
        let origin = serde_json::json!({"date": date, "package": format!("{package} {version}")});
        write!(text, "{}:{origin},\n ", serde_json::to_string(table)?)?;
    }
    text.push_str("\"rows\":[\n");
    for (index, row) in rows.iter().enumerate() {
        let Merged {
            key: (vendor, model),
            entry,
            sources,
        } = row;
        let has = entry.capabilities.iter().filter(|(_, has)| **has);
        let line = Line {
            vendor: *vendor,
            model,
            mode: entry.mode,
            from: sources,
            context: entry.context,
            max_output: entry.max_output,
            capabilities: has.map(|(capability, _)| *capability).collect(),
            standard: &entry.standard,
            batch: entry.batch.as_ref(),
        };
        text.push_str(&serde_json::to_string(&line)?);
        text.push_str(if index + 1 < rows.len() { ",\n" } else { "\n" });
    }
    text.push_str("]}\n");
    Ok(text)
}

/// What the licences of the tables ask to be said.
pub fn notices(tables: [(Pin, &Text); 3]) -> Result<String> {
    let mut text = String::from(
        "# Third-party data\n\n\
         Written by `cargo xtask prices`. `prices/table.json` is made from the first two, and is part of the gateway. `gateway/tests/spec/openai.json` is made \
         from the last, which itself names MIT as its licence, and is part of no program. The licences are as the packages have them.\n",
    );
    for (pin, source) in tables {
        let Pin {
            table,
            package,
            version,
            date,
            home,
            ..
        } = pin;
        let name = match table {
            "litellm" => "LiteLLM",
            "openai" => "OpenAI's OpenAPI document",
            other => other,
        };
        write!(
            text,
            "\n## {name}\n\n{home}. From the PyPI package `{package}` {version}, as of {date}.\n\n```text\n{}\n```\n",
            source.licence.trim_end()
        )?;
    }
    Ok(text)
}
