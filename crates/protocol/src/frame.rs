//! The framing of byte streams: one kind byte, a length of four bytes (big endian), the payload.
//!
//! HTTP/2 gives flow control and full duplex; frames only keep apart what travels together.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest payload. A reader that meets a longer one ends the stream.
pub const MAX_PAYLOAD: usize = 256 * 1024;

const HEADER: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Terminal bytes, or a command's standard input.
    Data = 0,
    /// A command's standard output.
    Stdout = 1,
    /// A command's standard error.
    Stderr = 2,
    /// JSON whose type the stream defines: [`Exec`](crate::control::Exec) or
    /// [`TerminalSize`](crate::control::TerminalSize).
    Control = 3,
    /// The JSON of an [`Exit`](crate::control::Exit). The last frame.
    Exit = 4,
    /// End of standard input; no payload.
    Eof = 5,
    /// Terminal bytes that the program did not say now: they make any terminal's screen look as it
    /// did at the offset where the data goes on, and count nothing.
    Screen = 6,
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        [
            Self::Data,
            Self::Stdout,
            Self::Stderr,
            Self::Control,
            Self::Exit,
            Self::Eof,
            Self::Screen,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
        .ok_or(FrameError::Kind(byte))
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// The bytes.
    pub payload: Bytes,
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// A kind that does not exist.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// A payload over [`MAX_PAYLOAD`].
    #[error("frame of {0} bytes is longer than {MAX_PAYLOAD}")]
    TooLong(usize),
}

impl Frame {
    /// A frame. Payloads over [`MAX_PAYLOAD`] are the caller's to split.
    pub fn new(kind: Kind, payload: impl Into<Bytes>) -> Self {
        Self {
            kind,
            payload: payload.into(),
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER + self.payload.len());
        out.put_u8(self.kind as u8);
        out.put_u32(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        out.put_slice(&self.payload);
        out.freeze()
    }
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let kind = Kind::try_from(self.buffer[0])?;
        let length = u32::from_be_bytes([self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(Frame {
            kind,
            payload: self.buffer.split_to(length).freeze(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let frames = [
            Frame::new(Kind::Data, "ls\n"),
            Frame::new(Kind::Eof, ""),
            Frame::new(Kind::Exit, "{\"code\":0}"),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[9, 0, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Kind(9)));
        let mut decoder = Decoder::default();
        decoder.push(&[0, 255, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0xff00_0000)));
    }
}
