//! An expression: compiled once, evaluated with values.

use super::meter::{KINDS, Meter, NO_PATTERN, OVERFLOW, TOO_MUCH};
use super::value::{from_json, key, to_json};
use super::{Failed, Invalid, MAX_BYTES, MAX_CHARACTERS, MAX_NESTING, Values, shown};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};
use cel::extractors::This;
use cel::objects::Map;
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, Value};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Functions that an expression may call, beside operators.
const FUNCTIONS: [&str; 15] = [
    "contains",
    "double",
    "endsWith",
    "hasValue",
    "int",
    "matches",
    "max",
    "min",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "uint",
    "value",
];
/// The name under which steps are found.
const STEPS: &str = "steps";
/// What a step with `forEach` has that is only given to who asks for it.
const ITEMS: &str = "items";
/// Counts a round of a comprehension.
const ROUND: &str = "@round";
/// Counts a value that is put together.
const MADE: &str = "@made";
/// Stands for the operator.
const ADD: &str = "@add";
/// What a comprehension goes over: a list, or the keys of a map in their order.
const RANGE: &str = "@range";
/// Most operators, calls, lists and parentheses within each other while it is read, and in what comes of that (a chain like `a + b + c` is
/// nested, too): each is a call within the one around it, here and when it is evaluated.
const MAX_READ: u16 = 32;
const MAX_DEPTH: usize = 40;

/// The names that an expression may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Each name but `steps`.
    pub names: BTreeSet<&'static str>,
    /// Of names that are objects with known fields: these, each with whether it is always there.
    pub objects: BTreeMap<&'static str, BTreeMap<String, bool>>,
    /// The steps that may be named.
    pub steps: BTreeSet<String>,
    /// What is known of a step.
    pub fields: BTreeSet<&'static str>,
}

impl Scope {
    /// Adds a name that is an object with known fields, each with whether it is always there.
    pub fn add(&mut self, name: &'static str, fields: BTreeMap<String, bool>) {
        self.names.insert(name);
        self.objects.insert(name, fields);
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &str) {
        self.names.remove(name);
        self.objects.remove(name);
    }
}

/// What an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Names beside `steps`.
    pub names: BTreeSet<String>,
    /// Steps.
    pub steps: BTreeSet<String>,
    /// Those of them whose items it asks for.
    pub items: BTreeSet<String>,
    /// Texts that it gives as they stand.
    pub texts: BTreeSet<String>,
}

impl Reads {
    /// Adds what another expression reads.
    pub fn add(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.steps.extend(other.steps.iter().cloned());
        self.items.extend(other.items.iter().cloned());
        self.texts.extend(other.texts.iter().cloned());
    }
}

/// An expression that can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    source: String,
    tree: IdedExpr,
    reads: Reads,
}

impl Expression {
    /// Compiles the text of an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, Invalid> {
        let invalid = |why: String| Invalid {
            expression: shown(source),
            why,
        };
        if source.chars().count() > MAX_CHARACTERS {
            return Err(invalid(format!(
                "has more than {MAX_CHARACTERS} characters; compute a part of it in a step"
            )));
        }
        if source.trim().is_empty() {
            return Err(invalid("is empty".to_owned()));
        }
        let parser = PrattParser::new()
            .enable_optional_syntax(true)
            .max_recursion_depth(MAX_READ);
        let mut tree = parser.parse(source).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.clone());
            let first = first.unwrap_or_else(|| "it cannot be read".to_owned());
            invalid(format!("is not CEL: {}", shown(&first)))
        })?;
        let deep = || invalid("is nested too deeply; compute a part of it in a step".to_owned());
        if is_deep(&tree) {
            return Err(deep());
        }
        let mut walk = Walk {
            scope,
            reads: Reads::default(),
            bound: Vec::new(),
            outside: Vec::new(),
        };
        walk.visit(&mut tree).map_err(invalid)?;
        if is_deep(&tree) {
            return Err(deep()); // what counts is around what is counted
        }
        Ok(Self {
            source: source.to_owned(),
            tree,
            reads: walk.reads,
        })
    }

    /// Its text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it reads.
    #[must_use]
    pub const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Its value. It may take a second: not for an async thread.
    ///
    /// # Errors
    /// Why it has none.
    pub fn evaluate(&self, values: &Values) -> Result<Json, Failed> {
        let failed = |why: &str, too_large| Failed {
            expression: shown(&self.source),
            why: why.to_owned(),
            too_large,
        };
        let context = self.context(values).map_err(|why| failed(&why, true))?;
        let value = Value::resolve(&self.tree, &context).map_err(|error| {
            let too_large = is_too_much(&error);
            failed(&explain(&error), too_large)
        })?;
        let json = to_json(&value).map_err(|why| failed(why, false))?;
        if super::json_bytes(&json) > MAX_BYTES {
            return Err(failed("gives more than 1 MiB", true));
        }
        Ok(json)
    }

    /// Its value, which is to be true or false.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn holds(&self, values: &Values) -> Result<bool, Failed> {
        self.evaluate(values)?.as_bool().ok_or_else(|| Failed {
            expression: shown(&self.source),
            why: "gives neither true nor false: compare what it gives with something".to_owned(),
            too_large: false,
        })
    }

    /// The names it reads, with their values, and its functions.
    fn context(&self, values: &Values) -> Result<Context<'static, 'static>, String> {
        let mut bytes = 0usize;
        let mut count = |json: &Json| {
            bytes = bytes.saturating_add(super::json_bytes(json));
            if bytes > MAX_BYTES {
                return Err(
                    "reads more than 1 MiB: leave what is large in files, and name them".to_owned(),
                );
            }
            Ok(())
        };
        let mut context = Context::default();
        for name in &self.reads.names {
            let json = values.names.get(name).unwrap_or(&Json::Null);
            count(json)?;
            context.add_variable_from_value(name.as_str(), from_json(json));
        }
        let mut steps = HashMap::new();
        for name in &self.reads.steps {
            let json = values.steps.get(name).unwrap_or(&Json::Null);
            count(json)?;
            steps.insert(key(name), from_json(json));
        }
        let steps = Value::Map(Map {
            map: Arc::new(steps),
        });
        context.add_variable_from_value(STEPS, steps);
        let meter = Meter::new(bytes);
        let (round, made) = (meter.clone(), meter.clone());
        let (add, range) = (meter.clone(), meter.clone());
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            meter.matches(&text, &pattern)
        };
        let functions = context
            .add_function(ROUND, move |names: i64| round.round(names))
            .and_then(|()| context.add_function(MADE, move |value: Value| made.made(value)))
            .and_then(|()| context.add_function("matches", matches))
            .and_then(|()| context.add_function(ADD, move |a: Value, b: Value| add.add(a, b)))
            .and_then(|()| context.add_function(RANGE, move |over: Value| range.range(over)));
        functions.map_err(|error| format!("cannot be evaluated: {error}"))?;
        Ok(context)
    }
}

fn is_too_much(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::FunctionError { function, .. } if function == TOO_MUCH)
}

/// What went wrong, without the values: they are what models and programs said.
fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { function, .. } if function == TOO_MUCH => {
            "does too much: its lists are too long to be gone through like that; compute it in a step".to_owned()
        }
        ExecutionError::FunctionError { function, .. } if function == OVERFLOW => {
            "gives a number that is too large".to_owned()
        }
        ExecutionError::FunctionError { function, .. } if function == KINDS => OTHER_KIND.to_owned(),
        ExecutionError::FunctionError { function, .. } if function == NO_PATTERN => {
            "has a pattern that is no regular expression, or too large a one".to_owned()
        }
        ExecutionError::FunctionError { function, .. } if function == "value" => {
            "takes the value of an optional that has none: use .orValue(...)".to_owned()
        }
        ExecutionError::FunctionError { function, .. } => {
            format!("has a call of {function} that fails: its argument does not fit")
        }
        ExecutionError::NoSuchKey(name) => format!(
            "asks for {}, which is not there: write .?{} with .orValue(...) where it may be absent",
            shown(name),
            shown(name)
        ),
        ExecutionError::IndexOutOfBounds(_) => "asks for an element that its list has not".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "gives a number that is too large".to_owned(),
        ExecutionError::ValuesNotComparable(..) => {
            "compares values of different kinds: make them alike with int(), double() or string()".to_owned()
        }
        _ => OTHER_KIND.to_owned(),
    }
}

const OTHER_KIND: &str = "uses a value of another kind than it needs: a field of what has none (null, a text, a number), or an operator or function that does not take it";

/// Whether a tree is deeper than a walk may go, which is itself none.
fn is_deep(tree: &IdedExpr) -> bool {
    let mut open = vec![(tree, 0)];
    while let Some((tree, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return true;
        }
        let mut push = |inner| open.push((inner, depth + 1));
        match &tree.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
            Expr::Select(select) => push(&select.operand),
            Expr::Call(call) => {
                call.target.iter().for_each(|target| push(target));
                call.args.iter().for_each(push);
            }
            Expr::List(list) => list.elements.iter().for_each(push),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        push(&entry.key);
                        push(&entry.value);
                    }
                }
            }
            Expr::Comprehension(all) => [
                &all.iter_range,
                &all.accu_init,
                &all.loop_cond,
                &all.loop_step,
                &all.result,
            ]
            .into_iter()
            .for_each(push),
        }
    }
    false
}

/// One walk over an expression: what it reads, what is refused, and what is put in its place (see the module's table).
struct Walk<'a> {
    scope: &'a Scope,
    reads: Reads,
    /// Names of comprehensions around, each with how many there are around it.
    bound: Vec<(String, usize)>,
    /// Of each comprehension around, how often its body names something from outside.
    outside: Vec<i64>,
}

impl Walk<'_> {
    fn visit(&mut self, tree: &mut IdedExpr) -> Result<(), String> {
        let id = tree.id;
        match &mut tree.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => {
                Err("has bytes in it, which JSON does not: write a text".to_owned())
            }
            Expr::Literal(LiteralValue::String(text)) => {
                self.reads.texts.insert(text.inner().to_owned());
                Ok(())
            }
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if self.step(&select.operand, &select.field)? {
                    return Ok(());
                }
                self.field(&select.operand, &select.field, select.test)?;
                self.visit(&mut select.operand)
            }
            Expr::Call(call) => {
                self.call(call)?;
                if call.func_name == operators::ADD {
                    ADD.clone_into(&mut call.func_name);
                }
                Ok(())
            }
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.visit(element)?;
                    wrap(MADE, element);
                }
                Ok(())
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err(NO_STRUCTS.to_owned());
                    };
                    for part in [&mut entry.key, &mut entry.value] {
                        self.visit(part)?;
                        wrap(MADE, part);
                    }
                }
                Ok(())
            }
            Expr::Comprehension(all) => self.comprehension(id, all),
            Expr::Struct(_) => Err(NO_STRUCTS.to_owned()),
            Expr::Unspecified => Err("is empty".to_owned()),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        // The innermost of a name is meant.
        let own = self.bound.iter().rev().find(|(bound, _)| bound == name);
        if let Some((_, depth)) = own {
            let depth = *depth;
            self.named(depth);
            return Ok(());
        }
        if self.scope.names.contains(name) {
            self.named(0);
            self.reads.names.insert(name.to_owned());
            return Ok(());
        }
        if name == STEPS {
            return Err("uses steps without the name of one: write steps.NAME".to_owned());
        }
        let known = self.scope.names.iter().copied();
        let steps = (!self.scope.steps.is_empty()).then_some("steps.NAME");
        let known: Vec<&str> = known.chain(steps).collect();
        Err(format!(
            "has the unknown name {name}: it knows {}; in a text, $${{ stands for the characters ${{",
            if known.is_empty() {
                "none here".to_owned()
            } else {
                known.join(", ")
            }
        ))
    }

    /// Something is named that is of the comprehension of this depth, or with 0 of none: for those within it is from outside.
    fn named(&mut self, depth: usize) {
        for outside in self.outside.iter_mut().skip(depth) {
            *outside = outside.saturating_add(1);
        }
    }

    /// Whether `operand.field` is a step, or something of one.
    fn step(&mut self, operand: &IdedExpr, field: &str) -> Result<bool, String> {
        if self.is_steps(operand) {
            return self.reads_step(field).map(|()| true);
        }
        if let Expr::Select(inner) = &operand.expr
            && self.is_steps(&inner.operand)
        {
            if self.scope.fields.contains(field) {
                if field == ITEMS {
                    self.reads.items.insert(inner.field.clone());
                }
                return Ok(false);
            }
            let known: Vec<&str> = self.scope.fields.iter().copied().collect();
            return Err(format!(
                "asks for {field} of step {}, which has {}",
                inner.field,
                known.join(", ")
            ));
        }
        Ok(false)
    }

    /// Whether an object with known fields has one.
    fn field(&self, operand: &IdedExpr, field: &str, may_be_absent: bool) -> Result<(), String> {
        let Expr::Ident(name) = &operand.expr else {
            return Ok(());
        };
        let bound = self.bound.iter().any(|(bound, _)| bound == name);
        let Some(fields) = self.scope.objects.get(name.as_str()).filter(|_| !bound) else {
            return Ok(());
        };
        match fields.get(field) {
            Some(true) => Ok(()),
            Some(false) if may_be_absent => Ok(()),
            Some(false) => Err(format!(
                "asks for {name}.{field}, which may be absent: write {name}.?{field}.orValue(...), require it, or give it a default"
            )),
            None if fields.is_empty() => Err(format!(
                "asks for {name}.{field}, and there are none: declare it"
            )),
            None => {
                let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                Err(format!(
                    "asks for {field} of {name}, which has {}",
                    known.join(", ")
                ))
            }
        }
    }

    fn is_steps(&self, tree: &IdedExpr) -> bool {
        let bound = self.bound.iter().any(|(bound, _)| bound == STEPS);
        !bound && matches!(&tree.expr, Expr::Ident(name) if name == STEPS)
    }

    fn reads_step(&mut self, name: &str) -> Result<(), String> {
        if !self.scope.steps.contains(name) {
            return Err(format!(
                "reads step {name}, which there is not: name one of {}",
                some_of(&self.scope.steps)
            ));
        }
        self.named(0);
        self.reads.steps.insert(name.to_owned());
        Ok(())
    }

    fn call(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let function = call.func_name.as_str();
        let operator = function.starts_with(['_', '!', '-', '@']);
        if !operator && !FUNCTIONS.contains(&function) {
            return Err(format!(
                "calls {function}, which is none of {}, map, filter, all, exists, exists_one and has",
                FUNCTIONS.join(", ")
            ));
        }
        if function == operators::OPT_SELECT
            && call.args.first().is_some_and(|of| self.is_steps(of))
        {
            return Err("asks whether a step exists: each one does; write steps.NAME".to_owned());
        }
        if call.func_name == operators::OPT_SELECT
            && let [of, field] = call.args.as_slice()
            && let Expr::Literal(LiteralValue::String(field)) = &field.expr
        {
            self.step(of, field.inner())?;
            self.field(of, field.inner(), true)?;
        }
        if let Some(target) = &mut call.target {
            self.visit(target)?;
        }
        call.args.iter_mut().try_for_each(|all| self.visit(all))
    }

    fn comprehension(&mut self, id: u64, all: &mut ComprehensionExpr) -> Result<(), String> {
        self.visit(&mut all.iter_range)?;
        wrap(RANGE, &mut all.iter_range);
        self.visit(&mut all.accu_init)?;
        if self.outside.len() >= MAX_NESTING {
            return Err(format!(
                "has more than {MAX_NESTING} of map, filter, all and exists within each other; compute it in a step"
            ));
        }
        self.outside.push(0);
        let (before, depth) = (self.bound.len(), self.outside.len());
        let names = [
            Some(&all.iter_var),
            all.iter_var2.as_ref(),
            Some(&all.accu_var),
        ];
        let names = names.into_iter().flatten();
        self.bound.extend(names.map(|name| (name.clone(), depth)));
        self.body(all)?;
        self.bound.truncate(before);
        let outside = self.outside.pop().unwrap_or_default();
        count(id, all, outside);
        Ok(())
    }

    /// What is evaluated in each round. What the crate makes of `map` and `filter` stays as it is but for the parts that were written: it makes their
    /// list in place, where it knows them.
    fn body(&mut self, all: &mut ComprehensionExpr) -> Result<(), String> {
        self.visit(&mut all.loop_cond)?;
        match appends(all) {
            Some((guard, items)) => {
                if let Some(guard) = guard {
                    self.visit(guard)?;
                }
                items.iter_mut().try_for_each(|item| self.visit(item))?;
            }
            None => self.visit(&mut all.loop_step)?,
        }
        self.visit(&mut all.result)
    }
}

/// Of a comprehension that adds to a list in each round, what it asks before and what it adds.
fn appends(all: &mut ComprehensionExpr) -> Option<(Option<&mut IdedExpr>, &mut Vec<IdedExpr>)> {
    if !matches!(all.loop_cond.expr, Expr::Literal(_)) {
        return None;
    }
    let Expr::Call(step) = &mut all.loop_step.expr else {
        return None;
    };
    if step.func_name == operators::CONDITIONAL {
        let [guard, then, _] = step.args.as_mut_slice() else {
            return None;
        };
        return Some((Some(guard), added(then)?));
    }
    let Expr::List(list) = &mut step.args.last_mut()?.expr else {
        return None;
    };
    Some((None, &mut list.elements))
}

/// What stands in the list that is added.
fn added(step: &mut IdedExpr) -> Option<&mut Vec<IdedExpr>> {
    let Expr::Call(add) = &mut step.expr else {
        return None;
    };
    match &mut add.args.last_mut()?.expr {
        Expr::List(list) => Some(&mut list.elements),
        _ => None,
    }
}

/// Has each round of a comprehension counted, and what stays after it.
fn count(id: u64, all: &mut ComprehensionExpr, outside: i64) {
    match appends(all) {
        Some((guard, items)) => {
            items.iter_mut().for_each(|item| wrap(MADE, item));
            match guard {
                Some(guard) => counted(id, guard, outside),
                None => {
                    if let Some(first) = items.first_mut() {
                        let item = std::mem::take(first);
                        let nothing = IdedExpr {
                            id,
                            expr: Expr::Literal(LiteralValue::Null),
                        };
                        let args = vec![round(id, outside), item, nothing];
                        first.id = id;
                        first.expr = call(operators::CONDITIONAL, args);
                    }
                }
            }
        }
        None => counted(id, &mut all.loop_cond, outside),
    }
}

/// Counts a round where a condition is asked that each has. Last, so that an end counts none.
fn counted(id: u64, condition: &mut IdedExpr, outside: i64) {
    let goes_on = std::mem::take(condition);
    condition.id = id;
    condition.expr = call(operators::LOGICAL_AND, vec![goes_on, round(id, outside)]);
}

fn round(id: u64, outside: i64) -> IdedExpr {
    let names = IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::Int(outside.into())),
    };
    IdedExpr {
        id,
        expr: call(ROUND, vec![names]),
    }
}

/// Some of the names that there are.
fn some_of(names: &BTreeSet<String>) -> String {
    const SOME: usize = 12;
    let mut text: Vec<&str> = names.iter().take(SOME).map(String::as_str).collect();
    if names.len() > SOME {
        text.push("...");
    }
    text.join(", ")
}

const NO_STRUCTS: &str = "builds a message of a type, and there are none: write a map";

fn call(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: None,
        args,
    })
}

/// Puts a call of a function around an expression.
fn wrap(function: &str, tree: &mut IdedExpr) {
    let inner = std::mem::take(tree);
    tree.id = inner.id;
    tree.expr = call(function, vec![inner]);
}
