//! Frames of the hand-shake: those of `stream/frames.rs`, and short.
//!
//! Relies on that for headers.

use std::mem;

use crate::handshake::AuthFailure;
use crate::stream::Header;

/// How many bytes a frame of the hand-shake has at most, without its header: as many as CPython allows.
pub const HANDSHAKE_FRAME_MAX: usize = 256;

const HEADER: usize = 4;

/// The frame of a message of ours.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&*Header::of(message.len() as u64), message].concat()
}

/// A frame that is coming, perhaps byte by byte.
#[derive(Default)]
pub(crate) struct Incoming {
    /// The header, and what has come behind it.
    bytes: Vec<u8>,
    /// How long the message is, once the header is whole.
    length: Option<usize>,
}

impl Incoming {
    /// How many bytes are missing for as much of the frame as is known of: the header, then the message. Never zero.
    pub(crate) fn missing(&self) -> usize {
        HEADER + self.length.unwrap_or(0) - self.bytes.len()
    }

    /// Takes at most so many bytes; the message, when that makes it whole.
    ///
    /// # Errors
    /// The header announces more than is allowed. None of it was asked for then.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, AuthFailure> {
        self.bytes.extend_from_slice(bytes);
        if self.length.is_none() {
            let Ok(header) = <[u8; HEADER]>::try_from(&*self.bytes) else { return Ok(None) };
            self.length = Some(length(header)?);
        }
        if self.missing() != 0 {
            return Ok(None);
        }
        Ok(Some(mem::take(self).bytes.split_off(HEADER)))
    }
}

fn length(header: [u8; HEADER]) -> Result<usize, AuthFailure> {
    match usize::try_from(i32::from_be_bytes(header)) {
        Ok(length) if length <= HANDSHAKE_FRAME_MAX => Ok(length),
        _ => Err(AuthFailure::Malformed("a frame that is too long for one")),
    }
}
