//! Reads streams in the words of each provider.

use oarmaster_dialect::converse::{self, frames::Frame};
use oarmaster_dialect::{Broken, Event, chat, cohere, gemini, messages, responses};
use oarmaster_protocol::text;

/// Reads a stream.
#[derive(Debug)]
pub enum Reader {
    /// OpenAI's chat completions.
    Chat(Box<chat::Reader>),
    /// OpenAI's responses.
    Responses(Box<responses::Reader>),
    /// Anthropic's.
    Messages(Box<messages::Reader>),
    /// Google's.
    Gemini(Box<gemini::Reader>),
    /// Cohere's.
    Cohere(Box<cohere::Reader>),
    /// Bedrock's.
    Converse(Box<converse::Reader>),
}

impl Reader {
    /// Reads one event.
    ///
    /// # Errors
    /// When it cannot be read, or is an error of the provider.
    pub fn read(&mut self, event: &Frame, into: &mut Vec<Event>) -> Result<(), Broken> {
        let name = &event.name;
        let data = || text::json(&event.payload).text;
        match self {
            Self::Chat(reader) => reader.read(name, &data(), into),
            Self::Responses(reader) => reader.read(name, &data(), into),
            Self::Messages(reader) => reader.read(name, &data(), into),
            Self::Gemini(reader) => reader.read(name, &data(), into),
            Self::Cohere(reader) => reader.read(name, &data(), into),
            Self::Converse(reader) => reader.read_frame(event, into),
        }
    }

    /// Hands over what was held back, at the end of the bytes.
    pub fn end(&mut self, into: &mut Vec<Event>) {
        match self {
            Self::Chat(reader) => reader.end(into),
            Self::Responses(reader) => reader.end(into),
            Self::Messages(reader) => reader.end(into),
            Self::Gemini(reader) => reader.end(into),
            Self::Cohere(reader) => reader.end(into),
            Self::Converse(reader) => reader.end(into),
        }
    }
}
