//! A running stream, in the caller's words: a provider's events as they came where it speaks them, too, otherwise a translation.

use crate::error::ApiFailure;
use crate::provider::Asked;
use crate::provider::chunk::Meter;
use crate::provider::failure::{Failure, ProviderError};
use crate::provider::http;
use crate::provider::wire::{Reader, Wire};
use crate::surface::{Surface, Writer, frame};
use oarmaster_dialect::converse::frames::Frame;
use oarmaster_dialect::{Broken, Event, Usage};
use oarmaster_protocol::text;
use serde::de::IgnoredAny;
use std::time::Duration;

/// What is read of an error.
const MAX_ERROR: usize = 64 << 10;
/// Events of a provider's own dialect that say only that something begins: until another one comes, nobody has seen anything of the answer.
const BEGINNINGS: [&str; 9] = [
    "content_block_start",
    "message_start",
    "ping",
    "response.content_part.added",
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.queued",
    "response.reasoning_summary_part.added",
];

/// A running stream.
#[derive(Debug)]
pub struct AnswerStream {
    surface: Surface,
    source: http::Stream,
    voice: Voice,
    /// What the provider counted of the whole answer.
    usage: Option<Usage>,
    /// The provider said that the answer is complete.
    stopped: bool,
    /// There is no more of it.
    ended: bool,
    /// The end in the caller's words, which waits until the answer is booked.
    last: Vec<u8>,
    /// Events that were handed on.
    passed: u64,
}

/// How events become the caller's.
#[derive(Debug)]
enum Voice {
    /// Chunks of chat completions as they came.
    Chunks { meter: Meter, keep_usage: bool },
    /// Events of another dialect as they came.
    Events(Reader),
    /// Written anew.
    Translated { reader: Reader, writer: Writer },
}

/// What the caller is sent next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Events.
    pub bytes: Vec<u8>,
    /// Whether something of the answer is in it or was before: no other provider can take over.
    pub content: bool,
}

impl AnswerStream {
    /// A stream that has begun.
    #[must_use]
    pub fn new(asked: &Asked<'_>, source: http::Stream) -> Self {
        let (request, wire) = (asked.request, asked.sent.wire);
        let voice = match (request.surface, wire) {
            (Surface::Chat, Wire::Chat(_)) => Voice::Chunks {
                meter: Meter::default(),
                keep_usage: request.include_usage,
            },
            (surface, wire) if surface.is(wire) => Voice::Events(wire.reader()),
            (surface, wire) => Voice::Translated {
                reader: wire.reader(),
                writer: surface.writer(asked.envelope(), request.include_usage),
            },
        };
        Self {
            surface: request.surface,
            source,
            voice,
            usage: None,
            stopped: false,
            ended: false,
            last: Vec::new(),
            passed: 0,
        }
    }

    /// For how long the provider says that a quota is used up.
    #[must_use]
    pub const fn used_up(&self) -> Option<Duration> {
        self.source.used_up()
    }

    /// What the provider counted of the whole answer. Of one that is not complete there is nothing: what was counted so far is less than what will be
    /// billed.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        match &self.voice {
            Voice::Chunks { meter, .. } if meter.finished || self.ended => meter.usage.as_ref(),
            Voice::Events(_) | Voice::Translated { .. } if self.stopped => self.usage.as_ref(),
            _ => None,
        }
    }

    /// What the caller is sent next; `None` when the answer is complete, and its end may be sent.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        while !self.ended {
            let event = match self.source.event().await {
                // The answer is complete: what becomes of the connection does not matter.
                Err(_) if self.stopped => None,
                event => event?,
            };
            let piece = match event {
                Some(event) => self.take(event)?,
                None => self.cut_or_end()?,
            };
            if !piece.bytes.is_empty() || piece.content {
                self.passed += 1;
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The end of an answer that is complete.
    pub fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.last)
    }

    /// The end of one that broke.
    pub fn fail(&mut self, failure: &ApiFailure, id: &str) -> Vec<u8> {
        match &mut self.voice {
            Voice::Translated { writer, .. } => writer.fail(failure, id),
            Voice::Chunks { .. } | Voice::Events(_) => {
                self.surface.write_failure(failure, id, self.passed)
            }
        }
    }

    fn take(&mut self, event: Frame) -> Result<Piece, Failure> {
        match &mut self.voice {
            Voice::Chunks { .. } => self.take_chunk(event),
            Voice::Events(_) => self.take_event(&event),
            Voice::Translated { .. } => self.translate(&event),
        }
    }

    fn take_chunk(&mut self, event: Frame) -> Result<Piece, Failure> {
        let Voice::Chunks { meter, keep_usage } = &mut self.voice else {
            return Ok(Piece::default());
        };
        if event.payload.trim_ascii() == b"[DONE]" {
            if !meter.may_be_done() {
                return Err(cut());
            }
            self.finish(frame("", b"[DONE]"));
            return Ok(Piece::default());
        }
        let read = text::json(&event.payload);
        let is_error = event.name == "error"
            || (read.text.contains("\"error\"") && ProviderError::in_success(&read.text));
        if is_error {
            let read = Some(event.payload.as_slice()).filter(|data| data.len() <= MAX_ERROR);
            let error = ProviderError::read(read.unwrap_or_default());
            return Err(Failure::sent_as_success(&error, self.source.key()));
        }
        drop(read); // it may be the data itself
        let data = meter
            .take(event.payload, *keep_usage)
            .map_err(|error| Failure::unknown(error.to_string(), true))?;
        Ok(match data {
            None => Piece::default(),
            Some(data) => Piece {
                bytes: frame("", &data),
                content: meter.content || meter.finished,
            },
        })
    }

    fn take_event(&mut self, event: &Frame) -> Result<Piece, Failure> {
        let events = self.read(event)?;
        // What says nothing (a ping, an event without data) is not read; what is none has no place among the caller's events.
        if events.is_empty() && serde_json::from_slice::<IgnoredAny>(&event.payload).is_err() {
            return Ok(Piece::default());
        }
        let bytes = frame(&event.name, &event.payload);
        self.note(&events);
        if self.stopped {
            self.finish(bytes);
            return Ok(Piece::default());
        }
        Ok(Piece {
            bytes,
            content: events.iter().any(Event::commits) || !is_beginning(event),
        })
    }

    fn translate(&mut self, event: &Frame) -> Result<Piece, Failure> {
        let events = self.read(event)?;
        let piece = self.write(&events);
        // Some vendors count after the stop.
        if self.stopped && self.usage.is_some() {
            self.finish_translation();
        }
        Ok(piece)
    }

    /// The bytes have ended.
    fn cut_or_end(&mut self) -> Result<Piece, Failure> {
        let mut piece = Piece::default();
        match &mut self.voice {
            Voice::Chunks { meter, .. } => {
                if !meter.may_end() {
                    return Err(cut());
                }
                self.finish(frame("", b"[DONE]"));
            }
            Voice::Events(_) => return Err(cut()),
            Voice::Translated { reader, .. } => {
                let mut events = Vec::new();
                reader.end(&mut events);
                piece = self.write(&events);
                if !self.stopped {
                    return Err(cut());
                }
                self.finish_translation();
            }
        }
        Ok(piece)
    }

    /// Reads an event in the provider's words. What came before an error counts.
    fn read(&mut self, event: &Frame) -> Result<Vec<Event>, Failure> {
        let (Voice::Events(reader) | Voice::Translated { reader, .. }) = &mut self.voice else {
            return Ok(Vec::new());
        };
        let mut events = Vec::new();
        let read = reader.read(event, &mut events);
        match read {
            Ok(()) => Ok(events),
            Err(broken) => {
                self.note(&events);
                Err(self.failure(broken))
            }
        }
    }

    fn note(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Usage(usage) => self.usage = Some(usage.clone()),
                Event::Stop(_) => self.stopped = true,
                Event::Start { .. } | Event::Delta { .. } => {}
            }
        }
    }

    fn write(&mut self, events: &[Event]) -> Piece {
        self.note(events);
        let mut piece = Piece::default();
        if let Voice::Translated { writer, .. } = &mut self.voice {
            for event in events {
                writer.write(event, &mut piece.bytes);
                piece.content |= event.commits();
            }
        }
        piece
    }

    fn finish(&mut self, last: Vec<u8>) {
        self.ended = true;
        self.last = last;
    }

    fn finish_translation(&mut self) {
        let mut last = Vec::new();
        if let Voice::Translated { writer, .. } = &mut self.voice {
            writer.end(&mut last);
        }
        self.finish(last);
    }

    fn failure(&self, broken: Broken) -> Failure {
        match broken {
            Broken::NotAnAnswer(error) => Failure::unknown(error.message, true),
            Broken::Said(said) => {
                Failure::sent_as_success(&ProviderError::from(said), self.source.key())
            }
        }
    }
}

fn cut() -> Failure {
    Failure::unknown("the stream ended before the answer did", true)
}

/// Whether an event shows nothing of the answer. Vendors name their events; one without a name is read by what it says.
fn is_beginning(event: &Frame) -> bool {
    event.name.is_empty() || BEGINNINGS.contains(&event.name.as_str())
}

#[cfg(test)]
mod tests;
