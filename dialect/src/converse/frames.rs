//! The frames of `application/vnd.amazon.eventstream`, read from pieces that are cut anywhere.
//!
//! A frame is: its length, the headers' length, the CRC-32 of these eight bytes, the headers, the payload, and the CRC-32 of all before it;
//! numbers have 32 bits, the highest byte first. The first CRC is checked as soon as it is there, so that no length is believed that was
//! garbled on the way. The crate `aws-smithy-eventstream` waits for the whole of up to 4 GiB before it checks any, and brings along HTTP bodies.

/// Largest frame: 16 MiB of payload are the most that the format has, with headers.
pub const MAX_FRAME_BYTES: usize = (16 << 20) + MAX_HEADER_BYTES + PRELUDE + CRC;

/// Most bytes of headers.
const MAX_HEADER_BYTES: usize = 128 << 10;
/// The two lengths and their CRC.
const PRELUDE: usize = 12;
const CRC: usize = 4;

/// One frame. Who reads streams of both forms takes a server-sent event for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The event's type, or the exception's.
    pub name: String,
    /// JSON. Of an error that the service model does not have it is an object with the `message`.
    pub payload: Vec<u8>,
    /// Whether it is an exception.
    pub exception: bool,
}

impl From<crate::sse::Event> for Frame {
    fn from(event: crate::sse::Event) -> Self {
        Self {
            name: event.name,
            payload: event.data,
            exception: false,
        }
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is larger than [`MAX_FRAME_BYTES`].
    #[error("a frame of the stream is larger than 16 MiB")]
    TooLarge,
    /// Lengths that do not fit each other, or headers that are none.
    #[error("a frame of the stream is malformed")]
    Malformed,
    /// A CRC does not match.
    #[error("a checksum of the stream does not match")]
    Checksum,
    /// The bytes ended within a frame.
    #[error("the stream ended within a frame")]
    Cut,
}

/// Reads frames from bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    broken: Option<FrameError>,
}

impl Decoder {
    /// Takes the next bytes and returns the frames that end in them.
    ///
    /// # Errors
    /// When a frame cannot be read. The frames before it come out first: then the next call gives the error, as does every later one.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut rest = self.buffer.as_slice();
        loop {
            match split(rest) {
                Ok(Some((frame, after))) => {
                    frames.push(frame);
                    rest = after;
                }
                Ok(None) => break,
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            }
        }
        let done = self.buffer.len() - rest.len();
        self.buffer.drain(..done);
        match self.broken {
            Some(error) if frames.is_empty() => Err(error),
            _ => Ok(frames),
        }
    }

    /// The bytes have ended.
    ///
    /// # Errors
    /// When they ended within a frame, or when a frame could not be read.
    pub fn end(&self) -> Result<(), FrameError> {
        match self.broken {
            Some(error) => Err(error),
            None if self.buffer.is_empty() => Ok(()),
            None => Err(FrameError::Cut),
        }
    }
}

/// The first frame, and the bytes after it; `None` if it has not ended.
fn split(bytes: &[u8]) -> Result<Option<(Frame, &[u8])>, FrameError> {
    let Some((total, headers, crc)) = prelude(bytes) else {
        return Ok(None);
    };
    let covered = bytes.get(..PRELUDE - CRC).unwrap_or_default();
    if crc32fast::hash(covered) != crc {
        return Err(FrameError::Checksum);
    }
    let total = usize::try_from(total).map_err(|_| FrameError::TooLarge)?;
    let headers = usize::try_from(headers).map_err(|_| FrameError::TooLarge)?;
    if total > MAX_FRAME_BYTES || headers > MAX_HEADER_BYTES {
        return Err(FrameError::TooLarge);
    }
    let payload = total.checked_sub(PRELUDE + CRC + headers);
    let payload = payload.ok_or(FrameError::Malformed)?;
    let Some((frame, after)) = bytes.split_at_checked(total) else {
        return Ok(None);
    };
    let mut reading = Bytes(frame.get(PRELUDE..).unwrap_or_default());
    let header_bytes = reading.take(headers)?;
    let payload = reading.take(payload)?;
    let crc = u32::from_be_bytes(reading.array()?);
    let covered = frame.get(..total - CRC).unwrap_or_default();
    if crc32fast::hash(covered) != crc {
        return Err(FrameError::Checksum);
    }
    Ok(Some((name(header_bytes, payload)?, after)))
}

fn prelude(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let mut reading = Bytes(bytes.get(..PRELUDE)?);
    let mut next = || Some(u32::from_be_bytes(reading.array().ok()?));
    Some((next()?, next()?, next()?))
}

/// Names a frame by its headers.
fn name(headers: &[u8], payload: &[u8]) -> Result<Frame, FrameError> {
    let (mut event, mut exception, mut code, mut message) = (None, None, None, None);
    let mut reading = Bytes(headers);
    while !reading.0.is_empty() {
        let (name, value) = reading.header()?;
        match name {
            b":event-type" => event = value,
            b":exception-type" => exception = value,
            b":error-code" => code = value,
            b":error-message" => message = value,
            _ => {} // the payload's type, and whether it is an event
        }
    }
    let is_exception = exception.is_some() || code.is_some();
    let payload = match (exception, code) {
        (None, Some(_)) => {
            let message = crate::json::quote(message.unwrap_or_default());
            format!("{{\"message\":{message}}}").into_bytes()
        }
        _ => payload.to_vec(),
    };
    Ok(Frame {
        name: exception.or(code).or(event).unwrap_or_default().to_owned(),
        payload,
        exception: is_exception,
    })
}

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let split = self.0.split_at_checked(count);
        let (taken, rest) = split.ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| FrameError::Malformed)
    }

    /// A header's name, and its value if that is text.
    fn header(&mut self) -> Result<(&'a [u8], Option<&'a str>), FrameError> {
        let [length] = self.array()?;
        let name = self.take(usize::from(length))?;
        let [kind] = self.array()?;
        let fixed = match kind {
            0 | 1 => 0, // true, false
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,                                              // a number, a time
            9 => 16,                                                 // a UUID
            6 | 7 => usize::from(u16::from_be_bytes(self.array()?)), // bytes, text
            _ => return Err(FrameError::Malformed),
        };
        let value = self.take(fixed)?;
        if kind != 7 {
            return Ok((name, None));
        }
        let text = std::str::from_utf8(value).map_err(|_| FrameError::Malformed)?;
        Ok((name, Some(text)))
    }
}
