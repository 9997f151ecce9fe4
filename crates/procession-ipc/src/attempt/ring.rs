//! What comes after a hand-shake in which both ends said that they can use a ring: the one offers it, the other takes it.
//!
//! Relies on `upgrade.rs` for the ring. The listening end sends a frame with the offer, to whose first byte its descriptors
//! are tied, or that it has none to offer; the dialing end answers whether it has taken the offer. Where one of them cannot,
//! as it has no descriptors left, both go on with the socket.

use std::mem;
use std::os::fd::{AsFd, OwnedFd};

use procession_sys::{Interest, StreamSocket};

use super::{Stop, moved};
use crate::duplex::End;
use crate::handshake::{AuthFailure, Incoming, framed};
use crate::upgrade::{self, OFFER_DESCRIPTORS, Offer};

/// Instead of an offer, or in answer to one: the socket is kept.
const STREAM: &[u8] = b"#STREAM#";

/// In answer to an offer: it was taken.
const RING: &[u8] = b"#RING#";

/// What is read at once: less than a frame, whose rest is asked for by its header.
const ROOM_BYTES: usize = 64;

/// How far an end is.
pub(super) struct Negotiation {
    step: Step,
    /// This end, for as long as there may be one.
    ring: Option<Box<End>>,
    incoming: Incoming,
    /// What came with the frame that is coming.
    descriptors: Vec<OwnedFd>,
}

enum Step {
    /// Sends this, with what it offers.
    Offer { sending: Vec<u8>, descriptors: Vec<OwnedFd> },
    /// Waits for the answer to what was offered.
    Asked,
    /// Waits for an offer.
    Expect,
    /// Sends the last frame.
    Say { sending: Vec<u8> },
}

impl Negotiation {
    /// The listening end.
    pub(super) fn offering() -> Self {
        match upgrade::offer() {
            Ok((ours, Offer { bytes, descriptors })) => {
                Self::start(Step::Offer { sending: framed(&bytes), descriptors }, Some(Box::new(ours)))
            }
            // No descriptors or no memory are left for it.
            Err(_) => Self::start(Step::Say { sending: framed(STREAM) }, None),
        }
    }

    /// The dialing end.
    pub(super) fn expecting() -> Self {
        Self::start(Step::Expect, None)
    }

    fn start(step: Step, ring: Option<Box<End>>) -> Self {
        Self { step, ring, incoming: Incoming::default(), descriptors: Vec::new() }
    }

    /// Goes as far as it can: to the ring, or to there being none.
    pub(super) fn settle(&mut self, socket: &StreamSocket) -> Result<Option<Box<End>>, Stop> {
        loop {
            match &mut self.step {
                Step::Offer { sending, descriptors } => {
                    let tied: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                    let sent = socket.try_send_with_descriptors([sending], &tied);
                    sending.drain(..moved(sent, Interest::Write)?);
                    descriptors.clear(); // They went with the first byte.
                    if sending.is_empty() {
                        self.step = Step::Asked;
                    }
                }
                Step::Asked => match &*self.receive(socket)? {
                    RING => return Ok(self.ring.take()),
                    STREAM => return Ok(None),
                    _ => return Err(AuthFailure::Malformed("no answer to the offer of a ring").into()),
                },
                Step::Expect => {
                    let offered = self.receive(socket)?;
                    if offered == STREAM {
                        return Ok(None);
                    }
                    let taken = upgrade::take(&offered, mem::take(&mut self.descriptors));
                    self.ring = taken.ok().map(Box::new);
                    let said = if self.ring.is_some() { RING } else { STREAM };
                    self.step = Step::Say { sending: framed(said) };
                }
                Step::Say { sending } => {
                    sending.drain(..moved(socket.try_send([sending]), Interest::Write)?);
                    if sending.is_empty() {
                        return Ok(self.ring.take());
                    }
                }
            }
        }
    }

    /// The next frame.
    fn receive(&mut self, socket: &StreamSocket) -> Result<Vec<u8>, Stop> {
        let mut room = [0; ROOM_BYTES];
        loop {
            let wanted = self.incoming.missing().min(room.len());
            let received = socket.try_receive_with_descriptors(&mut room[..wanted], OFFER_DESCRIPTORS);
            let (count, descriptors) = moved(received, Interest::Read)?;
            if count == 0 {
                return Err(AuthFailure::Disconnected.into());
            }
            self.descriptors.extend(descriptors);
            self.descriptors.truncate(OFFER_DESCRIPTORS);
            if let Some(message) = self.incoming.push(&room[..count])? {
                return Ok(message);
            }
        }
    }
}
