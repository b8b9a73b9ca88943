//! The engine's framing of logs: eight bytes that name stream and length, then a timestamp, a space, and the bytes.

use bytes::{Buf as _, Bytes, BytesMut};
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    provider::{LogChunk, LogStream},
};

/// The engine splits lines at 16 KiB; ten times as much is no line any more.
const LONGEST: usize = 16 << 20;

/// What stands in a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A line, or a piece of a long one. The pieces of a line carry the time of the first.
    Chunk(LogChunk),
    /// The engine says that it cannot go on.
    Trouble(String),
}

/// Takes bytes as they come and gives frames.
#[derive(Debug, Default)]
pub(super) struct Decoder(BytesMut);

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        let Some((header, rest)) = self.0.split_first_chunk::<8>() else { return Ok(None) };
        let [kind, _, _, _, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST || kind > 3 {
            return Err(Error::new(ErrorKind::Unexpected, "the engine's log stream makes no sense")
                .with_help("has the container a terminal? Its output is not framed then"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.0.advance(8);
        let payload = self.0.split_to(length).freeze();
        match kind {
            3 => Ok(Some(Frame::Trouble(String::from_utf8_lossy(&payload).trim().to_owned()))),
            2 => chunk(LogStream::Stderr, payload).map(Some),
            _ => chunk(LogStream::Stdout, payload).map(Some),
        }
    }
}

fn chunk(stream: LogStream, mut payload: Bytes) -> Result<Frame> {
    let unreadable = || Error::new(ErrorKind::Unexpected, "a line of the engine's log has no time");
    let space = payload.iter().take(64).position(|byte| *byte == b' ').ok_or_else(unreadable)?;
    let time = payload.split_to(space);
    payload.advance(1);
    let time = std::str::from_utf8(&time).ok().and_then(|text| text.parse::<Timestamp>().ok());
    Ok(Frame::Chunk(LogChunk::new(time.ok_or_else(unreadable)?, stream, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut all = vec![kind, 0, 0, 0];
        all.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        all.extend_from_slice(payload);
        all
    }

    #[test]
    fn d8_frames_come_out_whole_however_they_arrive() {
        let mut bytes = framed(1, b"2026-01-02T03:04:05.000000006Z \xff\xfe no utf-8\n");
        bytes.extend(framed(2, b"2026-01-02T03:04:06.000000000Z no end"));
        bytes.extend(framed(1, b"2026-01-02T03:04:06.000000001Z "));
        bytes.extend(framed(3, b"it broke\n"));
        for step in [1, 3, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut all = Vec::new();
            for part in bytes.chunks(step) {
                decoder.push(part);
                while let Some(frame) = decoder.next().unwrap() {
                    all.push(frame);
                }
            }
            let Frame::Chunk(first) = &all[0] else { panic!("{all:?}") };
            assert_eq!((&first.bytes[..], first.stream), (&b"\xff\xfe no utf-8\n"[..], LogStream::Stdout));
            assert_eq!(first.time.subsec_nanosecond(), 6);
            let Frame::Chunk(second) = &all[1] else { panic!("{all:?}") };
            assert_eq!((&second.bytes[..], second.stream), (&b"no end"[..], LogStream::Stderr));
            assert!(matches!(&all[2], Frame::Chunk(empty) if empty.bytes.is_empty()));
            assert_eq!(all[3], Frame::Trouble("it broke".to_owned()));
        }
    }

    #[test]
    fn d8_what_is_not_framed_is_an_error() {
        let mut decoder = Decoder::default();
        decoder.push(b"plain text of a terminal\n");
        assert_eq!(decoder.next().unwrap_err().kind(), ErrorKind::Unexpected);
        let mut decoder = Decoder::default();
        decoder.push(&framed(1, b"no time at all"));
        assert!(decoder.next().is_err());
    }
}
