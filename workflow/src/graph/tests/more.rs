//! What is wrong with items, repetitions, what is shared, undone, and with where files come from.

use super::{agent, problems, with};
use serde_json::{Value, json};

fn of(more: Value) -> Value {
    json!({"steps": [with(agent("a", "x"), more)]})
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    let undo = json!({"undo": {"run": {"sandbox": {"image": "x"}, "command": ["x"]}}});
    let cases = [
        (
            of(json!({"parallel": 2})),
            "spec.steps[a]: parallel and tolerate are for the items of forEach",
        ),
        (
            of(json!({"forEach": {"a": 1}})),
            "spec.steps[a].forEach: write a list, or an expression",
        ),
        (
            of(json!({"forEach": vec![0; 20_001]})),
            "spec.steps[a].forEach: write at most 20000 items",
        ),
        (
            of(json!({"forEach": "${item}"})),
            "spec.steps[a].forEach: the expression `item` has the unknown name item",
        ),
        (
            of(json!({"forEach": [1], "if": "item == 1"})),
            "spec.steps[a].if: the expression `item == 1` has the unknown name item",
        ),
        (
            of(json!({"forEach": [1], "parallel": 101})),
            "spec.steps[a].parallel: write 1 to 100",
        ),
        (
            of(json!({"forEach": [1], "tolerate": "20"})),
            "spec.steps[a].tolerate: write how many may fail",
        ),
        (
            of(json!({"forEach": [1], "tolerate": "120%"})),
            "spec.steps[a].tolerate: write how many may fail",
        ),
        (
            of(json!({"forEach": [1], "tolerate": -1})),
            "spec.steps[a].tolerate: write how many may fail",
        ),
        (
            of(json!({"repeat": {"until": "true", "limit": 51}})),
            "spec.steps[a].repeat.limit: write 2 to 50",
        ),
        (
            of(json!({"repeat": {"until": "self.nothing", "limit": 2}})),
            "spec.steps[a].repeat.until: the expression `self.nothing` asks for nothing of self",
        ),
        (
            of(json!({"params": {"prompt": "${self.output}"}})),
            "spec.steps[a].params: the expression `self.output` has the unknown name self",
        ),
        (
            of(
                json!({"repeat": {"until": "true", "limit": 2}, "params": {"prompt": "${self.output.x}"}}),
            ),
            "spec.steps[a].params: the expression `self.output.x` asks for self.output, which may be absent",
        ),
        (
            of(json!({"share": {"notes": "x"}})),
            "spec.steps[a].share: gives to notes, which is not in spec.shared",
        ),
        (
            of(json!({"params": {"prompt": "${shared.notes}"}})),
            "spec.steps[a].params: the expression `shared.notes` has the unknown name shared",
        ),
        (
            json!({"steps": [agent("a", "x")], "shared": {"best": {"merge": "Max", "maxItems": 2}}}),
            "spec.shared[best].maxItems: is for merge Append",
        ),
        (
            json!({"steps": [agent("a", "${shared.m}")], "shared": {"best": {"merge": "Max"}}}),
            "spec.steps[a].params: the expression `shared.m` asks for m of shared, which has best",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"share": {"best": "${shared.best}"}}))], "shared": {"best": {"merge": "Max"}}}),
            "spec.steps[a].share: the expression `shared.best` has the unknown name shared",
        ),
        (
            json!({"steps": [agent("a", "x")], "onFailure": "Undo"}),
            "spec.onFailure: is Undo, and no step says how it is undone",
        ),
        (
            json!({"steps": [agent("a", "x")], "finally": [with(agent("b", "x"), undo)]}),
            "spec.finally[b].undo: finally comes after",
        ),
        (
            json!({"steps": [{"name": "a", "workflow": {"name": "w"}}], "budget": {"usd": "1", "depth": 1}}),
            "spec.budget.depth: is 1, and step a is a workflow",
        ),
        (
            of(json!({"undo": {}})),
            "spec.steps[a].undo: set exactly one of",
        ),
        (
            of(
                json!({"undo": {"agent": {"name": "a"}, "run": {"sandbox": {"image": "x"}, "command": ["x"]}}}),
            ),
            "spec.steps[a].undo: set exactly one of agent and run",
        ),
        (
            of(
                json!({"undo": {"run": {"sandbox": {"image": "x"}, "command": ["x", "${self.output}"]}}}),
            ),
            "spec.steps[a].undo.run.command: has an expression, and is taken as it is",
        ),
        (
            json!({"steps": [{"name": "a", "approval": {"ask": "x", "approvers": {"users": ["u"]}}, "forEach": [1]}]}),
            "spec.steps[a]: an approval or a wait runs nothing",
        ),
        (
            json!({"steps": [{"name": "a", "wait": {}}]}),
            "spec.steps[a].wait: set exactly one of for and until",
        ),
        (
            json!({"steps": [{"name": "a", "wait": {"for": "721h"}}]}),
            "spec.steps[a].wait.for: write 1s to 30 days",
        ),
        (
            json!({"steps": [{"name": "a", "wait": {"condition": "true"}}]}),
            "spec.steps[a].wait: set exactly one of for and until; with a condition they say how long",
        ),
        (
            json!({"steps": [agent("b", "x"), {"name": "a", "wait": {"for": "1h", "condition": "steps.b.failed"}}]}),
            "spec.steps[a].wait.condition: reads nothing that changes while it waits",
        ),
        (
            json!({"steps": [agent("a", "x")], "finally": [{"name": "b", "wait": {"for": "1s"}}]}),
            "spec.finally[b]: finally waits for nobody",
        ),
        (
            json!({"steps": [agent("a", "x")], "concurrency": {"key": "${steps.a.output}"}}),
            "spec.concurrency.key: knows params alone",
        ),
        (
            json!({"steps": [agent("a", "x")], "concurrency": {"key": "${params.repo}"}}),
            "spec.concurrency.key: the expression `params.repo` asks for params.repo, and there are none",
        ),
        (
            json!({"steps": [agent("a", "x")], "shared": {"best": {"merge": "Max"}}, "concurrency": {"key": "${string(shared.best)}"}}),
            "spec.concurrency.key: the expression `string(shared.best)` has the unknown name shared",
        ),
        (
            json!({"steps": [agent("a", "x")], "concurrency": {"key": " "}}),
            "spec.concurrency.key: write 1 to 2048 characters",
        ),
        (
            json!({"steps": [agent("a", "x")], "concurrency": {"key": "x", "limit": 101}}),
            "spec.concurrency.limit: write 1 to 100",
        ),
        (
            of(json!({"memo": {"key": "x", "ttl": "1h"}, "repeat": {"until": "true", "limit": 2}})),
            "spec.steps[a].memo: does not go with repeat",
        ),
        (
            of(json!({"memo": {"key": "${self.output}", "ttl": "1h"}})),
            "spec.steps[a].memo.key: the expression `self.output` has the unknown name self",
        ),
        (
            of(json!({"memo": {"key": "x", "ttl": "200h"}})),
            "spec.steps[a].memo.ttl: 200h is out of bounds: write 1s to 168h",
        ),
        (
            json!({"steps": [{"name": "a", "approval": {"ask": "x", "approvers": {"users": ["u"]}}, "memo": {"key": "x", "ttl": "1h"}}]}),
            "spec.steps[a]: an approval or a wait runs nothing",
        ),
        (
            of(json!({"workspace": {"from": "b"}})),
            "spec.steps[a].workspace.from: names b, which is none of the steps",
        ),
        (
            of(json!({"workspace": {"from": "self"}})),
            "spec.steps[a].workspace.from: names self, which is none of the steps",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"forEach": [1]})), with(agent("b", "x"), json!({"workspace": {"from": "a"}}))]}),
            "spec.steps[b].workspace.from: names a, which has no workspace of its own",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"workspace": {"from": "f"}}))], "finally": [agent("f", "x")]}),
            "spec.steps[a].workspace.from: names f, which is of finally",
        ),
        (
            json!({"steps": [agent("a", "x"), with(agent("b", "x"), json!({"files": [{"path": "x", "artifact": {"step": "a", "name": "app"}}]}))]}),
            "spec.steps[b].files: has the artifact app of a, which keeps none of that name",
        ),
        (
            of(json!({"workspace": {"from": "a"}})),
            "spec.steps[a]: waits for itself: a needs a",
        ),
    ];
    for (value, expected) in cases {
        let found = problems(value.clone());
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{value}\nexpected {expected}\nfound {found:#?}"
        );
    }
}
