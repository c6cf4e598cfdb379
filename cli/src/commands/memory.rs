//! `oar memory`: what agents remember.

use crate::args::{Memory, MemoryCommand, MemoryDelete, MemoryList, Whose};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::{output, text};
use jiff::Timestamp;
use oarmaster_protocol::read::{Deleted, NoteLine};
use serde::de::DeserializeOwned;
use url::form_urlencoded::Serializer;

/// Characters of a note in the table.
const SHOWN: usize = 80;

pub async fn run(cluster: &Cluster, args: Memory) -> Result<(), Error> {
    match args.command {
        MemoryCommand::List(args) => list(cluster, args).await,
        MemoryCommand::Delete(args) => delete(cluster, args).await,
    }
}

async fn list(cluster: &Cluster, args: MemoryList) -> Result<(), Error> {
    let MemoryList { whose, output } = args;
    let gateway = Gateway::new(cluster).await?;
    let path = path(&cluster.namespace, &whose, None);
    let notes: Vec<NoteLine> = read(&gateway.get_all(&path).await?)?;
    if let Some(format) = output {
        return output::data(&notes, format);
    }
    if notes.is_empty() {
        let namespace = &cluster.namespace;
        return output::line(&format!(
            "There are no such notes in namespace {namespace}."
        ));
    }
    let rows: Vec<Vec<String>> = notes.iter().map(row).collect();
    output::table(&["ID", "AGENT", "REQUESTER", "AGE", "NOTE"], &rows)
}

fn row(note: &NoteLine) -> Vec<String> {
    let at = Timestamp::from_millisecond(note.at_ms);
    vec![
        note.id.clone(),
        note.agent.clone(),
        note.requester.clone(),
        at.map(text::age).unwrap_or_default(),
        text::one_line(&note.text, SHOWN),
    ]
}

async fn delete(cluster: &Cluster, args: MemoryDelete) -> Result<(), Error> {
    let MemoryDelete { ids, whose, all } = args;
    debug_assert!(all || !ids.is_empty() || whose.requester.is_some());
    let gateway = Gateway::new(cluster).await?;
    let ids: Vec<Option<&str>> = match &ids[..] {
        [] => vec![None],
        ids => ids.iter().map(|id| Some(id.as_str())).collect(),
    };
    let mut count = 0;
    for id in ids {
        let path = path(&cluster.namespace, &whose, id);
        let Deleted { notes } = read(&gateway.delete(&path).await?)?;
        if let Some(id) = id.filter(|_| notes == 0) {
            let namespace = &cluster.namespace;
            return Err(Error::input(format!(
                "there is no such note {id} in namespace {namespace}; {count} were deleted"
            ))
            .next("List them: `oar memory list`."));
        }
        count += notes;
    }
    output::line(&format!("{count} notes deleted"))
}

fn path(namespace: &str, whose: &Whose, id: Option<&str>) -> String {
    let mut query = Serializer::new(String::new());
    let asked = [
        ("agent", whose.agent.as_deref()),
        ("requester", whose.requester.as_deref()),
        ("id", id),
    ];
    for (name, value) in asked {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("/read/v1/namespaces/{namespace}/memory?{}", query.finish())
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::cluster("failed to read the gateway's answer").source(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser as _;

    #[test]
    fn names_are_encoded_in_the_query() {
        let whose = Whose {
            agent: Some("writer".into()),
            requester: Some("alice&id=1@acme".into()),
        };
        assert_eq!(
            path("team", &whose, None),
            "/read/v1/namespaces/team/memory?agent=writer&requester=alice%26id%3D1%40acme"
        );
        assert_eq!(
            path("team", &Whose::default(), Some("ab")),
            "/read/v1/namespaces/team/memory?id=ab"
        );
    }

    #[test]
    fn nothing_is_deleted_by_an_omission() {
        let parse = |words: &[&str]| {
            let words = ["oar", "memory", "delete"].iter().chain(words);
            Args::try_parse_from(words)
        };
        for wrong in [&[][..], &["--agent", "writer"], &["ab", "--all"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for right in [&["ab"][..], &["--all"], &["--agent", "writer", "--all"]] {
            let args = parse(right).unwrap();
            assert!(matches!(args.command, Command::Memory(_)), "{right:?}");
        }
    }

    #[test]
    fn a_note_is_one_line_of_the_table() {
        let note = NoteLine {
            id: "ab".into(),
            agent: "writer".into(),
            requester: "alice".into(),
            task: "t".into(),
            at_ms: 0,
            text: format!("two\nlines\u{1b}[2J {}", "x".repeat(200)),
        };
        let cells = row(&note);
        let last = cells.last().unwrap();
        assert!(
            !last.contains('\n') && last.chars().count() <= SHOWN + 1,
            "{last}"
        );
    }
}
