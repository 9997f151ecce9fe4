//! What comes after a hand-shake in which both ends said that they can use a ring: the one offers it, the other takes it.
//!
//! Relies on `upgrade.rs` for the ring. The listening end sends a frame with the offer, to whose first byte its descriptors
//! are tied, or that it has none to offer; the dialing end answers whether it has taken the offer. Where one of them cannot,
//! as it has no descriptors left, both go on with the socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use procession_sys::{Interest, StreamSocket};

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
    incoming: Incoming,
    /// What came with the frame that is coming.
    descriptors: Vec<OwnedFd>,
}

enum Step {
    /// Sends this, with what it offers; then waits for the answer.
    Offer { sending: Vec<u8>, descriptors: Vec<OwnedFd>, ours: Box<End> },
    /// Waits for the answer to what was offered.
    Asked(Box<End>),
    /// Waits for an offer.
    Expect,
    /// Sends the last frame.
    Say { sending: Vec<u8>, ring: Option<Box<End>> },
}

/// What a step led to.
pub(super) enum Outcome {
    Needs(Interest),
    /// The ring, or none.
    Settled(Option<Box<End>>),
}

impl Negotiation {
    /// The listening end.
    pub(super) fn offering() -> Self {
        Self::start(match upgrade::offer() {
            Ok((ours, Offer { bytes, descriptors })) => {
                Step::Offer { sending: framed(&bytes), descriptors, ours: Box::new(ours) }
            }
            // No descriptors or no memory are left for it.
            Err(_) => Step::Say { sending: framed(STREAM), ring: None },
        })
    }

    /// The dialing end.
    pub(super) fn expecting() -> Self {
        Self::start(Step::Expect)
    }

    fn start(step: Step) -> Self {
        Self { step, incoming: Incoming::default(), descriptors: Vec::new() }
    }

    /// Goes as far as it can.
    pub(super) fn advance(&mut self, socket: &StreamSocket) -> Result<Outcome, AuthFailure> {
        loop {
            match self.step(socket) {
                Ok(None) => {}
                Ok(Some(ring)) => return Ok(Outcome::Settled(ring)),
                Err(Stop::Needs(interest)) => return Ok(Outcome::Needs(interest)),
                Err(Stop::Failed(failure)) => return Err(failure),
            }
        }
    }

    fn step(&mut self, socket: &StreamSocket) -> Result<Option<Option<Box<End>>>, Stop> {
        match &mut self.step {
            Step::Offer { sending, descriptors, .. } => {
                let tied: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                let sent = socket.try_send_with_descriptors([sending], &tied);
                sending.drain(..moved(sent, Interest::Write)?);
                descriptors.clear(); // They went with the first byte.
                if sending.is_empty() {
                    self.go_on(|step| match step {
                        Step::Offer { ours, .. } => Step::Asked(ours),
                        other => other,
                    });
                }
                Ok(None)
            }
            Step::Asked(_) => {
                let Some(answer) = self.receive(socket)? else { return Ok(None) };
                let Step::Asked(ours) = std::mem::replace(&mut self.step, Step::Expect) else { return Ok(None) };
                match &*answer {
                    RING => Ok(Some(Some(ours))),
                    STREAM => Ok(Some(None)),
                    _ => Err(AuthFailure::Malformed("no answer to the offer of a ring").into()),
                }
            }
            Step::Expect => {
                let Some(offered) = self.receive(socket)? else { return Ok(None) };
                if offered == STREAM {
                    return Ok(Some(None));
                }
                let (said, ring) = match upgrade::take(&offered, std::mem::take(&mut self.descriptors)) {
                    Ok(end) => (RING, Some(Box::new(end))),
                    Err(_) => (STREAM, None),
                };
                self.step = Step::Say { sending: framed(said), ring };
                Ok(None)
            }
            Step::Say { sending, ring } => {
                let sent = socket.try_send([sending, &[]]);
                sending.drain(..moved(sent, Interest::Write)?);
                Ok(sending.is_empty().then(|| ring.take()))
            }
        }
    }

    /// The next frame, when it is whole.
    fn receive(&mut self, socket: &StreamSocket) -> Result<Option<Vec<u8>>, Stop> {
        let mut room = [0; ROOM_BYTES];
        let wanted = self.incoming.missing().min(room.len());
        let received = socket.try_receive_with_descriptors(&mut room[..wanted], OFFER_DESCRIPTORS);
        let (count, descriptors) = received.map_err(|error| stopped(&error, Interest::Read))?;
        if count == 0 {
            return Err(AuthFailure::Disconnected.into());
        }
        self.descriptors.extend(descriptors);
        self.descriptors.truncate(OFFER_DESCRIPTORS);
        Ok(self.incoming.push(&room[..count])?)
    }

    fn go_on(&mut self, next: impl FnOnce(Step) -> Step) {
        self.step = next(std::mem::replace(&mut self.step, Step::Expect));
    }
}

/// Why a step was not made.
enum Stop {
    Needs(Interest),
    Failed(AuthFailure),
}

impl From<AuthFailure> for Stop {
    fn from(failure: AuthFailure) -> Self {
        Self::Failed(failure)
    }
}

fn moved(moved: io::Result<usize>, interest: Interest) -> Result<usize, Stop> {
    moved.map_err(|error| stopped(&error, interest))
}

fn stopped(error: &io::Error, interest: Interest) -> Stop {
    match error.kind() {
        io::ErrorKind::WouldBlock => Stop::Needs(interest),
        _ => Stop::Failed(AuthFailure::Disconnected),
    }
}
