//! What each stage gave and how long it took.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cmd;

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// Passed, but for a part that could not be done.
    Partly(String),
    /// Not done, and why.
    Skipped(String),
    Failed(String),
}

/// The stages so far.
pub struct Report {
    started: Instant,
    stages: Vec<(String, Duration, Outcome)>,
}

impl Report {
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            stages: Vec::new(),
        }
    }

    /// Runs a stage.
    pub fn stage(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) -> bool {
        println!("\n==> {name}");
        let begun = Instant::now();
        let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        match &outcome {
            Outcome::Passed => {}
            Outcome::Partly(why) => println!("    partly: {why}"),
            Outcome::Skipped(why) => println!("    SKIPPED: {why}"),
            Outcome::Failed(why) => eprintln!("    FAILED: {why}"),
        }
        let passed = matches!(outcome, Outcome::Passed | Outcome::Partly(_));
        self.stages
            .push((name.to_owned(), begun.elapsed(), outcome));
        passed
    }

    /// Runs a program as a stage; its output goes to ours.
    pub fn command(&mut self, name: &str, command: &mut Command) -> bool {
        self.stage(name, || cmd::pass(command).map(|()| Outcome::Passed))
    }

    /// Prints the table. `strict`: what was skipped is a failure.
    pub fn end(self, strict: bool) -> ExitCode {
        println!("\n{}", self.table());
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        for (name, _, outcome) in &self.stages {
            match outcome {
                Outcome::Skipped(why) => println!("SKIPPED {name}: {why}"),
                Outcome::Partly(why) => println!("PARTLY {name}: {why}"),
                Outcome::Passed | Outcome::Failed(_) => {}
            }
        }
        println!(
            "{} passed, {failed} failed, {skipped} skipped in {}",
            self.stages.len() - failed - skipped,
            seconds(self.started.elapsed())
        );
        if failed > 0 {
            return ExitCode::FAILURE;
        }
        if skipped > 0 && strict {
            println!("CI is set: a skipped tier is a failure");
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.stages
            .iter()
            .filter(|(_, _, outcome)| which(outcome))
            .count()
    }

    fn table(&self) -> String {
        self.stages
            .iter()
            .map(|(name, took, outcome)| {
                let word = match outcome {
                    Outcome::Passed => "passed",
                    Outcome::Partly(_) => "partly",
                    Outcome::Skipped(_) => "SKIPPED",
                    Outcome::Failed(_) => "FAILED",
                };
                format!("{name:44} {:>8}  {word}\n", seconds(*took))
            })
            .collect()
    }
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1}s", duration.as_secs_f64())
    } else {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        let mut report = Report::start();
        for outcome in outcomes {
            report.stage("stage", || Ok(outcome.clone()));
        }
        report
    }

    #[test]
    fn a_skipped_tier_fails_only_where_it_must_not_be() {
        let skipped = [Outcome::Passed, Outcome::Skipped("no root".to_owned())];
        assert_eq!(report(&skipped).end(false), ExitCode::SUCCESS);
        assert_eq!(report(&skipped).end(true), ExitCode::FAILURE);
        let partly = [Outcome::Partly("offline".to_owned())];
        assert_eq!(report(&partly).end(true), ExitCode::SUCCESS);
    }

    #[test]
    fn a_failed_stage_fails_the_run_and_does_not_stop_it() {
        let mut report = Report::start();
        assert!(!report.stage("first", || anyhow::bail!("no")));
        assert!(report.stage("second", || Ok(Outcome::Passed)));
        assert!(report.table().contains("FAILED") && report.table().contains("passed"));
        assert_eq!(report.end(false), ExitCode::FAILURE);
    }
}
