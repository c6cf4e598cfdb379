//! Streams in the words of a surface.

use super::Surface;
use crate::error::ApiFailure;
use oarmaster_dialect::{Envelope, Event, chat, messages, responses};

/// Writes a stream that is translated.
#[derive(Debug)]
pub enum Writer {
    /// Chunks of chat completions.
    Chat(Box<chat::Writer>),
    /// Events of a response.
    Responses(Box<responses::Writer>),
    /// Events of a message.
    Messages(Box<messages::Writer>),
}

impl Surface {
    /// A stream of this answer. `with_usage`: whether a caller of chat completions asked for usage.
    #[must_use]
    pub fn writer(self, envelope: Envelope, with_usage: bool) -> Writer {
        match self {
            Self::Chat | Self::Embeddings => {
                Writer::Chat(Box::new(chat::Writer::new(envelope, with_usage)))
            }
            Self::Responses => Writer::Responses(Box::new(responses::Writer::new(envelope))),
            Self::Messages | Self::CountTokens => {
                Writer::Messages(Box::new(messages::Writer::new(envelope)))
            }
        }
    }

    /// The end of a stream that broke after so many events, where nothing else of it was written here.
    #[must_use]
    pub fn write_failure(self, failure: &ApiFailure, id: &str, events: u64) -> Vec<u8> {
        match self {
            Self::Responses => {
                let mut out = Vec::new();
                responses::write_failure(&failure.refused(id), events, &mut out);
                out
            }
            Self::Chat | Self::Messages | Self::CountTokens | Self::Embeddings => {
                super::frame("error", self.write_error(failure, id).as_bytes())
            }
        }
    }
}

impl Writer {
    /// Writes a step of the answer.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.write(event, out),
            Self::Responses(writer) => writer.write(event, out),
            Self::Messages(writer) => writer.write(event, out),
        }
    }

    /// Ends an answer that is complete.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.end(out),
            Self::Responses(writer) => writer.end(out),
            Self::Messages(writer) => writer.end(out),
        }
    }

    /// Ends an answer that broke.
    #[must_use]
    pub fn fail(&mut self, failure: &ApiFailure, id: &str) -> Vec<u8> {
        match self {
            Self::Chat(_) => Surface::Chat.write_failure(failure, id, 0),
            Self::Messages(_) => Surface::Messages.write_failure(failure, id, 0),
            // Its response fails with all that it had.
            Self::Responses(writer) => {
                let mut out = Vec::new();
                writer.fail(&failure.refused(id), &mut out);
                out
            }
        }
    }
}
