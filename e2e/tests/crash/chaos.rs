//! Faults of the API server and of the gateway before the operator, and its death at one of its writes, all from a seed: each run ends as the undisturbed one does. `cargo xtask chaos` says
//! how many seeds, from which, and for how long.

use crate::support::{full, in_space, kill, on_a_rig, struck};
use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use oarmaster_crds::Task;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_e2e::crash::Rig;
use oarmaster_e2e::crash::books::Ending;
use oarmaster_e2e::crash::scene::{Scene, writes};
use oarmaster_e2e::mock::{Call, Gate, Reply};
use oarmaster_e2e::proxy::chaos::Chaos;
use oarmaster_e2e::proxy::{Point, Rule, Side};
use oarmaster_e2e::space::say;
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::wait;
use serde_json::{Value, json};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes of a name that one fault may lead to beside those of the undisturbed run.
const AGAIN: usize = 2;

/// What happens to the Task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// Its model answers.
    Complete,
    /// Its model does not, for one attempt.
    Retry,
    /// Its budget does not cover a call.
    Budget,
    /// It is cancelled while its model thinks.
    Cancel,
    /// It is deleted while its model thinks.
    Delete,
}

impl Work {
    const ALL: [Self; 5] = [
        Self::Complete,
        Self::Cancel,
        Self::Retry,
        Self::Delete,
        Self::Budget,
    ];

    fn of(seed: u64) -> Self {
        let which = usize::try_from(seed).unwrap_or_default() % Self::ALL.len();
        Self::ALL[which]
    }

    fn spec(self) -> Value {
        match self {
            Self::Budget => json!({"budget": {"usd": "0.000001"}}),
            Self::Retry => json!({"retry": {
                "limit": 3, "on": ["ModelOutputInvalid"], "backoff": {"base": "1s", "max": "1s"},
            }}),
            _ => json!({}),
        }
    }

    /// Whether the call is held until something has happened.
    fn waits(self) -> bool {
        matches!(self, Self::Cancel | Self::Delete)
    }

    fn phase(self) -> Value {
        match self {
            Self::Complete | Self::Retry => json!("Succeeded"),
            Self::Budget => json!("Failed"),
            Self::Cancel => json!("Cancelled"),
            Self::Delete => Value::Null,
        }
    }
}

/// How a run went.
struct Went {
    ending: Ending,
    /// How many writes there were of each name.
    writes: BTreeMap<String, usize>,
}

/// What is done to a run.
struct Plan {
    chaos: Arc<Chaos>,
    killed: Option<Point>,
}

impl Plan {
    /// That of a seed. Every second one kills the operator at one of these writes.
    fn of(seed: u64, whole: &Went) -> Self {
        let nth = usize::try_from(seed / 2).unwrap_or_default();
        let points: Vec<&String> = whole
            .writes
            .keys()
            .filter(|name| !name.starts_with("send event"))
            .collect();
        let killed = (seed % 2 == 1).then(|| Point {
            request: format!("{} #1", points[nth % points.len()]),
            side: match nth / points.len() % 2 {
                0 => Side::Before,
                _ => Side::After,
            },
        });
        Self {
            chaos: Arc::new(Chaos::new(seed)),
            killed,
        }
    }
}

async fn play(rig: &Rig, work: Work, plan: Option<&Plan>) -> Result<Went> {
    let killed = plan.and_then(|plan| plan.killed.clone());
    let starts = rig.operator.starts();
    let went = in_space(rig, "chaos", async |space| {
        let gate = Gate::default();
        let held = gate.clone();
        let answer = move |call: &Call| match work {
            // An answer without a word is asked for again, and fails the attempt at last.
            Work::Retry if call.number < 3 => Reply::text(""),
            _ => Reply::text("done").usage(100, 10).after(&held),
        };
        let scene = Scene::set(rig, space, answer).await?;
        let armed = killed.clone().map(|point| (point, kill(&rig.operator)));
        let chaos = plan.map(|plan| Arc::clone(&plan.chaos));
        let rule = Rule::disturbed(writes(&space.name, "work"), armed, chaos);
        rig.asked.set(&rule);
        if !work.waits() {
            gate.open();
        }
        let uid = scene.task("work", "plain", &work.spec()).await?;
        if work.waits() {
            happen(&scene, &uid, work).await?;
            gate.open();
        }
        struck(&rule, killed.as_ref()).await?;
        scene.ending("work", &uid).await?;
        if let Some(plan) = plan {
            plan.chaos.stop();
        }
        // Whoever was disturbed has now looked at everything; nothing may have changed.
        scene.canary("canary").await?;
        let ending = scene.ending("work", &uid).await?;
        rig.asked.set(&Rule::idle());
        let mut writes = BTreeMap::new();
        for request in rule.record() {
            let name = request.rsplit_once(" #").map_or("", |(name, _)| name);
            *writes.entry(name.to_owned()).or_default() += 1;
        }
        Ok(Went { ending, writes })
    })
    .await?;
    let died = rig.operator.starts() - starts;
    ensure!(died == usize::from(killed.is_some()), "it died by itself");
    Ok(went)
}

async fn happen(scene: &Scene<'_>, uid: &str, work: Work) -> Result<()> {
    let runs =
        |task: &Task| task.status.as_ref().and_then(|status| status.phase) == Some(Phase::Running);
    let tasks = scene.space.api::<Task>();
    wait::until(tasks.clone(), "work", "it runs", SOON, runs).await?;
    let called = |bill: &[Call]| !bill.is_empty();
    scene.mock.until("the first call", SOON, called).await?;
    if work == Work::Cancel {
        let patch = Patch::Merge(json!({"spec": {"state": "Cancelled"}}));
        tasks.patch("work", &PatchParams::default(), &patch).await?;
        scene.space.finished("work").await?;
    } else {
        tasks.delete("work", &DeleteParams::background()).await?;
        wait::until_gone(tasks, "work", SOON).await?;
        // Not before: else it is a matter of luck whether the answer comes before the fence.
        crate::operator::fenced(scene, uid).await?;
    }
    Ok(())
}

/// What of a run is not as it should be.
fn judge(went: &Went, whole: &Went, faults: usize) -> Result<()> {
    let (ending, expected) = (&went.ending, &whole.ending);
    ensure!(
        ending == expected,
        "it ended as {ending:#?}\ninstead of {expected:#?}"
    );
    ensure!(
        ending.jobs.values().all(|jobs| *jobs == 1),
        "an attempt has several Jobs: {:?}",
        ending.jobs
    );
    for (name, count) in &went.writes {
        let most = whole.writes.get(name).copied().unwrap_or_default() + AGAIN * (faults + 1);
        ensure!(*count <= most, "{name}: {count} writes, at most {most}");
    }
    Ok(())
}

/// A setting of `cargo xtask chaos`.
fn setting<T: FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().ok().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

/// The run that the others are held to.
async fn undisturbed(rig: &Rig, work: Work) -> Result<Went> {
    let whole = play(rig, work, None).await?;
    let phase = whole.ending.status.get("phase").cloned();
    ensure!(
        phase.unwrap_or_default() == work.phase() && !whole.writes.is_empty(),
        "{work:?}: the undisturbed run went another way: {:#?}",
        whole.ending
    );
    Ok(whole)
}

async fn seeds(rig: &Rig) -> Result<()> {
    let begun = Instant::now();
    let first: u64 = setting("OARMASTER_CHAOS_FROM", 0)?;
    let count: u64 = setting("OARMASTER_CHAOS_SEEDS", u64::MAX)?;
    let seconds = setting("OARMASTER_CHAOS_SECONDS", if full() { 300 } else { 60 })?;
    let mut wholes: HashMap<Work, Went> = HashMap::new();
    let mut found = Vec::new();
    for seed in first..first.saturating_add(count) {
        if begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let work = Work::of(seed);
        let whole = match wholes.entry(work) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(undisturbed(rig, work).await?),
        };
        let plan = Plan::of(seed, whole);
        let went = play(rig, work, Some(&plan)).await;
        plan.chaos.stop();
        rig.asked.set(&Rule::idle());
        let done = plan.chaos.done();
        let killed = plan.killed.map(|point| format!("killed {point}; "));
        let tried = format!(
            "seed {seed}, {work:?}: {}{}",
            killed.unwrap_or_default(),
            done.join(", ")
        );
        match went.and_then(|went| judge(&went, whole, done.len())) {
            Ok(()) => say(&tried, begun),
            Err(why) => {
                say(&format!("{tried}: FOUND {why:#}"), begun);
                found.push(format!(
                    "{tried}: {why:#}\nagain: cargo xtask chaos --from {seed} --seeds 1"
                ));
            }
        }
    }
    if !found.is_empty() {
        bail!(
            "{} of the plans failed:\n{}",
            found.len(),
            found.join("\n\n")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_under_faults_end_as_the_undisturbed_ones() -> Result<()> {
    on_a_rig(async |rig| seeds(rig).await).await
}
