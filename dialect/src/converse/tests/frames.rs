use super::*;
use crate::converse::frames::{Decoder, Frame, FrameError, MAX_FRAME_BYTES};

fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        match decoder.push(piece) {
            Ok(more) => frames.extend(more),
            Err(error) => return (frames, Err(error)),
        }
    }
    let end = decoder.end();
    (frames, end)
}

#[test]
fn every_cut_gives_the_same() {
    let bytes = provider_frames();
    check_fixture("converse/stream.bin", &bytes);
    let (frames, end) = decode(&bytes, usize::MAX);
    assert_eq!(end, Ok(()));
    let read: Vec<_> = frames
        .iter()
        .map(|frame| {
            assert!(!frame.exception);
            let payload = String::from_utf8(frame.payload.clone()).unwrap();
            (frame.name.clone(), payload)
        })
        .collect();
    assert_eq!(read, provider_stream());
    for piece in 1..200 {
        assert_eq!(decode(&bytes, piece), (frames.clone(), Ok(())));
    }
}

#[test]
fn exceptions() {
    let mut bytes = provider_frames();
    bytes.truncate(event("messageStart", &provider_stream()[0].1).len());
    bytes.extend(exception("throttlingException", r#"{"message":"slow"}"#));
    check_fixture("converse/stream-exception.bin", &bytes);
    let (frames, _) = decode(&bytes, usize::MAX);
    assert_eq!(frames[1].name, "throttlingException");
    assert!(frames[1].exception);
    let unmodelled = encode(
        &[
            (":message-type", "error"),
            (":error-code", "InternalFailure"),
            (":error-message", "say \"no\""),
        ],
        b"",
    );
    check_fixture("converse/stream-error.bin", &unmodelled);
    let (frames, _) = decode(&unmodelled, usize::MAX);
    let expected = Frame {
        name: "InternalFailure".to_owned(),
        payload: br#"{"message":"say \"no\""}"#.to_vec(),
        exception: true,
    };
    assert_eq!(frames, [expected]);
}

#[test]
fn every_kind_of_header() {
    let mut head = Vec::new();
    for (kind, value) in [
        (0, vec![]),
        (1, vec![]),
        (2, vec![1]),
        (3, vec![1; 2]),
        (4, vec![1; 4]),
        (5, vec![1; 8]),
        (6, vec![0, 2, 255, 255]),
        (8, vec![1; 8]),
        (9, vec![1; 16]),
    ] {
        head.extend([2, b'h', b'0' + kind, kind]);
        head.extend(value);
    }
    head.extend(b"\x0b:event-type\x07\x00\x02hi");
    let bytes = encode_raw(&head, b"{}");
    check_fixture("converse/headers.bin", &bytes);
    let (frames, end) = decode(&bytes, 1);
    assert_eq!((frames[0].name.as_str(), end), ("hi", Ok(())));
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = event("messageStart", r#"{"role":"assistant"}"#);
    for at in 0..bytes.len() * 8 {
        let mut garbled = bytes.clone();
        garbled[at / 8] ^= 1 << (at % 8);
        let (frames, end) = decode(&garbled, usize::MAX);
        assert_eq!((frames.len(), end), (0, Err(FrameError::Checksum)));
    }
}

#[test]
fn frames_before_an_error_come_out() {
    let good = event("messageStart", "{}");
    let mut bytes = good.clone();
    bytes.extend([1; 12]);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.push(&bytes).unwrap().len(), 1);
    assert_eq!(decoder.end(), Err(FrameError::Checksum));
    assert_eq!(decoder.push(&good), Err(FrameError::Checksum));
    assert_eq!(decoder.push(b""), Err(FrameError::Checksum));
}

#[test]
fn cut_frames() {
    let bytes = event("messageStart", "{}");
    for length in 1..bytes.len() {
        assert_eq!(decode(&bytes[..length], 5), (vec![], Err(FrameError::Cut)));
    }
    assert_eq!(decode(b"", 1), (vec![], Ok(())));
}

#[test]
fn lengths_that_do_not_fit() {
    let prelude = |total: u32, head: u32| {
        let mut bytes = total.to_be_bytes().to_vec();
        bytes.extend(head.to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        decode(&bytes, usize::MAX).1
    };
    let largest = u32::try_from(MAX_FRAME_BYTES).unwrap();
    assert_eq!(prelude(largest, 0), Err(FrameError::Cut));
    assert_eq!(prelude(largest + 1, 0), Err(FrameError::TooLarge));
    assert_eq!(prelude(u32::MAX, u32::MAX), Err(FrameError::TooLarge));
    assert_eq!(prelude(200_000, 131_073), Err(FrameError::TooLarge));
    assert_eq!(prelude(15, 0), Err(FrameError::Malformed));
    assert_eq!(prelude(0, 0), Err(FrameError::Malformed));
    assert_eq!(prelude(20, 5), Err(FrameError::Malformed));
    for head in [
        &b"\x05a"[..],
        b"\x01a\x0a",
        b"\x01a\x07\x00\x09x",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a\x05",
    ] {
        let (frames, end) = decode(&encode_raw(head, b""), usize::MAX);
        assert_eq!((frames.len(), end), (0, Err(FrameError::Malformed)));
    }
}
