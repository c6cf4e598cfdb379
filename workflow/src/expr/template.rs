//! Data with expressions in its texts.

use super::compile::{Expression, Reads, Scope};
use super::scan::{Piece, pieces};
use super::{Failed, Invalid, MAX_BYTES, MAX_LEVELS, Values, shown};
use serde_json::{Map, Value as Json};

/// Data of JSON, of which each text may be or contain expressions: `${...}`. A text that is one expression and nothing else has that one's value,
/// whatever its kind; in a longer text values are written out.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// Has none.
    Plain(Json),
    /// Is one.
    Whole(Expression),
    /// A text with some.
    Text(Vec<Part>),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Stands as it is.
    Text(String),
    /// Is written out.
    Value(Expression),
}

impl Template {
    /// Compiles data.
    ///
    /// # Errors
    /// The first expression that is wrong.
    pub fn compile(data: &Json, scope: &Scope) -> Result<Self, Invalid> {
        if super::depth(data) > MAX_LEVELS {
            return Err(Invalid {
                expression: String::new(),
                why: format!("stands in data of more than {MAX_LEVELS} levels"),
            });
        }
        Self::of(data, scope)
    }

    fn of(data: &Json, scope: &Scope) -> Result<Self, Invalid> {
        Ok(match data {
            Json::String(text) => Self::of_text(text, scope)?,
            Json::Array(list) => {
                let all = list.iter().map(|one| Self::of(one, scope));
                Self::List(all.collect::<Result<_, _>>()?)
            }
            Json::Object(object) => {
                let mut all = Vec::with_capacity(object.len());
                for (name, value) in object {
                    all.push((name.clone(), Self::of(value, scope)?));
                }
                Self::Object(all)
            }
            plain => Self::Plain(plain.clone()),
        })
    }

    fn of_text(text: &str, scope: &Scope) -> Result<Self, Invalid> {
        let pieces = pieces(text).map_err(|from| Invalid {
            expression: shown(from),
            why: "has no end: close it with }, or write $${ for the two letters themselves"
                .to_owned(),
        })?;
        if let [Piece::Expression(source)] = pieces.as_slice() {
            return Ok(Self::Whole(Expression::compile(source, scope)?));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match (piece, parts.last_mut()) {
                (Piece::Text(text), Some(Part::Text(last))) => last.push_str(text),
                (Piece::Text(text), _) => parts.push(Part::Text(text.to_owned())),
                (Piece::Expression(source), _) => {
                    parts.push(Part::Value(Expression::compile(source, scope)?));
                }
            }
        }
        Ok(match parts.as_slice() {
            [] => Self::Plain(Json::String(String::new())),
            [Part::Text(text)] => Self::Plain(Json::String(text.clone())),
            _ => Self::Text(parts),
        })
    }

    /// How many expressions are in data, before any of them is compiled.
    #[must_use]
    pub fn count(data: &Json) -> usize {
        match data {
            Json::String(text) => pieces(text).map_or(0, |pieces| {
                let expressions = pieces.iter();
                let expressions = expressions.filter(|piece| matches!(piece, Piece::Expression(_)));
                expressions.count()
            }),
            Json::Array(list) => list.iter().map(Self::count).sum(),
            Json::Object(object) => object.values().map(Self::count).sum(),
            _ => 0,
        }
    }

    /// What it reads.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.each(&mut |expression| reads.add(expression.reads()));
        reads
    }

    /// How many expressions are in it.
    #[must_use]
    pub fn expressions(&self) -> usize {
        let mut count = 0;
        self.each(&mut |_| count += 1);
        count
    }

    fn each(&self, visit: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Plain(_) => {}
            Self::Whole(expression) => visit(expression),
            Self::Text(parts) => {
                for part in parts {
                    if let Part::Value(expression) = part {
                        visit(expression);
                    }
                }
            }
            Self::List(all) => all.iter().for_each(|one| one.each(visit)),
            Self::Object(all) => all.iter().for_each(|(_, one)| one.each(visit)),
        }
    }

    /// The data with its values. It may take seconds: not for an async thread.
    ///
    /// # Errors
    /// The first expression that has no value.
    pub fn evaluate(&self, values: &Values) -> Result<Json, Failed> {
        let data = self.put_in(values)?;
        // What others read could not, and would be lost to them.
        if super::depth(&data) > MAX_LEVELS {
            return Err(Failed {
                expression: String::new(),
                why: format!("gives data of more than {MAX_LEVELS} levels"),
                too_large: true,
            });
        }
        Ok(data)
    }

    fn put_in(&self, values: &Values) -> Result<Json, Failed> {
        Ok(match self {
            Self::Plain(data) => data.clone(),
            Self::Whole(expression) => expression.evaluate(values)?,
            Self::Text(parts) => Json::String(written(parts, values)?),
            Self::List(all) => {
                let all = all.iter().map(|one| one.put_in(values));
                Json::Array(all.collect::<Result<_, _>>()?)
            }
            Self::Object(all) => {
                let mut object = Map::new();
                for (name, one) in all {
                    object.insert(name.clone(), one.put_in(values)?);
                }
                Json::Object(object)
            }
        })
    }
}

/// The parts of a text one after the other.
fn written(parts: &[Part], values: &Values) -> Result<String, Failed> {
    let mut text = String::new();
    for part in parts {
        let expression = match part {
            Part::Text(part) => {
                text.push_str(part);
                continue;
            }
            Part::Value(expression) => expression,
        };
        let failed = |why: &str, too_large| Failed {
            expression: shown(expression.source()),
            why: why.to_owned(),
            too_large,
        };
        match expression.evaluate(values)? {
            Json::String(value) => text.push_str(&value),
            // A text that says `null` is read by a model as if somebody had written it.
            Json::Null => {
                return Err(failed(
                    "gives null, which is nothing to write: say with .orValue(...) or ? : what stands in its place",
                    false,
                ));
            }
            value => text.push_str(&value.to_string()),
        }
        if text.len() > MAX_BYTES {
            return Err(failed("makes the text longer than 1 MiB", true));
        }
    }
    Ok(text)
}

/// Size of a value as JSON.
pub(crate) fn json_bytes(value: &Json) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}
