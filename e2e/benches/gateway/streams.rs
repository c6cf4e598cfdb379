//! Many streams at once: the gaps between their chunks, and the gateway's memory.

use crate::World;
use crate::load::{Target, body, to_f64};
use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use http::StatusCode;
use http_body_util::BodyExt as _;
use oarmaster_e2e::bench::cpu::{cpu, memory};
use oarmaster_e2e::bench::report::{Goal, Report, percentile, short};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Streams at once.
const STREAMS: usize = 512;
/// Time between the starts of two of them: all have started after two seconds, and each lasts five.
const APART: Duration = Duration::from_millis(4);
/// Rounds; the median counts.
const ROUNDS: usize = 3;
/// A stream that says nothing for this long stalls.
const STALLED: Duration = Duration::from_secs(30);

/// Runs the phase.
pub async fn run(world: &World, report: &mut Report) -> Result<()> {
    let mut targets = vec![(world.direct().with_prefix("/steady"), world.mock.0.pid()?)];
    for (target, pid) in world.targets() {
        match target.name {
            "pass-through" => targets.push((target.with_prefix("/steady"), pid)),
            "gateway" => targets.push((target, pid)),
            _ => {} // 512 streams of 20 chunks a second are more than one worker of LiteLLM's can do
        }
    }
    let gateway = world.gateway.process.pid()?;
    let mut seen: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for round in 1..=ROUNDS {
        eprintln!("{STREAMS} streams at once, round {round} of {ROUNDS}");
        for (target, pid) in &targets {
            let before = cpu(*pid)?;
            let gaps = once(target).await?;
            let used = cpu(*pid)? - before;
            let chunks = usize::try_from(gaps.len())?;
            let ms = |percent: f64| {
                u32::try_from(gaps.value_at_percentile(percent)).map_or(f64::NAN, f64::from) / 1e3
            };
            let found = vec![ms(50.0), ms(99.0), ms(99.9), used * 1e6 / to_f64(chunks)];
            eprintln!(
                "  {}: gap p50, p99, p99.9 in ms, CPU us per chunk: {found:.2?}",
                target.name
            );
            seen.entry(target.name).or_default().push(found);
        }
    }
    let median = |name: &str, which: usize| {
        let rounds = seen.get(name).map(Vec::as_slice).unwrap_or_default();
        let values = rounds.iter().filter_map(|round| round.get(which).copied());
        percentile(&values.collect::<Vec<_>>(), 50)
    };
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|(target, _)| {
            let values = (0..4).map(|which| short(median(target.name, which)));
            std::iter::once(target.name.to_owned())
                .chain(values)
                .collect()
        })
        .collect();
    let head = [
        "512 streams, a chunk each 50 ms; gap in ms",
        "p50",
        "p99",
        "p99.9",
        "CPU us per chunk",
    ];
    report.table(&head, &rows);
    let (now, peak) = memory(gateway)?;
    report.say(&format!(
        "The gateway's memory after that: {} MiB resident, {} at most since its start.",
        short(now),
        short(peak)
    ));
    let added = median("gateway", 1) - median("direct", 1);
    report.figure("stream_added_gap_p99_ms", added, Goal::AtMost(1.0));
    report.figure("stream_memory_peak_mib", peak, Goal::Below(150.0));
    Ok(())
}

/// The gaps between chunks in microseconds.
async fn once(target: &Target) -> Result<Histogram<u64>> {
    let body = body("steady", 1, true);
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let (target, body) = (target.clone(), body.clone());
        streams.spawn(async move {
            let mut sender = target.connect().await?;
            let answer = target.send(&mut sender, number, &body).await?;
            let status = answer.status();
            ensure!(
                status == StatusCode::OK,
                "{} answered {status}",
                target.name
            );
            let mut body = answer.into_body();
            let (mut gaps, mut last) = (Vec::new(), None::<Instant>);
            let mut tail = Vec::new();
            while let Some(frame) = tokio::time::timeout(STALLED, body.frame())
                .await
                .with_context(|| format!("a stream of {} stalls", target.name))?
            {
                let frame = frame.with_context(|| format!("{} broke a stream", target.name))?;
                let now = Instant::now();
                let Some(data) = frame.data_ref() else {
                    continue;
                };
                if !data.windows(9).any(|window| window == b"and so on") {
                    tail.extend_from_slice(data); // the end, which comes with the last chunk
                    continue;
                }
                if let Some(last) = last.replace(now) {
                    gaps.push(u64::try_from((now - last).as_micros())?);
                }
            }
            ensure!(
                tail.windows(6).any(|window| window == b"[DONE]"),
                "a stream of {} has no end",
                target.name
            );
            Ok(gaps)
        });
        tokio::time::sleep(APART).await;
    }
    let mut all = Histogram::new(3)?;
    while let Some(done) = streams.join_next().await {
        let gaps: Result<Vec<u64>> = done?;
        for gap in gaps? {
            all.record(gap)?;
        }
    }
    Ok(all)
}
