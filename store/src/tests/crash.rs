//! Random work, cut off at a random byte of the log, and opened again.

mod holds;

use super::*;
use crate::SdkTicket;
use crate::entry::{Entry, SdkId};
use crate::hops::HopTicket;
use crate::log;
use crate::scope::CounterId;
use crate::{IN_DOUBT, Refusal};
use holds::{counters_are_right, ledger, lost_is_within_the_rest, within_budget};
use oarmaster_protocol::journal::Record;
use oarmaster_protocol::task::ErrorCode;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Debug)]
enum Op {
    Open {
        own: bool,
        raise: u64,
    },
    Claim {
        fresh: bool,
    },
    Append {
        count: u8,
        size: u16,
        stale: bool,
    },
    Call {
        repeat: bool,
    },
    Reserve {
        pico: u64,
        scopes: u8,
    },
    Settle {
        pick: u8,
        end: End,
    },
    /// With `on`, the next attempt is opened at once, as the operator does.
    Fence {
        on: bool,
    },
    Raise {
        pico: u64,
    },
    SdkReserve {
        pico: u64,
        scopes: u8,
    },
    SdkSettle {
        pick: u8,
        end: End,
    },
    /// The clock goes on.
    Wait {
        hours: u8,
    },
    Artifact {
        name: u8,
    },
    Remember {
        owner: u8,
        text: u8,
    },
    Forget {
        owner: u8,
    },
    Result {
        on: bool,
    },
}

#[derive(Clone, Debug)]
enum End {
    Answered(u8),
    Silent,
    Unbilled,
    Unknown,
    Dropped,
}

fn op() -> impl Strategy<Value = Op> {
    let end = prop_oneof![
        (0..=100_u8).prop_map(End::Answered),
        Just(End::Silent),
        Just(End::Unbilled),
        Just(End::Unknown),
        Just(End::Dropped),
    ];
    prop_oneof![
        1 => (any::<bool>(), 0..2500_u64).prop_map(|(own, raise)| Op::Open { own, raise }),
        4 => any::<bool>().prop_map(|fresh| Op::Claim { fresh }),
        8 => (1..4_u8, 0..600_u16, any::<bool>())
            .prop_map(|(count, size, stale)| Op::Append { count, size, stale }),
        12 => prop::bool::weighted(0.3).prop_map(|repeat| Op::Call { repeat }),
        16 => (0..200_u64, 0..4_u8).prop_map(|(pico, scopes)| Op::Reserve { pico, scopes }),
        12 => (any::<u8>(), end.clone()).prop_map(|(pick, end)| Op::Settle { pick, end }),
        1 => any::<bool>().prop_map(|on| Op::Fence { on }),
        2 => (0..3000_u64).prop_map(|pico| Op::Raise { pico }),
        12 => (0..200_u64, 0..4_u8).prop_map(|(pico, scopes)| Op::SdkReserve { pico, scopes }),
        10 => (any::<u8>(), end).prop_map(|(pick, end)| Op::SdkSettle { pick, end }),
        2 => (1..40_u8).prop_map(|hours| Op::Wait { hours }),
        3 => (0..3_u8).prop_map(|name| Op::Artifact { name }),
        3 => (0..2_u8, 0..4_u8).prop_map(|(owner, text)| Op::Remember { owner, text }),
        1 => (0..2_u8).prop_map(|owner| Op::Forget { owner }),
        1 => any::<bool>().prop_map(|on| Op::Result { on }),
    ]
}

/// What the outside of the store knows.
#[derive(Default)]
struct World {
    attempt: u32,
    digest: String,
    nonce: u32,
    claim: Option<Claim>,
    last: Option<(u64, Append)>,
    calls: Vec<(u64, Call)>,
    tickets: Vec<(HopTicket, u64)>,
    sdk: Vec<(SdkTicket, u64)>,
    ticks: Arc<AtomicI64>,
    left: Vec<Left>,
}

/// A hop of an SDK caller that may have left.
struct Left {
    /// Of its row.
    frame: u64,
    /// Frames below this were on the disk when it could leave.
    durable: u64,
    pico: u64,
    scopes: Vec<CounterId>,
}

const LIMITS: [u64; 2] = [900, 500];

/// Two scopes of different windows, by bits.
fn scopes(bits: u8) -> Vec<Scope> {
    let all = [
        scope("all", "cluster", LIMITS[0]),
        Scope {
            window: Window::Hour,
            ..scope("team", "namespace/team", LIMITS[1])
        },
    ];
    let chosen = |index: usize| bits & (1 << index) != 0;
    (0..2)
        .filter(|index| chosen(*index))
        .map(|index| all[index].clone())
        .collect()
}

impl World {
    async fn step(&mut self, store: &Store, op: Op) {
        let session = self.claim.as_ref().map_or("none", |c| c.session.as_str());
        match op {
            Op::Open { own, raise } => {
                let request = OpenAttempt {
                    runs_in: if own {
                        RunsIn::Shared
                    } else {
                        RunsIn::Job(format!("job-{}", self.attempt + 1))
                    },
                    assignment: (own || self.attempt == 0).then(|| agent_assignment(UID)),
                    budget: usd(raise),
                    requested_by: Some("alice@acme".into()),
                    parent: None,
                    keeps: false,
                    ends: false,
                    labels: [("team".to_owned(), "red".to_owned())].into(),
                };
                let n = self.attempt + 1;
                let first = store.open_attempt(UID, n, request.clone()).await.unwrap();
                let again = store.open_attempt(UID, n, request).await.unwrap();
                assert_eq!(first, again);
                for lower in 1..n {
                    let lower = store.report(UID, lower).await.unwrap();
                    assert!(lower.fenced || lower.outcome.is_some());
                }
                (self.attempt, self.digest, self.claim) = (n, first.assignment, None);
            }
            Op::Claim { fresh } => {
                self.nonce += u32::from(fresh);
                let nonce = format!("nonce-{}-{}", self.attempt, self.nonce);
                let digest = self.digest.clone();
                match claim(store, self.attempt, &digest, &nonce).await {
                    Ok(claimed) => {
                        let again = claim(store, self.attempt, &digest, &nonce).await;
                        assert_eq!(again.unwrap(), claimed);
                        self.claim = Some(claimed);
                    }
                    Err(refused) => expected(&refused),
                }
            }
            Op::Append { count, size, stale } => {
                let next = store.next(UID).await.unwrap_or(0);
                let next = if stale { next.saturating_sub(1) } else { next };
                let text = "é".repeat(usize::from(size));
                let records = vec![note(&text); usize::from(count)];
                self.append(store, append(next, records)).await;
            }
            Op::Result { on } => {
                let next = store.next(UID).await.unwrap_or(0);
                self.append(store, append(next, vec![result()])).await;
                self.go_on(store, on).await;
            }
            Op::Call { repeat } => {
                let Ok(next) = store.next(UID).await else {
                    return;
                };
                let Some(claimed) = &self.claim else { return };
                let current = {
                    let core = store.lock();
                    store.next_call(UID, core.state.task(UID).unwrap())
                };
                let number = current.saturating_sub(u64::from(repeat));
                let found = store
                    .begin_call(UID, self.attempt, &claimed.session, next, number, "d")
                    .await;
                match found {
                    Ok(CallState::New(call)) => self.calls.push((number, call)),
                    Ok(_) => {}
                    Err(refused) => expected(&refused),
                }
            }
            Op::Reserve { pico, scopes: bits } => {
                let Some((_, call)) = self.calls.last() else {
                    return;
                };
                match call.reserve(hop_in(pico, &scopes(bits))).await {
                    Ok(ticket) => self.tickets.push((ticket, pico)),
                    Err(Refusal::Internal(text)) => {
                        assert!(
                            text.contains("settled first") || text.contains("answered"),
                            "{text}"
                        );
                    }
                    Err(refused) => expected(&refused),
                }
            }
            Op::Settle { pick, end } => {
                if self.tickets.is_empty() {
                    return;
                }
                let pick = usize::from(pick) % self.tickets.len();
                let (ticket, pico) = self.tickets.swap_remove(pick);
                match hop_end(&end, pico) {
                    Some(end) => drop(ticket.settle(end).await.unwrap()),
                    None => drop(ticket),
                }
            }
            Op::Fence { on } => {
                if self.attempt > 0 {
                    let first = store.fence(UID, self.attempt, "x").await.unwrap();
                    let again = store.fence(UID, self.attempt, "y").await.unwrap();
                    assert_eq!(first, again);
                    self.go_on(store, on).await;
                }
            }
            Op::Raise { pico } => match store.raise_budget(UID, usd(pico)).await {
                Ok(_) => {}
                Err(refused) => expected(&refused),
            },
            Op::SdkReserve { pico, scopes: bits } => {
                let scopes = scopes(bits);
                let call = store.sdk_call(sdk_caller());
                match call.reserve(hop_in(pico, &scopes)).await {
                    Ok(ticket) => {
                        let frame = store.queued_frames() - 1;
                        let open = store.lock().state.sdk.open.values().next_back().cloned();
                        self.left.push(Left {
                            frame,
                            durable: store.durable_frames(),
                            pico,
                            scopes: open.map(|open| open.scopes).unwrap_or_default(),
                        });
                        self.sdk.push((ticket, pico));
                    }
                    Err(refused) => expected(&refused),
                }
            }
            Op::SdkSettle { pick, end } => {
                if self.sdk.is_empty() {
                    return;
                }
                let pick = usize::from(pick) % self.sdk.len();
                let (ticket, pico) = self.sdk.swap_remove(pick);
                match hop_end(&end, pico) {
                    Some(end) => drop(ticket.settle(&end).await.unwrap()),
                    None => drop(ticket),
                }
            }
            Op::Wait { hours } => {
                let ms = i64::from(hours) * 3_600_000;
                self.ticks.fetch_add(ms, Ordering::SeqCst);
            }
            Op::Artifact { name } => {
                let name = format!("a{name}");
                let put = store.put_artifact(UID, self.attempt, session, &name, b"x");
                if let Err(refused) = put.await {
                    expected(&refused);
                }
            }
            Op::Remember { owner, text } => {
                let owner = super::notes::owner(&format!("user-{owner}"));
                let text = format!("note {text}");
                let kept = store.remember(&owner, UID, &text).await;
                assert_eq!(kept.unwrap(), 0);
            }
            Op::Forget { owner } => {
                let requester = format!("user-{owner}");
                let of = super::notes::owner(&requester);
                let query = crate::NoteQuery {
                    namespace: of.namespace.clone(),
                    requester: Some(requester),
                    ..crate::NoteQuery::default()
                };
                store.forget(&query).await.unwrap();
            }
        }
    }

    async fn go_on(&mut self, store: &Store, on: bool) {
        if on {
            let next = Op::Open {
                own: false,
                raise: 0,
            };
            Box::pin(self.step(store, next)).await;
            Box::pin(self.step(store, Op::Claim { fresh: true })).await;
        }
    }

    async fn append(&mut self, store: &Store, records: Append) {
        let session = self.claim.as_ref().map_or("none", |c| c.session.as_str());
        match store
            .append(UID, self.attempt, session, records.clone())
            .await
        {
            Ok(done) => {
                let again = store.append(UID, self.attempt, session, records.clone());
                assert_eq!(again.await.unwrap(), done);
                self.last = Some((done.next, records));
            }
            Err(refused) => expected(&refused),
        }
    }
}

/// How a hop ends; `None` where it is dropped.
fn hop_end(end: &End, pico: u64) -> Option<HopEnd> {
    Some(match end {
        End::Answered(part) => answer(Some(used(pico * u64::from(*part) / 100))),
        End::Silent => answer(None),
        End::Unbilled => failed(Billing::Unbilled),
        End::Unknown => failed(Billing::Unknown),
        End::Dropped => return None,
    })
}

/// Refusals that random work leads to. Anything else is a defect.
fn expected(refused: &Refusal) {
    assert!(
        matches!(
            refused.code(),
            ErrorCode::Fenced
                | ErrorCode::NotFound
                | ErrorCode::Conflict
                | ErrorCode::BudgetExceeded
                | ErrorCode::WindowExceeded
        ),
        "{refused}"
    );
}

/// The log up to a byte, as a crash could leave it: zeros or nothing behind it.
fn cut(from: &Path, place: (u32, usize), zeros: bool) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    // On the disk before anything that is sealed with them.
    std::fs::copy(from.join("keys"), to.path().join("keys")).unwrap();
    for segment in 0..=place.0 {
        let name = format!("{segment:08}.log");
        let mut bytes = std::fs::read(from.join(&name)).unwrap();
        if segment == place.0 {
            match zeros {
                true => bytes[place.1..].fill(0),
                false => bytes.truncate(place.1),
            }
        }
        std::fs::write(to.path().join(name), bytes).unwrap();
    }
    to
}

/// What must hold after a crash that kept `frames`.
async fn check(dir: &Path, kept: &[(Place, Vec<u8>)]) {
    let expected = fold(dir, kept);
    let mut found = State::default();
    let sealer = sealer(dir);
    let mut reading = Reading::new(&sealer);
    log::replay(dir, log::Repair::Erase, &mut |number, place, payload| {
        apply_frame(&mut found, number, place, payload, &mut reading)
    })
    .unwrap();
    assert_eq!(found, expected, "the fold of the durable prefix");
    within_budget(&found);
    counters_are_right(kept, &found);

    let store = Store::open(options(dir)).await.unwrap();
    {
        let core = store.lock();
        within_budget(&core.state);
        for (uid, task) in &core.state.tasks {
            assert_eq!(task.reserved, Default::default());
            let before = &expected.tasks[uid];
            let booked = before.sum.cost_pico + before.reserved.pico;
            assert_eq!(task.sum.cost_pico, booked, "booked in full, and no more");
        }
    }
    if expected.tasks.contains_key(UID) {
        let records = store.records(UID, 0, usize::MAX).await.unwrap();
        ledger(&records, true);
        recovered_calls(&store, &expected, &records).await;
        let newest = store.newest_attempt(UID).await.unwrap().unwrap();
        store.fence(UID, newest.attempt, "end").await.unwrap();
    }
    store.flush().await.unwrap();
    let live = store.lock().state.clone();
    drop(store);
    let frames = frames(dir);
    assert_eq!(fold(dir, &frames), live, "live state and fold agree");
    counters_are_right(&frames, &live);
    assert!(live.sdk.open.is_empty() && live.sdk.reserved == 0);
    for (id, counter) in live.counters.iter() {
        let before = expected.counters.get(id);
        let rest = if before.sdk.is_some() { REST } else { 0 };
        assert_eq!(
            counter.spent,
            before.spent + before.reserved + rest,
            "{id:?}"
        );
    }
}

/// A call that was open is in doubt; an answered one gives its answer.
async fn recovered_calls(store: &Store, before: &State, records: &[Record]) {
    let task = &before.tasks[UID];
    let (attempt, found) = task.attempts.last_key_value().unwrap();
    let Some(session) = found.session.as_ref().filter(|_| found.is_open()) else {
        return;
    };
    for (number, call) in &task.calls {
        let state = store
            .begin_call(UID, *attempt, session, 0, *number, &call.digest)
            .await
            .unwrap();
        let open = call.hops.iter().any(|hop| hop.open);
        match state {
            CallState::Answered(record) => {
                assert_eq!(Some(record.seq), call.answer);
                assert_eq!(record, records[record.seq as usize]);
            }
            CallState::InDoubt => assert!(open || call.in_doubt),
            CallState::New(_) => assert!(!open && call.answer.is_none() && !call.in_doubt),
            CallState::Running(_) => panic!("nobody runs it"),
        }
        if open {
            let last = records
                .iter()
                .rev()
                .find(|r| matches!(&r.body, Body::CallFailed { call, .. } if call == number));
            let class = last.map(|r| match &r.body {
                Body::CallFailed { class, .. } => class.as_str(),
                _ => "",
            });
            assert_eq!(class, Some(IN_DOUBT));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_durable_is_there_again(
        ops in prop::collection::vec(op(), 1..100),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0.0..1.0_f64, any::<bool>()), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut world = World::default();
            world.ticks.store(1000, Ordering::SeqCst);
            let store = Store::open(options_at(dir.path(), &world.ticks)).await.unwrap();
            // Most work needs an attempt and a claim.
            world.step(&store, Op::Open { own: true, raise: 2000 }).await;
            world.step(&store, Op::Claim { fresh: true }).await;
            for op in ops {
                world.step(&store, op).await;
                within_budget(&store.lock().state);
            }
            store.flush().await.unwrap();
            // A crash: the tickets are still out.
            let all = frames(dir.path());
            assert_eq!(fold(dir.path(), &all), store.lock().state);
            ledger(&store.records(UID, 0, usize::MAX).await.unwrap(), false);
            for (pick, part, zeros) in cuts {
                let pick = pick.index(all.len() + 1);
                let place = match all.get(pick) {
                    Some((place, _)) => *place,
                    None => all[all.len() - 1].0,
                };
                // Somewhere in the frame's bytes, or behind the last one.
                let size = crate::log::HEADER + place.len as usize;
                let inside = if pick == all.len() { size } else { (size as f64 * part) as usize };
                let crashed = cut(dir.path(), (place.segment, place.offset as usize + inside), zeros);
                check(crashed.path(), &all[..pick]).await;
            }
            for frames in 0..=all.len() {
                lost_is_within_the_rest(dir.path(), &world.left, &all[..frames]);
            }
            counters_are_right(&all, &fold(dir.path(), &all));
        });
    }
}
