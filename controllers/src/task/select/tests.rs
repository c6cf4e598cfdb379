use super::{Candidate, choose};
use crate::task::census::Past;
use proptest::prelude::*;

fn candidate(name: &str) -> Candidate {
    Candidate {
        name: name.to_owned(),
        lacks: Vec::new(),
        not_ready: None,
        limit: None,
        running: 0,
        past: Past::default(),
    }
}

fn past(ended: u64, complete: u64, cost: u64) -> Past {
    Past {
        ended,
        complete,
        cost,
    }
}

fn wanted() -> Vec<String> {
    vec!["python".to_owned(), "testing".to_owned()]
}

#[test]
fn the_best_of_those_who_can_do_it_is_chosen() {
    let with = |name: &str, change: &dyn Fn(&mut Candidate)| {
        let mut made = candidate(name);
        change(&mut made);
        made
    };
    let table: Vec<(&str, Vec<Candidate>, &str)> = vec![
        (
            "by name, where nothing tells them apart",
            vec![candidate("b"), candidate("a")],
            "a",
        ),
        (
            "none that lacks a capability",
            vec![
                with("a", &|it| it.lacks = vec!["testing".to_owned()]),
                candidate("b"),
            ],
            "b",
        ),
        (
            "the next best, where the first is not Ready",
            vec![
                with("a", &|it| it.not_ready = Some("no pool".to_owned())),
                with("b", &|it| it.past = past(10, 0, 0)),
            ],
            "b",
        ),
        (
            "one with a free place before a better one without",
            vec![
                with("a", &|it| {
                    it.limit = Some(2);
                    it.running = 2;
                    it.past = past(50, 50, 0);
                }),
                with("b", &|it| it.past = past(50, 0, 0)),
            ],
            "b",
        ),
        (
            "the one that succeeds",
            vec![
                with("a", &|it| it.past = past(10, 5, 0)),
                with("b", &|it| it.past = past(10, 9, 0)),
            ],
            "b",
        ),
        (
            "not the one that failed, before one that did nothing yet",
            vec![with("a", &|it| it.past = past(1, 0, 0)), candidate("b")],
            "b",
        ),
        (
            "the cheaper of two that succeed alike",
            vec![
                with("a", &|it| it.past = past(4, 4, 8_000_000_000)),
                with("b", &|it| it.past = past(4, 4, 4_000_000_000)),
            ],
            "b",
        ),
        (
            "the one with less to do",
            vec![with("a", &|it| it.running = 3), candidate("b")],
            "b",
        ),
        (
            "the one with more of its places free",
            vec![
                with("a", &|it| {
                    it.limit = Some(4);
                    it.running = 3;
                }),
                with("b", &|it| {
                    it.limit = Some(10);
                    it.running = 3;
                }),
            ],
            "b",
        ),
        (
            "the best of those that are full, where all are",
            vec![
                with("a", &|it| {
                    it.limit = Some(1);
                    it.running = 1;
                    it.past = past(9, 0, 0);
                }),
                with("b", &|it| {
                    it.limit = Some(1);
                    it.running = 1;
                }),
            ],
            "b",
        ),
    ];
    for (what, candidates, agent) in table {
        let choice = choose("team", &wanted(), candidates).unwrap();
        assert_eq!(choice.agent, agent, "{what}: {}", choice.why);
        assert!(
            choice.why.starts_with(&format!("{agent} ")),
            "{}",
            choice.why
        );
    }
}

#[test]
fn the_scores_are_told() {
    let mut coder = candidate("coder");
    coder.limit = Some(5);
    coder.running = 2;
    coder.past = past(50, 40, 615_000_000_000);
    let mut down = candidate("down");
    down.not_ready = Some("no pool".to_owned());
    let mut lint = candidate("lint");
    lint.lacks = vec!["python".to_owned()];
    let choice = choose("team", &wanted(), vec![lint, candidate("new"), down, coder]).unwrap();
    assert_eq!(
        choice.why,
        "coder 774 (40 of 50 complete, 2 of 5 running, $0.0123 a Task), new 750 (0 of 0 complete, 0 running), down is not Ready"
    );
}

#[test]
fn where_nobody_can_do_it_it_is_said_what_each_lacks() {
    let mut lint = candidate("lint");
    lint.lacks = wanted();
    let mut coder = candidate("coder");
    coder.lacks = vec!["testing".to_owned()];
    let mut down = candidate("down");
    down.not_ready = Some("ModelPool default is not ready".to_owned());
    assert_eq!(
        choose("team", &wanted(), vec![lint, coder, down]).unwrap_err(),
        "no Agent in namespace team is Ready and has the capabilities python, testing: down is not Ready: ModelPool default is not ready, coder lacks testing, lint lacks python and testing"
    );
    assert!(
        choose("team", &wanted(), Vec::new())
            .unwrap_err()
            .ends_with("testing: there is none at all")
    );
    let many = (0..20)
        .map(|index| Candidate {
            lacks: wanted(),
            ..candidate(&format!("a{index:02}"))
        })
        .collect();
    let told = choose("team", &wanted(), many).unwrap_err();
    assert!(told.contains("a07") && !told.contains("a08"), "{told}");
    assert!(told.ends_with("and 12 more"), "{told}");
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let past = (0u64..=50, 0u64..=50, prop_oneof![Just(0), any::<u64>()]);
    let limit = prop::option::of(1u32..8);
    (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        limit,
        0u32..10,
        past,
    )
        .prop_map(
            |(lacks, down, limit, running, (ended, complete, cost))| Candidate {
                name: String::new(),
                lacks: if lacks { wanted() } else { Vec::new() },
                not_ready: down.then(|| "down".to_owned()),
                limit,
                running,
                past: Past {
                    ended,
                    complete: complete.min(ended),
                    cost,
                },
            },
        )
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(any_candidate(), 0..12).prop_map(|mut all| {
        for (index, each) in all.iter_mut().enumerate() {
            each.name = format!("agent-{index}");
        }
        all
    })
}

proptest! {
    #[test]
    fn the_order_of_the_agents_does_not_count(
        (all, shuffled) in candidates().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(choose("team", &wanted(), all), choose("team", &wanted(), shuffled));
    }

    #[test]
    fn who_is_chosen_can_do_it_and_has_a_place_if_anybody_has(all in candidates()) {
        let able = |each: &&Candidate| each.lacks.is_empty() && each.not_ready.is_none();
        match choose("team", &wanted(), all.clone()) {
            Ok(choice) => {
                let chosen = all.iter().find(|each| each.name == choice.agent).unwrap();
                prop_assert!(able(&chosen));
                let free = |each: &Candidate| each.limit.is_none_or(|limit| each.running < limit);
                prop_assert!(free(chosen) || !all.iter().filter(able).any(free));
            }
            Err(_) => prop_assert!(!all.iter().any(|each| able(&each))),
        }
    }

    #[test]
    fn who_was_chosen_stays_so_when_it_does_better(all in candidates(), more in 1u64..5) {
        let Ok(choice) = choose("team", &wanted(), all.clone()) else { return Ok(()); };
        let better = all.into_iter().map(|mut each| {
            if each.name == choice.agent {
                each.past.complete = (each.past.complete + more).min(each.past.ended);
                each.running = each.running.saturating_sub(1);
            }
            each
        });
        prop_assert_eq!(choose("team", &wanted(), better.collect()).unwrap().agent, choice.agent);
    }
}
