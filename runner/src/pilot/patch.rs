//! A unified diff of one file, applied. Nothing is guessed: the lines of each hunk must stand in the file as they are, at the line that
//! the hunk names or at one other place, and all hunks must fit. What does not fit is told to the model with what stands there instead.

use diffy::{Hunk, HunkRange, Line, Patch};
use memchr::{memchr_iter, memmem};
use oarmaster_protocol::exec::{Bytes, MAX_FILE_BYTES, Request};
use oarmaster_protocol::text::shorten;

#[cfg(test)]
mod tests;

/// Most hunks of a diff: each may be searched for in the whole file.
const MAX_HUNKS: usize = 200;
/// Characters of a line that a message repeats.
const QUOTED_CHARS: usize = 200;

const FORM: &str = "A hunk begins with `@@ -LINE,COUNT +LINE,COUNT @@`. The first count is that of its lines that begin with a space or `-`, the second that of those that begin with a space or `+`.";
const NO_END: &str = "The last line of the file has no line end: write `\\ No newline at end of file` below that line in the diff.";
const MORE_FILES: &str =
    "The diff is of more than one file. Call EditFile once for each file, with its own diff.";

/// A diff that is still to be applied to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file.
    pub path: String,
    /// The diff.
    pub diff: String,
}

impl Edit {
    /// The request that reads the whole file.
    #[must_use]
    pub fn read(&self) -> Request {
        Request::Read {
            path: self.path.clone(),
            first_line: 1,
            lines: u64::MAX,
            max_bytes: MAX_FILE_BYTES as u64,
        }
    }

    /// The request that writes the file anew, with all hunks applied. `whole` is whether `content` is all of the file.
    ///
    /// # Errors
    /// A sentence for the model: what does not fit, and what to do.
    pub fn write(&self, content: &[u8], whole: bool) -> Result<Request, String> {
        let too_large = || {
            format!(
                "`{}` has more than {MAX_FILE_BYTES} bytes, or would have them; nothing was written",
                self.path
            )
        };
        if !whole {
            return Err(too_large());
        }
        let content = apply(content, &self.diff)?;
        if content.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(Request::Write {
            path: self.path.clone(),
            content: Bytes(content),
        })
    }
}

/// The content with the diff applied. A file whose lines all end with `\r\n` keeps them, whatever the diff's own lines end with.
///
/// # Errors
/// A sentence for the model.
fn apply(content: &[u8], diff: &str) -> Result<Vec<u8>, String> {
    let mut diff = diff.to_owned();
    if !diff.ends_with('\n') {
        diff.push('\n'); // else the last line would be one without an end
    }
    if !all_crlf(content) {
        return apply_exactly(content, &diff);
    }
    let mut bare = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                bare.extend_from_slice(line);
                bare.push(b'\n');
            }
            None => bare.extend_from_slice(line),
        }
    }
    let bare = apply_exactly(&bare, &diff.replace("\r\n", "\n"))?;
    let mut content = Vec::with_capacity(bare.len());
    for line in bare.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                content.extend_from_slice(line);
                content.extend_from_slice(b"\r\n");
            }
            None => content.extend_from_slice(line),
        }
    }
    Ok(content)
}

fn all_crlf(content: &[u8]) -> bool {
    let mut ends = memchr_iter(b'\n', content).peekable();
    ends.peek().is_some()
        && ends.all(|at| at > 0 && content.get(at - 1).is_some_and(|byte| *byte == b'\r'))
}

fn apply_exactly(content: &[u8], diff: &str) -> Result<Vec<u8>, String> {
    let patch = parse(diff)?;
    let mut file = File {
        content,
        taken: 0,
        line: 1,
    };
    let mut patched = Vec::with_capacity(content.len());
    let count = patch.hunks().len();
    for (index, hunk) in patch.hunks().iter().enumerate() {
        let (old, new) = sides(hunk);
        let (from, to) = place(&file, hunk, &old, &new).map_err(|problem| {
            format!(
                "Hunk {} of {count} (`@@ -{} +{} @@`) does not fit, so nothing was written. {problem}",
                index + 1,
                range(hunk.old_range()),
                range(hunk.new_range())
            )
        })?;
        patched.extend_from_slice(content.get(file.taken..from).unwrap_or_default());
        if !new.is_empty() && !patched.is_empty() && !patched.ends_with(b"\n") {
            return Err(NO_END.to_owned()); // two lines would become one
        }
        patched.extend_from_slice(&new);
        file.take(to);
    }
    patched.extend_from_slice(file.rest());
    Ok(patched)
}

/// The diff, if it is one of one file and nothing of it is left over.
fn parse(diff: &str) -> Result<Patch<'_, str>, String> {
    let patch = Patch::from_str(diff).map_err(|error| {
        if of_several_files(diff) {
            MORE_FILES.to_owned()
        } else {
            format!("The diff cannot be read: {error}. {FORM}")
        }
    })?;
    if [patch.original(), patch.modified()].contains(&Some("/dev/null")) {
        return Err(
            "The diff makes or removes a file. EditFile changes a file that is there; use WriteFile for a new one."
                .to_owned(),
        );
    }
    if patch.hunks().is_empty() {
        return Err(format!("The diff has no hunk. {FORM}"));
    }
    if patch.hunks().len() > MAX_HUNKS {
        return Err(format!(
            "The diff has more than {MAX_HUNKS} hunks. Send it in parts."
        ));
    }
    // The parser ends where a hunk's counts end, and says nothing of lines behind it.
    let read: usize = patch
        .hunks()
        .iter()
        .map(|hunk| 1 + hunk.lines().len())
        .sum();
    let left_over = diff
        .lines()
        .skip_while(|line| !line.starts_with("@@ "))
        .filter(|line| !line.starts_with("\\ No newline at end of file"))
        .skip(read)
        .find(|line| !line.trim().is_empty());
    match left_over {
        None => Ok(patch),
        Some(_) if of_several_files(diff) => Err(MORE_FILES.to_owned()),
        Some(line) => Err(format!(
            "The diff cannot be read: {} belongs to no hunk, by the counts of the hunk above it. {FORM}",
            quoted(line.as_bytes())
        )),
    }
}

fn of_several_files(diff: &str) -> bool {
    let mut above = "";
    let mut files = 0;
    for line in diff.lines() {
        files += usize::from(above.starts_with("--- ") && line.starts_with("+++ "));
        above = line;
    }
    files > 1
}

/// The lines of a hunk before and after.
fn sides(hunk: &Hunk<'_, str>) -> (Vec<u8>, Vec<u8>) {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for line in hunk.lines() {
        match line {
            Line::Context(line) => {
                old.extend_from_slice(line.as_bytes());
                new.extend_from_slice(line.as_bytes());
            }
            Line::Delete(line) => old.extend_from_slice(line.as_bytes()),
            Line::Insert(line) => new.extend_from_slice(line.as_bytes()),
        }
    }
    (old, new)
}

/// The file, and how much of it the hunks so far have taken: always whole lines.
struct File<'a> {
    content: &'a [u8],
    taken: usize,
    /// Number of the line that begins at `taken`, from 1.
    line: usize,
}

impl<'a> File<'a> {
    fn rest(&self) -> &'a [u8] {
        self.content.get(self.taken..).unwrap_or_default()
    }

    fn take(&mut self, to: usize) {
        self.line = self.number_at(to);
        self.taken = to;
    }

    /// Number of the line that begins at `at`, which is not before `taken`.
    fn number_at(&self, at: usize) -> usize {
        let between = self.content.get(self.taken..at).unwrap_or_default();
        self.line + memchr_iter(b'\n', between).count()
    }

    /// Where this line begins; the line after the last one begins at the end. `None` for one that is taken, or beyond.
    fn begin_of(&self, line: usize) -> Option<usize> {
        match line.checked_sub(self.line)? {
            0 => Some(self.taken),
            below => memchr_iter(b'\n', self.rest())
                .nth(below - 1)
                .map(|end| self.taken + end + 1),
        }
    }

    /// Where `lines` stand as whole lines, at `at`: where they end.
    fn end_at(&self, at: usize, lines: &[u8]) -> Option<usize> {
        let end = at + lines.len();
        let whole = lines.ends_with(b"\n") || end == self.content.len();
        (whole && self.content.get(at..end) == Some(lines)).then_some(end)
    }

    /// The first two places where `lines` stand as whole lines.
    fn places(&self, lines: &[u8]) -> Vec<usize> {
        if !lines.ends_with(b"\n") {
            // Only the file's last line has no end.
            let at = self.content.len().checked_sub(lines.len());
            let begins = |at: &usize| {
                *at == self.taken || *at > self.taken && self.content.get(at - 1) == Some(&b'\n')
            };
            let at = at.filter(|at| begins(at) && self.end_at(*at, lines).is_some());
            return at.into_iter().collect();
        }
        let below = [b"\n", lines].concat();
        let finder = memmem::Finder::new(&below);
        let mut places: Vec<usize> = Vec::new();
        places.extend(self.end_at(self.taken, lines).map(|_| self.taken));
        let mut from = self.taken;
        while places.len() < 2 {
            let rest = self.content.get(from..).unwrap_or_default();
            let Some(found) = finder.find(rest) else {
                break;
            };
            from += found + 1;
            places.push(from);
        }
        places
    }
}

/// From where to where the hunk's old lines stand.
fn place(
    file: &File<'_>,
    hunk: &Hunk<'_, str>,
    old: &[u8],
    new: &[u8],
) -> Result<(usize, usize), String> {
    let stated = hunk.old_range().start();
    let (from, to) = if old.is_empty() {
        // Without a line of context the header alone says where: below this line.
        let at = file
            .begin_of(stated.saturating_add(1))
            .ok_or_else(|| beyond(file, stated))?;
        (at, at)
    } else {
        let at = file.begin_of(stated.max(1));
        let here = at.and_then(|at| Some((at, file.end_at(at, old)?)));
        match (here, file.places(old).as_slice()) {
            (Some(here), _) => here,
            (None, [at]) => (*at, at + old.len()),
            (None, [first, second, ..]) => {
                return Err(format!(
                    "Its lines are not at line {stated}, but at more than one other place (lines {} and {}). Add lines around them until they are at one place, or correct the line.",
                    file.number_at(*first),
                    file.number_at(*second)
                ));
            }
            (None, []) => return Err(differs(file, stated, at, old)),
        }
    };
    let unended = !new.is_empty() && !new.ends_with(b"\n");
    if unended && to < file.content.len() {
        return Err(
            "`\\ No newline at end of file` stands below a line that is not the file's last."
                .to_owned(),
        );
    }
    Ok((from, to))
}

fn beyond(file: &File<'_>, stated: usize) -> String {
    if stated < file.line {
        return format!("It begins at line {stated}, which belongs to the hunk above it.");
    }
    let last = memchr_iter(b'\n', file.content).count()
        + usize::from(!file.content.is_empty() && !file.content.ends_with(b"\n"));
    if stated <= last {
        return NO_END.to_owned();
    }
    format!("It begins at line {stated}, but the file has {last} lines.")
}

/// Why the lines are nowhere: the first one that is not what stands where the header says.
fn differs(file: &File<'_>, stated: usize, at: Option<usize>, old: &[u8]) -> String {
    let again = "Read the file again and take its lines as they are.";
    let Some(at) = at else {
        return format!("{} {again}", beyond(file, stated));
    };
    let ending = |byte: &u8| *byte == b'\n';
    let mut found = file
        .content
        .get(at..)
        .unwrap_or_default()
        .split_inclusive(ending);
    for (index, wanted) in old.split_inclusive(ending).enumerate() {
        let number = stated.max(1) + index;
        match found.next() {
            Some(line) if line == wanted => {}
            Some(line) if wanted.strip_suffix(b"\n") == Some(line) => return NO_END.to_owned(),
            Some(line) => {
                return format!(
                    "It needs {} at line {number}, where {} stands. {again}",
                    quoted(wanted),
                    quoted(line)
                );
            }
            None => {
                return format!(
                    "It needs {} at line {number}, which is after the end of the file. {again}",
                    quoted(wanted)
                );
            }
        }
    }
    again.to_owned()
}

fn range(range: HunkRange) -> String {
    format!("{},{}", range.start(), range.len())
}

/// A line as a quoted string, so that spaces and line ends are seen.
fn quoted(line: &[u8]) -> String {
    format!(
        "{:?}",
        shorten(&String::from_utf8_lossy(line), QUOTED_CHARS)
    )
}
