use super::*;
use oarmaster_protocol::journal::CallUsage;

fn ledger(key: &str, pico: u64, estimated_pico: u64, overrun_pico: u64) -> CostLine {
    CostLine {
        key: key.to_owned(),
        calls: 1,
        usage: CallUsage {
            cost_pico: pico,
            ..CallUsage::default()
        },
        estimated_pico,
        overrun_pico,
    }
}

fn bill(text: &str) -> Vec<Charge> {
    bill::read(format!("date,model,usd\n{text}").as_bytes()).unwrap()
}

/// Day, model, ledger, bill and difference of each line.
fn shown(lines: &[CostLine], charges: &[Charge], providers: &[&str]) -> Vec<String> {
    let providers: Vec<String> = providers.iter().map(|name| (*name).to_owned()).collect();
    let lines = lines_of(&reconcile(lines, charges, &providers)).into_iter();
    lines.map(|line| cells(line).join(" ")).collect()
}

#[test]
fn both_are_put_side_by_side_to_the_last_digit() {
    let lines = [
        ledger(
            "2026-11-01 team/openai gpt-4o-2024-08-06",
            1_250_000_000_000,
            250_000_000_000,
            0,
        ),
        ledger("2026-11-01 other/openai gpt-4o-2024-08-06", 1, 0, 1),
        ledger(
            "2026-11-02 team/openai gpt-4o-2024-08-06",
            500_000_000_000,
            0,
            0,
        ),
    ];
    let charges = bill(
        "2026-11-01,gpt-4o-2024-08-06,1\n2026-11-01,gpt-4o-2024-08-06,0.250000000001\n\
         2026-11-02,gpt-4o-2024-08-06,0.75\n2026-11-02,dall-e-3,0.04\n2026-11-02,,-0.01\n",
    );
    assert_eq!(
        shown(&lines, &charges, &[]),
        [
            "2026-11-01 gpt-4o-2024-08-06 1.250000000001 1.250000000001 0 0.25 0.000000000001",
            "2026-11-02 (no model) 0 -0.01 -0.01 0 0",
            "2026-11-02 dall-e-3 0 0.04 0.04 0 0",
            "2026-11-02 gpt-4o-2024-08-06 0.5 0.75 0.25 0 0",
            "total  1.750000000001 2.030000000001 0.28 0.25 0.000000000001",
        ]
    );
    let only = shown(
        &lines,
        &bill("2026-11-01,gpt-4o-2024-08-06,0\n"),
        &["other/openai"],
    );
    assert_eq!(
        only[0],
        "2026-11-01 gpt-4o-2024-08-06 0.000000000001 0 -0.000000000001 0 0.000000000001"
    );
}

#[test]
fn a_model_is_found_by_its_id_else_where_only_one_is_like_it() {
    let known: BTreeSet<String> = [
        "claude-haiku-4-5-20251001",
        "gpt-4o",
        "gpt-4.1-2025-04-14",
        "gpt-4.1-mini-2025-04-14",
        "o3-2025-04-16",
        "o3",
    ]
    .map(str::to_owned)
    .into();
    for (named, expected) in [
        ("gpt-4o", Some("gpt-4o")),
        ("gpt-4o-2024-08-06", Some("gpt-4o")),
        ("gpt-4.1", Some("gpt-4.1-2025-04-14")),
        ("Claude Haiku 4.5", Some("claude-haiku-4-5-20251001")),
        ("o3", Some("o3")),
        ("o3-2025-06-10", None),
        ("Claude Haiku 4", None),
        ("gpt-4o-mini", None),
    ] {
        assert_eq!(find(&known, named), expected, "{named}");
    }
}

#[test]
fn csv_has_numbers_and_no_formula() {
    let rows = reconcile(&[], &bill("2026-11-01,=cmd(),-1\n"), &[]);
    assert_eq!(
        csv(&lines_of(&rows)),
        "day,model,ledgerUsd,billUsd,differenceUsd,estimatedUsd,overrunUsd\r\n\
         2026-11-01,'=cmd(),0,-1,-1,0,0\r\ntotal,,0,-1,-1,0,0\r\n"
    );
}

#[test]
fn a_bills_time_is_from_its_first_day_to_the_end_of_its_last() {
    let charges = bill("2026-11-02,m,1\n2026-11-01,m,1\n");
    assert_eq!(
        span(&charges).unwrap(),
        (1_793_491_200_000, 1_793_664_000_000)
    );
}
