//! What the gateway has booked, and what the provider has billed.

use crate::World;
use crate::load::ask;
use crate::mock::Bill;
use crate::objects::{BUDGETS, OPERATOR};
use anyhow::{Context as _, Result, bail, ensure};
use http::{Request, header};
use http_body_util::Full;
use oarmaster_protocol::admin::BudgetReport;
use std::time::{Duration, Instant};

/// The Budget over everything.
const ALL: &str = "all";
/// Calls whose caller has left end within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both sides at one moment, in pico-USD.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// What the gateway has booked.
    pub booked: u64,
    /// What the mock has billed.
    pub billed: u64,
}

impl Sums {
    /// Waits until no call is on its way, and looks.
    pub async fn look(world: &World) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (booked, reserved) = booked(world).await?;
            if reserved == 0 {
                let billed = bill(world).await?.pico;
                return Ok(Self { booked, billed });
            }
            if Instant::now() > deadline {
                bail!("{reserved} pico-USD are still reserved though nobody asks any more");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What was booked and billed since an earlier look.
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            booked: self.booked - before.booked,
            billed: self.billed - before.billed,
        }
    }
}

/// The mock's bill so far.
pub async fn bill(world: &World) -> Result<Bill> {
    let url = format!("http://127.0.0.1:{}/", world.mock.2);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let text = http
        .get(url)
        .send()
        .await
        .context("the mock does not say what it has billed")?
        .bytes()
        .await?;
    serde_json::from_slice(&text).context("failed to read the mock's bill")
}

/// What the gateway has settled and reserved over all callers. Every Budget must be in force: without them it has less to do.
pub async fn booked(world: &World) -> Result<(u64, u64)> {
    let server = world.server(world.gateway.admin);
    let mut sender = server.connect().await?;
    let request = Request::get("/admin/v1/budgets")
        .header(header::HOST, server.host())
        .header(header::AUTHORIZATION, format!("Bearer {OPERATOR}"))
        .body(Full::default())?;
    let (status, _, text) = ask(&mut sender, request).await?;
    let reports: Vec<BudgetReport> = serde_json::from_slice(&text).with_context(|| {
        format!(
            "the gateway answered {status} to a question about Budgets: {}",
            String::from_utf8_lossy(&text)
        )
    })?;
    ensure!(
        reports.len() == BUDGETS && reports.iter().all(|report| report.problem.is_none()),
        "not all {BUDGETS} Budgets are in force: {reports:?}"
    );
    let all = reports.iter().find(|report| report.name == ALL);
    let all = all.with_context(|| format!("the gateway does not know the Budget {ALL}"))?;
    let counter = all.counters.first();
    Ok(counter.map_or((0, 0), |counter| {
        (counter.spent_pico, counter.reserved_pico)
    }))
}
