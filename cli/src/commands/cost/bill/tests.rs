use super::*;

fn charges(bill: &str) -> Vec<(String, String, i128)> {
    let charges = read(bill.as_bytes()).unwrap();
    let plain = |charge: Charge| (charge.day.to_string(), charge.model, charge.yocto);
    charges.into_iter().map(plain).collect()
}

const USD: i128 = 10_i128.pow(24);

#[test]
fn what_vendors_export_is_read() {
    let openai = "\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id\n\
1790467200,1790553600,2026-09-27T00:00:00+00:00,2026-09-28T00:00:00+00:00,,,,\n\
1790553600,1790640000,2026-09-28T00:00:00,2026-09-29T00:00:00,0.003835980000000000000000000000,usd,,\n\
1790553600,1790640000,2026-09-28T00:00:00,2026-09-29T00:00:00,0.5,usd,\"gpt-5-nano, input_tokens\",p\n";
    assert_eq!(
        charges(openai),
        [
            (
                "2026-09-28".into(),
                String::new(),
                3_835_980 * 10_i128.pow(15)
            ),
            ("2026-09-28".into(), "gpt-5-nano".into(), USD / 2),
        ]
    );
    let anthropic = "\
\u{feff}usage_date_utc,model,workspace,api_key,usage_type,token_type,cost_usd,list_price_usd\r\n\
2026-08-04,Claude Haiku 4.5,Default,key,message,input_no_cache,0.05,0.05\r\n";
    let expected = (
        "2026-08-04".to_owned(),
        "Claude Haiku 4.5".to_owned(),
        USD / 20,
    );
    assert_eq!(charges(anthropic), [expected]);
    let plain = "Date, Model, Cost\n2026-11-01T23:30:00-02:00, m, 1\n1790553600, m, 2\n";
    let days: Vec<String> = charges(plain).into_iter().map(|(day, ..)| day).collect();
    assert_eq!(days, ["2026-11-02", "2026-09-28"]);
}

#[test]
fn amounts_are_exact() {
    for (text, expected) in [
        ("0", 0),
        ("-0.000", 0),
        ("12.5", 25 * USD / 2),
        ("-3", -3 * USD),
        ("+.5", USD / 2),
        ("7.", 7 * USD),
        ("1.2e-05", 12 * USD / 1_000_000),
        ("2E3", 2000 * USD),
        ("0.1000000000000000055511151231", 0),
        ("0.000000000000000000000001", 1),
        ("100000000000", 100_000_000_000 * USD),
    ] {
        let found = parse_amount(text);
        if text.len() == 30 {
            assert_eq!(found, Err(LineError::Exact(text.into())));
        } else {
            assert_eq!(found, Ok(expected), "{text}");
        }
    }
    for bad in [
        "",
        "-",
        ".",
        "1,000",
        "$1",
        "1.2.3",
        "NaN",
        "inf",
        "1e",
        "0x1",
        "--1",
        "1e99999999999",
    ] {
        assert_eq!(
            parse_amount(bad),
            Err(LineError::Amount(bad.into())),
            "{bad}"
        );
    }
    for much in [
        "1e20",
        "1e-25",
        "999999999999999999999999999999999999999999",
    ] {
        assert!(
            matches!(parse_amount(much), Err(LineError::Exact(_))),
            "{much}"
        );
    }
}

#[test]
fn a_bad_bill_says_where_and_what() {
    for (bill, expected) in [
        (
            "date,model\n",
            "its header has no column for the amount: one of cost_usd, amount_usd, usd, amount_value, amount, cost is needed, there are date, model",
        ),
        ("", "its header has no column for the day"),
        ("date,model,usd\n", "it has no line with an amount"),
        (
            "date,model,usd\n2026-11-01,m,1\n2026-11-31,m,1\n",
            "line 3: '2026-11-31' is no day; write it like 2026-11-01, or as seconds since 1970",
        ),
        (
            "date,model,usd\n2026-11-01,\"a\nb\",1\n2026-11-01,m,1.-\n",
            "line 4: '1.-' is no amount; write it like 0.25",
        ),
        (
            "date,model,amount,currency\n2026-11-01,m,1,eur\n",
            "line 2: the amount is in 'eur'; the ledger is in USD",
        ),
        ("date,model,usd\n2026-11-01,m\n", "it is no CSV"),
    ] {
        let error = read(bill.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
