//! What a Task's budget bounds below it: how many Tasks, how deep, and what a run keeps for its end.

use super::*;
use crate::error::{Bound, Spent, Unit};
use oarmaster_protocol::task::ErrorCode;

fn below(uid: &str, parent: &str, budget: TaskBudget) -> OpenAttempt {
    named(uid, uid, parent, budget)
}

fn named(name: &str, uid: &str, parent: &str, budget: TaskBudget) -> OpenAttempt {
    let mut request = OpenAttempt {
        parent: Some(parent.to_owned()),
        ..open_request(uid, budget)
    };
    if let Some(assignment) = &mut request.assignment {
        assignment.task.name = name.to_owned();
    }
    request
}

#[tokio::test]
async fn what_a_task_asked_for_is_begun_once() {
    let (dir, store) = store().await;
    open(&store, "root", 1, open_request("root", usd(100)))
        .await
        .unwrap();
    let child = |uid: &str| named("root-a", uid, "root", usd(100));
    open(&store, "a", 1, child("a")).await.unwrap();
    open(&store, "a", 2, child("a")).await.unwrap();
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    // A cluster that was restored makes it again, with another UID.
    let refused = open(&store, "a-2", 1, child("a-2")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Fenced);
    assert!(
        refused
            .to_string()
            .starts_with("Task root-a was begun before"),
        "{refused}"
    );
    // One that nobody asked for is somebody's to make again under its name, and so is one of another parent.
    let again = open_request("root-2", usd(100));
    open(&store, "root-2", 1, again).await.unwrap();
    let other = named("root-a", "a-3", "root-2", usd(100));
    open(&store, "a-3", 1, other).await.unwrap();
}

fn bounded(tasks: Option<u64>, depth: Option<u64>) -> TaskBudget {
    TaskBudget {
        tasks,
        depth,
        ..usd(100)
    }
}

async fn open(store: &Store, uid: &str, attempt: u32, request: OpenAttempt) -> Result<(), Refusal> {
    store.open_attempt(uid, attempt, request).await.map(drop)
}

fn full(refused: Result<(), Refusal>) -> (Bound, u64, u64) {
    match refused {
        Err(Refusal::TreeFull {
            bound, limit, has, ..
        }) => (bound, limit, has),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tree_has_so_many_tasks_and_no_more() {
    let (dir, store) = store().await;
    let root = bounded(Some(3), None);
    open(&store, "root", 1, open_request("root", root))
        .await
        .unwrap();
    open(&store, "a", 1, below("a", "root", usd(100)))
        .await
        .unwrap();
    open(&store, "b", 1, below("b", "a", usd(100)))
        .await
        .unwrap();
    // Another attempt of the same Task, and the same one again, is no further Task.
    open(&store, "b", 1, below("b", "a", usd(100)))
        .await
        .unwrap();
    open(&store, "b", 2, below("b", "a", usd(100)))
        .await
        .unwrap();
    open(&store, "c", 1, below("c", "root", usd(100)))
        .await
        .unwrap();
    let refused = open(&store, "d", 1, below("d", "b", usd(100))).await;
    assert_eq!(full(refused), (Bound::Tasks, 3, 3));
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    let refused = open(&store, "d", 1, below("d", "root", usd(100))).await;
    let text = refused.as_ref().unwrap_err().to_string();
    assert!(text.starts_with("Task fix may have 3 Tasks below it and has 3, and this would be one more; raise its spec.budget.tasks"), "{text}");
    assert_eq!(full(refused), (Bound::Tasks, 3, 3));
    // Raised, there is room again; nothing else takes it.
    store
        .raise_budget("root", bounded(Some(4), None))
        .await
        .unwrap();
    open(&store, "d", 1, below("d", "root", usd(100)))
        .await
        .unwrap();
    let refused = open(&store, "e", 1, below("e", "root", usd(100))).await;
    assert_eq!(full(refused), (Bound::Tasks, 4, 4));
}

#[tokio::test]
async fn what_ends_a_run_is_never_one_too_many() {
    let (_dir, store) = store().await;
    let root = bounded(Some(1), Some(2));
    open(&store, "root", 1, open_request("root", root))
        .await
        .unwrap();
    open(&store, "a", 1, below("a", "root", usd(100)))
        .await
        .unwrap();
    let ends = |uid, parent| OpenAttempt {
        ends: true,
        ..below(uid, parent, usd(100))
    };
    open(&store, "last", 1, ends("last", "root")).await.unwrap();
    // It counts, and what it gives to others is of the end, too: it is bounded by its own budget.
    open(&store, "b", 1, below("b", "last", usd(100)))
        .await
        .unwrap();
    let refused = open(&store, "c", 1, below("c", "root", usd(100))).await;
    assert_eq!(full(refused), (Bound::Tasks, 1, 3));
    // The end of a run below is none of the run above.
    let refused = open(&store, "d", 1, ends("d", "a")).await;
    assert_eq!(full(refused), (Bound::Tasks, 1, 3));
    // Levels there are no more for it either.
    let refused = open(&store, "lower", 1, ends("lower", "b")).await;
    assert_eq!(full(refused), (Bound::Depth, 2, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_tasks_at_once_the_tree_admits_exactly_k() {
    let (_dir, store) = store().await;
    let root = bounded(Some(10), None);
    open(&store, "root", 1, open_request("root", root))
        .await
        .unwrap();
    let racing: Vec<_> = (0..64)
        .map(|number| {
            let (store, uid) = (store.clone(), format!("t{number}"));
            tokio::spawn(async move {
                let request = below(&uid, "root", usd(100));
                open(&store, &uid, 1, request).await.is_ok()
            })
        })
        .collect();
    let mut admitted = 0;
    for race in racing {
        admitted += u64::from(race.await.unwrap());
    }
    assert_eq!(admitted, 10);
}

#[tokio::test]
async fn a_tree_has_so_many_levels_and_who_is_below_can_only_tighten() {
    let (_dir, store) = store().await;
    let root = bounded(None, Some(2));
    open(&store, "root", 1, open_request("root", root))
        .await
        .unwrap();
    // It asks for more than there is above it.
    open(
        &store,
        "a",
        1,
        below("a", "root", bounded(Some(9), Some(9))),
    )
    .await
    .unwrap();
    open(&store, "b", 1, below("b", "a", bounded(Some(0), None)))
        .await
        .unwrap();
    let refused = open(&store, "c", 1, below("c", "b", usd(1))).await;
    assert_eq!(
        full(refused),
        (Bound::Tasks, 0, 0),
        "the nearest says it first"
    );
    open(&store, "d", 1, below("d", "a", usd(1))).await.unwrap();
    let refused = open(&store, "e", 1, below("e", "d", usd(1))).await;
    assert_eq!(full(refused), (Bound::Depth, 2, 3));
}

async fn reserve(store: &Store, uid: &str, pico: u64) -> Result<crate::HopTicket, Refusal> {
    let report = store.report(uid, 1).await.unwrap();
    let request = ClaimRequest {
        assignment: report.assignment,
        nonce: "n".into(),
    };
    let claim = store.claim(uid, 1, &request, "pod").await.unwrap();
    let begun = store
        .begin_call(
            uid,
            1,
            &claim.session,
            claim.next,
            claim.next_call,
            "sha256:d",
        )
        .await?;
    let CallState::New(call) = begun else {
        panic!("the call is not new")
    };
    call.reserve(hop(pico)).await
}

fn spent(refused: Result<crate::HopTicket, Refusal>) -> Spent {
    match refused.map(drop) {
        Err(Refusal::BudgetExceeded(spent)) => *spent,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_in_twenty_is_kept_for_what_ends_a_run() {
    let (dir, store) = store().await;
    let keeps = OpenAttempt {
        keeps: true,
        ..open_request("run", usd(1000))
    };
    open(&store, "run", 1, keeps).await.unwrap();
    open(&store, "step", 1, below("step", "run", usd(9999)))
        .await
        .unwrap();
    let last = OpenAttempt {
        ends: true,
        ..below("last", "run", usd(9999))
    };
    open(&store, "last", 1, last).await.unwrap();
    open(&store, "under", 1, below("under", "last", usd(9999)))
        .await
        .unwrap();

    let ticket = reserve(&store, "step", 950).await.unwrap();
    let refused = spent(reserve(&store, "step", 1).await);
    let wanted = Spent {
        of: Some("fix".to_owned()),
        unit: Unit::PicoUsd,
        limit: 1000,
        kept: 50,
        spent: 0,
        reserved: 950,
        needed: 1,
    };
    assert_eq!(refused, wanted);
    drop(ticket); // booked in full
    drop(store);

    let store = Store::open(options(dir.path())).await.unwrap();
    reserve(&store, "last", 20)
        .await
        .unwrap()
        .settle(answer(Some(used(20))))
        .await
        .unwrap();
    // What is below it may, too.
    let ticket = reserve(&store, "under", 30).await.unwrap();
    assert_eq!(spent(reserve(&store, "last", 1).await).kept, 0);
    assert_eq!(spent(reserve(&store, "step", 1).await).kept, 50);
    ticket.settle(answer(Some(used(30)))).await.unwrap();
}

#[tokio::test]
async fn a_run_below_a_step_spends_what_the_run_above_it_leaves_to_steps() {
    let (_dir, store) = store().await;
    let keeps = |request: OpenAttempt| OpenAttempt {
        keeps: true,
        ..request
    };
    open(&store, "run", 1, keeps(open_request("run", usd(1000))))
        .await
        .unwrap();
    open(&store, "sub", 1, keeps(below("sub", "run", usd(1000))))
        .await
        .unwrap();
    let last = OpenAttempt {
        ends: true,
        ..below("last", "sub", usd(9999))
    };
    open(&store, "last", 1, last).await.unwrap();
    // What its own run keeps it may spend, what the one above keeps it may not.
    let refused = spent(reserve(&store, "last", 951).await);
    assert_eq!((refused.limit, refused.kept), (1000, 50));
    reserve(&store, "last", 950).await.unwrap();
}

#[test]
fn a_refusal_says_whose_budget_it_is_and_what_is_kept_of_it() {
    const USD: u64 = 1_000_000_000_000;
    let kept = Spent {
        of: Some("nightly".to_owned()),
        unit: Unit::PicoUsd,
        limit: 5 * USD,
        kept: 5 * USD / 20,
        spent: 4 * USD,
        reserved: 0,
        needed: USD,
    };
    assert_eq!(
        kept.to_string(),
        "the budget of Task nightly, $5.00, of which $4.75 are for steps and $0.25 are kept for undo and finally, does not cover the next model call: \
         $4.00 spent, $0.00 reserved by running calls, up to $1.00 needed; raise spec.budget.usd of Task nightly, and run anew what failed (spec.rerun of a workflow)"
    );
    let own = Spent {
        of: None,
        kept: 0,
        unit: Unit::Tokens,
        limit: 10,
        spent: 4,
        reserved: 2,
        needed: 5,
    };
    assert_eq!(
        own.to_string(),
        "the Task's budget of 10 tokens does not cover the next model call: 4 tokens spent, 2 tokens reserved by running calls, up to 5 tokens needed; \
         run it again as a new Task with a larger spec.budget.tokens"
    );
}
