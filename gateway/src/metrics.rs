//! Metrics. Labels are names of pools, providers and models, which administrators bound; never a caller, a Task or a key.

use oarmaster_prices::Table;
use oarmaster_store::Usage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// Labels of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Hop {
    /// `<namespace>/<pool>`.
    pub pool: String,
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// Model id at the provider, as the ModelProvider lists it.
    pub model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    #[prometheus(flatten)]
    hop: Hop,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Chosen {
    #[prometheus(flatten)]
    hop: Hop,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    #[prometheus(flatten)]
    hop: Hop,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cost {
    namespace: String,
    #[prometheus(flatten)]
    hop: Hop,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLimit {
    pool: String,
    whose: &'static str,
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cached {
    pool: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
    outcome: &'static str,
}

/// What was asked of Redis.
#[derive(Clone, Default)]
pub struct RedisOperations(Family<Operation, Counter>);

impl RedisOperations {
    /// An operation ended: `outcome` is `ok`, `failed`, or `skipped` while Redis is left alone.
    pub fn count(&self, operation: &'static str, outcome: &'static str) {
        let labels = Operation { operation, outcome };
        self.0.get_or_create(&labels).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    pool: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    provider: String,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVolume {
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Egressed {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWeb {
    tool: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Carried {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBudget {
    budget: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Warned {
    budget: String,
    percent: i64,
}

/// The gateway's metrics.
pub struct Metrics {
    registry: Registry,
    /// What was asked of Redis.
    pub redis: RedisOperations,
    requests: Family<Ended, Counter>,
    duration: Family<Hop, Histogram>,
    first_token: Family<Hop, Histogram>,
    choices: Family<Chosen, Counter>,
    failovers: Family<Moved, Counter>,
    breakers: Family<OfModel, Gauge>,
    held: Family<OfLimit, Counter>,
    cached: Family<Cached, Counter>,
    tokens: Family<Kind, Counter>,
    cost: Family<Cost, Counter<f64, AtomicU64>>,
    overrun: Family<Hop, Counter<f64, AtomicU64>>,
    budget_remaining: Family<OfBudget, Gauge<f64, AtomicU64>>,
    budget_refusals: Family<OfBudget, Counter>,
    budget_warnings: Family<Warned, Counter>,
    spans_dropped: Counter,
    volume: Family<OfVolume, Gauge>,
    volume_limit: Family<OfVolume, Gauge>,
    egress_connections: Family<Egressed, Counter>,
    egress_bytes: Family<Carried, Counter>,
    web_calls: Family<OfWeb, Counter>,
    pilot_queue: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.01, 2.0, 16)); // 10 ms to 5 min
        let mut registry = Registry::with_prefix("oarmaster");
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(seconds),
            first_token: Family::new_with_constructor(seconds),
            choices: Family::default(),
            failovers: Family::default(),
            breakers: Family::default(),
            held: Family::default(),
            cached: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            overrun: Family::default(),
            budget_remaining: Family::default(),
            budget_refusals: Family::default(),
            budget_warnings: Family::default(),
            spans_dropped: Counter::default(),
            volume: Family::default(),
            volume_limit: Family::default(),
            egress_connections: Family::default(),
            egress_bytes: Family::default(),
            web_calls: Family::default(),
            pilot_queue: Gauge::default(),
            redis: RedisOperations::default(),
            registry: Registry::default(),
        };
        registry.register(
            "build",
            "Version of the gateway",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let table: Gauge = Gauge::default();
        table.set(midnight(Table::builtin().as_of()).unwrap_or_default());
        registry.register(
            "price_table_timestamp_seconds",
            "Day of the built-in price table, as seconds since 1970: `time()` less this is its age",
            table,
        );
        registry.register(
            "model_requests",
            "Requests to providers, by how they ended",
            metrics.requests.clone(),
        );
        registry.register(
            "model_request_duration_seconds",
            "Time from sending a request to the end of its answer",
            metrics.duration.clone(),
        );
        registry.register(
            "model_first_token_seconds",
            "Time from sending a request to the first content of its stream",
            metrics.first_token.clone(),
        );
        registry.register(
            "model_choices",
            "Members that were chosen to be asked, by why",
            metrics.choices.clone(),
        );
        registry.register(
            "failovers",
            "Hops that were made since the one before failed, by the class of that failure",
            metrics.failovers.clone(),
        );
        registry.register(
            "breaker_state",
            "Where a model of a provider stands, with the best of its keys: 0 closed, 1 half-open, 2 open",
            metrics.breakers.clone(),
        );
        registry.register(
            "limit_refusals",
            "Calls that a pool's limits or callerLimits kept out, by which of them it was",
            metrics.held.clone(),
        );
        registry.register(
            "cache_requests",
            "Requests whose answers their pool keeps: those that a kept answer was given (hit), and others (miss)",
            metrics.cached.clone(),
        );
        registry.register(
            "redis_operations",
            "What was asked of Redis, by how it ended: ok, failed (an error, or no answer in 50 ms), or skipped, while Redis is left alone",
            metrics.redis.0.clone(),
        );
        registry.register("tokens", "Tokens that were booked", metrics.tokens.clone());
        registry.register(
            "cost_usd",
            "Money that was booked, in USD",
            metrics.cost.clone(),
        );
        registry.register(
            "overrun_usd",
            "Money that providers billed beyond reservations, in USD",
            metrics.overrun.clone(),
        );
        registry.register(
            "budget_remaining_ratio",
            "What is left of a Budget's fullest counter in this window, settled and reserved taken off: 1 is all, 0 is nothing",
            metrics.budget_remaining.clone(),
        );
        registry.register(
            "budget_refusals",
            "Hops that a Budget had no room for",
            metrics.budget_refusals.clone(),
        );
        registry.register(
            "budget_warnings",
            "Times that a counter of a Budget reached a percentage of its warnAt",
            metrics.budget_warnings.clone(),
        );
        registry.register(
            "spans_dropped",
            "Spans of traces that the collector did not take, or that were too many to wait for it",
            metrics.spans_dropped.clone(),
        );
        registry.register(
            "volume_bytes",
            "Bytes on the gateway's volume: of the log, of the journals of Tasks in it, and of artifacts",
            metrics.volume.clone(),
        );
        registry.register(
            "volume_limit_bytes",
            "Most of them: at that of `tasks` Tasks fail, at that of `log` nothing new is spent at all, at that of `artifacts` none is taken",
            metrics.volume_limit.clone(),
        );
        registry.register(
            "egress_connections",
            "Connections of programs in sandboxes, to domains or with a model call, by how they ended: done, refused, unreachable, or cut off as idle, too_long, too_much, fenced or stopped",
            metrics.egress_connections.clone(),
        );
        registry.register(
            "egress_bytes",
            "Bytes of these connections, by direction: sent or received by the program",
            metrics.egress_bytes.clone(),
        );
        registry.register(
            "web_calls",
            "Calls of WebSearch and FetchPage, by how they ended: ok, or invalid (arguments), refused (an address that may not be fetched), unconfigured (no search endpoint, or none that can be used), unreachable, unreadable, too_slow, failed (the gateway itself)",
            metrics.web_calls.clone(),
        );
        registry.register(
            "pilot_queue",
            "Attempts without a pod of their own that no shared pilot has: where it stays above 0, there are too few of them",
            metrics.pilot_queue.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }
}

/// The beginning of a day like `2026-11-20` in UTC, in seconds since 1970.
fn midnight(day: &str) -> Option<i64> {
    let day: jiff::civil::Date = day.parse().ok()?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_second())
}

#[cfg(test)]
#[test]
fn the_price_table_is_of_a_day() {
    assert_eq!(midnight("2026-11-20"), Some(1_795_132_800));
    assert!(midnight(Table::builtin().as_of()).is_some());
}

impl Metrics {
    /// Counts spans that came to no collector.
    #[must_use]
    pub fn spans_dropped(&self) -> Counter {
        self.spans_dropped.clone()
    }

    /// So many attempts wait for a shared pilot.
    pub fn pilot_queue(&self, waiting: usize) {
        self.pilot_queue
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// A sandbox's connection to a domain ended, or there was none.
    pub fn egress_ended(&self, outcome: &'static str, sent: u64, received: u64) {
        let ended = Egressed { outcome };
        self.egress_connections.get_or_create(&ended).inc();
        for (direction, bytes) in [("sent", sent), ("received", received)] {
            let carried = Carried { direction };
            self.egress_bytes.get_or_create(&carried).inc_by(bytes);
        }
    }

    /// A call of a tool of the web ended.
    pub fn web_ended(&self, tool: &'static str, outcome: &'static str) {
        let ended = OfWeb { tool, outcome };
        self.web_calls.get_or_create(&ended).inc();
    }

    /// A member was chosen to be asked.
    pub fn chosen(&self, hop: &Hop, reason: &'static str) {
        self.choices
            .get_or_create(&Chosen {
                hop: hop.clone(),
                reason,
            })
            .inc();
    }

    /// A request met its pool's cache: `outcome` is `hit` or `miss`.
    pub fn cached(&self, pool: &str, outcome: &'static str) {
        let pool = pool.to_owned();
        self.cached.get_or_create(&Cached { pool, outcome }).inc();
    }

    /// A pool's limit kept a call out: `whose` is the field that has it, `limit` its name there.
    pub fn held(&self, pool: &str, whose: &'static str, limit: &'static str) {
        let pool = pool.to_owned();
        self.held
            .get_or_create(&OfLimit { pool, whose, limit })
            .inc();
    }

    /// A hop ended: `outcome` is `ok` or a failure class.
    pub fn hop_ended(&self, hop: &Hop, outcome: &'static str, took: std::time::Duration) {
        self.requests
            .get_or_create(&Ended {
                hop: hop.clone(),
                outcome,
            })
            .inc();
        self.duration.get_or_create(hop).observe(took.as_secs_f64());
    }

    /// The first content of a stream arrived.
    pub fn first_token(&self, hop: &Hop, took: std::time::Duration) {
        self.first_token
            .get_or_create(hop)
            .observe(took.as_secs_f64());
    }

    /// A hop was booked; `namespace` is the caller's.
    pub fn booked(
        &self,
        hop: &Hop,
        namespace: &str,
        usage: &oarmaster_protocol::journal::CallUsage,
    ) {
        let counts = [
            (
                "input",
                usage.input_tokens.saturating_sub(usage.cached_tokens),
            ),
            ("cached", usage.cached_tokens),
            ("output", usage.output_tokens),
        ];
        for (kind, count) in counts {
            if count > 0 {
                self.tokens
                    .get_or_create(&Kind {
                        hop: hop.clone(),
                        kind,
                    })
                    .inc_by(count);
            }
        }
        let cost = Cost {
            namespace: namespace.to_owned(),
            hop: hop.clone(),
        };
        #[allow(clippy::cast_precision_loss)] // a metric; the ledger has the integers
        self.cost
            .get_or_create(&cost)
            .inc_by(usage.cost_pico as f64 / 1e12);
    }

    /// A provider has billed this much beyond a reservation, in pico-USD.
    pub fn overrun(&self, hop: &Hop, pico: u64) {
        if pico > 0 {
            #[allow(clippy::cast_precision_loss)] // a metric; the ledger has the integers
            self.overrun.get_or_create(hop).inc_by(pico as f64 / 1e12);
        }
    }

    /// A hop follows one that failed.
    pub fn failed_over(&self, pool: &str, class: &'static str) {
        let pool = pool.to_owned();
        self.failovers.get_or_create(&Moved { pool, class }).inc();
    }

    /// Where each model of each provider stands, and no other.
    pub fn breakers(&self, states: impl IntoIterator<Item = (String, String, i64)>) {
        self.breakers.clear();
        for (provider, model, state) in states {
            self.breakers
                .get_or_create(&OfModel { provider, model })
                .set(state);
        }
    }

    /// A Budget had no room for a hop.
    pub fn budget_refused(&self, budget: &str) {
        let budget = budget.to_owned();
        self.budget_refusals
            .get_or_create(&OfBudget { budget })
            .inc();
    }

    /// A counter of a Budget has reached a percentage.
    pub fn budget_warned(&self, budget: &str, percent: i64) {
        let budget = budget.to_owned();
        self.budget_warnings
            .get_or_create(&Warned { budget, percent })
            .inc();
    }

    /// What is left of each Budget, and of no other.
    pub fn budgets_remaining(&self, ratios: impl IntoIterator<Item = (String, f64)>) {
        self.budget_remaining.clear();
        for (budget, ratio) in ratios {
            self.budget_remaining
                .get_or_create(&OfBudget { budget })
                .set(ratio);
        }
    }

    /// What is used of the volume.
    pub fn volume(&self, usage: Usage) {
        for (part, used, limit) in [
            ("tasks", usage.tasks, usage.limits.tasks),
            ("log", usage.log, usage.limits.log),
            ("artifacts", usage.blobs, usage.limits.blobs),
        ] {
            let part = OfVolume { part };
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            self.volume.get_or_create(&part).set(bytes(used));
            self.volume_limit.get_or_create(&part).set(bytes(limit));
        }
    }

    /// The metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
