//! What agents remember: short texts, each of one owner. They stay until somebody deletes them, or newer ones of their owner take their room.
//!
//! The texts are in the log alone; what is in memory is where they stand.

use crate::entry::Entry;
use crate::state::NoteAt;
use crate::{Refusal, Store};
use oarmaster_protocol::digest;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Longest text of a note in bytes: 4,096 characters of any script.
pub const MAX_NOTE_BYTES: usize = 16 << 10;
/// Most notes of an owner; the oldest give way.
pub const MAX_NOTES: usize = 256;
/// Most bytes of the notes of an owner, as they stand in the log; the oldest give way.
pub const MAX_OWNER_BYTES: u64 = 512 << 10;
/// Most bytes of the notes of a namespace. Nobody's give way to another owner's: what does not fit is refused.
pub const MAX_NAMESPACE_BYTES: u64 = 8 << 20;
/// Digits of a note's id.
const ID_DIGITS: usize = 20;

/// Whose notes they are: nobody else is given them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoteOwner {
    /// Namespace of the agent.
    pub namespace: String,
    /// Name of the agent.
    pub agent: String,
    /// Kubernetes user name of who asked for the Task.
    pub requester: String,
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Follows from owner and text: the same text is one note.
    pub id: String,
    /// Whose it is.
    pub owner: NoteOwner,
    /// UID of the Task that kept it.
    pub task: String,
    /// When it was kept, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What it says.
    pub text: String,
}

/// Which notes of a namespace are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoteQuery {
    /// The namespace.
    pub namespace: String,
    /// Of this agent only.
    pub agent: Option<String>,
    /// Of this requester only.
    pub requester: Option<String>,
    /// This one only.
    pub id: Option<String>,
}

impl NoteQuery {
    /// Whether notes of an owner are meant.
    pub(crate) fn is_of(&self, owner: &NoteOwner) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.namespace == owner.namespace
            && is(&self.agent, &owner.agent)
            && is(&self.requester, &owner.requester)
    }
}

impl Note {
    fn new(owner: &NoteOwner, task: &str, text: &str, at_ms: i64) -> Self {
        let NoteOwner {
            namespace,
            agent,
            requester,
        } = owner;
        let of = json!([namespace, agent, requester, text]).to_string();
        let digest = digest(of.as_bytes());
        let (_, digits) = digest.split_once(':').unwrap_or_default();
        Self {
            id: digits.get(..ID_DIGITS).unwrap_or_default().to_owned(),
            owner: owner.clone(),
            task: task.to_owned(),
            at_ms,
            text: text.to_owned(),
        }
    }
}

impl Store {
    /// Bytes of a note in the log.
    fn bytes_of(&self, note: &Note) -> Result<u64, Refusal> {
        let mut line = Vec::new();
        let entry = Entry::Note(Box::new(note.clone()));
        self.sealer().line(&mut line, &entry)?;
        Ok(line.len() as u64)
    }

    /// Keeps a text, of the owner's Task with this UID. One that is kept already stays as it is. Returns how many older notes of the owner
    /// gave way.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a text that is empty or too long, [`Refusal::TooLarge`] where the namespace has no room,
    /// [`Refusal::Full`] where the log has none.
    pub async fn remember(
        &self,
        owner: &NoteOwner,
        task: &str,
        text: &str,
    ) -> Result<usize, Refusal> {
        if text.trim().is_empty() || text.len() > MAX_NOTE_BYTES {
            return Err(Refusal::Invalid(format!(
                "a note has 1 to {MAX_NOTE_BYTES} bytes"
            )));
        }
        let note = Note::new(owner, task, text, self.now());
        let (at_ms, bytes) = (note.at_ms, self.bytes_of(&note)?);
        // In a frame of its own, so that nothing holds it once it is not kept any more.
        let mut gone = 0;
        self.change(
            |state| {
                let notes = &state.notes;
                if notes.has(owner, &note.id) {
                    return Ok((Vec::new(), ()));
                }
                self.room_for_tasks(state)?;
                let ids = notes.in_the_way(owner, bytes);
                let room = notes.room(owner, &ids).saturating_add(bytes);
                if room > MAX_NAMESPACE_BYTES {
                    return Err(Refusal::TooLarge(format!(
                        "the notes of namespace {} have no room for another one ({MAX_NAMESPACE_BYTES} bytes in all); somebody may delete some: oar memory delete -n {0}",
                        owner.namespace
                    )));
                }
                gone = ids.len();
                Ok((forgotten(owner, ids, at_ms), ()))
            },
            |_, ()| (),
        )
        .await?;
        self.change(
            |state| {
                let notes = &state.notes;
                if notes.has(owner, &note.id) {
                    return Ok((Vec::new(), ()));
                }
                // Another one may have taken the room meanwhile.
                let full = !notes.in_the_way(owner, bytes).is_empty()
                    || notes.room(owner, &[]).saturating_add(bytes) > MAX_NAMESPACE_BYTES;
                if full {
                    return Err(Refusal::TooLarge(
                        "others were kept at the same time, and took its room; try again".into(),
                    ));
                }
                Ok((vec![Entry::Note(Box::new(note))], ()))
            },
            |_, ()| (),
        )
        .await?;
        Ok(gone)
    }

    /// The notes that are meant, the newest first: at most `most`.
    ///
    /// # Errors
    /// [`Refusal::Internal`] where the log cannot be read.
    pub async fn notes(&self, query: &NoteQuery, most: usize) -> Result<Vec<Note>, Refusal> {
        let places = self
            .read(|state| {
                let found = state.notes.of(query);
                let mut places: Vec<NoteAt> = found.map(|(_, _, note)| note).collect();
                places.sort_by_key(|note| std::cmp::Reverse(note.at.frame));
                places.truncate(most);
                let depends = places.first().map_or(0, |newest| newest.at.frame + 1);
                Ok((places, depends))
            })
            .await?;
        let places = places.into_iter().map(|note| note.at).collect();
        let entries = self.entries(places).await?.into_iter();
        let notes = entries.filter_map(|entry| match entry {
            Entry::Note(note) => Some(*note),
            _ => None,
        });
        Ok(notes.collect())
    }

    /// Deletes the notes that are meant; says how many they were.
    ///
    /// # Errors
    /// [`Refusal::Unwritable`].
    pub async fn forget(&self, query: &NoteQuery) -> Result<usize, Refusal> {
        let at_ms = self.now();
        self.change(
            |state| {
                let mut owners: Vec<(NoteOwner, Vec<String>)> = Vec::new();
                for (owner, id, _) in state.notes.of(query) {
                    match owners.last_mut().filter(|(last, _)| last == owner) {
                        Some((_, ids)) => ids.push(id.to_owned()),
                        None => owners.push((owner.clone(), vec![id.to_owned()])),
                    }
                }
                let count = owners.iter().map(|(_, ids)| ids.len()).sum();
                let entries = owners
                    .into_iter()
                    .flat_map(|(owner, ids)| forgotten(&owner, ids, at_ms));
                Ok((entries.collect(), count))
            },
            |_, count| count,
        )
        .await
    }
}

fn forgotten(owner: &NoteOwner, notes: Vec<String>, at_ms: i64) -> Vec<Entry> {
    if notes.is_empty() {
        return Vec::new();
    }
    vec![Entry::Forgotten {
        at_ms,
        owner: owner.clone(),
        notes,
    }]
}
