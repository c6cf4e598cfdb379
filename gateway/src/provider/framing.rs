//! How a stream's bytes become events.

use crate::provider::failure::Failure;
use crate::provider::wire::Wire;
use oarmaster_dialect::converse::frames::{Decoder, Frame};
use oarmaster_dialect::sse::Parser;

/// How a stream's bytes are events.
#[derive(Debug)]
pub enum Framing {
    /// Server-sent events.
    Lines(Parser),
    /// AWS's event stream.
    Frames(Decoder),
}

impl Framing {
    /// That of a provider's streams.
    #[must_use]
    pub fn of(wire: Wire) -> Self {
        match wire {
            Wire::Converse => Self::Frames(Decoder::default()),
            _ => Self::Lines(Parser::default()),
        }
    }

    /// The events that end in the next bytes.
    ///
    /// # Errors
    /// [`Failure`] where they cannot be read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Failure> {
        match self {
            Self::Lines(parser) => match parser.push(bytes) {
                Ok(events) => Ok(events.into_iter().map(Frame::from).collect()),
                Err(error) => Err(Failure::unknown(error.to_string(), true)),
            },
            Self::Frames(decoder) => decoder
                .push(bytes)
                .map_err(|error| Failure::unknown(error.to_string(), true)),
        }
    }

    /// The bytes have ended. What is no whole line is no event; what is no whole frame is a stream that was cut.
    ///
    /// # Errors
    /// [`Failure`] within a frame.
    pub fn end(&self) -> Result<(), Failure> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Frames(decoder) => decoder
                .end()
                .map_err(|error| Failure::unknown(error.to_string(), true)),
        }
    }
}
