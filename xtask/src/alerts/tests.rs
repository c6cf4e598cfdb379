use super::{RULES, TESTS};
use crate::cache::{checkout, files};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const DASHBOARDS: &str = "charts/oarmaster/monitoring/dashboards";
const METRICS: &str = "docs/reference/processes.md";
const RUNBOOK: &str = "docs/operations/alerts.md";

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap()
}

/// Our metrics that an expression names.
fn metrics(expression: &str) -> BTreeSet<String> {
    let of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(|letter| !of_a_name(letter));
    let ours = words.filter(|word| word.starts_with("oarmaster_"));
    ours.map(str::to_owned).collect()
}

/// Name and type of each metric in the reference.
fn known() -> Vec<(String, String)> {
    let page = read(METRICS);
    let rows = page.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `oarmaster_")?.split_once("` | ")?;
        let (kind, _) = rest.split_once(" | ")?;
        Some((format!("oarmaster_{name}"), kind.to_owned()))
    });
    rows.collect()
}

/// Whether a metric of the reference has series of this name.
fn is_known(known: &[(String, String)], name: &str) -> bool {
    known.iter().any(|(metric, kind)| match kind.as_str() {
        "histogram" => ["_bucket", "_count", "_sum"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(metric)),
        _ => name == metric,
    })
}

/// The alerts: name, expression and page.
fn alerts() -> Vec<(String, String, String)> {
    let rules: Value = serde_saphyr::from_str(&read(RULES)).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let all = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parts = |rule: &Value| {
        let page = &rule["annotations"]["runbook_url"];
        (text(&rule["alert"]), text(&rule["expr"]), text(page))
    };
    all.map(parts).collect()
}

#[test]
fn each_metric_of_a_rule_or_dashboard_is_in_the_reference() {
    let known = known();
    let mut named: Vec<(String, String)> = Vec::new();
    for (alert, expression, _) in alerts() {
        named.push((alert, expression));
    }
    let dashboards = files(&checkout().join(DASHBOARDS)).unwrap();
    assert!(dashboards.len() > 1, "{dashboards:?}");
    for path in dashboards {
        let text = fs::read_to_string(&path).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap().to_owned();
            for target in panel["targets"].as_array().unwrap() {
                named.push((title.clone(), target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    for (place, expression) in named {
        let metrics = metrics(&expression);
        assert!(
            !metrics.is_empty(),
            "{place} is about nothing of ours: {expression}"
        );
        for name in metrics {
            assert!(
                is_known(&known, &name),
                "{place}: there is no metric {name}"
            );
        }
    }
}

#[test]
fn names_of_series_are_told_apart() {
    let known = known();
    for (name, there) in [
        ("oarmaster_leader", true),
        ("oarmaster_leader_total", false),
        ("oarmaster_task_duration_seconds", false),
        ("oarmaster_task_duration_seconds_bucket", true),
        ("oarmaster_tasks_total", true),
        ("oarmaster_tasks", false),
    ] {
        assert_eq!(is_known(&known, name), there, "{name}");
    }
    let found = metrics("sum by (pool) (oarmaster_a{b=\"c\"}) / oarmaster_d_total > other");
    assert_eq!(Vec::from_iter(found), ["oarmaster_a", "oarmaster_d_total"]);
}

#[test]
fn each_alert_has_its_runbook_and_its_tests() {
    let (runbook, tests) = (read(RUNBOOK), read(TESTS));
    let tests: Value = serde_saphyr::from_str(&tests).unwrap();
    let alerts = alerts();
    assert!(alerts.len() > 5, "{alerts:?}");
    let groups = tests["tests"].as_array().unwrap();
    let checks = groups
        .iter()
        .flat_map(|group| group["alert_rule_test"].as_array().unwrap());
    let checks = Vec::from_iter(checks);
    for (alert, _, page) in &alerts {
        let heading = format!("\n## {alert}\n");
        assert!(
            runbook.contains(&heading),
            "{RUNBOOK} says nothing of {alert}"
        );
        let anchor = format!("{RUNBOOK}#{}", alert.to_lowercase());
        assert!(page.ends_with(&anchor), "{alert}: {page}");
        for fires in [true, false] {
            let there = checks.iter().any(|check| {
                let expected = check["exp_alerts"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
                check["alertname"] == **alert && expected == fires
            });
            assert!(
                there,
                "{TESTS}: no test of {alert} in which it fires: {fires}"
            );
        }
    }
    let headings = runbook
        .lines()
        .filter(|line| line.starts_with("## Oarmaster"));
    assert_eq!(headings.count(), alerts.len());
}
