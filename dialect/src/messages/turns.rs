//! Turns in the order that Anthropic and Bedrock want, and names of calls that they take.

use crate::request::{CacheTtl, Content, Role, Thought, Turn};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

/// What a user says where the conversation does not begin with one: neither API takes an empty text.
pub(crate) const NOTHING: &str = ".";

/// Longest name of a call, of both APIs.
const MAX_ID: usize = 64;

/// A turn whose neighbours have other roles.
pub(crate) struct Said<'a> {
    pub(crate) role: Role,
    pub(crate) pieces: Vec<Piece<'a>>,
}

/// A part of it.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) content: &'a Content,
    pub(crate) cache: Option<CacheTtl>,
}

/// Turns with neighbours of one role merged, results of tools first in theirs, and without what is not taken: the thoughts that are not, and
/// text without a letter, which both APIs refuse. A mark of a cache on a part that is left out moves to the part before it.
pub(crate) fn arrange<'a>(turns: &[&'a Turn], takes: &dyn Fn(&Thought) -> bool) -> Vec<Said<'a>> {
    let is_taken = |content: &Content| match content {
        Content::Text(text) | Content::Refusal(text) => !text.trim().is_empty(),
        Content::Reasoning(thought) => takes(thought),
        Content::Media(_) | Content::ToolCall(_) | Content::ToolResult(_) => true,
    };
    let mut arranged: Vec<Said<'a>> = Vec::new();
    for turn in turns {
        for part in &turn.parts {
            let taken = is_taken(&part.content);
            let piece = Piece {
                content: &part.content,
                cache: part.cache,
            };
            match arranged.last_mut() {
                Some(said) if said.role == turn.role => {
                    if taken {
                        said.pieces.push(piece);
                    } else if let Some(last) = said.pieces.last_mut() {
                        last.cache = last.cache.or(part.cache);
                    }
                }
                _ if taken => arranged.push(Said {
                    role: turn.role,
                    pieces: vec![piece],
                }),
                _ => {}
            }
        }
    }
    for said in &mut arranged {
        let is_result = |piece: &Piece<'_>| matches!(piece.content, Content::ToolResult(_));
        said.pieces.sort_by_key(|piece| !is_result(piece)); // stable
    }
    arranged
}

/// The name of a call as an API takes it: as it is, or made from its hash. One name gives one, and two give two.
pub(crate) fn call_id<'a>(id: &'a str, also: &[u8]) -> Cow<'a, str> {
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || also.contains(&byte);
    if !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(fits) {
        return Cow::Borrowed(id);
    }
    let mut name = "toolu_".to_owned();
    for byte in Sha256::digest(id.as_bytes()).iter().take(16) {
        let _infallible = write!(name, "{byte:02x}");
    }
    Cow::Owned(name)
}

/// The tools that the conversation's calls name, each once.
pub(crate) fn tools_called<'a>(turns: &[Said<'a>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for piece in turns.iter().flat_map(|said| &said.pieces) {
        if let Content::ToolCall(call) = piece.content
            && seen.insert(call.name.as_str())
        {
            names.push(call.name.as_str());
        }
    }
    names
}
