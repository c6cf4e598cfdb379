//! Breadth first over every state, with the way to the first one that is wrong.

use crate::ledger::Rules;
use crate::world::{Instance, Step, World};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many states there are, or what falls and how it came to that.
pub fn explore(instance: &Instance, rules: Rules) -> Result<usize, String> {
    let start = World::new();
    let mut from: HashMap<u64, (u64, Option<Step>)> = HashMap::new();
    from.insert(key(&start), (0, None));
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        let here = key(&world);
        for (step, next) in world.steps(instance, rules) {
            let next = match next.and_then(|next| next.check(rules).map(|()| next)) {
                Ok(next) => next,
                Err(what) => return Err(format!("{what}\n{}\n{step}", way(&from, here))),
            };
            let there = key(&next);
            if let std::collections::hash_map::Entry::Vacant(slot) = from.entry(there) {
                slot.insert((here, Some(step)));
                queue.push_back(next);
            }
        }
    }
    Ok(from.len())
}

/// 64 bits of a state: two that fall together cost a state, with a million of them once in a ten million runs.
fn key(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn way(from: &HashMap<u64, (u64, Option<Step>)>, mut at: u64) -> String {
    let mut steps = Vec::new();
    while let Some((before, Some(step))) = from.get(&at) {
        steps.push(step.to_string());
        at = *before;
    }
    steps.reverse();
    steps.join("\n")
}
