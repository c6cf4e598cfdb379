//! What a run found: printed, and appended to docs/benchmarks.md.
#![allow(
    clippy::print_stdout,
    reason = "a developer's command talks to its terminal"
)]

use super::cpu::Share;
use super::machine;
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// A figure to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    name: &'static str,
    value: f64,
    goal: Goal,
}

/// The bound of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Less than this.
    Below(f64),
    /// This at most.
    AtMost(f64),
    /// This at least.
    AtLeast(f64),
}

impl Figure {
    fn line(&self) -> String {
        let Self { name, value, goal } = self;
        let (sign, bound, ok) = match *goal {
            Goal::Below(bound) => ("<", bound, *value < bound),
            Goal::AtMost(bound) => ("<=", bound, *value <= bound),
            Goal::AtLeast(bound) => (">=", bound, *value >= bound),
        };
        let verdict = if ok { "ok" } else { "short" };
        format!("figure {name} {} {sign}{bound} {verdict}", short(*value))
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Report {
    text: String,
    figures: Vec<Figure>,
}

impl Report {
    /// The head of a section: what is measured, where, and what else ran there. `shares` says what shares the machine.
    #[must_use]
    pub fn begin(name: &str, commit: &str, shares: &str, beside: Option<&str>) -> Self {
        let mut report = Self::default();
        let now = jiff::Timestamp::now().strftime("%F %R");
        report.say(&format!("## {name}, {now} UTC, commit {commit}"));
        report.say(&format!(
            "{}; {shares}. Load averages at the start: {}.",
            machine::describe(),
            machine::busy()
        ));
        if let Some(beside) = beside {
            report.say(&format!("Beside it ran: {beside}."));
        }
        report
    }

    /// A paragraph.
    pub fn say(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}\n"); // writing to a String cannot fail
    }

    /// A table.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
        self.text.push_str(&line(&head));
        self.text
            .push_str(&format!("|{}\n", "---|".repeat(head.len())));
        for row in rows {
            self.text.push_str(&line(row));
        }
        self.text.push('\n');
    }

    /// Where the CPU went, for each of `count` objects.
    pub fn shares(&mut self, what: &str, shares: &[(&str, &Share, usize)]) {
        let names: Vec<String> = shares
            .first()
            .map(|(_, share, _)| share.used.keys().cloned().collect())
            .unwrap_or_default();
        let mut head = vec![what];
        head.extend(names.iter().map(String::as_str));
        head.push("machine in use");
        let rows: Vec<Vec<String>> = shares
            .iter()
            .map(|(phase, share, count)| {
                let mut row = vec![(*phase).to_owned()];
                row.extend(names.iter().map(|name| short(share.each(name, *count))));
                row.push(format!("{:.0} %", share.load()));
                row
            })
            .collect();
        self.table(&head, &rows);
    }

    /// A figure to reach.
    pub fn figure(&mut self, name: &'static str, value: f64, goal: Goal) {
        self.figures.push(Figure { name, value, goal });
    }

    /// Prints everything, and appends it to a file.
    pub fn end(&self, path: &Path) -> Result<()> {
        let figures: Vec<String> = self.figures.iter().map(Figure::line).collect();
        let figures = figures.join("\n");
        let section = format!("\n{}```text\n{figures}\n```\n", self.text);
        std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(section.as_bytes()))
            .with_context(|| format!("failed to append to {}", path.display()))?;
        println!("{}{figures}", self.text);
        Ok(())
    }
}

/// A number with as many decimals as say something.
pub fn short(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The value below which `percent` of the values are: the nearest rank.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}
