//! An expression: compiled once, evaluated with values.

use super::meter::{Meter, TOO_MUCH};
use super::value::{from_json, key, to_json};
use super::{Failed, Invalid, MAX_BYTES, MAX_CHARACTERS, MAX_NESTING, Values, shown};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators,
};
use cel::objects::{Key, Map};
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
/// Counts a round of a comprehension.
const ROUND: &str = "@round";
/// Counts a value that stays after its round.
const MADE: &str = "@made";
/// What a comprehension goes over: a list, or the keys of a map in their order.
const RANGE: &str = "@range";
/// Most operators, calls, lists and parentheses within each other while it is read, and in what comes of that (a chain like `a + b + c` is
/// nested, too): each is a call within the one around it, here and when it is evaluated.
const MAX_READ: u16 = 32;
const MAX_DEPTH: usize = 48;

/// The names that an expression may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Each name but `steps`.
    pub names: BTreeSet<&'static str>,
    /// The steps that may be named.
    pub steps: BTreeSet<String>,
    /// What is known of a step.
    pub fields: BTreeSet<&'static str>,
}

/// What an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Names beside `steps`.
    pub names: BTreeSet<String>,
    /// Steps.
    pub steps: BTreeSet<String>,
}

impl Reads {
    /// Adds what another expression reads.
    pub fn add(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.steps.extend(other.steps.iter().cloned());
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
        if is_deep(&tree) {
            return Err(invalid(
                "is nested too deeply; compute a part of it in a step".to_owned(),
            ));
        }
        let mut walk = Walk {
            scope,
            reads: Reads::default(),
            bound: Vec::new(),
            nesting: 0,
        };
        walk.visit(&mut tree).map_err(invalid)?;
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
        if super::template::json_bytes(&json) > MAX_BYTES {
            return Err(failed("gives more than 8 MiB", true));
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
            bytes = bytes.saturating_add(super::template::json_bytes(json));
            if bytes > MAX_BYTES {
                return Err(
                    "reads more than 8 MiB: leave what is large in files, and name them".to_owned(),
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
        let meter = Meter::default();
        let (round, made) = (meter.clone(), meter);
        let functions = context
            .add_function(ROUND, move || round.round())
            .and_then(|()| context.add_function(MADE, move |value: Value| made.made(value)))
            .and_then(|()| context.add_function(RANGE, range));
        functions.map_err(|error| format!("cannot be evaluated: {error}"))?;
        Ok(context)
    }
}

/// What a comprehension goes over.
fn range(over: Value) -> Result<Value, ExecutionError> {
    match over {
        Value::Map(map) => {
            let mut keys: Vec<Key> = map.map.keys().cloned().collect();
            keys.sort();
            let keys = keys.into_iter().map(|key| match key {
                Key::Int(number) => Value::Int(number),
                Key::Uint(number) => Value::UInt(number),
                Key::Bool(truth) => Value::Bool(truth),
                Key::String(text) => Value::String(text),
            });
            Ok(Value::List(Arc::new(keys.collect())))
        }
        Value::List(_) => Ok(over),
        _ => Err(ExecutionError::UnexpectedType {
            got: String::new(),
            want: "list".to_owned(),
        }),
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
        _ => "uses a value of another kind than it needs: a field of what has none (null, a text, a number), or an operator or function that does not take it".to_owned(),
    }
}

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
    /// Names of comprehensions around.
    bound: Vec<String>,
    nesting: usize,
}

impl Walk<'_> {
    fn visit(&mut self, tree: &mut IdedExpr) -> Result<(), String> {
        let id = tree.id;
        match &mut tree.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => {
                Err("has bytes in it, which JSON does not: write a text".to_owned())
            }
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if self.step(&select.operand, &select.field)? {
                    return Ok(());
                }
                self.visit(&mut select.operand)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|all| self.visit(all)),
            Expr::Map(map) => map
                .entries
                .iter_mut()
                .try_for_each(|entry| match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        self.visit(&mut entry.key)?;
                        self.visit(&mut entry.value)
                    }
                    EntryExpr::StructField(_) => Err(NO_STRUCTS.to_owned()),
                }),
            Expr::Comprehension(all) => self.comprehension(id, all),
            Expr::Struct(_) => Err(NO_STRUCTS.to_owned()),
            Expr::Unspecified => Err("is empty".to_owned()),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        if self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        if self.scope.names.contains(name) {
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
            "has the unknown name {name}: it knows {}",
            if known.is_empty() {
                "none here".to_owned()
            } else {
                known.join(", ")
            }
        ))
    }

    /// Whether `operand.field` is a step, or something of one.
    fn step(&mut self, operand: &IdedExpr, field: &str) -> Result<bool, String> {
        if self.is_steps(operand) {
            return self.reads_step(field).map(|()| true);
        }
        if let Expr::Select(inner) = &operand.expr
            && self.is_steps(&inner.operand)
            && !self.scope.fields.contains(field)
        {
            let known: Vec<&str> = self.scope.fields.iter().copied().collect();
            return Err(format!(
                "asks for {field} of step {}, which has {}",
                inner.field,
                known.join(", ")
            ));
        }
        Ok(false)
    }

    fn is_steps(&self, tree: &IdedExpr) -> bool {
        let bound = self.bound.iter().any(|bound| bound == STEPS);
        !bound && matches!(&tree.expr, Expr::Ident(name) if name == STEPS)
    }

    fn reads_step(&mut self, name: &str) -> Result<(), String> {
        if !self.scope.steps.contains(name) {
            return Err(format!(
                "reads step {name}, which is not one that comes before it: name one of the workflow's steps"
            ));
        }
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
        if let Some(target) = &mut call.target {
            self.visit(target)?;
        }
        call.args.iter_mut().try_for_each(|all| self.visit(all))
    }

    fn comprehension(&mut self, id: u64, all: &mut ComprehensionExpr) -> Result<(), String> {
        self.visit(&mut all.iter_range)?;
        wrap(RANGE, &mut all.iter_range);
        self.visit(&mut all.accu_init)?;
        if self.nesting >= MAX_NESTING {
            return Err(format!(
                "has more than {MAX_NESTING} of map, filter, all and exists within each other; compute it in a step"
            ));
        }
        self.nesting += 1;
        let before = self.bound.len();
        self.bound.push(all.iter_var.clone());
        self.bound.extend(all.iter_var2.clone());
        self.bound.push(all.accu_var.clone());
        self.visit(&mut all.loop_cond)?;
        self.visit(&mut all.loop_step)?;
        self.visit(&mut all.result)?;
        self.bound.truncate(before);
        self.nesting -= 1;
        count(id, all);
        Ok(())
    }
}

/// Has each round of a comprehension counted. `map` and `filter` are told by the condition of their loop, which the crate wants to be a literal:
/// then it makes their list in place.
fn count(id: u64, all: &mut ComprehensionExpr) {
    if !matches!(all.loop_cond.expr, Expr::Literal(_)) {
        return counted(id, &mut all.loop_cond);
    }
    match &mut all.loop_step.expr {
        Expr::Call(choice) if choice.func_name == operators::CONDITIONAL => {
            if let [guard, step, _] = choice.args.as_mut_slice() {
                counted(id, guard);
                made(step);
            }
        }
        _ => made(&mut all.loop_step),
    }
}

/// Counts what a step adds to its list.
fn made(step: &mut IdedExpr) {
    if let Expr::Call(add) = &mut step.expr
        && let Some(last) = add.args.last_mut()
        && let Expr::List(list) = &mut last.expr
    {
        list.elements.iter_mut().for_each(|one| wrap(MADE, one));
    }
}

/// Counts a round where a condition is asked that each has. Last, so that an end counts none.
fn counted(id: u64, condition: &mut IdedExpr) {
    let goes_on = std::mem::take(condition);
    let round = IdedExpr {
        id,
        expr: call(ROUND, Vec::new()),
    };
    condition.id = id;
    condition.expr = call(operators::LOGICAL_AND, vec![goes_on, round]);
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

/// The names of a scope, as a test or a message wants them.
impl Scope {
    /// A scope of these names, without steps.
    #[must_use]
    pub fn of(names: &[&'static str]) -> Self {
        Self {
            names: names.iter().copied().collect(),
            ..Self::default()
        }
    }
}

/// Values for tests and callers with few names.
impl From<BTreeMap<String, Json>> for Values {
    fn from(names: BTreeMap<String, Json>) -> Self {
        Self {
            names,
            steps: BTreeMap::new(),
        }
    }
}
