//! Messages that are sent without a wait: what does not go at once is kept, and goes before anything else does.
//!
//! Relies on `stream.rs` for a side's turn. Who does not wait cannot keep the turn, and a task may be dropped: so the rest of
//! a message that has begun is the stream's, which anybody may send who has the turn. Between messages nothing is kept.

use std::mem;

use procession_sys::Deadline;

use super::{Header, Outgoing, Stop, Stream, Torn, Turn, behind, is_end};
use crate::SendError;

/// The end of a message that has begun.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    /// How many of them have gone.
    gone: usize,
    /// How many messages before had a rest.
    number: u64,
}

/// How far a message has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    Whole,
    /// It has begun, and is whole when the rest of this number has gone.
    Begun(u64),
}

impl Stream {
    /// Sends a message as far as it goes, as soon as it can begin. When that is not at all in time, it has not begun, which
    /// is [`SendError::Timeout`].
    pub(crate) fn begin(&self, parts: [&[u8]; 2], deadline: Deadline) -> Result<Gone, SendError> {
        let mut turn = self.turn(&self.sending, deadline)?;
        if let Some(torn) = turn.torn {
            return Err(torn.into());
        }
        self.send_rest(&mut turn, deadline)?;
        let [first, second] = parts;
        let header = Header::of((first.len() + second.len()) as u64);
        let parts = [&header, first, second];
        let bytes = parts.iter().map(|part| part.len()).sum();
        let sent = match self.send_some(parts, deadline) {
            Ok(sent) => sent,
            Err(stop) if is_end(&stop) => return Err(SendError::Disconnected),
            Err(stop) => return Err(stop.into()),
        };
        if sent == bytes {
            return Ok(Gone::Whole);
        }
        turn.begin();
        turn.rest.bytes = behind(parts, sent).concat();
        Ok(Gone::Begun(turn.rest.number))
    }

    /// Sends the rest of a message that has begun, if one has.
    pub(crate) fn finish(&self, deadline: Deadline) -> Result<(), SendError> {
        let mut turn = self.turn(&self.sending, deadline)?;
        match turn.torn {
            Some(torn) => Err(torn.into()),
            None => self.send_rest(&mut turn, deadline),
        }
    }

    /// Goes on with a message that has begun; false if there is no room for all of it.
    #[cfg(feature = "async")]
    pub(crate) fn go_on(&self, number: u64) -> Result<bool, SendError> {
        let sent = self.turn(&self.sending, Deadline::NOW).map_err(SendError::from).and_then(|mut turn| {
            if let Some(torn) = turn.torn {
                return Err(torn.into());
            }
            if turn.rest.number == number { self.send_rest(&mut turn, Deadline::NOW) } else { Ok(()) }
        });
        match sent {
            Err(SendError::Timeout) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Sends the rest of a message, if one has begun: before another can.
    pub(super) fn send_rest(&self, turn: &mut Turn<'_, Outgoing>, deadline: Deadline) -> Result<(), SendError> {
        if turn.rest.bytes.is_empty() {
            return Ok(());
        }
        while turn.rest.gone < turn.rest.bytes.len() {
            let rest = &turn.rest.bytes[turn.rest.gone..];
            match self.send_some([rest], deadline) {
                Ok(count) => turn.rest.gone += count,
                Err(stop) if is_end(&stop) => return Err(SendError::Disconnected),
                Err(stop @ (Stop::Timeout | Stop::Closed)) => return Err(stop.into()),
                Err(_) => {
                    let torn = Torn { sent: turn.rest.gone as u64, bytes: turn.rest.bytes.len() as u64 };
                    turn.torn = Some(torn);
                    // Fails only if the peer is gone or the socket closed, and then the stream has ended there anyway.
                    let _ = self.socket.finish_sending();
                    return Err(torn.into());
                }
            }
        }
        turn.rest.number += 1;
        turn.rest.gone = 0;
        drop(mem::take(&mut turn.rest.bytes));
        turn.end();
        Ok(())
    }
}

#[cfg(feature = "async")]
impl Drop for Stream {
    fn drop(&mut self) {
        self.lines.forget([self.fd()]);
    }
}
