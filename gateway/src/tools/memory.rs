//! What agents remember: Remember and Recall. Notes are the agent's, for the person who asked for the Task, and nobody else's.

use super::Caller;
use bm25::{Document, SearchEngineBuilder, Tokenizer};
use oarmaster_protocol::tool::{ToolAnswer, ToolCall};
use oarmaster_store::{MAX_NOTES, Note, NoteOwner, NoteQuery, Refusal, Store};
use rust_stemmers::{Algorithm, Stemmer};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Notes that an answer has where the model states no limit, and most of them.
const FOUND: usize = 5;
const MOST_FOUND: usize = 20;
/// Longest query, and longest note, in characters.
const MAX_QUERY: usize = 512;
const MAX_NOTE: usize = 4096;
/// Letters of a word that count.
const LETTERS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remember {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recall {
    #[serde(default)]
    query: String,
    #[serde(default)]
    limit: Option<usize>,
}

/// Keeps a note.
pub async fn remember(store: &Store, caller: &Caller, call: &ToolCall) -> ToolAnswer {
    let text = match Remember::deserialize(&call.arguments) {
        Ok(Remember { text }) => text,
        Err(error) => return unusable(&error),
    };
    if text.chars().count() > MAX_NOTE {
        return said(false, &format!("A note has at most {MAX_NOTE} characters."));
    }
    let owner = owner(caller);
    let kept = store.remember(&owner, &caller.pod.task_uid, &text);
    match kept.await {
        Ok(0) => said(true, "Noted."),
        Ok(_) => said(
            true,
            "Noted. The oldest notes were dropped to make room: keep fewer, or shorter ones.",
        ),
        Err(refusal) => refused(refusal),
    }
}

/// Finds notes.
pub async fn recall(
    store: &Store,
    searches: &Arc<Semaphore>,
    caller: &Caller,
    call: &ToolCall,
) -> ToolAnswer {
    let Recall { query, limit } = match Recall::deserialize(&call.arguments) {
        Ok(recall) => recall,
        Err(error) => return unusable(&error),
    };
    let NoteOwner {
        namespace,
        agent,
        requester,
    } = owner(caller);
    let own = NoteQuery {
        namespace,
        agent: Some(agent),
        requester: Some(requester),
        id: None,
    };
    if query.chars().count() > MAX_QUERY {
        return said(
            false,
            &format!("A query has at most {MAX_QUERY} characters."),
        );
    }
    // Each weighs up to half a MiB: a few at a time. A search that nobody waits for any more keeps its turn.
    let Ok(turn) = searches.clone().acquire_owned().await else {
        return said(false, "The notes could not be searched.");
    };
    let notes = match store.notes(&own, MAX_NOTES).await {
        Ok(notes) => notes,
        Err(refusal) => return refused(refusal),
    };
    let limit = limit.unwrap_or(FOUND).clamp(1, MOST_FOUND);
    let search = move || {
        let _turn = turn;
        shown(&notes, &query, limit)
    };
    let found = tokio::task::spawn_blocking(search).await;
    match found {
        Ok(text) => said(true, &text),
        Err(_) => said(false, "The notes could not be searched."),
    }
}

fn owner(caller: &Caller) -> NoteOwner {
    NoteOwner {
        namespace: caller.pod.namespace.clone(),
        agent: caller.agent.clone(),
        requester: caller.requester.clone(),
    }
}

/// The notes that fit best, for the model.
fn shown(notes: &[Note], query: &str, limit: usize) -> String {
    if notes.is_empty() {
        return "There are no notes yet.".to_owned();
    }
    let found = best(notes, query, limit);
    if found.is_empty() {
        return format!(
            "None of the {} notes has a word of the query. Without a query the newest ones are returned.",
            notes.len()
        );
    }
    let texts = found
        .iter()
        .map(|note| format!("[{}] {}", day(note.at_ms), note.text));
    texts.collect::<Vec<_>>().join("\n\n")
}

/// The notes that fit a query best; the newest ones, where there is none.
fn best<'a>(notes: &'a [Note], query: &str, limit: usize) -> Vec<&'a Note> {
    if words(query).is_empty() {
        return notes.iter().take(limit).collect();
    }
    let documents = notes.iter().enumerate();
    let documents = documents.map(|(place, note)| Document::new(place, &*note.text));
    let engine = SearchEngineBuilder::<usize, u32, Words>::with_tokenizer_and_documents(
        Words::default(),
        documents,
    );
    let mut found = engine.build().search(query, None);
    // Of those that fit alike, the newest first: the order is the same each time.
    found.sort_by(|a, b| {
        let score = b.score.total_cmp(&a.score);
        score.then(a.document.id.cmp(&b.document.id))
    });
    let found = found.iter();
    let found = found.filter_map(|found| notes.get(found.document.id));
    found.take(limit).collect()
}

/// The words of a text, in small letters, those of English without their endings. Where a script has no spaces between words, each of its signs is
/// one.
struct Words(Stemmer);

impl Default for Words {
    fn default() -> Self {
        Self(Stemmer::create(Algorithm::English))
    }
}

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Vec<String> {
        let whole = words(text).into_iter();
        let stems = whole.map(|word| match word.is_ascii() {
            true => self.0.stem(&word).into_owned(),
            false => word,
        });
        stems.collect()
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for run in text.split(|letter: char| !letter.is_alphanumeric()) {
        let (mut word, mut letters) = (String::new(), 0);
        for letter in run.chars() {
            if is_a_word(letter) {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                words.push(letter.to_string());
                letters = 0;
            } else if letters < LETTERS {
                word.extend(letter.to_lowercase());
                letters += 1;
            }
        }
        words.extend((!word.is_empty()).then_some(word));
    }
    words
}

/// Signs of Chinese and Japanese, syllables of Korean, and the scripts of Thai, Lao, Burmese and Khmer, which have no spaces between words either.
const fn is_a_word(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn day(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}

fn said(ok: bool, text: &str) -> ToolAnswer {
    ToolAnswer {
        ok,
        text: text.to_owned(),
        ..ToolAnswer::default()
    }
}

/// The pilot has checked them by the same rules.
fn unusable(error: &serde_json::Error) -> ToolAnswer {
    said(false, &format!("The arguments are not usable: {error}."))
}

fn refused(refusal: Refusal) -> ToolAnswer {
    match refusal {
        Refusal::Invalid(_) | Refusal::TooLarge(_) | Refusal::Full(_) => {
            said(false, &format!("It was not noted: {refusal}."))
        }
        // What a log cannot do is for the operator of the gateway.
        other => {
            tracing::error!(error = %other, "notes cannot be kept or read");
            said(false, "The gateway cannot keep or read notes now.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(texts: &[&str]) -> Vec<Note> {
        let notes = texts.iter().zip(0..).map(|(text, day)| Note {
            id: day.to_string(),
            owner: NoteOwner::default(),
            task: String::new(),
            at_ms: -day * 86_400_000,
            text: (*text).to_owned(),
        });
        notes.collect()
    }

    fn found(texts: &[&str], query: &str, limit: usize) -> Vec<String> {
        let notes = notes(texts);
        let best = best(&notes, query, limit);
        best.iter().map(|note| note.text.clone()).collect()
    }

    const TEXTS: [&str; 4] = [
        "Alice wants commits signed with GPG.",
        "The staging cluster is called Falcon; deployments go there first.",
        "The parser's tests take four minutes.",
        "日本語のメモです",
    ];

    #[test]
    fn what_fits_best_comes_first_in_any_script() {
        for (query, first) in [
            ("which cluster for staging", 1),
            ("FALCON", 1),
            ("sign", 0),
            ("parser", 2),
            ("メモ", 3),
        ] {
            assert_eq!(found(&TEXTS, query, 1), [TEXTS[first]], "{query}");
        }
        assert!(found(&TEXTS, "submarine", 5).is_empty());
        assert_eq!(found(&TEXTS, " ?! ", 2), TEXTS[..2]);
        assert_eq!(
            found(&["same a", "same b"], "same", 5),
            ["same a", "same b"]
        );
    }

    #[test]
    fn a_word_without_end_is_searched_as_well() {
        let long = "x".repeat(16 << 10);
        assert_eq!(found(&[&long], &long, 1), [long.as_str()]);
        assert_eq!(words(&long), ["x".repeat(LETTERS)]);
        assert_eq!(words("A日b本-c"), ["a", "日", "b", "本", "c"]);
    }

    #[test]
    fn notes_are_shown_with_their_day() {
        assert_eq!(shown(&[], "x", 1), "There are no notes yet.");
        assert_eq!(shown(&notes(&["ships"]), "", 1), "[1970-01-01] ships");
        assert!(shown(&notes(&["ships"]), "x", 1).starts_with("None of the 1 notes"));
    }
}
