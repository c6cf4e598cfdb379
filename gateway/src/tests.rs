use crate::catalog::{Outbound, Snapshot};
use crate::config::{Args, Settings};
use crate::price::Price;
use crate::provider::Backend;
use crate::provider::aws::workload::Workload;
use crate::provider::chunk::Meter;
use crate::provider::wire::Wire;
use crate::request::Request;
use crate::surface::Surface;
use clap::Parser as _;
use oarmaster_crds::{ModelPool, ModelProvider};
use oarmaster_dialect::Usage;
use oarmaster_dialect::chat::{Flavour, read_usage};
use oarmaster_dialect::json::{Fields, raw};
use oarmaster_prices::{Table, Vendor};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn request(body: Value) -> Request {
    Request::parse(Surface::Chat, body.to_string().as_bytes()).unwrap()
}

/// The body for a server of the same dialect.
fn passed(request: &Request, model: &str) -> String {
    let wire = Wire::Chat(Flavour::Compatible);
    let sent = wire.say(request, model, 0, false).unwrap();
    assert!(sent.dropped.is_empty());
    String::from_utf8(sent.bodies[0].to_vec()).unwrap()
}

fn price(input: &str, output: &str, cached: Option<&str>) -> Price {
    let pricing = json!({"inputPerMillion": input, "outputPerMillion": output, "cacheReadPerMillion": cached});
    Price::new(&serde_json::from_value(pricing).unwrap()).unwrap()
}

#[test]
fn fields_keep_their_bytes() {
    let text = r#"{"a": 1.50 ,"b":[ 1,2 ],"c":"\u00e9","d":null}"#;
    let mut fields = Fields::parse(text.as_bytes()).unwrap();
    assert_eq!(
        fields.to_json(),
        r#"{"a":1.50,"b":[ 1,2 ],"c":"\u00e9","d":null}"#
    );
    assert!(fields.get("d").is_none() && fields.remove("d"));
    fields.set("a", oarmaster_dialect::json::raw("2".into()).unwrap());
    assert_eq!(fields.to_json(), r#"{"a":2,"b":[ 1,2 ],"c":"\u00e9"}"#);
    for (bad, word) in [
        (&br#"{"a":1,"\u0061":2}"#[..], "twice"),
        (br#"{"a":1} x"#, "trailing"),
        (b"{\"a\":\"\xe2\x82\"}", "UTF-8"),
        (br#"{"a":1"#, "EOF"),
    ] {
        let error = Fields::parse(bad).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    for kept in [
        r#"{"a":"\\ud83d \ud83d\ude00 \" [[["}"#,
        r#"{"a":"\ud83d","\udc00\ud83d":["\ud83d\u0061"]}"#,
    ] {
        assert_eq!(Fields::parse(kept.as_bytes()).unwrap().to_json(), kept);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for surface in Surface::ALL {
            let _ = Request::parse(surface, &body);
        }
    }

    #[test]
    fn a_bound_is_never_below_a_cost(
        input in 0u64..1_000_000_000, output in 0u64..1_000_000_000,
        cache in proptest::array::uniform3(0u64..1_000_000_000),
        prices in proptest::collection::vec("[0-9]{1,4}\\.[0-9]{1,9}", 3),
    ) {
        let [cache_read, cache_write, cache_write_hour] = cache;
        let usage = Usage { input, output, cache_read, cache_write, cache_write_hour, ..Usage::default() };
        let stated = price(&prices[0], &prices[1], Some(&prices[2]));
        let rows = Table::builtin().rows().iter().map(Price::of_row);
        // Every model of the table is too many for every case.
        for price in rows.skip(usize::try_from(input % 50).unwrap()).step_by(50).chain([stated]) {
            prop_assert!(price.cost(&usage) <= price.worst(usage.all_input(), output));
        }
    }
}

#[test]
fn an_hour_in_claudes_cache_costs_twice_its_input_whatever_is_stated() {
    let price = |model: &str| {
        let pricing = json!({"inputPerMillion": "3", "outputPerMillion": "15", "cacheWritePerMillion": "3.75"});
        let spec = json!({"type": "Anthropic", "models": [{"name": model, "pricing": pricing}]});
        let object = ModelProvider::new("p", serde_json::from_value(spec).unwrap());
        let id = ("team".to_owned(), "p".to_owned());
        let all = Snapshot::build([], [(&id, &object)], &Snapshot::default(), &outbound());
        all.providers[&id].models[model].price.clone().unwrap()
    };
    let usage = Usage {
        cache_write_hour: 1000,
        ..Usage::default()
    };
    assert_eq!(price("claude-sonnet-4-5").cost(&usage), 6_000_000_000);
    assert_eq!(price("claude-sonnet-4-5").worst(1000, 0), 6_000_000_000);
    assert_eq!(price("other").cost(&usage), 3_750_000_000);
}

#[test]
fn prices_are_exact_and_rounded_up() {
    let price = price("3", "15", Some("0.30"));
    assert_eq!(
        price.cost(&Usage {
            input: 600,
            output: 100,
            cache_read: 400,
            ..Usage::default()
        }),
        600 * 3_000_000 + 400 * 300_000 + 100 * 15_000_000
    );
    assert_eq!(self::price("0", "0", None).worst(u64::MAX, u64::MAX), 0);
    assert_eq!(
        self::price("0.000000001", "0", None).cost(&Usage {
            input: 1,
            ..Usage::default()
        }),
        1,
        "a part of a pico-USD is one"
    );
    assert_eq!(
        price.worst(u64::MAX, u64::MAX),
        u64::MAX,
        "what cannot be counted is refused by the ledger"
    );
}

#[test]
fn a_models_own_price_comes_from_the_table_with_its_caches_and_tiers() {
    let of = |vendor, model| Price::of_row(Table::builtin().find(vendor, model).unwrap());
    // Read off the table itself, so that a new one fails nothing: what is tested is the arithmetic.
    let row = Table::builtin()
        .rows()
        .iter()
        .find(|row| {
            let base = row.standard.prices;
            row.standard.tiers.len() == 1
                && base.cache_write_5m.is_some_and(|price| price > base.input)
        })
        .unwrap();
    let tier = row.standard.tiers[0];
    let bound = u64::from(tier.above_tokens);
    let usage = |input: u64| Usage {
        input,
        cache_write: 10,
        output: 3,
        ..Usage::default()
    };
    let sum = |prices: &oarmaster_prices::Prices, input: u64| {
        input * prices.input + 10 * prices.cache_write_5m.unwrap() + 3 * prices.output
    };
    let price = of(row.vendor, row.model);
    let base = row.standard.prices;
    assert_eq!(price.cost(&usage(bound - 10)), sum(&base, bound - 10));
    assert_eq!(
        price.cost(&usage(bound - 9)),
        sum(&tier.prices, bound - 9),
        "the tier holds for all tokens"
    );
}

#[test]
fn what_a_provider_says_that_it_charges_comes_before_its_tokens() {
    let price = price("1", "1", None);
    for (said, pico) in [
        ("0", 0),
        ("0.00014", 140_000_000),
        ("1.4E-4", 140_000_000),
        ("1e-13", 1),
        ("12", 12_000_000_000_000),
        ("0.0000000000001", 1),
    ] {
        let cost = |cost: &str| {
            price.cost(&Usage {
                input: 7,
                cost: Some(cost.to_owned()),
                ..Usage::default()
            })
        };
        assert_eq!(cost(said), pico, "{said}");
        for nonsense in ["-1", "", "NaN", "1e99999999999", "1e400", "9999999999"] {
            assert_eq!(cost(nonsense), 7_000_000, "{nonsense}");
        }
    }
}

#[test]
fn usage_that_cannot_be_is_none() {
    let read = |usage: Value| {
        let usage = read_usage(&raw(usage.to_string()).unwrap())?;
        Some((usage.all_input(), usage.output, usage.cache_read))
    };
    assert_eq!(
        read(json!({"prompt_tokens": 5, "completion_tokens": 2})),
        Some((5, 2, 0))
    );
    assert_eq!(
        read(json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17})),
        Some((5, 12, 0)),
        "reasoning in the total only"
    );
    assert_eq!(
        read(
            json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}})
        ),
        Some((5, 2, 5))
    );
    for bad in [
        json!({}),
        json!({"prompt_tokens": -1, "completion_tokens": 1}),
        json!({"prompt_tokens": 1e30, "completion_tokens": 1}),
        json!({"prompt_tokens": "five", "completion_tokens": 1}),
        json!(7),
    ] {
        assert_eq!(read(bad.clone()), None, "{bad}");
    }
}

#[test]
fn limits_are_the_larger_of_two_and_written_where_absent() {
    let base = json!({"model": "p", "messages": [{"role": "user", "content": "x"}]});
    let with = |name: &str, value: Value| {
        let mut body = base.clone();
        body[name] = value;
        body
    };
    let limit = |request: Request, assigned, context| {
        let limit = request.output_limit(assigned, context);
        (limit, request.lacks_limit())
    };
    assert_eq!(limit(request(base.clone()), Some(77), 1000), (77, true));
    assert_eq!(limit(request(base.clone()), None, 1000), (1000, true));
    assert_eq!(limit(request(base.clone()), None, 128_000), (4096, true));
    let mut both = with("max_tokens", json!(10));
    both["max_completion_tokens"] = json!(30);
    assert_eq!(limit(request(both), Some(77), 1000), (30, false));
    let parse = |body: Value| Request::parse(Surface::Chat, body.to_string().as_bytes());
    assert!(parse(with("max_tokens", json!(1.5))).is_err());
    assert!(parse(with("n", json!(1000))).is_err());
    let streamed = passed(&request(with("stream", json!(true))), "m");
    assert!(
        streamed.contains(r#""stream_options":{"include_usage":true}"#),
        "{streamed}"
    );
}

#[test]
fn the_input_bound_covers_every_byte() {
    let body = json!({"model": "p", "messages": [{"role": "user", "content": "é".repeat(1000)}], "tools": [{"type": "function"}]});
    assert!(request(body).input_bound() > 2000);
}

#[test]
fn chunks_are_metered() {
    let mut meter = Meter::default();
    let take = |meter: &mut Meter, data: Value, keep| {
        let passed = meter.take(data.to_string().into_bytes(), keep).unwrap();
        passed.map(|bytes| String::from_utf8(bytes).unwrap())
    };
    take(
        &mut meter,
        json!({"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}),
        false,
    );
    assert!(!meter.content && !meter.may_be_done());
    for delta in [
        json!({"content": "x"}),
        json!({"reasoning_content": "x"}),
        json!({"tool_calls": [{}]}),
        json!({"refusal": "x"}),
    ] {
        let mut meter = Meter::default();
        take(&mut meter, json!({"choices": [{"delta": delta}]}), false);
        assert!(meter.content && !meter.may_end());
    }
    let with_usage = json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}, "x": 1});
    assert_eq!(
        take(&mut meter, with_usage, false).unwrap(),
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x":1}"#
    );
    assert!(meter.finished && meter.usage.is_some());
    assert_eq!(
        take(
            &mut meter,
            json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}),
            false
        ),
        None
    );
    assert_eq!(meter.usage.unwrap().input, 9);
}

#[test]
fn half_a_surrogate_pair_is_passed_on_and_read_as_a_replacement() {
    let body = r#"{"model":"p","messages":[{"role":"user","content":"a\ud800b"}],"user":"\udfff","tools":[{"type":"func\ud800"}]}"#;
    let request = Request::parse(Surface::Chat, body.as_bytes()).unwrap();
    assert_eq!(passed(&request, "p"), body);
    let read: Value = serde_json::from_str(&request.readable()).unwrap();
    assert_eq!(read["messages"][0]["content"], "a\u{fffd}b");
    let refused = request.check_bounded().unwrap_err().message;
    assert!(refused.contains("func\u{fffd}"), "{refused}");
}

/// A provider that cuts its text between tokens sends pieces of characters; whoever joins the pieces has the text.
#[test]
fn chunks_keep_bytes_that_are_not_utf_8() {
    for (data, stripped) in [
        (
            &b"{\"choices\": [{\"delta\": {\"content\": \"\xe2\x82\"}}], \"usage\": null}"[..],
            &b"{\"choices\":[{\"delta\": {\"content\": \"\xe2\x82\"}}]}"[..],
        ),
        (
            br#"{"choices": [{"delta": {"content": "\ud83d"}}], "usage": null}"#,
            br#"{"choices":[{"delta": {"content": "\ud83d"}}]}"#,
        ),
    ] {
        let mut meter = Meter::default();
        assert_eq!(meter.take(data.to_vec(), true), Ok(Some(data.to_vec())));
        assert_eq!(
            meter.take(data.to_vec(), false),
            Ok(Some(stripped.to_vec()))
        );
        assert!(meter.content);
    }
}

fn snapshot(pools: &[(&str, &str)]) -> Snapshot {
    let pools: Vec<_> = pools
        .iter()
        .enumerate()
        .map(|(age, (namespace, name))| {
            let spec = json!({"aliases": ["gpt-4o", "house"], "members": [
                {"provider": {"name": "c"}, "model": "m", "priority": 5}, {"provider": {"name": "a"}, "model": "m"}, {"provider": {"name": "b"}, "model": "m"},
            ]});
            let mut pool = ModelPool::new(name, serde_json::from_value(spec).unwrap());
            // Written from the youngest to the oldest, but for the last.
            let second = if *name == "house" { 59 } else { 50 - age };
            let created = json!(format!("2025-01-01T00:00:{second}Z"));
            pool.metadata.creation_timestamp = serde_json::from_value(created).unwrap();
            (((*namespace).to_owned(), (*name).to_owned()), pool)
        })
        .collect();
    Snapshot::build(
        pools.iter().map(|(id, pool)| (id, pool)),
        [],
        &Snapshot::default(),
        &outbound(),
    )
}

/// What providers need to be reached, in tests that reach none.
pub fn outbound() -> Outbound {
    let tls = crate::tls::client_config().unwrap();
    Outbound {
        workload: Arc::new(Workload::new(Err("no identity".to_owned()), &tls)),
        tls: Arc::new(tls),
        guard: Arc::default(),
        namespace: "release".to_owned(),
    }
}

#[test]
fn names_mean_pools() {
    let settings = Settings {
        namespace: "sys".into(),
        default_pool: Some("house".into()),
        operator: String::new(),
        pilots: String::new(),
        private_endpoints: Default::default(),
        body_limit: 1,
        cache_bytes: 0,
        redis: None,
    };
    let all = snapshot(&[
        ("team", "fast"),
        ("sys", "fast"),
        ("sys", "big"),
        ("sys", "house"),
        ("own", "default"),
    ]);
    let means = |model: &str, caller: Option<&str>| {
        let (namespace, name) = all.resolve(model, caller, &settings);
        format!("{namespace}/{name}")
    };
    assert_eq!(means("fast", Some("team")), "team/fast");
    assert_eq!(means("fast", Some("other")), "sys/fast");
    assert_eq!(means("big", None), "sys/big");
    assert_eq!(means("sys/fast", Some("team")), "sys/fast");
    assert_eq!(means("default", Some("own")), "own/default");
    assert_eq!(means("default", Some("team")), "sys/house");
    assert_eq!(means("default", None), "sys/house");
    assert_eq!(means("absent", Some("team")), "team/absent");
    assert_eq!(means("a/b/c", None), "a/b/c", "no pool has such a name");
    // The older of two pools has the alias, and a pool's own name comes before it.
    assert_eq!(means("gpt-4o", Some("team")), "team/fast");
    assert_eq!(means("team/gpt-4o", None), "team/fast");
    assert_eq!(means("gpt-4o", Some("other")), "sys/big");
    assert_eq!(means("house", Some("own")), "own/default");
    assert_eq!(means("house", None), "sys/house");
    let pool = &all.pools[&("sys".into(), "big".into())];
    assert_eq!((pool.hops, pool.deadline.as_secs()), (4, 180));
    assert_eq!(pool.breaker, crate::routing::breaker::Limits::default());
}

#[test]
fn providers_that_cannot_be_used_say_why() {
    let build = |spec: Value| {
        let mut object = ModelProvider::new("p", serde_json::from_value(spec).unwrap());
        object.metadata.generation = Some(1);
        let id = ("team".to_owned(), "p".to_owned());
        let all = Snapshot::build([], [(&id, &object)], &Snapshot::default(), &outbound());
        match &all.providers[&id].backend {
            Backend::Broken(problem) => problem.clone(),
            _ => String::new(),
        }
    };
    let models = json!([{"name": "m"}]);
    assert!(build(json!({"type": "OpenAICompatible", "models": models})).contains("endpoint"));
    assert!(
        build(json!({"type": "OpenAICompatible", "endpoint": "no url", "models": models}))
            .contains("not a URL")
    );
    assert!(build(json!({"type": "OpenAICompatible", "endpoint": "https://x/v1", "models": models, "timeouts": {"idle": "soon"}})).contains("timeouts"));
    assert!(build(json!({"type": "Scripted", "models": models})).contains("script"));
    assert!(build(json!({"type": "AzureOpenAI", "models": models})).contains("endpoint"));
    assert!(build(json!({"type": "Bedrock", "models": models})).contains("spec.bedrock"));
    let region = json!({"region": "eu-central-1"});
    let key = json!([{"name": "k", "secretKeyRef": {"name": "s", "key": "k"}}]);
    let bedrock = |keys: &Value| json!({"type": "Bedrock", "bedrock": region, "keys": keys, "models": models});
    assert!(build(bedrock(&key)).contains("secretRef for Bedrock"));
    let both = json!([{"name": "k", "secretRef": {"name": "s"}, "secretKeyRef": {"name": "s", "key": "k"}}]);
    assert!(build(bedrock(&both)).contains("secretRef for Bedrock"));
    let key = json!([{"name": "k", "secretRef": {"name": "s"}}]);
    assert_eq!(build(bedrock(&key)), "");
    let own = json!({"region": "eu-central-1", "credentials": "Workload"});
    assert!(
        build(json!({"type": "Bedrock", "bedrock": own, "models": models}))
            .contains("which only a ModelProvider in namespace release may use")
    );
    assert_eq!(
        build(json!({"type": "OpenAICompatible", "endpoint": "https://x/v1/", "models": models})),
        ""
    );
}

/// Prices of a model as the gateway has them: a row of the table, or why there is none.
#[test]
fn bedrocks_prices_are_those_of_the_region_and_azures_those_of_the_model() {
    let price = |spec: Value| {
        let object = ModelProvider::new("p", serde_json::from_value(spec).unwrap());
        let id = ("team".to_owned(), "p".to_owned());
        let all = Snapshot::build([], [(&id, &object)], &Snapshot::default(), &outbound());
        all.providers[&id]
            .models
            .values()
            .next()
            .unwrap()
            .price
            .clone()
    };
    let bedrock = |region: &str, model: &str| {
        price(
            json!({"type": "Bedrock", "bedrock": {"region": region}, "models": [{"name": model}]}),
        )
    };
    let row = |vendor, model: &str| {
        let row = Table::builtin().find(vendor, model);
        Ok(Price::of_row(row.unwrap()))
    };
    let llama = "meta.llama3-70b-instruct-v1:0";
    let regional = row(Vendor::Bedrock, "eu-west-2/meta.llama3-70b-instruct-v1:0");
    assert_eq!(bedrock("eu-west-2", llama), regional);
    assert_ne!(bedrock("us-east-1", llama), regional);
    assert_eq!(bedrock("us-east-1", llama), row(Vendor::Bedrock, llama));
    let claude = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
    assert_eq!(
        bedrock("eu-central-1", claude),
        row(Vendor::Bedrock, claude)
    );
    assert!(
        bedrock("us-gov-west-1", claude).is_err(),
        "no price of another world"
    );
    let searching = price(json!({"type": "OpenAI", "models": [{"name": "gpt-4o-search-preview"}]}));
    assert!(searching.unwrap_err().contains("searches the web"));
    let azure = json!({"type": "AzureOpenAI", "endpoint": "https://x.openai.azure.com", "azure": {"deployments": {"gpt-4o": "d"}}, "models": [{"name": "gpt-4o"}]});
    assert_eq!(price(azure), row(Vendor::AzureOpenAi, "gpt-4o"));
}

#[test]
fn flags_are_resolved() {
    let config = |args: &[&str]| {
        let list = ["oarmaster-gateway", "--namespace", "sys"]
            .iter()
            .chain(args);
        Args::try_parse_from(list)
            .map_err(anyhow::Error::from)
            .and_then(Args::resolve)
    };
    let plain = config(&[]).unwrap();
    assert_eq!(
        plain.settings.operator,
        "system:serviceaccount:sys:oarmaster-operator"
    );
    assert_eq!(
        (plain.settings.body_limit, plain.data_addr.port()),
        (32 << 20, 8443)
    );
    assert!(config(&["--private-endpoints", "10.0.0.0/8,ollama.team.svc"]).is_ok());
    assert!(config(&["--private-endpoints", "http://x"]).is_err());

    assert_eq!(plain.keys.current(), None);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let key = "0f".repeat(32);
    std::fs::write(path, format!("{key}\n")).unwrap();
    let sealed = config(&["--seal-keys", path]).unwrap();
    assert!(sealed.keys.current().is_some());
    assert!(!format!("{sealed:?}").contains(&key));
    for wrong in ["", "0f0f"] {
        std::fs::write(path, wrong).unwrap();
        let refused = config(&["--seal-keys", path]).unwrap_err();
        assert!(
            format!("{refused:#}").contains("--seal-keys"),
            "{refused:#}"
        );
    }
    assert!(config(&["--seal-keys", "/nowhere/keys"]).is_err());
}
