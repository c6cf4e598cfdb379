//! What holds of a state and of the log that it is made from, whatever was cut off.

use super::*;

/// Settled and reserved never exceed the budget. (Here no provider bills more than was reserved.)
pub fn within_budget(state: &State) {
    for task in state.tasks.values() {
        let spent = task.sum.cost_pico + task.reserved.pico;
        assert!(spent <= task.budget.pico_usd.unwrap(), "{task:?}");
    }
    for (id, counter) in state.counters.iter() {
        let limit = if id.budget == "all" {
            LIMITS[0]
        } else {
            LIMITS[1]
        };
        let rest = if state.sdk.term > 1 { REST } else { 0 };
        assert!(
            counter.spent + counter.reserved <= limit + rest,
            "{id:?} {counter:?}"
        );
        assert_eq!(counter.overrun, 0);
    }
}

/// Spent and reserved by counter, from the rows alone: each open hop ends at most once, and where it was reserved.
pub fn recount(frames: &[(Place, Vec<u8>)]) -> HashMap<CounterId, (u64, u64)> {
    #[derive(PartialEq, Eq, Hash)]
    enum Key {
        Task(String, u64, u32),
        Sdk(SdkId),
    }
    let mut open = HashMap::new();
    let mut counters: HashMap<CounterId, (u64, u64)> = HashMap::new();
    let lines = frames
        .iter()
        .flat_map(|(_, payload)| payload.split(|byte| *byte == b'\n'));
    for line in lines {
        let (opened, ended, rest) = match serde_json::from_slice(crate::seal::bare(line)).unwrap() {
            Entry::Open {
                task,
                record,
                scopes,
                ..
            } => match record.body {
                Body::Open {
                    call,
                    hop,
                    reserved_pico,
                    ..
                } => (
                    Some((Key::Task(task, call, hop), reserved_pico, scopes)),
                    None,
                    None,
                ),
                _ => panic!("{record:?}"),
            },
            Entry::SdkOpen {
                id,
                reserve,
                scopes,
                ..
            } => (Some((Key::Sdk(id), reserve.pico, scopes)), None, None),
            Entry::Record { task, record } => match record.body {
                Body::Answer {
                    call, hop, usage, ..
                }
                | Body::CallFailed {
                    call, hop, usage, ..
                } => (
                    None,
                    Some((Key::Task(task, call, hop), usage.cost_pico)),
                    None,
                ),
                _ => continue,
            },
            Entry::SdkEnd { id, usage, .. } => (None, Some((Key::Sdk(id), usage.cost_pico)), None),
            Entry::Start { rest, .. } => (None, None, rest),
            _ => continue,
        };
        if let Some((key, pico, scopes)) = opened {
            for scope in &scopes {
                counters.entry(scope.clone()).or_default().1 += pico;
            }
            assert!(open.insert(key, (pico, scopes)).is_none(), "opened twice");
        }
        if let Some((key, cost)) = ended {
            let (pico, scopes) = open.remove(&key).unwrap();
            for scope in &scopes {
                let counter = counters.get_mut(scope).unwrap();
                *counter = (counter.0 + cost, counter.1 - pico);
            }
        }
        for scope in rest.iter().flat_map(|rest| &rest.scopes) {
            counters.get_mut(scope).unwrap().0 += rest.as_ref().unwrap().pico;
        }
    }
    counters
}

/// The counters that are kept are those of the rows.
pub fn counters_are_right(frames: &[(Place, Vec<u8>)], state: &State) {
    let recounted = recount(frames);
    for (id, counter) in state.counters.iter() {
        let expected = recounted.get(id).copied().unwrap_or_default();
        assert_eq!((counter.spent, counter.reserved), expected, "{id:?}");
    }
    for (id, (_, reserved)) in &recounted {
        assert_eq!(
            state.counters.get(id).reserved,
            *reserved,
            "{id:?} was dropped too early"
        );
    }
}

/// What had left when the log was this long, and is not in it, is within the rest, and in counters that are known to be used.
pub fn lost_is_within_the_rest(dir: &Path, left: &[Left], kept: &[(Place, Vec<u8>)]) {
    let frames = kept.len() as u64;
    let used = fold(dir, kept).counters.sdk();
    let lost: Vec<_> = left
        .iter()
        .filter(|hop| hop.frame >= frames && hop.durable <= frames)
        .collect();
    let pico: u64 = lost.iter().map(|hop| hop.pico).sum();
    assert!(pico <= REST, "{pico}");
    for scope in lost.iter().flat_map(|hop| &hop.scopes) {
        assert!(used.contains(scope), "{scope:?}");
    }
}

/// Numbers without gaps, one `Open` and at most one end per hop; exactly one once `settled`.
pub fn ledger(records: &[Record], settled: bool) {
    let mut hops: BTreeMap<(u64, u32), (u32, u32)> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.seq, index as u64);
        match record.body {
            Body::Open { call, hop, .. } => {
                let at = hops.entry((call, hop)).or_default();
                at.0 += 1;
                assert_eq!(at.1, 0, "opened after its end");
            }
            Body::Answer { call, hop, .. } | Body::CallFailed { call, hop, .. } => {
                hops.entry((call, hop)).or_default().1 += 1;
            }
            _ => {}
        }
    }
    for (hop, (opened, ended)) in hops {
        assert_eq!(opened, 1, "{hop:?}");
        assert!(ended == 1 || (!settled && ended == 0), "{hop:?}: {ended}");
    }
}
