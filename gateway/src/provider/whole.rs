//! A whole answer: read in the provider's words, written in the caller's.

use crate::provider::Asked;
use crate::provider::answer::Answer;
use crate::provider::wire::{Embedder, Wire};
use crate::surface::Surface;
use bytes::Bytes;
use oarmaster_dialect::embeddings::{self, Embedded};
use oarmaster_dialect::{self as dialect, Content, NotAnAnswer, Part, Stop, Usage};
use oarmaster_protocol::text::Repaired;
use std::time::Duration;

/// The answer to one body.
#[derive(Debug)]
pub struct Whole {
    /// What is booked and recorded of it.
    pub answer: Answer,
    /// What the caller gets of it.
    pub reply: Reply,
    /// For how long the provider says that a quota is used up.
    pub used_up: Option<Duration>,
    /// Whether the model said all that it would, and did not refuse: then the answer would do for an equal request.
    pub finished: bool,
}

/// What the caller gets.
#[derive(Debug)]
pub enum Reply {
    /// A body in the caller's words: the provider's own bytes where it speaks them, too.
    Body(Bytes),
    /// Vectors for the inputs of this body.
    Vectors(Embedded),
}

impl Whole {
    /// What stands in a body; what the head says of quotas comes to it.
    const fn new(answer: Answer, reply: Reply, finished: bool) -> Self {
        Self {
            answer,
            reply,
            used_up: None,
            finished,
        }
    }

    /// Reads the body of an answer.
    ///
    /// # Errors
    /// [`NotAnAnswer`].
    pub fn read(
        asked: &Asked<'_>,
        read: &Repaired<'_>,
        bytes: &Bytes,
    ) -> Result<Self, NotAnAnswer> {
        let (surface, wire) = (asked.request.surface, asked.sent.wire);
        let passed = || Reply::Body(bytes.clone());
        match (surface, wire) {
            (_, Wire::Embeddings(Embedder::OpenAi(_))) => {
                let (vectors, counted) = embeddings::openai::read_passed(&read.text)?;
                if vectors != asked.request.items {
                    return Err(not_each(counted.usage()));
                }
                let usage = counted.usage();
                let answer = Answer::booked(counted.model, asked.model, usage);
                Ok(Self::new(answer, passed(), true))
            }
            (_, Wire::Embeddings(_)) => {
                let vectors = wire.vectors(&read.text)?;
                let answer = Answer::booked(vectors.model.clone(), asked.model, vectors.usage());
                Ok(Self::new(answer, Reply::Vectors(vectors), true))
            }
            (Surface::Chat, Wire::Chat(_)) => {
                let answer = Answer::read(read, asked.model)?;
                let finished = answer.is_finished();
                Ok(Self::new(answer, passed(), finished))
            }
            (surface, wire) => {
                let answer = wire.answer(&read.text)?;
                let finished = finished(&answer);
                if surface.is(wire) {
                    let answer = Answer::booked(answer.model, asked.model, answer.usage);
                    return Ok(Self::new(answer, passed(), finished));
                }
                let text = surface.write_answer(&answer, &asked.envelope());
                let booked = match surface {
                    Surface::Chat => {
                        let written = Repaired {
                            text: text.as_str().into(),
                            replaced: read.replaced,
                        };
                        Answer {
                            usage: answer.usage, // with what chat completions cannot say
                            ..Answer::read(&written, asked.model)?
                        }
                    }
                    _ => Answer::booked(answer.model, asked.model, answer.usage),
                };
                Ok(Self::new(booked, Reply::Body(text.into()), finished))
            }
        }
    }
}

impl Reply {
    /// The replies to all bodies of a request as one body.
    ///
    /// # Errors
    /// [`NotAnAnswer`] where they are no answer together.
    pub fn join(replies: Vec<Self>, asked: &Asked<'_>) -> Result<Bytes, NotAnAnswer> {
        let mut vectors = Vec::new();
        for reply in replies {
            match reply {
                Self::Body(body) => return Ok(body), // there is one
                Self::Vectors(some) => vectors.push(some),
            }
        }
        let request = embeddings::read_request(asked.request.readable().as_bytes())
            .map_err(|_| NotAnAnswer::new("the request cannot be read any more"))?;
        let embedded = Embedded::join(vectors, request.input.len())?;
        let text = embeddings::write_answer(&embedded, asked.model, request.encoding);
        Ok(text.into())
    }
}

fn finished(answer: &dialect::Answer) -> bool {
    let refused = |part: &Part| matches!(part.content, Content::Refusal(_));
    matches!(answer.stop, Stop::End | Stop::Sequence(_) | Stop::ToolCalls)
        && !answer.parts.iter().any(refused)
}

fn not_each(usage: Option<Usage>) -> NotAnAnswer {
    NotAnAnswer {
        message: "the answer has not one vector for each input",
        usage,
    }
}
