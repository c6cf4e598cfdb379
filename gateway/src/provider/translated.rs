//! A stream of another dialect, as one of chat completions.

use crate::provider::failure::{Failure, ProviderError};
use crate::provider::http::Stream;
use crate::provider::wire::Reader;
use oarmaster_dialect::sse::Parser;
use oarmaster_dialect::{Broken, Envelope, Event, Usage, chat};
use std::collections::VecDeque;

/// The stream, and what of it is not handed on yet.
#[derive(Debug)]
pub struct Translated {
    stream: Stream,
    reader: Reader,
    writer: chat::Writer,
    /// Takes what the writer wrote apart again.
    frames: Parser,
    ready: VecDeque<Vec<u8>>,
    usage: Option<Usage>,
    stopped: bool,
    ended: bool,
}

impl Translated {
    /// A stream that has begun.
    #[must_use]
    pub fn new(stream: Stream, reader: Reader, envelope: Envelope, include_usage: bool) -> Self {
        Self {
            stream,
            reader,
            writer: chat::Writer::new(envelope, include_usage),
            frames: Parser::default(),
            ready: VecDeque::new(),
            usage: None,
            stopped: false,
            ended: false,
        }
    }

    /// What the provider counted of the whole answer: chat completions have no words for some of it. Before the end there is none: what was counted
    /// so far is less than what will be billed.
    #[must_use]
    pub const fn usage(&self) -> Option<&Usage> {
        if self.stopped {
            self.usage.as_ref()
        } else {
            None
        }
    }

    /// The data of the next chunk; `None` at the end of the bytes. A stream without its terminal event gets no `[DONE]`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Ok(Some(data));
            }
            if self.ended {
                return Ok(None);
            }
            let mut events = Vec::new();
            match self.stream.event().await? {
                Some(event) => {
                    let read = self.reader.read(&event, &mut events);
                    // What came before an error counts.
                    self.take(&events)?;
                    read.map_err(|broken| self.failure(broken))?;
                }
                None => {
                    self.ended = true;
                    self.reader.end(&mut events);
                    self.take(&events)?;
                    if self.stopped {
                        let mut out = Vec::new();
                        self.writer.end(&mut out);
                        self.frame(&out)?;
                    }
                }
            }
        }
    }

    fn take(&mut self, events: &[Event]) -> Result<(), Failure> {
        let mut out = Vec::new();
        for event in events {
            match event {
                Event::Usage(usage) => self.usage = Some(usage.clone()),
                Event::Stop(_) => self.stopped = true,
                Event::Start { .. } | Event::Delta { .. } => {}
            }
            self.writer.write(event, &mut out);
        }
        self.frame(&out)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let frames = self.frames.push(bytes);
        let frames = frames.map_err(|error| Failure::unknown(error.to_string(), true))?;
        self.ready
            .extend(frames.into_iter().map(|frame| frame.data));
        Ok(())
    }

    fn failure(&self, broken: Broken) -> Failure {
        match broken {
            Broken::NotAnAnswer(error) => Failure::unknown(error.message, true),
            Broken::Said(said) => {
                Failure::sent_as_success(&ProviderError::from(said), self.stream.key())
            }
        }
    }
}
