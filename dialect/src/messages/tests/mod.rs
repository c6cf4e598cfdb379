//! Fixtures are in `fixtures/messages`: what callers and providers send is written by hand, what we write is compared with what is produced.
//! `sdk/messages.py` holds all of them against Anthropic's SDK.

mod answer;
mod hostile;
mod kept;
mod request;
mod settings;
mod stream;
pub(crate) mod upstream;
mod wrong;

pub(crate) use hostile::{MODELS, USERS, blocks};

pub(crate) use crate::testing::{check_fixture, check_order, fixture};

use crate::answer::Envelope;
use crate::event::Event;
use crate::sse::Parser;

fn envelope() -> Envelope {
    Envelope {
        id: "01J9".to_owned(),
        created: 1_700_000_000,
        model: "team-pool".to_owned(),
    }
}

/// A stream's bytes as events, cut after every `piece` bytes; with the error that ended it.
fn read_stream(bytes: &[u8], piece: usize) -> (Vec<Event>, Option<crate::error::Broken>) {
    let (mut parser, mut reader, mut out) = (Parser::default(), super::Reader::default(), vec![]);
    for piece in bytes.chunks(piece) {
        for event in parser.push(piece).unwrap() {
            let data = oarmaster_protocol::text::json(&event.data).text;
            if let Err(broken) = reader.read(&event.name, &data, &mut out) {
                return (out, Some(broken));
            }
        }
    }
    reader.end(&mut out);
    (out, None)
}
