//! Finds the expressions in a text.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Stands as it is.
    Text(&'a str),
    /// What stands between `${` and its `}`.
    Expression(&'a str),
}

/// The pieces of a text: `${...}` is an expression, and `$${` stands for `${`. Braces within an expression, in its texts and its maps, are its own.
///
/// # Errors
/// The beginning of an expression that has no end.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            push(&mut pieces, escaped);
            push(&mut pieces, "${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        push(&mut pieces, before);
        let inside = from.get(2..).unwrap_or_default();
        let end = end(inside).ok_or(from)?;
        let (expression, after) = inside.split_at(end);
        pieces.push(Piece::Expression(expression));
        rest = after.get(1..).unwrap_or_default();
    }
    push(&mut pieces, rest);
    Ok(pieces)
}

fn push<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

/// Where the `}` stands that ends an expression.
fn end(text: &str) -> Option<usize> {
    let mut open = 0u32;
    let mut at = 0;
    while let Some(letter) = text.get(at..)?.chars().next() {
        match letter {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            '"' | '\'' => {
                let raw = text.get(..at)?.ends_with(['r', 'R']);
                at = literal(text, at, letter, raw)?;
                continue;
            }
            _ => {}
        }
        at += letter.len_utf8();
    }
    None
}

/// Where a literal text is over that begins at `at`, with one quote or with three.
fn literal(text: &str, at: usize, quote: char, raw: bool) -> Option<usize> {
    let from = text.get(at..)?;
    let three: String = std::iter::repeat_n(quote, 3).collect();
    let one = quote.to_string();
    let mark = if from.starts_with(&three) {
        &three
    } else {
        &one
    };
    let mut at = at + mark.len();
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(mark.as_str()) {
            return Some(at + mark.len());
        }
        let mut letters = rest.chars();
        let letter = letters.next()?;
        at += letter.len_utf8();
        if letter == '\\' && !raw {
            at += letters.next()?.len_utf8();
        }
    }
}
