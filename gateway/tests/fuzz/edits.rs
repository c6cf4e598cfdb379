//! Edits of bytes and of JSON. Each is a few numbers, so that a case that fails becomes small.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Words of the dialects: an edit that writes one reaches further than a random text does.
const WORDS: [&str; 40] = [
    "text",
    "content",
    "role",
    "user",
    "assistant",
    "system",
    "tool",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "index",
    "type",
    "delta",
    "choices",
    "finish_reason",
    "stop",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "error",
    "message",
    "model",
    "input",
    "output",
    "tool_use",
    "tool_result",
    "thinking",
    "refusal",
    "image_url",
    "data",
    "source",
    "parts",
    "candidates",
    "functionCall",
    "input_json_delta",
    "response",
    "item",
    "max_tokens",
];

/// An edit of JSON: where, by the number of a node, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Edit {
    at: u32,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Remove,
    Replace(Value),
    /// Writes a node over another one.
    Copy(u32),
    /// Repeats an item of a list.
    Repeat(u8),
    /// Puts it into lists.
    Nest(u8),
    Rename(&'static str),
    /// Adds a field, or an item.
    Add(&'static str, Value),
}

/// Values that are odd somewhere.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec![
            Value::Null,
            json!(true),
            json!(false),
            json!(0),
            json!(-1),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e308),
            json!(0.1),
            json!(""),
            json!([]),
            json!({}),
            json!([[]]),
            json!({"": null}),
            json!("\u{0}\u{7f}\u{85}\u{2028}\u{fffe}"),
            json!("data: x\n\ndata: [DONE]\n\n"),
            json!("{\"a\":"),
            json!("data:image/png;base64,AAAA"),
            json!(12),
            json!(1_000_000_000_001_u64),
        ]),
        select(&WORDS[..]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..4000_usize).prop_map(|size| Value::from("x".repeat(size))),
    ]
}

/// Up to five edits of JSON.
pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let what = prop_oneof![
        2 => Just(What::Remove),
        5 => odd().prop_map(What::Replace),
        3 => any::<u32>().prop_map(What::Copy),
        1 => (1..64_u8).prop_map(What::Repeat),
        1 => (1..140_u8).prop_map(What::Nest),
        3 => select(&WORDS[..]).prop_map(What::Rename),
        3 => (select(&WORDS[..]), odd()).prop_map(|(name, value)| What::Add(name, value)),
    ];
    let edit = (any::<u32>(), what).prop_map(|(at, what)| Edit { at, what });
    prop::collection::vec(edit, 0..6)
}

/// JSON with edits; what is no JSON stays what it is.
pub fn edited(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else {
        return text.to_vec();
    };
    for edit in edits {
        edit.apply(&mut value);
    }
    value.to_string().into_bytes()
}

/// The paths of all nodes, the outermost first.
fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
    into.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                paths(value, &format!("{path}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                paths(value, &format!("{path}/{at}"), into);
            }
        }
        _ => {}
    }
}

impl Edit {
    fn apply(&self, value: &mut Value) {
        let mut all = Vec::new();
        paths(value, "", &mut all);
        let pick = |at: u32| &all[at as usize % all.len()];
        let path = pick(self.at);
        match &self.what {
            What::Remove => change(value, path, |parent, name| match parent {
                Value::Object(fields) => drop(fields.remove(name)),
                Value::Array(items) => drop(items.remove(name.parse().unwrap())),
                _ => {}
            }),
            What::Replace(other) => value.pointer_mut(path).unwrap().clone_from(other),
            What::Copy(from) => {
                let copy = value.pointer(pick(*from)).unwrap().clone();
                *value.pointer_mut(path).unwrap() = copy;
            }
            What::Repeat(times) => change(value, path, |parent, name| {
                if let Value::Array(items) = parent {
                    let at: usize = name.parse().unwrap();
                    let item = items[at].clone();
                    items.extend(std::iter::repeat_n(item, usize::from(*times)));
                }
            }),
            What::Nest(depth) => {
                let node = value.pointer_mut(path).unwrap();
                for _ in 0..*depth {
                    *node = json!([node.take()]);
                }
            }
            What::Rename(new) => change(value, path, |parent, name| {
                if let Value::Object(fields) = parent
                    && let Some(value) = fields.remove(name)
                {
                    fields.insert((*new).to_owned(), value);
                }
            }),
            What::Add(name, new) => match value.pointer_mut(path).unwrap() {
                Value::Object(fields) => drop(fields.insert((*name).to_owned(), new.clone())),
                Value::Array(items) => items.push(new.clone()),
                _ => {}
            },
        }
    }
}

/// Changes the parent of a node, which it has by this name.
fn change(value: &mut Value, path: &str, change: impl FnOnce(&mut Value, &str)) {
    let Some((parent, name)) = path.rsplit_once('/') else {
        return; // the whole
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    change(value.pointer_mut(parent).unwrap(), &name);
}

/// An edit of bytes: where, by a number, and what.
#[derive(Clone, Debug)]
pub struct Slip {
    at: u32,
    what: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    Flip(u8),
    Insert(&'static [u8]),
    Drop(u8),
    Double(u8),
    CutOff,
}

const PIECES: [&[u8]; 18] = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\ud83d",
    b"\\udc00\\ud83d",
    b"\"",
    b"{",
    b"[",
    b":",
    b"data: ",
    b"event: error\n",
    b": comment\n",
    b"data: [DONE]\n\n",
    b"data: {\"error\":{\"message\":\"x\"}}\n\n",
];

/// Up to three edits of bytes, often none.
pub fn slips() -> impl Strategy<Value = Vec<Slip>> {
    let what = prop_oneof![
        any::<u8>().prop_map(Bytes::Flip),
        select(&PIECES[..]).prop_map(Bytes::Insert),
        any::<u8>().prop_map(Bytes::Drop),
        any::<u8>().prop_map(Bytes::Double),
        Just(Bytes::CutOff),
    ];
    let slip = (any::<u32>(), what).prop_map(|(at, what)| Slip { at, what });
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(slip, 1..4)]
}

/// Bytes with edits.
pub fn slipped(mut bytes: Vec<u8>, slips: &[Slip]) -> Vec<u8> {
    for slip in slips {
        let at = slip.at as usize % (bytes.len() + 1);
        let to = |size: u8| (at + usize::from(size)).min(bytes.len());
        match &slip.what {
            Bytes::Flip(with) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= with;
                }
            }
            Bytes::Insert(piece) => drop(bytes.splice(at..at, piece.iter().copied())),
            Bytes::Drop(size) => drop(bytes.drain(at..to(*size))),
            Bytes::Double(size) => {
                let piece = bytes[at..to(*size)].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            Bytes::CutOff => bytes.truncate(at),
        }
    }
    bytes
}

/// Where bytes are cut into pieces, by numbers.
pub fn cuts() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..12)
}

/// The pieces.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[u32]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts
        .iter()
        .map(|cut| *cut as usize % (bytes.len() + 1))
        .collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut from = 0;
    cuts.into_iter()
        .map(|to| {
            let piece = &bytes[from..to];
            from = to;
            piece
        })
        .collect()
}
